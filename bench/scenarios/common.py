"""What the measures share: their settings, pgbench, and what the kernel says of a process."""

import os
import re
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from lab.middle import Gatekeeper, Relay
from lab.server import Server, program
from lab.tls import Tls
from lab.workspace import Workspace

TICKS = os.sysconf("SC_CLK_TCK")
PROXIES = ("relay", "gatekeeper")


@dataclass(frozen=True)
class Settings:
    """How much is measured."""

    profile: str
    rounds: int
    seconds: int
    only: tuple[str, ...]

    def wants(self, proxy: str) -> bool:
        return proxy in self.only


@dataclass(frozen=True)
class Bench:
    """One run of the benches."""

    workspace: Workspace
    settings: Settings
    tls: Tls

    def server(self, *, tls=False, **options) -> Server:
        """A server with pgbench's tables in it."""
        server = Server(self.workspace, tls=self.tls if tls else None, **options)
        server.start()
        pgbench(server.port, "-i", "-s", "5", "-q", tls=tls)
        return server

    def proxies(self, server_port: int, *, client_tls=False, server_tls=False, **gatekeeper) -> dict:
        """Both proxies in front of it, by name, not yet started."""
        legs = {"client_tls": self.tls if client_tls else None, "server_tls": self.tls if server_tls else None}
        made = {}
        for name in PROXIES:
            if self.settings.wants(name):
                kind, more = (Relay, {}) if name == "relay" else (Gatekeeper, gatekeeper)
                made[name] = kind(self.workspace, server_port, profile=self.settings.profile, **legs, **more)
        return made


@dataclass(frozen=True)
class Load:
    """What pgbench counted."""

    transactions: int
    per_second: float


def pgbench(port: int, *options, tls=False, user="postgres", password="") -> Load:
    """Runs pgbench; any error of its clients ends the bench."""
    command = [program("pgbench"), "-h", "localhost", "-p", port, "-U", user, *options, "postgres"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment |= {"PGSSLMODE": "require" if tls else "disable", "PGPASSWORD": password, "PGGSSENCMODE": "disable"}
    done = subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}:\n{done.stderr[-2000:]}")
    counted = re.search(r"actually processed: (\d+)", done.stdout)
    rate = re.search(r"tps = ([\d.]+)", done.stdout)
    return Load(int(counted[1]), float(rate[1])) if counted and rate else Load(0, 0.0)


def processor_seconds(pid: int) -> float:
    """User and system time of a process and all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_kib(pid: int) -> int:
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])


def median(values) -> float:
    return statistics.median(values)


def table(head, rows) -> str:
    """A Markdown table; all but the first column hold numbers."""
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def progress(row):
    """Tells a person who waits what was measured just now."""
    print("   ", ", ".join(str(cell) for cell in row), file=sys.stderr, flush=True)
