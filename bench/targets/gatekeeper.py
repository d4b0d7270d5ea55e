"""Gatekeeper in transaction mode."""

from lab.middle import Gatekeeper
from lab.workspace import Workspace

from .account import MOST_CLIENTS, SIZE, Account


class PooledGatekeeper(Gatekeeper):
    """One worker, as the others have, and all else as shipped."""

    def __init__(self, workspace: Workspace, *args, account: Account, asks: bool, workers=1, **options):
        password, users = workspace.path / "password", workspace.path / "users.toml"
        password.write_text(f"{account.password}\n")
        users.write_text(f'[users]\n{account.user} = "{account.verifier}"\n')
        scram = f'{{ method = "scram", users_file = "{users}" }}'
        super().__init__(
            workspace, *args, workers=workers,
            login=f'{{ user = "{account.user}", password = {{ file = "{password}" }} }}',
            auth=scram if asks else '{ method = "trust" }',
            pool=f'{{ mode = "transaction", size = {SIZE} }}',
            **options,
        )

    def configuration(self) -> str:
        return super().configuration().replace("[[listener]]", f"[[listener]]\nmax_clients = {MOST_CLIENTS}")


class AuditedGatekeeper(PooledGatekeeper):
    """The same with an audit log; `audit` are the keys of its table, besides the file."""

    def __init__(self, workspace: Workspace, *args, audit: dict, **options):
        super().__init__(workspace, *args, **options)
        self.audit = audit
        self.audit_file = workspace.path / "audit" / f"{self.port}.jsonl"
        self.audit_file.parent.mkdir(exist_ok=True)

    def configuration(self) -> str:
        keys = "".join(f"{key} = {value}\n" for key, value in self.audit.items())
        return f'{super().configuration()}[audit]\nfile = "{self.audit_file}"\n{keys}'


class TwoWorkers(PooledGatekeeper):
    """The same with two."""

    def __init__(self, *args, **options):
        super().__init__(*args, workers=2, **options)
