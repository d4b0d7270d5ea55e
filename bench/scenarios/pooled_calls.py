"""System calls per transaction in transaction mode, with the clients of `pooled`."""

import os
import re
import shutil
import subprocess

from .common import MODES, Bench, pgbench_words, progress, table
from .pooled import CLIENTS, serves

TITLE = "System calls per transaction"
FEW, MANY = 20, 1_020
NAMES = (
    "recvfrom", "sendto", "read", "write", "readv", "writev", "recvmsg", "sendmsg", "epoll_wait", "epoll_pwait",
    "epoll_pwait2", "epoll_ctl", "poll", "futex", "sched_yield", "mmap", "munmap", "madvise", "brk",
)


def measure(bench: Bench) -> str:
    if not works(bench):
        return "Not measured: perf is not installed, or has no permission to count system calls.\n"
    rows = []
    for tls in (False, True):
        server, account = bench.pool_server()
        for mode in MODES:
            for name, pool in bench.pools(server, account, client_tls=tls).items():
                if serves(name, mode):
                    pool.start()
                    label = f"{'TLS' if tls else 'plain'}, {mode}, {name}"
                    rows.append([label, *_per_transaction(bench, pool, mode, tls, account)])
                    progress(rows[-1])
                    pool.stop()
        server.stop()
    return (
        f"{table([f'{CLIENTS} clients', 'calls', 'which'], rows)}\n\n"
        f"Counted by `perf stat`: a run of {MANY:,} transactions per client minus a run of {FEW:,}, divided by the "
        "difference in transactions. The list omits calls with less than 0.005 per transaction. Target: 4.3.\n"
    )


def works(bench: Bench) -> bool:
    return bool(shutil.which("perf")) and "total" in count(bench, ["-p", os.getpid()], ["true"])


def _per_transaction(bench: Bench, pool, mode: str, tls: bool, account) -> list[str]:
    def counted(transactions: int) -> dict:
        options = ["-n", "-S", "-M", mode, "-c", CLIENTS, "-j", 2, "-t", transactions]
        words, environment = pgbench_words(
            pool.port, *options, tls=tls, user=account.user, password=account.password
        )
        return count(bench, ["-p", pool.process.pid], words, environment)

    counted(FEW)
    few, many = counted(FEW), counted(MANY)
    transactions = (MANY - FEW) * CLIENTS
    rates = {name: (many[name] - few.get(name, 0)) / transactions for name in many}
    total = rates.pop("total")
    rest = total - sum(rates.values())
    which = sorted((name for name in rates if rates[name] >= 0.005), key=rates.get, reverse=True)
    listed = [f"{name} {rates[name]:.2f}" for name in which] + ([f"others {rest:.2f}"] if rest >= 0.005 else [])
    return [f"{total:.2f}", ", ".join(listed)]


def count(bench: Bench, process, words, environment=None) -> dict:
    """System calls of a process while `words` run, by name, and `total`."""
    output = bench.workspace.path / "calls"
    output.unlink(missing_ok=True)
    events = ["raw_syscalls:sys_enter", *(f"syscalls:sys_enter_{name}" for name in NAMES)]
    command = ["perf", "stat", "-x", ",", "-o", output, "-e", ",".join(events), *process, "--", *words]
    done = subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True, check=False)
    if not output.exists():
        return {}
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))}:\n{done.stderr[-2000:]}")
    # perf prints "<not counted>" for a call that never happened.
    found = re.findall(r"^(\d+|<not counted>),[^,]*,(raw_syscalls:sys_enter|syscalls:sys_enter_(\w+))", output.read_text(), re.MULTILINE)
    return {name or "total": int(count) if count.isdigit() else 0 for count, _, name in found}
