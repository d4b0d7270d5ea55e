"""Disconnects, errors and the longest gap of clients while their server fails, behind Gatekeeper and PgBouncer."""

import os
import signal
import time
from pathlib import Path

from lab.server import Server
from lab.workspace import stop
from tools.writers import Writers

from .common import Bench, progress, table

TITLE = "Faults of the server"
CLIENTS = 40
# Before and after a fault, in seconds.
REST = 3
FROZEN = 5
AMONG = ("pgbouncer", "gatekeeper")


def measure(bench: Bench) -> str:
    rows = []
    for label, strike in FAULTS.items():
        for name in AMONG:
            if bench.settings.wants(name):
                rows.append([label, name, *_observe(bench, name, strike)])
                progress(rows[-1])
    head = ["fault", "pool", "transactions", "disconnects", "errors", "longest gap, s", "acknowledged rows lost"]
    return (
        f"{table(head, rows)}\n\n"
        f"{CLIENTS} clients insert rows for {2 * REST} s and the fault, half of them in a transaction of three statements, with "
        "a pause of 20 ms. A client that is disconnected connects again. A gap is a time in which no client of all "
        "commits. The server runs with `synchronous_commit`, and is started again at once after it was killed.\n"
    )


def _observe(bench: Bench, name: str, strike) -> list[str]:
    # What is acknowledged survives a crash.
    server, account = bench.pool_server(synchronous_commit="on")
    server.sql(f"CREATE TABLE ledger (client int, row int); GRANT ALL ON ledger TO {account.user}")
    pool = bench.pools(server, account, asks_password=False, among=(name,))[name]
    pool.start()
    writers = Writers(pool.port, account.user, CLIENTS)
    time.sleep(REST)
    strike(server, account)
    time.sleep(REST)
    writers.stop()
    there = {tuple(map(int, line.split("|"))) for line in server.sql("SELECT client, row FROM ledger").splitlines()}
    lost = sum(row not in there for row in writers.committed)
    pool.stop()
    server.stop()
    errors = ", ".join(f"{count} × {state}" for state, count in sorted(writers.errors.items())) or "none"
    return [
        f"{len(writers.committed)}", f"{writers.disconnects}", errors, f"{writers.longest_gap():.2f}", f"{lost}",
    ]


def processes(server: Server) -> list[int]:
    """The server's processes, the postmaster first."""
    postmaster = int((server.data / "postmaster.pid").read_text().split()[0])
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return [postmaster, *map(int, children)]


def _kill(server: Server, _account):
    for process in processes(server):
        os.kill(process, signal.SIGKILL)
    server.process.wait()
    server.launch(server.running)


def _restart(server: Server, _account):
    stop(server.process)
    server.launch(server.running)


def _freeze(server: Server, _account):
    frozen = processes(server)
    for process in frozen:
        os.kill(process, signal.SIGSTOP)
    time.sleep(FROZEN)
    for process in frozen:
        os.kill(process, signal.SIGCONT)


def _terminate(server: Server, account):
    server.sql(f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{account.user}'")


FAULTS = {
    "all processes killed": _kill,
    "immediate shutdown, restart": _restart,
    f"frozen for {FROZEN} s": _freeze,
    "connections terminated": _terminate,
}
