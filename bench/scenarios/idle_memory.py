"""Resident memory per idle client in transaction mode."""

import resource

from .common import Bench, progress, table
from .memory import WARM, per_session

TITLE = "Resident memory per idle client"
CLIENTS = (5_000, 10_000)
LIMIT = resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def measure(bench: Bench) -> str:
    rows = []
    server, account = bench.pool_server()
    among = ("relay", "pgbouncer", "gatekeeper")
    for label, tls in (("plain", False), ("TLS from clients", True)):
        cells = {}
        for name, pool in bench.pools(server, account, client_tls=tls, asks_password=False, among=among).items():
            pool.start()
            cells[name] = per_session(pool, "tls" if tls else "plain", CLIENTS)
            pool.stop()
        rows.append([label] + [cell for name in among for cell in cells.get(name, ["–"] * len(CLIENTS))])
        progress(rows[-1])
    server.stop()
    head = ["KiB", *(f"{name}, {count:,}" for name in ("relay", "PgBouncer", "Gatekeeper") for count in CLIENTS)]
    return (
        f"{table(head, rows)}\n\n"
        f"Growth of `VmRSS` from {WARM} clients to the given number, divided by the difference in clients. Each client has "
        "logged in without a password, has run a statement, and is idle. Sockets are kernel memory and do not count. "
        f"`refused` is a pool that did not accept so many clients (`ulimit -Hn` is {LIMIT:,}). Targets "
        "at 5,000: 2 KiB plain, 10 KiB with TLS; 10,000 clients must be accepted.\n"
    )
