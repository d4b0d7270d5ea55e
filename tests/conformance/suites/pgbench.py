"""pgbench in its three query modes: every transaction must be carried out, without an error on either side."""

import re
import subprocess

from lab.middle import Middle
from lab.server import Server, program
from lab.workspace import Workspace

from .outcome import Outcome, Problem

TRANSACTIONS = 500
RUNS = {
    "simple": ["-M", "simple"],
    "extended": ["-M", "extended"],
    "prepared": ["-M", "prepared"],
    "a login for each transaction": ["-M", "simple", "-C"],
}


def pgbench(workspace: Workspace, server: Server, middle: Middle) -> Outcome:
    server.start()
    middle.start()
    _pgbench(server.port, "-i", "-s", "2", "-q")
    direct = {name: _verdict(server.port, options) for name, options in RUNS.items()}
    through = {name: _verdict(middle.port, options) for name, options in RUNS.items()}
    if any(verdict != "done" for verdict in direct.values()):
        raise Problem(f"direct runs with errors: {direct}")
    return Outcome(direct, through, "modes")


def _verdict(port: int, options) -> str:
    done = _pgbench(port, "-n", "-c", "8", "-j", "2", "-t", str(TRANSACTIONS // 8), *options, check=False)
    counted = re.search(r"actually processed: (\d+)/(\d+)", done.stdout)
    failed = re.search(r"failed transactions: (\d+)", done.stdout)
    complaints = [line for line in done.stderr.splitlines() if not line.startswith("pgbench (")]
    if done.returncode == 0 and counted and counted[1] == counted[2] and failed and failed[1] == "0" and not complaints:
        return "done"
    return f"exit {done.returncode}: {complaints[-1] if complaints else done.stdout[-200:]}"


def _pgbench(port: int, *options, check=True):
    command = [str(program("pgbench")), "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", *options, "postgres"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if check and done.returncode:
        raise Problem(done.stderr[-800:])
    return done
