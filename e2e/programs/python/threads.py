"""Blocking sockets, a thread for each connection. `serve PORT DIR`: files of a directory by GET, by
POST the checksum of what came; `get|put fast|slow HOST:PORT COUNT NAME...` on one connection."""

import hashlib
import http.client
import http.server
import os
import socket
import sys
import time


def checksum(file, left, slow):
    """What comes, as a line; a slow reader pauses after the first 64 KiB and after each 8 MiB."""
    total, following, digest = 0, 64 << 10, hashlib.sha256()
    while left:
        data = file.read(min(left, 64 << 10))
        if not data:
            raise EOFError(f"the connection ended after {total} bytes")
        digest.update(data)
        left -= len(data)
        total += len(data)
        if slow and total >= following:
            time.sleep(0.3)
            following += 8 << 20
    return digest.hexdigest() + "\n"


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        line = checksum(self.rfile, int(self.headers["Content-Length"]), self.path == "/slow").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(line)))
        self.end_headers()
        self.wfile.write(line)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6


if sys.argv[1] == "serve":
    os.chdir(sys.argv[3])
    Server(("::", int(sys.argv[2])), Handler).serve_forever()

verb, speed, to, count, *names = sys.argv[1:]
connection = http.client.HTTPConnection(to)
for name in names * int(count):
    if verb == "get":
        connection.request("GET", "/" + name)
        answer = connection.getresponse()
        print(checksum(answer, answer.length, speed == "slow"), end="")
    else:
        with open(name, "rb") as file:
            connection.request("POST", "/" + speed, file, {"Content-Length": str(os.fstat(file.fileno()).st_size)})
        print(connection.getresponse().read().decode(), end="")
