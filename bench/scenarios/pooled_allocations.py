"""Allocations per transaction in the steady state of transaction mode."""

from .allocations import COUNTER_TEXT, counter, per_transaction
from .common import MODES, Bench, progress, table
from .pooled import CLIENTS

TITLE = "Allocations per transaction"


def measure(bench: Bench) -> str:
    library = counter(bench)
    rows = []
    for tls in (False, True):
        server, account = bench.pool_server()
        pools = bench.pools(server, account, client_tls=tls, among=("relay", "gatekeeper"))
        for mode in MODES:
            for clients in (1, CLIENTS):
                login = {"tls": tls, "user": account.user, "password": account.password}
                cells = {
                    name: per_transaction(bench, library, pool, mode, clients, **login)
                    for name, pool in pools.items()
                    if name != "relay" or mode != "prepared"
                }
                label = f"{'TLS' if tls else 'plain'}, {mode}, {clients} client{'s' if clients > 1 else ''}"
                rows.append([label, cells.get("relay", "–"), cells.get("gatekeeper", "–")])
                progress(rows[-1])
        server.stop()
    return f"{table(['transaction mode', 'relay', 'Gatekeeper'], rows)}\n\n{COUNTER_TEXT}"
