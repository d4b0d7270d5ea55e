"""Time from the return of a stopped server to the first response, with 5,000 idle clients, and the logins that it costs."""

import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from lab.server import Server
from tools.writers import Connection, Disconnected

from .common import Bench, progress, table

TITLE = "Return of the server"
TOOL = Path(__file__).resolve().parents[1] / "tools" / "idle_clients.py"
CLIENTS = 5000
# PgBouncer waits 15 s after each failed login.
ROUNDS = {"pgbouncer": 3, "gatekeeper": 20}
# Of the server in each round, in seconds.
ABSENCE = 1
# Clients that wait in an outage, and its length in seconds.
WAITING = 2000
OUTAGE = 60


def measure(bench: Bench) -> str:
    rows = []
    for name, rounds in ROUNDS.items():
        if bench.settings.wants(name):
            rows.append([name, f"{rounds}", *_observe(bench, name, 3 if bench.settings.quick else rounds)])
            progress(rows[-1])
    outage = _outage(bench) if bench.settings.wants("gatekeeper") else ""
    head = ["pool", "rounds", "median, ms", "longest, ms", "logins per round", f"of {CLIENTS:,} idle clients connected"]
    return (
        f"{table(head, rows)}\n\n"
        f"The server shuts down (`fast`) and is started again after {ABSENCE} s. One client has sent a statement meanwhile. The "
        "time counts from the first login that the server admits, tried each 2 ms, to the response. Logins are those of the "
        f"pool, by the server's log. Target: a median of 300 ms.\n{outage}"
    )


def _observe(bench: Bench, name: str, rounds: int) -> list[str]:
    server, account = bench.pool_server(log_connections="on")
    pool = bench.pools(server, account, asks_password=False, among=(name,))[name]
    pool.start()
    idle = _idle_clients(pool.port)
    _order(idle, CLIENTS)
    client = Connection(pool.port, account.user)
    logins = f"connection authorized: user={account.user} "
    before, delays = server.log.read_text().count(logins), []
    for _ in range(rounds):
        server.process.send_signal(signal.SIGINT)
        server.process.wait()
        delays.append(_return(server, client))
    made = server.log.read_text().count(logins) - before
    answered = _order(idle, "ask")
    idle.stdin.close()
    idle.wait()
    pool.stop()
    server.stop()
    return [
        f"{1000 * statistics.median(delays):.0f}", f"{1000 * max(delays):.0f}", f"{made / rounds:.1f}", answered,
    ]


def _outage(bench: Bench) -> str:
    """Lines in the log while many clients wait for a server that is away."""
    server, account = bench.pool_server()
    pool = bench.pools(server, account, asks_password=False, among=("gatekeeper",))["gatekeeper"]
    pool.start()
    idle = _idle_clients(pool.port)
    _order(idle, WAITING)
    before = _lines(pool.log)
    server.process.send_signal(signal.SIGINT)
    server.process.wait()
    idle.stdin.write("ask\n")
    idle.stdin.flush()
    seconds = 5 if bench.settings.quick else OUTAGE
    time.sleep(seconds)
    server.launch(server.running)
    answered = idle.stdout.readline().strip()
    lines = _lines(pool.log) - before
    idle.stdin.close()
    idle.wait()
    pool.stop()
    server.stop()
    progress([f"outage of {seconds} s", f"{lines} lines", f"{answered} answered"])
    return (
        f"\nOutage of {seconds} s while {WAITING:,} clients wait for a response: {lines} lines in Gatekeeper's log (target: 200), "
        f"and {answered} clients got their response.\n"
    )


def _lines(log: Path) -> int:
    return log.read_bytes().count(b"\n")


def _idle_clients(port: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, TOOL, str(port), "plain"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )


def _order(idle: subprocess.Popen, words) -> str:
    """Sends a line to the idle clients and returns theirs."""
    idle.stdin.write(f"{words}\n")
    idle.stdin.flush()
    return idle.stdout.readline().strip()


def _return(server: Server, client: Connection) -> float:
    """Starts the server while the client waits for a response; returns the time between both, in seconds."""
    answered = []

    def ask():
        state, _ = client.query("SELECT 1")
        if state:
            raise RuntimeError(f"the statement failed: {state}")
        answered.append(time.monotonic())

    def log_in():
        while True:
            try:
                Connection(server.port, "postgres").close()
                returned.append(time.monotonic())
                return
            except Disconnected:
                time.sleep(0.002)

    returned = []
    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(ABSENCE)
    trying = threading.Thread(target=log_in)
    trying.start()
    server.launch(server.running)
    trying.join()
    asking.join()
    return answered[0] - returned[0]
