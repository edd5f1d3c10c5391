"""Blobs over HTTP: by their SHA-256, resumable both ways, only to whom they belong.

GET  `Range: bytes=N-`            206 with Content-Range; 416 past the end
HEAD                              200 with Content-Length; 404 with Upload-Offset where an upload is unfinished
PUT  whole, or `Content-Range: bytes N-M/T`   201 when whole; 202 with Upload-Offset; 409 with Upload-Offset
"""

from __future__ import annotations

import asyncio
import re

import msgspec
from aiohttp import web
from sqlalchemy import Connection

from protocol.errors import BadMessage
from protocol.ids import DeviceId, OrganisationId, Sha256
from relay.failures import blob_not_found
from relay.http.call import CHUNK_WITHIN_S, Call, Route, read_chunks
from relay.http.serving import SECURITY_HEADERS
from relay.store import blobs, devices, listing
from relay.store.documents import document_blob
from relay.uploads import MAX_BLOB_BYTES

_RANGE = re.compile(r"bytes=([0-9]{1,15})-\Z")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})\Z")


class _Readable(msgspec.Struct, frozen=True):
    """A blob that this caller may read. data: where it is a document, all of it; else it is in pieces."""

    size: int
    data: bytes | None


def _owner(call: Call) -> tuple[OrganisationId, str]:
    """Whose blobs the caller's are: a device's, or a technician's."""
    if call.link is not None:
        return call.link.key
    return call.login.organisation, call.login.owner


async def _readable(call: Call, name: Sha256) -> _Readable:
    """Raises NotFound: for what is not there, and in the same words for what is not the caller's to read."""
    organisation, owner = _owner(call)

    def job(connection: Connection) -> _Readable | None:
        size = blobs.owns(connection, organisation, owner, name)
        if size is not None:
            return _Readable(size, None)
        document = document_blob(connection, organisation, name) or _record(connection, call, organisation, name)
        if document is not None:
            return _Readable(len(document), document)
        if call.is_technician and _reported_in_scope(connection, call, organisation, name):
            size = blobs.size_of(connection, organisation, name)
            return None if size is None else _Readable(size, None)
        return None

    # What a technician may read is a search: as many devices may have the same bytes as there are.
    store = call.services.store
    found = await (store.search(organisation, job) if call.is_technician else store.read(job))
    if found is None:
        raise blob_not_found()
    return found


def _record(connection: Connection, call: Call, organisation: OrganisationId, name: Sha256) -> bytes | None:
    """A device record: to the device itself, and to technicians whose scope covers it."""
    found = devices.record_blob(connection, organisation, name)
    if found is None:
        return None
    device, data = found
    if call.link is not None:
        return data if call.link.key[1] == device else None
    return data if _in_scope(connection, call, organisation, device) else None


def _in_scope(connection: Connection, call: Call, organisation: OrganisationId, device: DeviceId) -> bool:
    row = devices.find_row(connection, organisation, device, removed=True)
    return row is not None and listing.visible(connection, call.login.technician, organisation, row)


def _reported_in_scope(connection: Connection, call: Call, organisation: OrganisationId, name: Sha256) -> bool:
    return any(
        _in_scope(connection, call, organisation, DeviceId(owner))
        for owner in blobs.owners(connection, organisation, name)
        if not owner.startswith("technician:")
    )


async def get_blob(call: Call) -> web.StreamResponse:
    name = call.sha256()
    found = await _readable(call, name)
    start = _range_start(call.request.headers.get("Range", ""))
    headers = {**SECURITY_HEADERS, "Accept-Ranges": "bytes"}
    if start is not None:
        if start >= found.size:
            return web.Response(status=416, headers={**headers, "Content-Range": f"bytes */{found.size}"})
        headers["Content-Range"] = f"bytes {start}-{found.size - 1}/{found.size}"
    answer = web.StreamResponse(status=200 if start is None else 206, headers=headers)
    answer.content_type = "application/octet-stream"
    answer.content_length = found.size - (start or 0)
    await answer.prepare(call.request)
    position = start or 0
    while position < found.size:
        piece = await _piece(call, name, found, position)
        if not piece:
            # Dropped meanwhile. The length that was announced tells the reader that this is not all.
            raise ConnectionResetError("the blob is gone")
        async with asyncio.timeout(CHUNK_WITHIN_S):
            await answer.write(piece)
        position += len(piece)
    call.services.metrics.blob_bytes.labels(direction="down").inc(position - (start or 0))
    await answer.write_eof()
    return answer


