"""Cost of a transaction compared with an older build: instructions in user space, processor time, and state checks."""

from lab.decisions import Decisions
from targets import POOLS

from .common import MODES, Bench, progress, ratio, rotated, shown, table, transaction_cost
from .instructions import TEXT, instructions
from .pooled import CLIENTS

TITLE = "Beside an older build"
NOW, BEFORE = "now", "before"


def measure(bench: Bench) -> str:
    if not bench.settings.before:
        return "Not measured: `--before FILE` names the older program.\n"
    server, account = bench.pool_server()
    login = {"user": account.user, "password": account.password}
    pools = {name: _pool(bench, server, account, name) for name in (BEFORE, NOW)}
    counts = {
        (mode, name): instructions(bench, server, account, mode, pool.program)
        for mode in MODES
        for name, pool in pools.items()
    }
    for pool in pools.values():
        pool.start()
    rounds = [_round(bench, pools, turn, login) for turn in range(bench.settings.rounds)]
    counted = Decisions.of(pools[NOW].admin_port)
    for pool in pools.values():
        pool.stop()
    server.stop()
    rows = []
    for mode in MODES:
        of = {name: [found[mode, name] for found in rounds] for name in pools}
        (was, logins_before), (now, logins_now) = counts[mode, BEFORE], counts[mode, NOW]
        cells = [f"{was:,.0f}", f"{now:,.0f}", f"{now / was:.3f}"] if was and now else ["–"] * 3
        cells.append(f"{logins_before}, {logins_now}")
        rows.append([mode, *cells, shown(of[BEFORE], ".1f"), shown(of[NOW], ".1f"), ratio(of[NOW], of[BEFORE])])
        progress(rows[-1])
    head = [f"pgbench -S, {CLIENTS} clients", "instructions before", "now", "ratio", "logins in each count", "µs before", "µs now", "ratio"]
    return (
        f"{table(head, rows)}\n\n"
        f"{TEXT} Processor time is measured as in `pooled`: the two builds take turns for {bench.settings.rounds} rounds of "
        f"{bench.settings.seconds} s. In these rounds, {counted.state_checks:,} state checks followed {counted.transactions:,} "
        "transactions.\n"
    )


def _pool(bench: Bench, server, account, name: str):
    pool = POOLS["gatekeeper"](bench.workspace, server.port, profile=bench.settings.profile, account=account, asks_password=True)
    if name == BEFORE:
        pool.program = bench.settings.before.resolve()
    return pool


def _round(bench: Bench, pools, turn: int, login) -> dict:
    found = {}
    for mode in MODES:
        for name in rotated(pools, turn):
            options = ["-n", "-S", "-M", mode, "-c", CLIENTS, "-j", 2]
            found[mode, name], _ = transaction_cost(pools[name], bench.settings.seconds, *options, **login)
    return found
