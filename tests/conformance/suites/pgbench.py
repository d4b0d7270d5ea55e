"""pgbench's built-in scripts in three query modes: each transaction must succeed on both sides."""

import re
import subprocess

from lab.server import program

from .outcome import Problem
from .suite import Suite

# Time limit of a run in seconds; a run takes a few.
LIMIT = 120
FEW = ["-c", "8", "-j", "2", "-t", "62"]
# Ten times as many as the transaction-mode listener has backends.
MANY = ["-c", "200", "-j", "2", "-t", "20"]
RUNS = {
    "simple": ["-M", "simple", *FEW],
    "extended": ["-M", "extended", *FEW],
    "prepared": ["-M", "prepared", *FEW],
    "a login for each transaction": ["-M", "simple", "-C", *FEW],
    "200 clients, simple": ["-M", "simple", *MANY],
    "200 clients, extended": ["-M", "extended", *MANY],
    "200 clients, prepared": ["-M", "prepared", *MANY],
    "read-only, simple": ["-S", "-M", "simple", *FEW],
    "read-only, extended": ["-S", "-M", "extended", *FEW],
    "read-only, prepared": ["-S", "-M", "prepared", *FEW],
    "200 clients, read-only": ["-S", "-M", "prepared", *MANY],
}


class Pgbench(Suite):
    noun = "modes"
    through = ("session", "transaction", "split")

    def prepare(self):
        self.server.start(max_connections=300)
        _pgbench(self.server.port, "-i", "-s", "5", "-q")

    def run(self, port, test=""):
        return {name: _verdict(port, options) for name, options in RUNS.items() if not test or name == test}

    def check(self, direct):
        if any(verdict != "done" for verdict in direct.values()):
            raise Problem(f"direct runs with errors: {direct}")


def _verdict(port: int, options) -> str:
    try:
        done = _pgbench(port, "-n", *options, check=False)
    except subprocess.TimeoutExpired:
        return f"not finished after {LIMIT} s"
    counted = re.search(r"actually processed: (\d+)/(\d+)", done.stdout)
    failed = re.search(r"failed transactions: (\d+)", done.stdout)
    complaints = [line for line in done.stderr.splitlines() if not line.startswith("pgbench (")]
    if done.returncode == 0 and counted and counted[1] == counted[2] and failed and failed[1] == "0" and not complaints:
        return "done"
    return f"exit {done.returncode}: {complaints[-1] if complaints else done.stdout[-200:]}"


def _pgbench(port: int, *options, check=True):
    command = [str(program("pgbench")), "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", *options, "postgres"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    if check and done.returncode:
        raise Problem(done.stderr[-800:])
    return done