async def _piece(call: Call, name: Sha256, found: _Readable, position: int) -> bytes | None:
    if found.data is not None:
        return found.data[position : position + blobs.PIECE_BYTES]
    organisation, _ = _owner(call)
    return await call.services.store.read(lambda c: blobs.read_piece(c, organisation, name, position))


def _range_start(header: str) -> int | None:
    """Where to begin; None: from the start. Of other ranges than "from N on" the whole is sent, as HTTP allows."""
    found = _RANGE.match(header)
    return None if found is None else int(found.group(1))


async def head_blob(call: Call) -> web.StreamResponse:
    """Whether the caller has uploaded it. (What others have uploaded is no news to them.)"""
    name = call.sha256()
    organisation, owner = _owner(call)
    size = await call.services.store.read(lambda c: blobs.owns(c, organisation, owner, name))
    if size is not None:
        now = call.services.clock.now()
        call.services.store.write_soon(lambda c: blobs.touch(c, organisation, owner, [name], now), "blob_touch")
        return web.Response(headers={**SECURITY_HEADERS, "Content-Length": str(size)})
    offset = call.services.uploads.offset((organisation, owner, name))
    headers = dict(SECURITY_HEADERS) if offset is None else {**SECURITY_HEADERS, "Upload-Offset": str(offset)}
    return web.Response(status=404, headers=headers)


async def put_blob(call: Call) -> web.StreamResponse:
    name = call.sha256()
    organisation, owner = _owner(call)
    start, total = _announced(call.request)
    services = call.services
    size = await services.store.read(lambda c: blobs.owns(c, organisation, owner, name))
    if size is not None:
        now = services.clock.now()
        await services.store.write(lambda c: blobs.touch(c, organisation, owner, [name], now))
        return web.Response(status=200, headers=SECURITY_HEADERS)
    key = (organisation, owner, name)
    whole = await services.uploads.put(key, start, total, read_chunks(call.request))
    services.metrics.blob_bytes.labels(direction="up").inc(total if whole else 0)
    if whole:
        return web.Response(status=201, headers=SECURITY_HEADERS)
    offset = services.uploads.offset(key) or 0
    return web.Response(status=202, headers={**SECURITY_HEADERS, "Upload-Offset": str(offset)})


def _announced(request: web.Request) -> tuple[int, int]:
    """From which byte on, and the whole's size. Raises BadMessage."""
    header = request.headers.get("Content-Range")
    if header is None:
        if request.content_length is None:
            raise BadMessage("an upload says how long it is", code="length_required")
        return 0, request.content_length
    found = _CONTENT_RANGE.match(header)
    if found is None:
        raise BadMessage("an upload's Content-Range is `bytes FIRST-LAST/TOTAL`")
    first, last, total = (int(group) for group in found.groups())
    if not first <= last < total or request.content_length != last - first + 1:
        raise BadMessage("an upload's Content-Range contradicts itself or its length")
    return first, total


_BLOB = "/v1/blobs/{sha256}"

ROUTES = (
    Route(method="GET", path=_BLOB, who="bearer", handler=get_blob, summary="A blob's bytes; Range: bytes=N- goes on"),
    Route(method="HEAD", path=_BLOB, who="bearer", handler=head_blob, summary="Whether you have uploaded it"),
    Route(
        method="PUT",
        path=_BLOB,
        who="bearer",
        handler=put_blob,
        body_limit=MAX_BLOB_BYTES,
        summary="Upload a blob, whole or in pieces",
    ),
)
