"""Runs a statement and discards the response; prints the response's size in bytes.

Usage: `drain.py PORT plain|tls STATEMENT`. A driver would spend more time on a row than a proxy does, so that the
program inspects only the last bytes of the response.
"""

import socket
import ssl
import struct
import sys

READY = b"Z\0\0\0\5I"


def startup() -> bytes:
    body = struct.pack("!I", 3 << 16) + b"user\0bench\0database\0postgres\0\0"
    return struct.pack("!I", len(body) + 4) + body


def connected(port: int, tls: bool):
    server = socket.create_connection(("127.0.0.1", port))
    if tls:
        server.sendall(struct.pack("!II", 8, 80877103))
        if server.recv(1) != b"S":
            raise SystemExit("TLS was refused")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        server = context.wrap_socket(server)
    server.sendall(startup())
    return server


def drained(server) -> int:
    """Reads until ReadyForQuery and returns the number of bytes; an error ends the program."""
    total, buffer, end = 0, bytearray(1 << 18), b""
    while True:
        read = server.recv_into(buffer)
        if total == 0 and buffer[:1] == b"E" or read == 0:
            raise SystemExit(f"refused: {bytes(buffer[:read])!r}")
        total += read
        end = (end + buffer[max(0, read - len(READY)) : read])[-len(READY) :]
        if end == READY:
            return total


server = connected(int(sys.argv[1]), sys.argv[2] == "tls")
drained(server)
text = sys.argv[3].encode() + b"\0"
server.sendall(b"Q" + struct.pack("!I", len(text) + 4) + text)
print(drained(server))
server.sendall(b"X\0\0\0\4")
