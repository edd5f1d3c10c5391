"""What is larger than a message: fetched and stored by its SHA-256, in pieces that survive a cut connection.

    GET  /v1/blobs/{sha256}   `Range: bytes=N-` goes on from N: 206 with Content-Range. 200 starts over.
    HEAD /v1/blobs/{sha256}   200: held. 404: not; `Upload-Offset: N` says that N bytes of ours wait there.
    PUT  /v1/blobs/{sha256}   the whole, or the rest with `Content-Range: bytes N-M/T` from the N that the relay said.
                              202, 409, 416: go on from another Upload-Offset. 429 with Retry-After: wait. A relay
                              that keeps no beginnings never sends that header.

The hash is checked over every byte before anything is handed on, so neither a relay nor a cut can alter a blob.
There is no deadline for the whole, since a line may be slow; STALL_S without any progress is one.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import BinaryIO, Protocol

from protocol.errors import BadMessage, PeerFault, Refused, RelayUnreachable, Untrusted
from protocol.ids import Sha256, sha256
from transport.failures import RelayFailed, network_errors
from transport.http import Answer, RelayClient

MAX_BLOB_BYTES = 16 * 1024 * 1024
"""What is fetched into memory, unless the caller says otherwise. The largest section today is 2 MiB of packages."""

STALL_S = 30.0
"""Without a byte, either way."""

ATTEMPTS = 4
"""Of one transfer, in a row and without progress, each going on where the last was cut. Then the caller waits."""

PAUSE_S = 1.0
"""Times the number of attempts so far."""

LONGEST_PAUSE_S = 10.0
"""A relay that asks for more is the caller's to come back to."""

DIRECT_BYTES = 256 * 1024
"""A blob up to this size is sent at once; a larger one only after asking whether it is there."""

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,15})-[0-9]{1,15}/([0-9]{1,15}|\*)\Z")


class _Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


class _Memory(bytearray):
    def write(self, data: bytes, /) -> None:
        self += data


async def get_blob(client: RelayClient, name: Sha256, *, limit: int = MAX_BLOB_BYTES) -> bytes:
    """The blob called `name`. limit: bytes. Raises what RelayClient.request does, and Untrusted (wrong_hash)."""
    memory = _Memory()
    await _download(client, name, memory, limit)
    return bytes(memory)


async def download_blob(client: RelayClient, name: Sha256, file: BinaryIO, *, limit: int) -> int:
    """Write the blob called `name` into `file`; return its size.

    What was written is right only if this returns: the caller gives the file its name afterwards.
    """
    return await _download(client, name, file, limit)


async def put_blob(client: RelayClient, data: bytes) -> Sha256:
    """Store `data` at the relay; return its name. Storing what is there already costs one short request."""
    name, size = sha256(data), len(data)
    offset = furthest = tries = 0
    ask_first = size > DIRECT_BYTES
    while True:
        tries += 1
        try:
            if ask_first:
                offset = await _held(client, name, size)
                if 0 < offset == size:
                    return name
                if offset > furthest:
                    furthest, tries = offset, 1  # the last attempt was cut, but not for nothing
            if await _put(client, name, memoryview(data), offset) == size:
                return name
        except (RelayUnreachable, RelayFailed) as exc:
            # After a cut the relay may still hold the old connection for the upload, and asks to wait for it.
            asked_s = exc.retry_after_s if isinstance(exc, RelayFailed) else PAUSE_S * tries
            if tries >= ATTEMPTS or asked_s is None or asked_s > LONGEST_PAUSE_S:
                raise
            await asyncio.sleep(asked_s)
        else:
            if tries >= ATTEMPTS:
                raise Refused("the relay takes no more of this blob", code="blob_refused")
        ask_first = True


# -- down -------------------------------------------------------------------------------------------------------


async def _download(client: RelayClient, name: Sha256, sink: _Sink, limit: int) -> int:
    digest = hashlib.sha256()
    size = 0
    cuts = 0
    while True:
        try:
            # Closed at once if the sink fails (a full disk), so that the connection is not left in the middle.
            async with aclosing(_pieces(client, name, size, limit)) as pieces:
                async for chunk in pieces:
                    digest.update(chunk)
                    sink.write(chunk)
                    size += len(chunk)
                    cuts = 0
            break
        except RelayUnreachable:
            cuts += 1
            if cuts >= ATTEMPTS:
                raise
        await asyncio.sleep(PAUSE_S * cuts)
    if digest.hexdigest() != name:
        raise Untrusted("the relay sent another blob than the one asked for", code="wrong_hash")
    return size


async def _pieces(client: RelayClient, name: Sha256, start: int, limit: int) -> AsyncGenerator[bytes, None]:
    """The blob's bytes from `start` on, at most `limit` in all (counted from its beginning)."""
    headers = [("Range", f"bytes={start}-")] if start else []
    with network_errors(client.address):
        async with asyncio.timeout(STALL_S) as deadline:
            async with client.exchange("GET", _path(name), headers, accept=(200, 206, 416)) as answer:
                if answer.status == 416:
                    return  # cut exactly at the end: everything is here already
                position = _first_byte(answer)
                if position > start:
                    raise PeerFault("the relay left out a part of a blob")
                async for chunk in answer.chunks():
                    deadline.reschedule(asyncio.get_running_loop().time() + STALL_S)
                    position += len(chunk)
                    if position > limit:
                        raise BadMessage(f"a blob of more than {limit} bytes")
                    new = position - start
                    if new > 0:
                        yield chunk[-new:] if new < len(chunk) else chunk
                        start = position


def _first_byte(answer: Answer) -> int:
    if answer.status != 206:
        return 0
    found = _CONTENT_RANGE.match(answer.headers.get("content-range", ""))
    if found is None:
        raise PeerFault("a part of a blob that does not say which")
    return int(found.group(1))


# -- up ---------------------------------------------------------------------------------------------------------


async def _held(client: RelayClient, name: Sha256, size: int) -> int:
    """How many of the blob's bytes the relay has already."""
    with network_errors(client.address):
        async with (
            asyncio.timeout(STALL_S),
            client.exchange("HEAD", _path(name), accept=(200, 204, 404, 405)) as answer,
        ):
            return size if answer.status in (200, 204) else _upload_offset(answer, size)


async def _put(client: RelayClient, name: Sha256, data: memoryview, offset: int) -> int:
    """Send all from `offset` on; return the size, or less if the relay did not take it from there."""
    headers = [("Content-Type", "application/octet-stream")]
    if offset:
        headers.append(("Content-Range", f"bytes {offset}-{len(data) - 1}/{len(data)}"))
    loop = asyncio.get_running_loop()
    with network_errors(client.address):
        async with asyncio.timeout(STALL_S) as deadline:
            async with client.exchange(
                "PUT",
                _path(name),
                headers,
                data[offset:],
                accept=(200, 201, 202, 204, 409, 416),
                on_progress=lambda: deadline.reschedule(loop.time() + STALL_S),
            ) as answer:
                if answer.status not in (202, 409, 416):
                    return len(data)
                return _upload_offset(answer, len(data))


def _upload_offset(answer: Answer, size: int) -> int:
    text = answer.headers.get("upload-offset", "0")
    offset = int(text) if re.fullmatch(r"[0-9]{1,15}", text) else 0
    # A relay that claims all, or more than there is, gets it from the start, and has to hash it.
    return offset if offset < size else 0


def _path(name: Sha256) -> str:
    return f"/v1/blobs/{name}"
