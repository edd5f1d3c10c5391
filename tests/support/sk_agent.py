"""An ssh-agent that holds keys of the software authenticator, so that the real ssh-keygen signs with `sk-` keys.

It speaks as much of draft-ietf-sshm-ssh-agent as `ssh-keygen -Y sign` and `ssh-keygen -s -U` ask for.
"""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from protocol.signing import RawSigner
from protocol.sshwire import Reader, string, u32

REQUEST_IDENTITIES, IDENTITIES_ANSWER = 11, 12
SIGN_REQUEST, SIGN_RESPONSE = 13, 14
FAILURE = 5
MAX_REQUEST_BYTES = 256 * 1024


def answer(request: bytes, keys: Mapping[bytes, RawSigner]) -> bytes:
    """What the agent says to one message. keys: by the blob of a public key or a certificate of it."""
    reader = Reader(request)
    kind = reader.u8()
    if kind == REQUEST_IDENTITIES:
        listed = b"".join(string(blob) + string("software authenticator") for blob in keys)
        return bytes([IDENTITIES_ANSWER]) + u32(len(keys)) + listed
    if kind == SIGN_REQUEST:
        blob, data = reader.string(MAX_REQUEST_BYTES), reader.string(MAX_REQUEST_BYTES)
        if blob in keys:
            return bytes([SIGN_RESPONSE]) + string(keys[blob].sign_raw(data))
    return bytes([FAILURE])


@contextmanager
def sk_agent(folder: Path, keys: Mapping[bytes, RawSigner]) -> Iterator[str]:
    """Listen in `folder`, and yield what SSH_AUTH_SOCK is to be."""

    class Conversation(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while len(head := self.rfile.read(4)) == 4:
                said = answer(self.rfile.read(int.from_bytes(head, "big")), keys)
                self.wfile.write(string(said))

    path = str(folder / "agent.sock")
    with socketserver.ThreadingUnixStreamServer(path, Conversation) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield path
        finally:
            server.shutdown()
            thread.join()
            Path(path).unlink()
