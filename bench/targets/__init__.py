"""The pools of the scenarios in transaction mode: three programs, each with `SIZE` backends for any number of clients.

Each class is a `Proxy` of `tests/lab` with the same arguments: the server, the account, and `asks_password`. With
`asks_password`, clients log in by SCRAM-SHA-256, as the pools do at the server; otherwise the pools trust clients.
"""

from .account import SIZE, Account
from .gatekeeper import AuditedGatekeeper, PooledGatekeeper, TwoWorkers
from .pgbouncer import PgBouncer
from .relay import PooledRelay

POOLS = {
    "relay": PooledRelay, "pgbouncer": PgBouncer, "gatekeeper": PooledGatekeeper, "gatekeeper, 2 workers": TwoWorkers,
}
__all__ = ["POOLS", "SIZE", "Account", "AuditedGatekeeper"]
