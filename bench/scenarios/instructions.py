"""Instructions in user space per transaction, without those of logins."""

import re
import shutil
import subprocess
import urllib.request
from dataclasses import dataclass

from lab.workspace import until
from targets import POOLS, SIZE

from .common import Bench, pgbench

FEW, MANY = 20, 220
CLIENTS = 50
ATTEMPTS = 3
TEXT = (
    f"Instructions of the whole process in user space under callgrind, with one worker: a run of {MANY} transactions per "
    f"client ({CLIENTS} clients) minus a run of {FEW}, divided by the difference in transactions. Logins cancel: before "
    f"each run the pool opens all its {SIZE} backends and the counter is set to zero, both runs have the same client logins, "
    "and a pair of runs with different numbers of logins to the server is repeated."
)


@dataclass(frozen=True)
class Count:
    """Instructions of a run, and all logins of the process to the server."""

    instructions: int
    logins: int


def instructions(bench: Bench, server, account, mode: str, program) -> tuple[float, int]:
    """Instructions per transaction of `program`, and logins to the server in each of the two runs; zeros without valgrind."""
    if not shutil.which("valgrind"):
        return 0.0, 0
    for _ in range(ATTEMPTS):
        few, many = (_count(bench, server, account, mode, program, number) for number in (FEW, MANY))
        if few.logins == many.logins:
            return (many.instructions - few.instructions) / ((MANY - FEW) * CLIENTS), few.logins
    raise SystemExit(f"logins do not cancel: {few.logins} in the short run, {many.logins} in the long run")


def _count(bench: Bench, server, account, mode: str, program, transactions: int) -> Count:
    pool = POOLS["gatekeeper"](
        bench.workspace, server.port, program=program, account=account, asks_password=True,
        min_idle=SIZE, probe_interval="1h",
    )
    login = {"user": account.user, "password": account.password}
    log = bench.workspace.path / "callgrind.log"
    pool.start(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--log-file={log}"])
    # The first client creates the pool, which then fills. The server reports it, because a scrape of the metrics would count.
    pgbench(pool.port, "-n", "-S", "-t", 1, **login)
    backends = f"select count(*) >= {SIZE} from pg_stat_activity where usename = '{account.user}' and state = 'idle'"
    until(120, lambda: server.sql(backends) == "t", f"{SIZE} backends are idle")
    # The startup does not count: entropy is collected in a loop of random length.
    subprocess.run(["callgrind_control", "--zero", str(pool.process.pid)], check=True, capture_output=True)
    pgbench(pool.port, "-n", "-S", "-M", mode, "-c", CLIENTS, "-j", 2, "-t", transactions, **login)
    logins = _logins(pool.admin_port)
    pool.stop()
    found = re.search(r"Collected : (\d+)", log.read_text())
    if not found:
        raise SystemExit(f"callgrind counted nothing:\n{log.read_text()[-2000:]}")
    return Count(int(found[1]), logins)


def _logins(admin_port: int) -> int:
    """Attempts to open and log in a backend connection."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/metrics", timeout=60) as answer:
        page = answer.read().decode()
    return sum(int(float(number)) for number in re.findall(r"^gatekeeper_connects_total\{.*\} (\S+)$", page, re.MULTILINE))
