"""Opens sessions, runs a statement in each session, and then keeps the sessions idle.

Usage: `idle_clients.py PORT plain|tls`. Reads a number of sessions per line of standard input, opens sessions up to
that number, and prints `idle` after all responses have arrived. The line `ask` runs a statement in all sessions at once and
prints the number of sessions that got a response. Ends at the end of the input.
"""

import asyncio
import resource
import ssl
import struct
import sys

AT_ONCE = 32


def startup() -> bytes:
    body = struct.pack("!I", 3 << 16) + b"user\0bench\0database\0postgres\0\0"
    return struct.pack("!I", len(body) + 4) + body


QUERY = b"Q" + struct.pack("!I", 13) + b"select 1\0"


async def until_ready(reader):
    while True:
        tag, length = struct.unpack("!cI", await reader.readexactly(5))
        body = await reader.readexactly(length - 4)
        if tag == b"E":
            raise RuntimeError(body.replace(b"\0", b" ").decode(errors="replace"))
        if tag == b"Z":
            return


async def open_one(port: int, tls, gate):
    async with gate:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        if tls:
            writer.write(struct.pack("!II", 8, 80877103))
            if await reader.readexactly(1) != b"S":
                raise RuntimeError("TLS was refused")
            await writer.start_tls(tls)
        writer.write(startup())
        await until_ready(reader)
        writer.write(QUERY)
        await until_ready(reader)
        return reader, writer


async def ask(reader, writer) -> bool:
    try:
        writer.write(QUERY)
        await until_ready(reader)
        return True
    except (OSError, RuntimeError, asyncio.IncompleteReadError):
        return False


async def main():
    port, tls = int(sys.argv[1]), None
    if sys.argv[2] == "tls":
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    gate = asyncio.Semaphore(AT_ONCE)
    held = []
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line.strip() == "ask":
            print(sum(await asyncio.gather(*(ask(*connection) for connection in held))), flush=True)
            continue
        held += await asyncio.gather(*(open_one(port, tls, gate) for _ in range(int(line) - len(held))))
        print("idle", flush=True)


hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
asyncio.run(main())
