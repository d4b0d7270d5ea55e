"""Gatekeeper in transaction mode."""

from lab.proxy import Gatekeeper
from lab.workspace import Workspace

from .account import MOST_CLIENTS, SIZE, Account


class PooledGatekeeper(Gatekeeper):
    """A single worker, as in the other pools; all other settings are defaults."""

    def __init__(
        self, workspace: Workspace, *args, account: Account, asks_password: bool, workers=1, min_idle=0, probe_interval="",
        **options,
    ):
        self.probe_interval = probe_interval
        password, users = workspace.path / "password", workspace.path / "users.toml"
        password.write_text(f"{account.password}\n")
        users.write_text(f'[users]\n{account.user} = "{account.verifier}"\n')
        scram = f'{{ method = "scram", users_file = "{users}" }}'
        super().__init__(
            workspace, *args, workers=workers,
            login=f'{{ user = "{account.user}", password = {{ file = "{password}" }} }}',
            auth=scram if asks_password else '{ method = "trust" }',
            pool=f'{{ mode = "transaction", size = {SIZE}, min_idle = {min_idle} }}',
            **options,
        )

    def configuration(self) -> str:
        lines = super().configuration().replace("[[listener]]", f"[[listener]]\nmax_clients = {MOST_CLIENTS}")
        return lines + (f'[probe]\ninterval = "{self.probe_interval}"\n' if self.probe_interval else "")


class AuditedGatekeeper(PooledGatekeeper):
    """`PooledGatekeeper` with an audit log; `audit` has the keys of the table `[audit]`, except `file`."""

    def __init__(self, workspace: Workspace, *args, audit: dict, **options):
        super().__init__(workspace, *args, **options)
        self.audit = audit
        self.audit_file = workspace.path / "audit" / f"{self.port}.jsonl"
        self.audit_file.parent.mkdir(exist_ok=True)

    def configuration(self) -> str:
        keys = "".join(f"{key} = {value}\n" for key, value in self.audit.items())
        return f'{super().configuration()}[audit]\nfile = "{self.audit_file}"\n{keys}'


class TwoWorkers(PooledGatekeeper):
    """`PooledGatekeeper` with two workers."""

    def __init__(self, *args, **options):
        super().__init__(*args, workers=2, **options)
