"""The suites by name."""

from .crates import Sqlx, TokioPostgres
from .golang import LibPq, Pgx
from .pgbench import Pgbench
from .postgresql import Isolation, Regress, SerialRegress
from .programs import Django, Jdbc, JdbcThreads, NodePostgres, NodeStreams, PostgresJs
from .sqlalchemy import SqlAlchemy
from .unittests import Asyncpg, Psycopg2

SUITES = {
    "regress": Regress,
    "isolation": Isolation,
    "psycopg2": Psycopg2,
    "asyncpg": Asyncpg,
    "pgbench": Pgbench,
    "serial-regress": SerialRegress,
    "sqlalchemy": SqlAlchemy,
    "tokio-postgres": TokioPostgres,
    "sqlx": Sqlx,
    "node-postgres": NodePostgres,
    "node-streams": NodeStreams,
    "postgres-js": PostgresJs,
    "jdbc": Jdbc,
    "jdbc-threads": JdbcThreads,
    "lib-pq": LibPq,
    "pgx": Pgx,
    "django": Django,
}
# Default suites; the others take longer to build and to run.
USUAL = ["regress", "isolation", "psycopg2", "asyncpg", "pgbench", "django", "postgres-js", "node-streams", "jdbc-threads", "lib-pq"]
