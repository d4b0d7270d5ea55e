"""Resident memory per idle session."""

import subprocess
import sys
import time
from pathlib import Path

from lab.workspace import free_port, listens, until

from .common import Bench, progress, resident_kib, table

TITLE = "Resident memory per idle session"
TOOLS = Path(__file__).resolve().parents[1] / "tools"
SESSIONS = (1000, 5000)
# First sessions load code and fill buffers, which is not memory per session.
WARM = 100


def measure(bench: Bench) -> str:
    rows = []
    for label, client_tls, server_tls in (
        ("plain", False, False), ("TLS from clients", True, False), ("TLS on both legs", True, True),
    ):
        port = free_port()
        words = [sys.executable, TOOLS / "quiet_server.py", port]
        words += [bench.tls.cert, bench.tls.key] if server_tls else []
        server = bench.workspace.start(words, log=bench.workspace.path / "quiet_server.log")
        until(10, lambda: listens(port), "the quiet server listens")
        cells = {}
        for name, proxy in bench.proxies(port, client_tls=client_tls, server_tls=server_tls).items():
            proxy.start()
            cells[name] = per_session(proxy, "tls" if client_tls else "plain", SESSIONS)
            proxy.stop()
        server.kill()
        server.wait()
        rows.append([label] + [cell for name in ("relay", "gatekeeper") for cell in cells.get(name, ["–"] * 2)])
        progress(rows[-1])
    head = ["KiB", *(f"{name}, {count:,}" for name in ("relay", "Gatekeeper") for count in SESSIONS)]
    return (
        f"{table(head, rows)}\n\n"
        f"Growth of `VmRSS` from {WARM} sessions to the given number, divided by the difference in sessions: client connection "
        "and backend together. Each session has logged in, has run a statement, and is idle. The server is a "
        "substitute that answers logins and statements (5,000 backends of PostgreSQL would not fit the machine). Sockets "
        "are kernel memory and do not count. Target: 6 KiB plain, 24 KiB with TLS from clients, without "
        "the backend's part.\n"
    )


def per_session(proxy, kind: str, counts) -> list[str]:
    """KiB per idle session at each of the counts."""
    command = [sys.executable, str(TOOLS / "idle_clients.py"), str(proxy.port), kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as clients:

        def at(count: int) -> int | None:
            clients.stdin.write(f"{count}\n")
            clients.stdin.flush()
            return settled(proxy.process.pid) if clients.stdout.readline().strip() == "idle" else None

        base, cells = at(WARM), []
        if base is None:
            raise SystemExit(f"{WARM} idle sessions could not be opened")
        for count in counts:
            # After a refusal, the clients have ended.
            resident = at(count) if "refused" not in cells else None
            cells.append("refused" if resident is None else f"{(resident - base) / (count - WARM):.1f}")
        clients.stdin.close()
    return cells


def settled(pid: int) -> int:
    """A process's resident memory in KiB, after the value has stopped changing."""
    last = -1
    for _ in range(40):
        time.sleep(0.5)
        now = resident_kib(pid)
        if now == last:
            break
        last = now
    return now
