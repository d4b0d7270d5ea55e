"""What is measured in transaction mode: the same pool by three programs, `SIZE` backends for any number of clients.

Each is a `Middle` of `tests/lab` and takes the same arguments: where the server is, who logs in, and whether clients are
asked for a password (SCRAM-SHA-256, the same as towards the server) or trusted.
"""

from .account import SIZE, Account
from .gatekeeper import AuditedGatekeeper, PooledGatekeeper, TwoWorkers
from .pgbouncer import PgBouncer
from .relay import PooledRelay

POOLS = {
    "relay": PooledRelay, "pgbouncer": PgBouncer, "gatekeeper": PooledGatekeeper, "gatekeeper, 2 workers": TwoWorkers,
}
__all__ = ["POOLS", "SIZE", "Account", "AuditedGatekeeper"]
