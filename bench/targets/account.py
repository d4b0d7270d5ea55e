"""The account of clients at the pools, and of the pools at the server."""

from dataclasses import dataclass

from lab.server import Server

SIZE = 20
# Above the 10,000 idle clients of `idle-memory`.
MOST_CLIENTS = 16_000


@dataclass(frozen=True)
class Account:
    """A user of the server, with a password."""

    user: str
    password: str
    # The server's SCRAM verifier. A pool with this verifier can log in with the keys of a client's proof.
    verifier: str

    @classmethod
    def made_in(cls, server: Server, user: str = "bench", password: str = "bench") -> "Account":
        server.sql(
            f"set password_encryption = 'scram-sha-256'; create role {user} login password '{password}'; "
            f"grant pg_read_all_data to {user}"
        )
        return cls(user, password, server.sql(f"select rolpassword from pg_authid where rolname = '{user}'"))
