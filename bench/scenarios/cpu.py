"""Processor time per transaction, compared with a bare relay and a direct connection."""

from .common import Bench, pgbench, progress, rotated, shown, table, transaction_cost

TITLE = "Processor time per transaction"
TARGET = 1.15


def measure(bench: Bench) -> str:
    rows = []
    for tls in (False, True):
        server = bench.server(tls=tls)
        proxies = bench.proxies(server.port, client_tls=tls, server_tls=tls)
        for proxy in proxies.values():
            proxy.start()
        for mode in ("simple", "prepared"):
            for clients in (1, 50):
                rows.append(_row(bench, server, proxies, tls, mode, clients))
                progress(rows[-1])
        for proxy in proxies.values():
            proxy.stop()
        server.stop()
    seconds, rounds = bench.settings.seconds, bench.settings.rounds
    head = ["session mode", "relay µs", "Gatekeeper µs", "ratio", "spread", "direct tps", "relay tps", "Gatekeeper tps"]
    return (
        f"{table(head, rows)}\n\n"
        "User and system time of the proxy's process (`clock_getcpuclockid`) divided by pgbench's count of transactions (`-S`, "
        "one SELECT each), minus the cost of logins, which a run of one transaction per client measures. "
        f"Direct, relay and Gatekeeper take turns of {seconds} s, {rounds} rounds in a rotating order. Numbers are medians; "
        "the ratio is the median over rounds, the spread the lowest and highest. TLS is on both legs. "
        f"Target: a ratio of at most {TARGET}.\n"
    )


def _row(bench: Bench, server, proxies, tls: bool, mode: str, clients: int):
    options = ["-n", "-S", "-M", mode, "-c", clients, "-j", min(clients, 2)]
    names = ["direct", *proxies]
    rates = {name: [] for name in names}
    costs = {name: [] for name in proxies}
    for turn in range(bench.settings.rounds):
        for name in rotated(names, turn):
            if name == "direct":
                rate = pgbench(server.port, *options, "-T", bench.settings.seconds, tls=tls).per_second
            else:
                cost, rate = transaction_cost(proxies[name], bench.settings.seconds, *options, tls=tls)
                costs[name].append(cost)
            rates[name].append(rate)
    label = f"{'TLS' if tls else 'plain'}, {mode}, {clients} client{'s' if clients > 1 else ''}"
    ratios = [ours / theirs for ours, theirs in zip(costs.get("gatekeeper", []), costs.get("relay", []))]
    return [
        label, shown(costs.get("relay"), ".1f"), shown(costs.get("gatekeeper"), ".1f"), shown(ratios, ".2f"),
        f"{min(ratios):.2f}–{max(ratios):.2f}" if ratios else "–",
        *(shown(rates.get(name), ".0f") for name in ("direct", "relay", "gatekeeper")),
    ]
