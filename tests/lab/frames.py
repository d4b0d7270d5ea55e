"""A client that sends given PostgreSQL protocol messages, and the messages of both sides as text.

A message to send is a list of the message type, as in the protocol's documentation, and the fields: `["Q", "SELECT
1"]`.
"""

import re
import select
import socket
import struct
import time
from collections import deque

# First object identifier that may differ between databases.
FIRST_NORMAL_OID = 16384
# Temporary schema of a backend, with the backend's number.
TEMPORARY_SCHEMA = re.compile(rb"pg_(toast_)?temp_\d+")


def text(value) -> bytes:
    return value.encode() + b"\0"


def framed(tag: str, body: bytes) -> bytes:
    return tag.encode() + struct.pack("!I", len(body) + 4) + body


def values(parameters) -> bytes:
    body = struct.pack("!H", len(parameters))
    for value in parameters:
        raw = value.encode() if value is not None else b""
        body += struct.pack("!i", -1 if value is None else len(raw)) + raw
    return body


def encode(message: list) -> bytes:
    """The bytes of a message. Parameters and results are in text form unless a result format is given."""
    tag, *fields = message
    match tag:
        case "Q":
            body = text(fields[0])
        case "P":   # name, SQL and the types of parameters, if given
            types = fields[2] if len(fields) > 2 else []
            body = text(fields[0]) + text(fields[1]) + struct.pack("!H", len(types))
            body += b"".join(struct.pack("!I", oid) for oid in types)
        case "B":   # portal, statement, parameters and the format of results, if given
            formats = [fields[3]] if len(fields) > 3 else []
            body = text(fields[0]) + text(fields[1]) + struct.pack("!H", 0) + values(fields[2])
            body += struct.pack("!H", len(formats)) + b"".join(struct.pack("!h", code) for code in formats)
        case "D" | "C":   # S or P, and the name
            body = fields[0].encode() + text(fields[1])
        case "E":   # portal and the maximum of rows
            body = text(fields[0]) + struct.pack("!i", fields[1])
        case "F":   # the function's OID and the arguments
            body = struct.pack("!I", fields[0]) + struct.pack("!H", 0) + values(fields[1]) + struct.pack("!H", 0)
        case "d":
            body = fields[0].encode()
        case "f":
            body = text(fields[0])
        case "S" | "H" | "c" | "X":
            body = b""
        case _:
            raise ValueError(f"no such message: {message}")
    return framed(tag, body)


class Frame:
    """One message of the server, with variable parts masked."""

    __slots__ = ("body", "tag")

    def __init__(self, tag: str, body: bytes):
        self.tag = tag
        self.body = masked(tag, body)

    def __eq__(self, other):
        return (self.tag, self.body) == (other.tag, other.body)

    def __hash__(self):
        return hash((self.tag, self.body))

    def __repr__(self):
        return shown(self.tag, self.body)

    def field(self, kind: bytes) -> str:
        """Field of an ErrorResponse by field type."""
        parts = [part for part in self.body.split(b"\0") if part.startswith(kind)]
        return parts[0][1:].decode("utf-8", "replace") if parts else ""


def masked(tag: str, body: bytes) -> bytes:
    if tag == "T":
        return row_description(body)
    if tag == "t":
        (count,) = struct.unpack("!H", body[:2])
        return struct.pack(f"!{count}I", *map(normal_oid, struct.unpack(f"!{count}I", body[2:])))
    if tag == "A":
        return body[4:]
    if tag in "EN":
        # Position in the server's source.
        body = b"\0".join(part for part in body.split(b"\0") if part[:1] not in (b"F", b"L", b"R"))
    return TEMPORARY_SCHEMA.sub(rb"pg_\1temp_N", body) if b"temp_" in body else body


def row_description(body: bytes) -> bytes:
    out, at = [body[:2]], 2
    for _ in range(struct.unpack("!H", body[:2])[0]):
        end = body.index(b"\0", at) + 1
        table, column, kind = struct.unpack("!IHI", body[end : end + 10])
        out += [body[at:end], struct.pack("!IHI", normal_oid(table), column, normal_oid(kind)), body[end + 10 : end + 18]]
        at = end + 18
    return b"".join(out)


def normal_oid(oid: int) -> int:
    return min(oid, FIRST_NORMAL_OID)


