"""What the audit log costs: processor time per transaction at each level, beside no log at all."""

from targets import AuditedGatekeeper, PooledGatekeeper

from .common import Bench, progress, ratio, rotated, shown, table, transaction_cost
from .pooled import CLIENTS

TITLE = "Processor time with an audit log"
OFF = "off"
LEVELS = {
    "sessions": {"level": '"sessions"'},
    "statements, none": {"level": '"statements"', "statements": '"none"'},
    "statements, fingerprint": {"level": '"statements"', "statements": '"fingerprint"'},
    "statements, normalized": {"level": '"statements"'},
    "statements, normalized, block, chain, sync each second": {
        "level": '"statements"', "on_full": '"block"', "hash_chain": "true", "sync": '"interval"',
    },
}
MODES = ("simple", "prepared")


def measure(bench: Bench) -> str:
    server, account = bench.pool_server()
    options = {"profile": bench.settings.profile, "account": account, "asks": True}
    targets = {OFF: PooledGatekeeper(bench.workspace, server.port, **options)}
    for name, keys in LEVELS.items():
        targets[name] = AuditedGatekeeper(bench.workspace, server.port, audit=keys, **options)
    for target in targets.values():
        target.start()
    rounds = []
    for turn in range(bench.settings.rounds):
        found = {}
        for mode in MODES:
            for name in rotated(targets, turn):
                words = ["-n", "-S", "-M", mode, "-c", CLIENTS, "-j", 2]
                found[mode, name] = transaction_cost(
                    targets[name], bench.settings.seconds, *words, user=account.user, password=account.password
                )
        rounds.append(found)
    for target in targets.values():
        target.stop()
    server.stop()
    rows = []
    for name in targets:
        cells = [name]
        for mode in MODES:
            of = lambda which, what=0: [found[mode, which][what] for found in rounds]
            cells += [shown(of(name), ".1f"), ratio(of(name), of(OFF)), shown(of(name, 1), ".0f")]
        rows.append(cells)
        progress(cells)
    head = [f"{CLIENTS} clients, 20 backends"]
    head += [f"{mode} {what}" for mode in MODES for what in ("µs", "÷ off", "tps")]
    return (
        f"{table(head, rows)}\n\n"
        "User and system time of the process, the writer's thread among it, over pgbench's count of transactions (`-S -j 2`: "
        "one statement each), less what the logins cost. The levels take turns of "
        f"{bench.settings.seconds} s, {bench.settings.rounds} rounds in a rotating order; times are medians, a ratio is the "
        "median of each round's with its lowest and highest.\n"
    )
