"""One address in front of several servers: usage `balancer.py PORT SERVER_PORT [SERVER_PORT ...]`.

Each connection goes to the next server in turn, as at the address of a read pool. Bytes are forwarded without
inspection. A shutdown or close of one socket is passed on to the other.
"""

import asyncio
import itertools
import sys


class Half(asyncio.Protocol):
    """One of the two sockets of a connection; received bytes are written to the other."""

    def __init__(self, other: "Half | None" = None):
        self.other = other
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.other.transport.write(data)

    def eof_received(self):
        if self.other and self.other.transport.can_write_eof():
            self.other.transport.write_eof()
        return True   # the other direction stays open

    def connection_lost(self, _error):
        if self.other and self.other.transport:
            self.other.transport.close()

    # A slow reader slows down the writer.
    def pause_writing(self):
        self.other.transport.pause_reading()

    def resume_writing(self):
        self.other.transport.resume_reading()


class Client(Half):
    """The client's side."""

    def connection_made(self, transport):
        super().connection_made(transport)
        transport.pause_reading()
        asyncio.get_running_loop().create_task(self.dial(next(TURNS)))

    async def dial(self, port: int):
        try:
            loop = asyncio.get_running_loop()
            _, self.other = await loop.create_connection(lambda: Half(self), "127.0.0.1", port)
        except OSError:
            self.transport.abort()
        else:
            self.transport.resume_reading()


async def main():
    listener = await asyncio.get_running_loop().create_server(Client, "127.0.0.1", int(sys.argv[1]), backlog=512)
    await listener.serve_forever()


TURNS = itertools.cycle(map(int, sys.argv[2:]))
asyncio.run(main())
