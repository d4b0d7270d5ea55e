"""Shared parts of the scenarios: settings, pgbench, and the kernel's counters of a process."""

import os
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from lab.proxy import Gatekeeper, Relay
from lab.server import Server, program
from lab.tls import Tls
from lab.workspace import Workspace
from targets import POOLS, Account

# Proxies of the scenarios in session mode.
PROXIES = ("relay", "gatekeeper")
MODES = ("simple", "extended", "prepared")


@dataclass(frozen=True)
class Settings:
    """Extent of the measurement."""

    profile: str
    rounds: int
    seconds: int
    only: tuple[str, ...]
    quick: bool
    before: Path | None = None

    def wants(self, proxy: str) -> bool:
        return not self.only or proxy in self.only


@dataclass(frozen=True)
class Bench:
    """A run of the benches."""

    workspace: Workspace
    settings: Settings
    tls: Tls

    def server(self, *, tls=False, **options) -> Server:
        """Starts a server with pgbench's tables."""
        server = Server(self.workspace, tls=self.tls if tls else None, **options)
        server.start()
        pgbench(server.port, "-i", "-s", "5", "-q", tls=tls)
        return server

    def proxies(self, server_port: int, *, client_tls=False, server_tls=False, **gatekeeper) -> dict:
        """Both proxies in front of the server, by name, not yet started."""
        legs = {"client_tls": self.tls if client_tls else None, "server_tls": self.tls if server_tls else None}
        made = {}
        for name in PROXIES:
            if self.settings.wants(name):
                kind, more = (Relay, {}) if name == "relay" else (Gatekeeper, gatekeeper)
                made[name] = kind(self.workspace, server_port, profile=self.settings.profile, **legs, **more)
        return made

    def pool_server(self, **settings) -> tuple[Server, Account]:
        """Starts a server that requires passwords, except from the superuser; returns an account with a password."""
        hba = self.workspace.path / "pool_hba.conf"
        hba.write_text("host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        server = self.server(settings={"hba_file": str(hba), "max_connections": "300", **settings})
        return server, Account.made_in(server)

    def pools(self, server: Server, account: Account, *, client_tls=False, asks_password=True, among=tuple(POOLS)) -> dict:
        """The pools in front of the server, by name, not yet started."""
        options = {"account": account, "asks_password": asks_password, "client_tls": self.tls if client_tls else None}
        return {
            name: POOLS[name](self.workspace, server.port, profile=self.settings.profile, **options)
            for name in among
            if self.settings.wants(name)
        }


@dataclass(frozen=True)
class Load:
    """Counts of a pgbench run."""

    transactions: int
    per_second: float


def pgbench(port: int, *options, **login) -> Load:
    """Runs pgbench; any error of a client ends the bench."""
    command, environment = pgbench_words(port, *options, **login)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}:\n{done.stderr[-2000:]}")
    counted = re.search(r"actually processed: (\d+)", done.stdout)
    rate = re.search(r"tps = ([\d.]+)", done.stdout)
    return Load(int(counted[1]), float(rate[1])) if counted and rate else Load(0, 0.0)


def pgbench_words(port: int, *options, tls=False, user="postgres", password="") -> tuple[list[str], dict]:
    """Command line and environment of pgbench."""
    command = [program("pgbench"), "-h", "localhost", "-p", port, "-U", user, *options, "postgres"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment |= {"PGSSLMODE": "require" if tls else "disable", "PGPASSWORD": password, "PGGSSENCMODE": "disable"}
    return [str(word) for word in command], environment


def processor_seconds(pid: int) -> float:
    """User and system time of a process, including threads that have ended."""
    # The clock of clock_getcpuclockid(3); /proc/PID/stat has the same time in steps of 10 ms.
    return time.clock_gettime((~pid << 3) | 2)


def transaction_cost(proxy, seconds: int, *options, **login) -> tuple[float, float]:
    """The proxy's processor time per pgbench transaction in µs, without the cost of logins; and the rate."""
    before = processor_seconds(proxy.process.pid)
    first = pgbench(proxy.port, *options, "-t", 1, **login)
    between = processor_seconds(proxy.process.pid)
    load = pgbench(proxy.port, *options, "-T", seconds, **login)
    spent = processor_seconds(proxy.process.pid) - between - (between - before)
    return spent / (load.transactions - first.transactions) * 1e6, load.per_second


def resident_kib(pid: int) -> int:
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])


def median(values) -> float:
    return statistics.median(values)


def shown(values, form: str) -> str:
    """Median, formatted; a dash without values."""
    return format(median(values), form) if values else "–"


def ratio(ours, theirs) -> str:
    """Median of the ratios of all rounds, with the lowest and the highest."""
    ratios = [one / other for one, other in zip(ours, theirs)]
    return f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})" if ratios else "–"


def rotated(names, turn: int) -> list:
    """The names in an order that rotates with each round."""
    names = list(names)
    return names[turn % len(names):] + names[: turn % len(names)]


def table(head, rows) -> str:
    """A Markdown table; all columns except the first hold numbers."""
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def progress(row):
    """Prints a finished row to standard error."""
    print("   ", ", ".join(str(cell) for cell in row), file=sys.stderr, flush=True)
