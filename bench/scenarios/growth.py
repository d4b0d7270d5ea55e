"""Growth of memory with the number of transactions."""

from .common import Bench, pgbench, progress, table
from .memory import settled
from .pooled import CLIENTS, serves

TITLE = "Resident memory after many transactions"
FEW, MANY, MANY_QUICK = 10_000, 1_000_000, 100_000


def measure(bench: Bench) -> str:
    many = MANY_QUICK if bench.settings.quick else MANY
    rows = []
    server, account = bench.pool_server()
    for tls in (False, True):
        for name, pool in bench.pools(server, account, client_tls=tls).items():
            pool.start()
            modes = [mode for mode in ("simple", "prepared") if serves(name, mode)]

            def serve(transactions: int) -> int:
                for mode in modes:
                    share = transactions // len(modes) // CLIENTS
                    options = ["-n", "-S", "-M", mode, "-c", CLIENTS, "-j", 2, "-t", share]
                    pgbench(pool.port, *options, tls=tls, user=account.user, password=account.password)
                return settled(pool.process.pid)

            first, last = serve(FEW), serve(many - FEW)
            growth = f"{(last / first - 1) * 100:+.1f} %"
            rows.append([f"{'TLS' if tls else 'plain'}, {name}", f"{first:,}", f"{last:,}", growth])
            progress(rows[-1])
            pool.stop()
    server.stop()
    head = [f"{CLIENTS} clients", f"KiB after {FEW:,}", f"KiB after {many:,}", "growth"]
    return (
        f"{table(head, rows)}\n\n"
        "`VmRSS` after the clients have disconnected. Half of the transactions are simple, half prepared if the pool "
        "supports prepared statements. Target: 5 %.\n"
    )
