"""The folder of a run, the processes inside, and the user of servers."""

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVER_USER = "postgres"


class Workspace:
    """A folder in memory, writable by servers. Closing the workspace ends all processes started in the folder."""

    def __init__(self, name: str):
        memory = Path("/dev/shm")
        parent = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
        self.path = Path(tempfile.mkdtemp(prefix=f"gatekeeper-{name}-", dir=parent))
        self.path.chmod(0o755)
        self.give(self.path)
        self.processes: list[subprocess.Popen] = []
        atexit.register(self.close)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _frame: sys.exit(128 + number))

    def close(self):
        for process in reversed(self.processes):
            stop(process)
        self.processes.clear()
        shutil.rmtree(self.path, ignore_errors=True)

    def folder(self, name: str) -> Path:
        """An empty folder that belongs to the server's user."""
        path = self.path / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        self.give(path)
        return path

    def give(self, path: Path):
        """Gives `path` with all contents to the server's user."""
        if os.geteuid() == 0:
            shutil.chown(path, SERVER_USER, SERVER_USER)
            for below in path.rglob("*"):
                shutil.chown(below, SERVER_USER, SERVER_USER)

    def start(self, words, *, log: Path, as_server=False, env=None, stop_signal=signal.SIGTERM) -> subprocess.Popen:
        """Starts a process that ends with the workspace, and also when the Python process is killed."""
        # `setpriv` sets the signal last, after the change of user, which would clear the signal.
        prefix = ["setpriv", "--pdeathsig", signal.Signals(stop_signal).name.removeprefix("SIG")]
        with log.open("ab") as output:
            process = subprocess.Popen(
                prefix + (identity() if as_server else []) + ["--"] + [str(word) for word in words],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.path, env=env,
                start_new_session=True,
            )
        process.stop_signal = stop_signal
        self.processes.append(process)
        return process


def identity() -> list[str]:
    """Prefix that makes `setpriv` run a command as the server's user; empty without root."""
    if os.geteuid() != 0:
        return []
    return [f"--reuid={SERVER_USER}", f"--regid={SERVER_USER}", "--clear-groups", "--no-new-privs"]


def as_server(words) -> list[str]:
    """A command line that runs `words` as the server's user."""
    return (["setpriv", *identity(), "--"] if identity() else []) + [str(word) for word in words]


def stop(process: subprocess.Popen, seconds: float = 20.0):
    """Sends the stop signal, waits, and then kills the process."""
    if process.poll() is None:
        process.send_signal(getattr(process, "stop_signal", signal.SIGTERM))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(limit: float, condition, what: str):
    """Waits until `condition()` is true; raises TimeoutError with `what` after `limit` seconds."""
    end = time.monotonic() + limit
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"after {limit:g} s still not: {what}")
        time.sleep(0.02)
    return found


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