def shown(tag: str, body: bytes) -> str:
    match tag:
        case "E" | "N":
            fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in body.split(b"\0") if part}
            return f"{tag}({fields.get(b'S')} {fields.get(b'C')} {fields.get(b'M', '')[:160]})"
        case "D":
            (count,), at, columns = struct.unpack("!H", body[:2]), 2, []
            for _ in range(count):
                (length,) = struct.unpack("!i", body[at : at + 4])
                at += 4
                columns.append("NULL" if length < 0 else repr(body[at : at + length][:700].decode("utf-8", "replace")))
                at += max(length, 0)
            return f"D({', '.join(columns)})"
        case "T":
            names, at = [], 2
            for _ in range(struct.unpack("!H", body[:2])[0]):
                end = body.index(b"\0", at)
                names.append(body[at:end].decode("utf-8", "replace"))
                at = end + 19
            return f"T({', '.join(names)})"
        case "C" | "Z" | "S" | "A" | "-" | "d":
            return f"{tag}({body.rstrip(bytes(1)).replace(bytes(1), b' ')[:120].decode('utf-8', 'replace')})"
        case _:
            return tag


# Marker of the end of a connection.
END = Frame("-", b"the connection has ended")


class Client:
    """A logged-in client. `notified` collects notifications in order of arrival."""

    def __init__(self, port: int, user: str, database: str, limit: float = 10, **parameters: str):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=limit)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unread = bytearray()
        self.frames: deque[Frame] = deque()
        self.notified: list[Frame] = []
        self.pid = 0
        self.ended = False
        pairs = {"user": user, "database": database, **parameters}
        body = struct.pack("!I", 3 << 16) + b"".join(text(name) + text(value) for name, value in pairs.items()) + b"\0"
        self.socket.sendall(struct.pack("!I", len(body) + 4) + body)
        login = self.until("Z", limit)
        if login[-1].tag != "Z":
            raise ConnectionError(f"login of {user} at {database}: {login}")
        self.reported = sorted((frame for frame in login if frame.tag == "S"), key=lambda frame: frame.body)

    def send(self, data: bytes, cuts=()):
        """Sends `data`, split into writes at each of the cuts."""
        start = 0
        try:
            for cut in [*cuts, len(data)]:
                if start < cut <= len(data):
                    self.socket.sendall(data[start:cut])
                    start = cut
                    if cut < len(data):
                        time.sleep(0.001)
        except OSError:
            # The server has closed; the last messages are still to be received.
            pass

    def receive(self, limit: float) -> Frame | None:
        """The next message; `None` after `limit` seconds. The end of the connection counts as a message."""
        end = time.monotonic() + limit
        while not self.frames:
            if self.ended and not self.unread:
                return END
            if not select.select([self.socket], [], [], max(0, end - time.monotonic()))[0]:
                return None
            try:
                data = self.socket.recv(1 << 16)
            except OSError:
                data = b""
            if not data:
                self.ended = True
                self.unread.clear()
                return END
            self.unread += data
            self.take_frames()
        return self.frames.popleft()

    def take_frames(self):
        at = 0
        while len(self.unread) - at >= 5:
            (length,) = struct.unpack_from("!I", self.unread, at + 1)
            if len(self.unread) - at <= length:
                break
            frame = Frame(chr(self.unread[at]), bytes(self.unread[at + 5 : at + 1 + length]))
            if frame.tag == "K":
                (self.pid,) = struct.unpack("!I", frame.body[:4])
            elif frame.tag == "A":
                self.notified.append(frame)
            elif frame.tag != "R":
                self.frames.append(frame)
            at += 1 + length
        del self.unread[:at]

    def until(self, tag: str, limit: float) -> list[Frame]:
        """All messages up to one with the given tag, or to the end of the connection."""
        found = []
        end = time.monotonic() + limit
        while not found or found[-1].tag not in (tag, "-"):
            frame = self.receive(end - time.monotonic())
            if frame is None:
                raise TimeoutError(f"no {tag} within {limit:g} s, after {found[-5:]}")
            found.append(frame)
        return found

    def query(self, sql: str, limit: float = 20) -> list[Frame]:
        self.send(encode(["Q", sql]))
        return self.until("Z", limit)

    def terminate(self):
        """Ends the session by Terminate."""
        self.send(encode(["X"]))
        self.socket.close()
        self.ended = True

    def disconnect(self):
        """Closes the connection without Terminate."""
        self.socket.close()
        self.ended = True

    def reset(self):
        """Aborts the connection: bytes in flight are lost in both directions."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.disconnect()
