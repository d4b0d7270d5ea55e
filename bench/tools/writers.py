"""Clients that insert rows through a pool, each over a connection of its own, and note what they are told."""

import socket
import struct
import threading
import time
from collections import Counter

# Between two transactions of a client, in seconds.
PAUSE = 0.02
# Between two attempts to connect, in seconds.
RETRY = 0.1
# For an answer, in seconds: longer than any fault.
PATIENCE = 60


class Disconnected(Exception):
    """The connection ended."""


class Connection:
    """A connection that sends Query messages. Logs in without a password."""

    def __init__(self, port: int, user: str):
        try:
            self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            self.stream = self.socket.makefile("rb")
            body = b"".join(word.encode() + b"\0" for word in ("user", user, "database", "postgres", "")) if user else b""
            self.socket.sendall(struct.pack("!ii", 8 + len(body), 196608) + body)
            self._until_ready()
        except OSError as error:
            raise Disconnected from error

    def query(self, sql: str) -> tuple[str | None, str]:
        """Returns the SQLSTATE of the first error, and the status of the transaction."""
        body = sql.encode() + b"\0"
        try:
            self.socket.sendall(b"Q" + struct.pack("!i", 4 + len(body)) + body)
            return self._until_ready()
        except OSError as error:
            raise Disconnected from error

    def _until_ready(self) -> tuple[str | None, str]:
        state = None
        while True:
            head = self.stream.read(5)
            if len(head) < 5:
                raise Disconnected
            body = self.stream.read(struct.unpack("!i", head[1:])[0] - 4)
            match head[:1]:
                case b"E":
                    fields = dict((field[:1], field[1:]) for field in body.split(b"\0") if field)
                    if fields[b"S"] == b"FATAL":
                        raise Disconnected
                    state = state or fields[b"C"].decode()
                case b"Z":
                    return state, body.decode()

    def close(self):
        self.stream.close()
        self.socket.close()


class Writers:
    """A number of clients. Each row has the client's number and a number of its own."""

    def __init__(self, port: int, user: str, count: int):
        self.port, self.user = port, user
        self.stopping = threading.Event()
        self.errors, self.lock = Counter(), threading.Lock()
        self.disconnects = 0
        self.committed: list[tuple[int, int]] = []
        self.committed_at: list[float] = []
        self.threads = [threading.Thread(target=self._run, args=(number,)) for number in range(count)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def longest_gap(self) -> float:
        """The longest time, in seconds, in which no client committed anything."""
        times = sorted(self.committed_at)
        return max((later - earlier for earlier, later in zip(times, times[1:])), default=0.0)

    def _run(self, client: int):
        connection, row = None, 0
        while not self.stopping.is_set():
            try:
                connection = connection or Connection(self.port, self.user)
                row += 1
                self._insert(connection, client, row)
            except Disconnected:
                with self.lock:
                    # An attempt to connect that fails is not another one.
                    self.disconnects += connection is not None
                connection = None
                time.sleep(RETRY)
            time.sleep(PAUSE)
        if connection:
            connection.close()

    def _insert(self, connection: Connection, client: int, row: int):
        insert = f"INSERT INTO ledger VALUES ({client}, {row})"
        error, status = None, "I"
        for sql in [insert] if row % 2 else ["BEGIN", insert, "COMMIT"]:
            error, status = connection.query(sql)
            if error:
                break
        if status != "I":
            connection.query("ROLLBACK")
        with self.lock:
            if error:
                self.errors[error] += 1
            else:
                self.committed.append((client, row))
                self.committed_at.append(time.monotonic())
