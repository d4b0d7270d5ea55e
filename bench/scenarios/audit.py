"""Processor time per transaction at each audit level, and without an audit log."""

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
    options = {"profile": bench.settings.profile, "account": account, "asks_password": True}
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
            of = lambda name, index=0: [found[mode, name][index] for found in rounds]
            cells += [shown(of(name), ".1f"), ratio(of(name), of(OFF)), shown(of(name, 1), ".0f")]
        rows.append(cells)
        progress(cells)
    head = [f"{CLIENTS} clients, 20 backends"]
    head += [f"{mode} {column}" for mode in MODES for column in ("µs", "÷ off", "tps")]
    return (
        f"{table(head, rows)}\n\n"
        "User and system time of the process, including the audit writer's thread, divided by pgbench's count of transactions "
        "(`-S -j 2`: one statement each), minus the cost of logins. The levels take turns of "
        f"{bench.settings.seconds} s, {bench.settings.rounds} rounds in a rotating order. Times are medians; a ratio is the "
        "median over rounds, with the lowest and the highest.\n"
    )
