"""A program on the device that sends and takes bytes by TCP: `python -m tests.bench.tcp_end` prints its port.

One connection after the other. The first line of each says what is wanted:

    down SIZE PATH      the file's bytes
    up SIZE PATH        takes SIZE bytes into a new file, and says `done`
"""

from __future__ import annotations

import socket
import sys

BLOCK_BYTES = 1 << 20


def serve(connection: socket.socket) -> None:
    with connection, connection.makefile("rb") as stream:
        verb, size, path = stream.readline().decode().split()
        if verb == "down":
            with open(path, "rb") as source:
                connection.sendfile(source)
            stream.read(1)  # until the other end has had enough
            return
        left = int(size)
        with open(path, "wb") as target:
            while left and (data := stream.read1(min(left, BLOCK_BYTES))):
                left -= target.write(data)
        connection.sendall(b"done")
        stream.read(1)


def main() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            try:
                serve(connection)
            except (OSError, ValueError) as exc:
                print(exc, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
