"""System calls per transaction."""

import re
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path

from lab.workspace import until

from .common import Bench, pgbench, progress, table

TITLE = "System calls per transaction"
FEW, MANY = 200, 1_200


def measure(bench: Bench) -> str:
    if not shutil.which("strace"):
        return "Not measured: strace is not installed.\n"
    rows = []
    for tls in (False, True):
        server = bench.server(tls=tls)
        proxies = bench.proxies(server.port, client_tls=tls, server_tls=tls)
        for mode in ("simple", "prepared"):
            for name, proxy in proxies.items():
                proxy.start()
                label = f"{'TLS' if tls else 'plain'}, {mode}, {name}"
                rows.append([label, *_per_transaction(bench, proxy, mode, tls)])
                progress(rows[-1])
                proxy.stop()
        server.stop()
    return (
        f"{table(['session mode, 1 client', 'calls', 'which'], rows)}\n\n"
        f"Counted by `strace -c`: a run of {MANY:,} transactions minus a run of {FEW:,}, divided by the difference in "
        "transactions. The list omits calls with less than 0.01 per transaction. Tracing slows the process, which changes "
        "the number of idle polls.\n"
    )


def _per_transaction(bench: Bench, proxy, mode: str, tls: bool) -> list[str]:
    few, many = (_calls(bench, proxy, mode, tls, transactions) for transactions in (FEW, MANY))
    rates = {name: (many[name] - few[name]) / (MANY - FEW) for name in many}
    which = sorted((name for name in rates if rates[name] >= 0.01), key=rates.get, reverse=True)
    return [f"{sum(rates.values()):.2f}", ", ".join(f"{name} {rates[name]:.2f}" for name in which)]


def _calls(bench: Bench, proxy, mode: str, tls: bool, transactions: int) -> Counter:
    output = bench.workspace.path / "calls"
    pid = proxy.process.pid
    tracer = bench.workspace.start(
        ["strace", "-f", "-c", "-U", "calls,name", "-o", output, "-p", pid],
        log=bench.workspace.path / "strace.log", stop_signal=signal.SIGINT,
    )
    threads = list(Path(f"/proc/{pid}/task").iterdir())
    until(10, lambda: all("TracerPid:\t0\n" not in (t / "status").read_text() for t in threads), "strace is attached")
    pgbench(proxy.port, "-n", "-S", "-M", mode, "-c", 1, "-t", transactions, tls=tls)
    tracer.send_signal(signal.SIGINT)
    tracer.wait(20)
    found = re.findall(r"^\s*(\d+)\s+(\w+)$", output.read_text(), re.MULTILINE)
    return Counter({name: int(count) for count, name in found if name != "total"})
