"""A throwaway PostgreSQL server on 127.0.0.1 and a free port."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

from .tls import Tls
from .workspace import Workspace, as_server, free_port, stop, until

# Without durability: no test observes a crash, and each run would wait for the disk.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum_naptime": "1min",
    "listen_addresses": "'127.0.0.1'",
    "max_prepared_transactions": "32",
    "max_connections": "120",
    "wal_level": "logical",
    "logging_collector": "off",
}


def program(name: str) -> Path:
    """Path of the newest installed server's program `name`. Debian installs all versions outside the PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    for folder in reversed(folders):
        if (folder / name).exists() and (folder / "postgres").exists():
            return folder / name
    found = shutil.which(name)
    if not found:
        raise SystemExit(f"{name} is not installed: make setup")
    return Path(found)


def version() -> str:
    words = subprocess.run([program("postgres"), "--version"], capture_output=True, text=True, check=True).stdout
    return re.search(r"\d+\S*", words).group()


class Server:
    """A server with a data folder copied from a template, so that all runs begin with equal catalogs."""

    def __init__(self, workspace: Workspace, *, tls: Tls | None = None, settings=None):
        self.workspace = workspace
        self.port = free_port()
        self.settings = dict(SETTINGS, unix_socket_directories="''", **(settings or {}))
        if tls:
            self.settings |= {"ssl": "on", "ssl_cert_file": f"'{tls.cert}'", "ssl_key_file": f"'{tls.key}'"}
        self.template = workspace.path / "template"
        self.data = workspace.path / "data"
        self.log = workspace.path / "server.log"
        self.process = None
        # Further settings that the proxy in front requires.
        self.required_settings: dict[str, str] = {}
        # Settings of the last start.
        self.running: dict[str, str] = {}

    def start(self, **settings):
        """Starts the server with further settings and a new data folder."""
        self.stop()
        if not self.template.exists():
            self._run("initdb", "-D", self.template, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        shutil.rmtree(self.data, ignore_errors=True)
        subprocess.run(as_server(["cp", "-a", self.template, self.data]), check=True)
        common = {name: value.strip("'") for name, value in self.settings.items()}
        self.launch(common | self.required_settings | settings)

    def launch(self, settings: dict):
        """Runs the server on the existing data folder, with the given settings only."""
        self.running = settings
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.process = self.workspace.start(
            [program("postgres"), "-D", self.data, "-p", self.port, *options],
            log=self.log, as_server=True, stop_signal=signal.SIGQUIT,
        )
        until(30, self._answers, f"the server accepts connections ({self.log})")

    def stop(self):
        if self.process:
            stop(self.process)
            self.process = None

    def sql(self, text: str, database: str = "postgres") -> str:
        """Runs `text` in psql and returns unaligned rows."""
        words = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", self.port, "-U", "postgres"]
        result = subprocess.run(
            [str(word) for word in words] + ["-d", database, "-c", text], capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise RuntimeError(f"{text}: {result.stderr}")
        return result.stdout.strip()

    def admit(self, *rules: str):
        """Inserts lines in `pg_hba.conf` before the line that trusts all clients."""
        file = self.data / "pg_hba.conf"
        file.write_text("\n".join(rules) + "\n" + file.read_text())
        self.sql("select pg_reload_conf()")

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise SystemExit(f"the server ended at once:\n{self.log.read_text()[-2000:]}")
        words = [program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(words, env={**os.environ, "PGCONNECT_TIMEOUT": "1"}, check=False).returncode == 0

    def _run(self, name: str, *words):
        command = as_server([program(name), *words])
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.workspace.path, check=False)
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stdout}{done.stderr}")
