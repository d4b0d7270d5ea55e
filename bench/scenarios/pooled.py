"""Processor time per transaction in transaction mode, compared with a bare pool and PgBouncer."""

from targets import SIZE, PgBouncer

from .common import MODES, Bench, progress, ratio, rotated, shown, table, transaction_cost

TITLE = "Processor time per transaction"
CLIENTS = 50
OURS, TWO = "gatekeeper", "gatekeeper, 2 workers"


def measure(bench: Bench) -> str:
    rows = []
    for tls in (False, True):
        server, account = bench.pool_server()
        pools = bench.pools(server, account, client_tls=tls)
        for pool in pools.values():
            pool.start()
        rounds = [_round(bench, pools, account, tls, turn) for turn in range(bench.settings.rounds)]
        for pool in pools.values():
            pool.stop()
        server.stop()
        for mode in MODES:
            rows.append([f"{'TLS' if tls else 'plain'}, {mode}", *_cells(rounds, mode)])
            progress(rows[-1])
    head = [f"{CLIENTS} clients, {SIZE} backends", "relay µs", "PgBouncer µs", "Gatekeeper µs", "2 workers µs",
            "÷ relay", "÷ PgBouncer", "2 workers ÷ 1", "relay tps", "PgBouncer tps", "Gatekeeper tps"]
    return (
        f"{table(head, rows)}\n\n"
        "User and system time of the pool's process (`clock_getcpuclockid`) divided by pgbench's count of transactions "
        "(`-S -j 2`), minus the cost of logins, which a run of one transaction per client measures. The pools take turns "
        f"of {bench.settings.seconds} s in each mode, {bench.settings.rounds} rounds in a rotating order. Times are "
        "medians; a ratio is the median over rounds, with the lowest and highest. Only client connections use TLS. "
        "The relay cannot rename prepared statements: `prepared` is compared with the relay's `extended`. "
        "Targets: 1.1 times the relay, 0.9 times PgBouncer, two workers 1.1 times one.\n"
    )


def serves(pool: str, mode: str) -> bool:
    """True if the pool supports the query mode."""
    return mode != "prepared" or (pool != "relay" and (pool != "pgbouncer" or PgBouncer.knows_prepared_statements()))


def _round(bench: Bench, pools, account, tls: bool, turn: int) -> dict:
    """Cost and rate of each pool in each mode."""
    found = {}
    for mode in MODES:
        for name in rotated(pools, turn):
            if serves(name, mode):
                options = ["-n", "-S", "-M", mode, "-c", CLIENTS, "-j", 2]
                found[mode, name] = transaction_cost(
                    pools[name], bench.settings.seconds, *options,
                    tls=tls, user=account.user, password=account.password,
                )
    return found


def _cells(rounds, mode: str) -> list[str]:
    def of(name, mode=mode, index=0):
        return [found[mode, name][index] for found in rounds if (mode, name) in found]

    beside = of("relay", "extended" if mode == "prepared" else mode)
    return [
        *(shown(of(name), ".1f") for name in ("relay", "pgbouncer", OURS, TWO)),
        ratio(of(OURS), beside), ratio(of(OURS), of("pgbouncer")), ratio(of(TWO), of(OURS)),
        *(shown(of(name, index=1), ".0f") for name in ("relay", "pgbouncer", OURS)),
    ]
