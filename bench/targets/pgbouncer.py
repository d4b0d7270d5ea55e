"""PgBouncer, found or built by `.ci/pgbouncer`."""

import re
import subprocess
from functools import cache
from pathlib import Path

from lab.proxy import Proxy
from lab.workspace import ROOT, as_server

from .account import MOST_CLIENTS, SIZE, Account


class PgBouncer(Proxy):
    """PgBouncer with default settings, except for the pool's size and mode, logins, and logging of connections."""

    def __init__(self, *args, account: Account, asks_password: bool, profile: str = "", **options):
        super().__init__(*args, **options)
        self.account = account
        self.asks_password = asks_password

    @staticmethod
    @cache
    def program() -> Path:
        done = subprocess.run([ROOT / ".ci/pgbouncer"], check=True, capture_output=True, text=True)
        if not done.stdout.strip():
            raise SystemExit(f"PgBouncer is not installed: make setup\n{done.stderr}")
        return Path(done.stdout.strip())

    @classmethod
    @cache
    def version(cls) -> str:
        words = subprocess.run([cls.program(), "--version"], check=True, capture_output=True, text=True).stdout
        return re.search(r"PgBouncer (\S+)", words)[1]

    @classmethod
    def knows_prepared_statements(cls) -> bool:
        return [int(number) for number in cls.version().split(".")[:2]] >= [1, 21]

    def words(self):
        folder = self.workspace.folder("pgbouncer")
        # With the server's verifier, PgBouncer logs in with the keys of a client's proof. Trusted clients send no
        # proof, so that PgBouncer needs the password.
        secret = self.account.verifier if self.asks_password else self.account.password
        (folder / "userlist.txt").write_text(f'"{self.account.user}" "{secret}"\n')
        (folder / "pgbouncer.ini").write_text(self.configuration(folder / "userlist.txt"))
        return as_server([self.program(), folder / "pgbouncer.ini"])

    def configuration(self, userlist: Path) -> str:
        lines = [
            "[databases]",
            f"postgres = host=127.0.0.1 port={self.server_port} dbname=postgres",
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {self.port}",
            "unix_socket_dir =",
            "pool_mode = transaction",
            f"default_pool_size = {SIZE}",
            f"max_client_conn = {MOST_CLIENTS}",
            f"auth_type = {'scram-sha-256' if self.asks_password else 'trust'}",
            f"auth_file = {userlist}",
            "log_connections = 0",
            "log_disconnections = 0",
        ]
        if self.client_tls:
            lines += ["client_tls_sslmode = allow"]
            lines += [f"client_tls_cert_file = {self.client_tls.cert}", f"client_tls_key_file = {self.client_tls.key}"]
        if self.knows_prepared_statements():
            lines += ["max_prepared_statements = 200"]
        return "\n".join(lines) + "\n"
