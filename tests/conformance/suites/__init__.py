"""The suites: each takes a workspace, a server and a middle, runs twice, and returns an `Outcome`."""

from . import drivers, pgbench, postgresql

SUITES = {
    "regress": postgresql.regress,
    "isolation": postgresql.isolation,
    "psycopg2": drivers.psycopg2,
    "asyncpg": drivers.asyncpg,
    "pgbench": pgbench.pgbench,
}
