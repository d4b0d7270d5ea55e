"""Time over `read_deadline` until the primary answers a read that a stuck read pool has got."""

import os
import random
import signal
import statistics
import time

from lab.proxy import SplitLag
from lab.readers import Readers
from lab.server import Server
from lab.workspace import until
from tools.writers import Connection

from .common import Bench, progress, table
from .failover import processes

TITLE = "Stuck read pools"
ROUNDS = 20
# Default of `read_deadline`, and of the probe's interval, in seconds.
DEADLINE = 5
INTERVAL = 2


class _Split(SplitLag):
    lag = 0


def measure(bench: Bench) -> str:
    server = Server(bench.workspace, settings={"max_connections": "300"})
    server.start()
    readers = Readers(bench.workspace, server)
    proxy = _Split(bench.workspace, server.port, readers=readers, profile=bench.settings.profile, workers=1)
    proxy.start()
    client = Connection(proxy.port, "postgres")
    rounds = 2 if bench.settings.quick else ROUNDS
    delays = [_freeze(proxy, client) for _ in range(rounds)]
    proxy.stop()
    server.stop()
    over = [1000 * (delay - DEADLINE) for delay in delays]
    row = [f"{rounds}", f"{min(over):.0f}", f"{statistics.median(over):.0f}", f"{max(over):.0f}"]
    progress(row)
    head = ["rounds", "shortest, ms", "median, ms", "longest, ms"]
    return (
        f"{table(head, [row])}\n\n"
        f"Both standbys of a read pool are frozen (SIGSTOP), up to {INTERVAL} s before a client reads. The time counts from the "
        f"statement to the response of the primary, less `read_deadline` ({DEADLINE} s). Target: 300 ms.\n"
    )


def _freeze(proxy: _Split, client: Connection) -> float:
    """Seconds to the response of a read that a frozen read pool has got."""
    until(60, lambda: _is_on_reader(proxy, client), "reads go to the read pool")
    time.sleep(random.uniform(0, INTERVAL))
    frozen = [process for standby in proxy.readers.standbys for process in processes(standby)]
    for process in frozen:
        os.kill(process, signal.SIGSTOP)
    began = time.monotonic()
    state, _ = client.query("SELECT 1")
    took = time.monotonic() - began
    for process in frozen:
        os.kill(process, signal.SIGCONT)
    if state:
        raise RuntimeError(f"the read failed: {state}")
    return took


def _is_on_reader(proxy: _Split, client: Connection) -> bool:
    before = proxy.decisions().by_readers
    client.query("SELECT 1")
    return proxy.decisions().by_readers > before
