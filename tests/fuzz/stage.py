"""The servers of a run: PostgreSQL with a standby; for each worker, equal databases and a Gatekeeper."""

from pathlib import Path

from lab.decisions import Decisions
from lab.frames import Client
from lab.proxy import Gatekeeper
from lab.readers import Standby
from lab.server import Server
from lab.workspace import Workspace, free_port, listens, until

HERE = Path(__file__).resolve().parent
USER = "app"
# Maximum of clients in a conversation.
CLIENTS_MAX = 3
# Modes of listeners. A listener's name has the mode and the number of backends: `split-1`.
MODES = ("session", "transaction", "split")
SETTINGS = {"synchronous_commit": "remote_apply", "wal_writer_delay": "10ms", "hot_standby_feedback": "on"}
SETTLE_SECONDS = 10


class FuzzGatekeeper(Gatekeeper):
    """A Gatekeeper with a listener for each mode and pool size; all backends have the same user."""

    def __init__(self, workspace: Workspace, server: Server, standby: Server, number: int, settings: str):
        password = workspace.path / "password"
        password.write_text("password\n")
        login = f'{{ user = "{USER}", password = {{ file = "{password}" }} }}'
        super().__init__(workspace, server.port, login=login)
        self.standby = standby
        self.number = number
        self.settings = settings
        self.ports = {(mode, size): free_port() for mode in MODES for size in (1, 2)}
        # In session mode each client holds a backend until the session ends.
        self.ports["session", CLIENTS_MAX] = free_port()
        del self.ports["session", 2]

    def endpoints(self):
        return [*super().endpoints(), ("reads", "read-pool", self.standby.port)]

    def words(self):
        file = self.workspace.path / f"gatekeeper-{self.number}.toml"
        file.write_text(self.configuration())
        return [self.program, "run", "--config", file]

    def configuration(self):
        head, rest = super().configuration().split("[[listener]]", 1)
        admin = rest[rest.index("[admin]") :]
        listeners = ""
        for (mode, size), port in self.ports.items():
            route = "split" if mode == "split" else "primary"
            pool = "session" if mode == "session" else "transaction"
            listeners += (
                f'[[listener]]\nname = "{mode}-{size}"\nbind = "127.0.0.1:{port}"\nroute = "{route}"\n'
                f'auth = {{ method = "trust" }}\npool = {{ mode = "{pool}", size = {size} }}\n'
            )
        return head + listeners + admin + self.settings

    def start(self):
        self.port = next(iter(self.ports.values()))
        super().start()
        until(30, lambda: listens(self.admin_port), "the admin API accepts connections")
        until(30, lambda: Decisions.of(self.admin_port).readers_up, "Gatekeeper's probe has reached the standby")


class Servers:
    """A primary with a synchronous standby that applies each commit, and the databases of all workers."""

    def __init__(self, workspace: Workspace, workers: int):
        self.server = Server(workspace, settings=SETTINGS)
        self.server.start()
        self.server.sql(f"CREATE ROLE {USER} LOGIN; CREATE ROLE joe; CREATE ROLE ann; GRANT joe, ann TO {USER}")
        self.server.sql("CREATE DATABASE template_fuzz")
        self.server.sql((HERE / "schema.sql").read_text(), "template_fuzz")
        for number in range(workers):
            for mode in ("direct", *MODES):
                self.server.sql(f"CREATE DATABASE {mode}_{number} TEMPLATE template_fuzz")
        self.standby = Standby(workspace, "reader_1", self.server)
        self.standby.start()
        self.server.sql("ALTER SYSTEM SET synchronous_standby_names = 'reader_1'")
        self.server.sql("SELECT pg_reload_conf()")
        streaming = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
        until(30, lambda: self.server.sql(streaming) == "1", "the primary streams to the standby")

    def crashes(self) -> list[str]:
        """Server log entries about crashed processes, with the statements."""
        lines = self.server.log.read_text(errors="replace").splitlines()
        found = [at for at, line in enumerate(lines) if "was terminated by signal" in line]
        return [line for at in found for line in lines[at : at + 2]]


class Stage:
    """Resources of a worker."""

    def __init__(self, workspace: Workspace, servers: Servers, number: int, settings: str = ""):
        self.number = number
        self.direct_port = servers.server.port
        self.proxy = FuzzGatekeeper(workspace, servers.server, servers.standby, number, settings)
        self.proxy.start()
        self.admins = {
            mode: Client(self.direct_port, "postgres", self.database(mode)) for mode in ("direct", *MODES)
        }

    def database(self, mode: str) -> str:
        return f"{mode}_{self.number}"

    def client(self, mode: str, size: int, **parameters: str) -> Client:
        port = self.direct_port if mode == "direct" else self.proxy.ports[mode, size]
        return Client(port, USER, self.database(mode), **parameters)

    def sql(self, mode: str, sql: str) -> str:
        """Runs `sql` as a superuser; returns the first column of the last row."""
        frames = self.admins[mode].query(sql)
        errors = [frame for frame in frames if frame.tag == "E"]
        if errors:
            raise RuntimeError(f"{sql}: {errors}")
        rows = [frame for frame in frames if frame.tag == "D"]
        return rows[-1].body[6:].decode() if rows else ""

    def prepare(self, mode: str):
        """Waits for the transactions of earlier conversations, and resets the database."""
        self.settle(mode)
        self.sql(mode, "SELECT anew()")

    def settle(self, mode: str):
        """Waits until no client is in a transaction.

        Raises TimeoutError for a transaction that stays open, whose client has already disconnected.
        """
        busy = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND backend_type = 'client backend' AND (xact_start IS NOT NULL OR state = 'active')"
        )
        until(SETTLE_SECONDS, lambda: self.sql(mode, busy) == "0", "no client is in a transaction")

    def restart(self):
        """Restarts Gatekeeper."""
        self.proxy.stop()
        self.proxy.start()
