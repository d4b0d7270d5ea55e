"""Allocations per transaction in the steady state."""

import struct
import subprocess
import time
from pathlib import Path

from .common import MODES, Bench, pgbench, progress, table

TITLE = "Allocations per transaction"
SOURCE = Path(__file__).resolve().parents[1] / "tools/allocations.c"
FEW, MANY = 2_000, 42_000
COUNTER_TEXT = (
    "Calls of malloc, calloc, realloc and similar functions by the whole process, counted by a preloaded library: a run "
    f"of {MANY:,} transactions minus a run of {FEW:,}, so that logins cancel out, divided by the difference in transactions, "
    "minus the allocations of the idle process in that time (rate in brackets). With TLS, rustls allocates for each "
    "record read or written: the relay's number shows how often. Target: no allocation by Gatekeeper's code.\n"
)


def measure(bench: Bench) -> str:
    library = counter(bench)
    rows = []
    for tls in (False, True):
        server = bench.server(tls=tls)
        proxies = bench.proxies(server.port, client_tls=tls, server_tls=tls)
        for mode in MODES:
            cells = {name: per_transaction(bench, library, proxy, mode, 1, tls=tls) for name, proxy in proxies.items()}
            legs = "TLS" if tls else "plain"
            rows.append([f"{legs}, {mode}", cells.get("relay", "–"), cells.get("gatekeeper", "–")])
            progress(rows[-1])
        server.stop()
    return f"{table(['session mode, 1 client', 'relay', 'Gatekeeper'], rows)}\n\n{COUNTER_TEXT}"


def counter(bench: Bench) -> Path:
    """Builds the library that counts allocations."""
    library = bench.workspace.path / "allocations.so"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
    return library


def per_transaction(bench: Bench, library: Path, proxy, mode: str, clients: int, **login) -> str:
    """Starts the proxy and returns allocations per transaction, with allocations per idle second in brackets."""
    count = bench.workspace.path / "allocations"
    count.write_bytes(bytes(8))
    proxy.start(extra={"LD_PRELOAD": str(library), "ALLOCATIONS_FILE": str(count)})

    def spent(work) -> tuple[int, float]:
        before, begun = struct.unpack("=Q", count.read_bytes())[0], time.monotonic()
        work()
        return struct.unpack("=Q", count.read_bytes())[0] - before, time.monotonic() - begun

    def load(transactions: int):
        options = ["-n", "-S", "-M", mode, "-c", clients, "-j", min(clients, 2), "-t", transactions // clients]
        return lambda: pgbench(proxy.port, *options, **login)

    load(FEW)()
    idle, idle_time = spent(lambda: time.sleep(10))
    few, few_time = spent(load(FEW))
    many, many_time = spent(load(MANY))
    proxy.stop()
    if few == 0:
        raise SystemExit("no allocation was counted: the preloaded library does not work")
    background = idle / idle_time * (many_time - few_time)
    return f"{(many - few - background) / (MANY - FEW):.4f} ({idle / idle_time:.0f}/s)"
