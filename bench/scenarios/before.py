"""Cost of a transaction compared with an older build: instructions in user space, processor time, and state checks."""

import re
import shutil

from lab.decisions import Decisions
from targets import POOLS

from .common import MODES, Bench, pgbench, progress, ratio, rotated, shown, table, transaction_cost
from .pooled import CLIENTS

TITLE = "Beside an older build"
FEW, MANY = 20, 220
NOW, BEFORE = "now", "before"


def measure(bench: Bench) -> str:
    if not bench.settings.before:
        return "Not measured: `--before FILE` names the older program.\n"
    server, account = bench.pool_server()
    login = {"user": account.user, "password": account.password}
    pools = {name: _pool(bench, server, account, name) for name in (BEFORE, NOW)}
    instructions = {
        (mode, name): _instructions(bench, pool, mode, login) for mode in MODES for name, pool in pools.items()
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
        was, now = instructions[mode, BEFORE], instructions[mode, NOW]
        counts = [f"{was:,.0f}", f"{now:,.0f}", f"{now / was:.3f}"] if was and now else ["–"] * 3
        rows.append([mode, *counts, shown(of[BEFORE], ".1f"), shown(of[NOW], ".1f"), ratio(of[NOW], of[BEFORE])])
        progress(rows[-1])
    head = [f"pgbench -S, {CLIENTS} clients", "instructions before", "now", "ratio", "µs before", "µs now", "ratio"]
    return (
        f"{table(head, rows)}\n\n"
        f"Instructions of the whole process in user space under callgrind (one worker): a run of {MANY} transactions per "
        f"client minus a run of {FEW}, divided by the difference in transactions. Processor time is measured as in "
        f"`pooled`: the two builds take turns for {bench.settings.rounds} rounds of {bench.settings.seconds} s. In these rounds, "
        f"{counted.state_checks:,} state checks followed {counted.transactions:,} transactions.\n"
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


def _instructions(bench: Bench, pool, mode: str, login) -> float:
    """Instructions per transaction; 0 without valgrind."""
    if not shutil.which("valgrind"):
        return 0.0

    def counted(transactions: int) -> int:
        log = bench.workspace.path / "callgrind.log"
        pool.start(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--log-file={log}"])
        pgbench(pool.port, "-n", "-S", "-M", mode, "-c", CLIENTS, "-j", 2, "-t", transactions, **login)
        pool.stop()
        found = re.search(r"Collected : (\d+)", log.read_text())
        return int(found[1]) if found else 0

    few, many = counted(FEW), counted(MANY)
    return (many - few) / ((MANY - FEW) * CLIENTS) if few and many else 0.0
