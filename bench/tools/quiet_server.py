"""Answers logins and simple queries as a PostgreSQL server would, with little memory per connection.

Usage: `quiet_server.py PORT [CERT KEY]`. Replaces PostgreSQL where only the proxy's memory is measured: 5,000 backends
of a real server would need more memory than the machine has.
"""

import asyncio
import resource
import ssl
import struct
import sys

SSL_REQUEST = 80877103


def message(tag: bytes, body: bytes) -> bytes:
    return tag + struct.pack("!I", len(body) + 4) + body


READY = message(b"Z", b"I")
PARAMETERS = {
    "server_version": "15.18", "server_encoding": "UTF8", "client_encoding": "UTF8", "DateStyle": "ISO, MDY",
    "integer_datetimes": "on", "standard_conforming_strings": "on", "TimeZone": "UTC", "in_hot_standby": "off",
    "default_transaction_read_only": "off", "is_superuser": "off", "session_authorization": "bench",
    "application_name": "", "IntervalStyle": "postgres",
}
GREETING = b"".join([
    message(b"R", struct.pack("!I", 0)),
    *(message(b"S", f"{name}\0{value}\0".encode()) for name, value in PARAMETERS.items()),
])
ANSWER = message(b"C", b"SELECT 0\0") + READY


async def serve(reader, writer, tls):
    try:
        length, code = struct.unpack("!II", await reader.readexactly(8))
        if code == SSL_REQUEST:
            writer.write(b"S" if tls else b"N")
            if tls:
                await writer.start_tls(tls)
            length, code = struct.unpack("!II", await reader.readexactly(8))
        await reader.readexactly(length - 8)
        key = message(b"K", struct.pack("!II", id(writer) & 0x7FFFFFFF, 1))
        writer.write(GREETING + key + READY)
        while True:
            tag, length = struct.unpack("!cI", await reader.readexactly(5))
            await reader.readexactly(length - 4)
            if tag == b"X":
                break
            if tag in b"QS":
                writer.write(ANSWER)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    tls = None
    if len(sys.argv) > 2:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(sys.argv[2], sys.argv[3])
    listener = await asyncio.start_server(
        lambda reader, writer: serve(reader, writer, tls), "127.0.0.1", int(sys.argv[1]), backlog=1024
    )
    await listener.serve_forever()


hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
asyncio.run(main())
