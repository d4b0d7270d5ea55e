"""A relay that changes one word in the responses of servers: usage `garbler.py PORT SERVER_PORT`.

The relay replaces Gatekeeper to prove that the suites find an unfaithful proxy. A changed word has the same length. A
word that is split over two reads passes unchanged; enough words are changed all the same.
"""

import asyncio
import sys

CHANGES = ((b"foo", b"fop"), (b"INSERT 0 1\0", b"INSERT 0 7\0"), (b"hello", b"hullo"))


async def pour(reader, writer, changes=()):
    try:
        while bytes := await reader.read(65536):
            for word, other in changes:
                bytes = bytes.replace(word, other)
            writer.write(bytes)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def serve(reader, writer):
    server_reader, server_writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[2]))
    await asyncio.gather(pour(reader, server_writer), pour(server_reader, writer, CHANGES))


async def main():
    listener = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await listener.serve_forever()


asyncio.run(main())
