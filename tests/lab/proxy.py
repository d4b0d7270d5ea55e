"""The process between client and server: Gatekeeper, the bare relay, or a relay that changes words."""

import os
import subprocess
import sys
from pathlib import Path

from .decisions import Decisions
from .readers import Readers
from .server import Server
from .tls import Tls
from .workspace import ROOT, Workspace, free_port, listens, stop, until

GARBLER = Path(__file__).with_name("garbler.py")


def binary(name: str, profile: str) -> Path:
    """Builds a program of the repository and returns the path."""
    package = "gatekeeper" if name == "gatekeeper" else "bare-relay"
    command = ["cargo", "build", "--locked", "--quiet", "--package", package, "--bin", name, "--profile", profile]
    subprocess.run(command, cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / ("debug" if profile == "dev" else profile) / name


class Proxy:
    """A process between clients and server; clients connect to `port`. Without a certificate, a side is plaintext."""

    # Settings that the server must have.
    server_settings: dict[str, str] = {}

    @classmethod
    def before(cls, server: Server) -> "Proxy":
        """Returns a proxy in front of the running `server`."""
        return cls(server.workspace, server.port)

    def __init__(
        self, workspace: Workspace, server_port: int, *, client_tls: Tls | None = None, server_tls: Tls | None = None
    ):
        self.workspace = workspace
        self.server_port = server_port
        self.client_tls = client_tls
        self.server_tls = server_tls
        self.port = free_port()
        self.process = None

    def words(self) -> list:
        raise NotImplementedError

    def environment(self) -> dict:
        return dict(os.environ)

    def start(self, wrapper=(), extra=None):
        """Starts the process, under `wrapper` if given, and waits until connections are accepted."""
        log = self.log = self.workspace.path / f"{type(self).__name__.lower()}.log"
        environment = self.environment() | (extra or {})
        self.process = self.workspace.start([*wrapper, *self.words()], log=log, env=environment)

        def ready() -> bool:
            if self.process.poll() is not None:
                raise SystemExit(f"{self.words()[0]} ended at once:\n{log.read_text()[-4000:]}")
            return listens(self.port)

        until(30, ready, f"{type(self).__name__} accepts connections ({log})")

    def stop(self):
        if self.process:
            stop(self.process)
            self.process = None

    def decisions(self) -> Decisions | None:
        """Decisions from the metrics of the process; `None` without pools."""


class Relay(Proxy):
    """The bare relay of the benches."""

    def __init__(self, *args, profile="dev", workers: int | None = None, **options):
        super().__init__(*args, **options)
        self.program = binary("bare-relay", profile)
        self.workers = workers

    def words(self):
        words = [self.program, f"127.0.0.1:{self.port}", f"127.0.0.1:{self.server_port}"]
        if self.workers:
            words += ["--workers", self.workers]
        if self.client_tls:
            words += ["--cert", self.client_tls.cert, "--key", self.client_tls.key]
        if self.server_tls:
            words += ["--ca", self.server_tls.ca]
        return words


class Garbler(Proxy):
    """A relay that changes words: the suites must find the changes."""

    def words(self):
        return [sys.executable, GARBLER, self.port, self.server_port]


class Gatekeeper(Proxy):
    """Gatekeeper with a single listener and endpoint; all other settings are defaults."""

    route = "primary"
    # User of health probes, where logins differ by client.
    probe_user = ""

    def __init__(
        self, *args, profile="dev", program=None, workers: int | None = None, login=None, auth=None, pool=None, **options
    ):
        super().__init__(*args, **options)
        self.program = program or binary("gatekeeper", profile)
        self.admin_port = free_port()
        self.workers = workers
        self.login = login or '"passthrough"'
        self.auth = auth or '{ method = "passthrough" }'
        self.pool = pool or '{ mode = "session" }'

    def words(self):
        file = self.workspace.path / "gatekeeper.toml"
        file.write_text(self.configuration())
        return [self.program, "run", "--config", file]

    def environment(self):
        return {name: value for name, value in os.environ.items() if not name.startswith("GATEKEEPER_")}

    def endpoints(self) -> list[tuple[str, str, int]]:
        """Name, role and port of each endpoint."""
        return [("primary", "primary", self.server_port)]

    def configuration(self) -> str:
        client, server = self.client_tls, self.server_tls
        mode = '{ mode = "verify-full", server_name = "localhost" }' if server else '{ mode = "disable" }'
        lines = [
            "[[cluster]]",
            'name = "lab"',
            f'ca_file = "{server.ca}"' if server else "",
        ]
        for name, role, port in self.endpoints():
            lines += [
                "[[cluster.endpoint]]",
                f'name = "{name}"',
                f'role = "{role}"',
                f'address = "127.0.0.1:{port}"',
                f"tls = {mode}",
                f"login = {self.login}",
                f'probe = {{ user = "{self.probe_user}" }}' if self.probe_user else "",
            ]
        lines += [
            "[[listener]]",
            'name = "app"',
            f'bind = "127.0.0.1:{self.port}"',
            f'route = "{self.route}"',
            f"auth = {self.auth}",
            f"pool = {self.pool}",
            f'tls = {{ cert = "{client.cert}", key = "{client.key}" }}' if client else "",
            "[admin]",
            f'bind = "127.0.0.1:{self.admin_port}"',
            f"[runtime]\nworkers = {self.workers}" if self.workers else "",
        ]
        return "\n".join(line for line in lines if line) + "\n"


class Session(Gatekeeper):
    """Session mode with passthrough: each client logs in to a backend of its own."""


class Transaction(Gatekeeper):
    """Transaction mode: 20 backends for all clients of a database and user. Gatekeeper logs in; clients are trusted."""

    def __init__(self, workspace: Workspace, server_port: int, **options):
        password = workspace.path / "password"
        password.write_text("password\n")
        options = {
            "login": f'{{ password = {{ file = "{password}" }} }}',
            "auth": '{ method = "trust" }',
            "pool": '{ mode = "transaction", size = 20 }',
        } | options
        super().__init__(workspace, server_port, **options)

    def decisions(self):
        return Decisions.of(self.admin_port)


class TransactionOne(Transaction):
    """Transaction mode over a single backend for all clients of a database and user."""

    def __init__(self, *args, **options):
        super().__init__(*args, pool='{ mode = "transaction", size = 1 }', **options)


class Pooled(Transaction):
    """Session mode over 20 backends that outlive the client."""

    size = 20

    def __init__(self, *args, **options):
        super().__init__(*args, pool=f'{{ mode = "session", size = {self.size} }}', **options)


class PooledOne(Pooled):
    """Session mode over a single backend: each client gets the backend of the previous client."""

    size = 1


class Observed:
    """Adds an audit record and a trace for each statement. No collector listens for the traces."""

    def configuration(self):
        tables = f'[audit]\nfile = "{self.workspace.path}/audit.jsonl"\nlevel = "statements"\n'
        tables += f'[traces]\nendpoint = "http://127.0.0.1:{free_port()}"\nratio = "100%"\n'
        return super().configuration() + tables


class Audited(Observed, Transaction):
    """`Transaction` with audit log and traces."""


class PooledAudited(Observed, Pooled):
    """`Pooled` with audit log and traces."""


class Split(Transaction):
    """`Transaction` with proved reads on two standbys, which apply each commit before the commit ends."""

    route = "split"
    probe_user = "postgres"
    # Reads on the primary may write WAL by pruning pages, and no commit waits for such WAL. By default standbys receive
    # this WAL up to 200 ms later, and count as lagging until then.
    server_settings = {"synchronous_commit": "remote_apply", "wal_writer_delay": "10ms"}
    lag = 0

    @classmethod
    def before(cls, server: Server) -> "Split":
        return cls(server.workspace, server.port, readers=Readers(server.workspace, server))

    def __init__(self, *args, readers: Readers, **options):
        super().__init__(*args, **options)
        self.readers = readers

    def endpoints(self):
        return [*super().endpoints(), ("reads", "read-pool", self.readers.port)]

    def start(self, *args, **options):
        self.readers.start(synchronous="synchronous_commit" in self.server_settings, lag=self.lag)
        super().start(*args, **options)
        # Listeners accept clients before the admin API accepts requests.
        until(30, lambda: listens(self.admin_port), "the admin API accepts connections")
        until(30, lambda: Decisions.of(self.admin_port).readers_up, "Gatekeeper's probe has reached the read pool")

    def stop(self):
        super().stop()
        self.readers.stop()


class SplitLag(Split):
    """`Split` with standbys that replay WAL two seconds late."""

    server_settings: dict[str, str] = {}
    lag = 2


class SplitAudited(Observed, Split):
    """`Split` with audit log and traces."""


PROXIES = {
    "session": Session,
    "pooled": Pooled,
    "pooled-1": PooledOne,
    "pooled-audited": PooledAudited,
    "transaction": Transaction,
    "transaction-1": TransactionOne,
    "audited": Audited,
    "split": Split,
    "split-audited": SplitAudited,
    "split-lag": SplitLag,
    "relay": Relay,
    "garbler": Garbler,
}
