"""Who logs in: the clients to the pools and the pools to the server."""

from dataclasses import dataclass

from lab.server import Server

SIZE = 20
# Idle clients by the ten thousand are measured.
MOST_CLIENTS = 16_000


@dataclass(frozen=True)
class Account:
    """A user of the server, who has a password."""

    user: str
    password: str
    # The server's own, so that a pool which is given it can log in with what its clients prove.
    verifier: str

    @classmethod
    def made_in(cls, server: Server, user: str = "bench", password: str = "bench") -> "Account":
        server.sql(
            f"set password_encryption = 'scram-sha-256'; create role {user} login password '{password}'; "
            f"grant pg_read_all_data to {user}"
        )
        return cls(user, password, server.sql(f"select rolpassword from pg_authid where rolname = '{user}'"))
