"""Processor time per connection in transaction mode: each client connects, runs a statement and disconnects."""

from .common import Bench, pgbench, processor_seconds, progress, ratio, rotated, shown, table

TITLE = "Connection storm"
CLIENTS = 8
KINDS = (("plain, trust", False, False), ("plain, SCRAM", False, True), ("TLS, trust", True, False),
         ("TLS, SCRAM", True, True))


def measure(bench: Bench) -> str:
    rows = []
    server, account = bench.pool_server()
    for label, tls, asks_password in KINDS:
        pools = bench.pools(server, account, client_tls=tls, asks_password=asks_password)
        for pool in pools.values():
            pool.start()
        costs, rates = ({name: [] for name in pools} for _ in range(2))
        for turn in range(bench.settings.rounds):
            for name in rotated(pools, turn):
                cost, rate = _connection_cost(bench, pools[name], tls, account)
                costs[name].append(cost)
                rates[name].append(rate)
        for pool in pools.values():
            pool.stop()
        ours = costs.get("gatekeeper", [])
        rows.append([
            label, *(shown(costs.get(name), ".0f") for name in ("relay", "pgbouncer", "gatekeeper")),
            shown(costs.get("gatekeeper, 2 workers"), ".0f"), ratio(ours, costs.get("pgbouncer", [])),
            *(shown(rates.get(name), ".0f") for name in ("relay", "pgbouncer", "gatekeeper")),
        ])
        progress(rows[-1])
    server.stop()
    head = ["login", "relay µs", "PgBouncer µs", "Gatekeeper µs", "2 workers µs", "÷ PgBouncer", "relay /s",
            "PgBouncer /s", "Gatekeeper /s"]
    return (
        f"{table(head, rows)}\n\n"
        f"pgbench with a connection per transaction (`-C -S`), {CLIENTS} clients; µs is the pool's processor time per "
        "connection, including a statement. PgBouncer and Gatekeeper have the password as a SCRAM verifier. "
        "Certificates are RSA with 2,048 bits; only client connections use TLS. Targets: 1.1 times PgBouncer without "
        "TLS, 0.8 times with TLS.\n"
    )


def _connection_cost(bench: Bench, pool, tls: bool, account) -> tuple[float, float]:
    login = {"tls": tls, "user": account.user, "password": account.password}
    # First, the pool opens all backends.
    pgbench(pool.port, "-n", "-S", "-c", 40, "-j", 2, "-t", 20, **login)
    before = processor_seconds(pool.process.pid)
    load = pgbench(pool.port, "-n", "-S", "-C", "-c", CLIENTS, "-j", 2, "-T", bench.settings.seconds, **login)
    return (processor_seconds(pool.process.pid) - before) / load.transactions * 1e6, load.per_second
