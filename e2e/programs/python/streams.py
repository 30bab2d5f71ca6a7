"""asyncio's streams. `serve PORT DIR`: files of a directory by GET, by POST the checksum of what
came; `get|put fast|slow HOST:PORT COUNT NAME...` on one connection."""

import asyncio
import hashlib
import os
import sys

PIECE = 64 << 10
PAUSE = 0.3


async def checksum(reader, left, slow):
    """What comes, as a line; a slow reader pauses after the first 64 KiB and after each 8 MiB."""
    total, following, digest = 0, 64 << 10, hashlib.sha256()
    while left:
        data = await reader.read(min(left, PIECE))
        if not data:
            raise EOFError(f"the connection ended after {total} bytes")
        digest.update(data)
        left -= len(data)
        total += len(data)
        if slow and total >= following:
            await asyncio.sleep(PAUSE)
            following += 8 << 20
    return digest.hexdigest() + "\n"


async def head(reader):
    """The first line's words and the body's length."""
    text = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = text.partition("content-length: ")[2].partition("\r")[0]
    return text.partition("\r")[0].split(" "), int(length or 0)


async def send_file(writer, first, name):
    with open(name, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        writer.write(f"{first}\r\nHost: sockway\r\nContent-Length: {size}\r\n\r\n".encode())
        while data := file.read(PIECE):
            writer.write(data)
            await writer.drain()


async def answer(root, reader, writer):
    while True:
        try:
            (method, path, _), length = await head(reader)
        except asyncio.IncompleteReadError:
            break
        if method == "get":
            await send_file(writer, "HTTP/1.1 200 OK", root + path)
        else:
            line = await checksum(reader, length, path == "/slow")
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(line)}\r\n\r\n{line}".encode())
            await writer.drain()
    writer.close()


async def serve(port, root):
    server = await asyncio.start_server(lambda r, w: answer(root, r, w), None, int(port))
    await server.serve_forever()


async def transfer(verb, speed, to, count, *names):
    host, _, port = to.rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    for name in names * int(count):
        if verb == "get":
            writer.write(f"GET /{name} HTTP/1.1\r\nHost: sockway\r\n\r\n".encode())
            _, length = await head(reader)
            line = await checksum(reader, length, speed == "slow")
        else:
            await send_file(writer, f"POST /{speed} HTTP/1.1", name)
            _, length = await head(reader)
            line = (await reader.readexactly(length)).decode()
        print(line, end="", flush=True)
    writer.close()
    await writer.wait_closed()


if sys.argv[1] == "serve":
    asyncio.run(serve(*sys.argv[2:]))
else:
    asyncio.run(transfer(*sys.argv[1:]))
