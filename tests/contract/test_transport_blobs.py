"""Blobs and events: whole and right, whatever happens to the connection."""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Awaitable

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import AuxilioError, BadMessage, PeerFault, Refused, RelayUnreachable, Untrusted
from protocol.ids import sha256
from tests.support.tls_relay import HttpRelay
from transport import blobs, events
from transport.blobs import DIRECT_BYTES, download_blob, get_blob, put_blob
from transport.events import EventParser, ServerEvent
from transport.events import events as read_events
from transport.failures import RelayFailed
from transport.http import RelayClient

BLOB = random.Random(1).randbytes(3_000_000)
NAME = sha256(BLOB)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "PAUSE_S", 0.0)


async def failure(asked: Awaitable[object]) -> AuxilioError:
    with pytest.raises(AuxilioError) as caught:
        await asked
    return caught.value


class BlobRelay(HttpRelay):
    """Keeps blobs in memory, whole and unfinished; cuts the connection when told to.

    cut_after: bytes of bodies, either way, after which a connection is cut; each entry is used once.
    """

    def __init__(self, *, resumable: bool = True) -> None:
        super().__init__()
        self.whole: dict[str, bytes] = {}
        self.parts: dict[str, bytearray] = {}
        self.cut_after: list[int] = []
        self.received = 0
        self.resumable = resumable
        self.requests: list[str] = []
        self.app.router.add_get("/v1/blobs/{name}", self.serve)
        self.app.router.add_put("/v1/blobs/{name}", self.store)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.headers.get('Range', '')}".strip())
        name = request.match_info["name"]
        blob = self.whole.get(name)
        if blob is None:
            beginning = {"Upload-Offset": str(len(self.parts.get(name, b"")))}
            return web.Response(status=404, headers=beginning if self.resumable else {})
        start = int(request.headers.get("Range", "bytes=0-")[6:-1]) if self.resumable else 0
        if start and start >= len(blob):
            return web.Response(status=416)
        response = web.StreamResponse(status=206 if start else 200)
        response.content_length = len(blob) - start
        if start:
            response.headers["Content-Range"] = f"bytes {start}-{len(blob) - 1}/{len(blob)}"
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        body = blob[start:]
        if self.cut_after:
            await response.write(body[: self.cut_after.pop(0)])
            assert request.transport is not None
            await asyncio.sleep(0.01)
            request.transport.close()
            return response
        await response.write(body)
        return response

    async def store(self, request: web.Request) -> web.Response:
        self.requests.append(f"PUT {request.headers.get('Content-Range', '')}".strip())
        name = request.match_info["name"]
        part = self.parts.setdefault(name, bytearray())
        claimed = request.headers.get("Content-Range")
        start, total = 0, request.content_length or 0
        if claimed is not None:
            first, _, rest = claimed.removeprefix("bytes ").partition("-")
            start, total = int(first), int(rest.partition("/")[2])
        if start != len(part):
            if start:
                return web.Response(status=409, headers={"Upload-Offset": str(len(part))})
            part.clear()
        budget = self.cut_after.pop(0) if self.cut_after else None
        async for chunk in request.content.iter_any():
            part += chunk
            self.received += len(chunk)
            if budget is not None and budget < len(part) - start < total - start:
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
        if len(part) == total:
            blob = bytes(self.parts.pop(name))
            if sha256(blob) != name:
                return web.json_response({"code": "wrong_hash", "message": "not that blob"}, status=400)
            self.whole[name] = blob
        return web.Response(status=201)


@pytest.mark.parametrize("resumable", [True, False])
async def test_a_download_survives_cuts_and_goes_on_where_it_was(resumable: bool) -> None:
    relay = BlobRelay(resumable=resumable)
    relay.whole[NAME] = BLOB
    relay.cut_after = [1_000_000, 500_000]
    async with relay, RelayClient(relay.address) as client:
        assert await get_blob(client, NAME) == BLOB
        file = io.BytesIO()
        assert await download_blob(client, NAME, file, limit=len(BLOB)) == len(BLOB)
        assert file.getvalue() == BLOB
    assert len(relay.requests) == 4
    assert relay.requests[1].startswith("GET bytes=")


async def test_a_blob_is_the_one_that_was_asked_for_or_none() -> None:
    relay = BlobRelay()
    relay.whole[NAME] = BLOB[:-1] + b"\x00"
    async with relay, RelayClient(relay.address) as client:
        error = await failure(get_blob(client, NAME))
        assert isinstance(error, Untrusted)
        assert error.reason == "wrong_hash"
        relay.whole[NAME] = BLOB + b"x"
        assert isinstance(await failure(get_blob(client, NAME, limit=len(BLOB))), BadMessage)
        missing = await failure(get_blob(client, sha256(b"missing")))
        assert isinstance(missing, Refused)
        assert missing.reason == "not_found"


async def test_a_download_that_is_cut_again_and_again_ends() -> None:
    relay = BlobRelay()
    relay.whole[NAME] = BLOB
    relay.cut_after = [0] * 50
    async with relay, RelayClient(relay.address) as client:
        assert isinstance(await failure(get_blob(client, NAME)), RelayUnreachable)
    assert len(relay.requests) == blobs.ATTEMPTS


async def test_a_relay_that_sends_another_part_than_asked_is_caught() -> None:
    lies = [{}, {"Content-Range": "bytes 5-5/6"}, {"Content-Range": "bytes */6"}, {"Content-Range": "x" * 5000}]

    async def serve(request: web.Request) -> web.Response:
        return web.Response(status=206, body=b"x", headers=lies[0])

    relay = HttpRelay()
    relay.app.router.add_get("/v1/blobs/{name}", serve)
    async with relay, RelayClient(relay.address) as client:
        while lies:
            assert isinstance(await failure(get_blob(client, NAME)), PeerFault)
            lies.pop(0)


async def test_a_full_disk_is_the_callers_error_and_leaves_no_connection_open() -> None:
    class Full(io.BytesIO):
        def write(self, data: object, /) -> int:
            raise OSError(28, "No space left on device")

    relay = BlobRelay()
    relay.whole[NAME] = BLOB
    async with relay, RelayClient(relay.address) as client:
        with pytest.raises(OSError, match="No space"):
            await download_blob(client, NAME, Full(), limit=len(BLOB))
        assert await get_blob(client, NAME) == BLOB


@pytest.mark.parametrize("size", [0, 1, DIRECT_BYTES, DIRECT_BYTES + 1, len(BLOB)])
async def test_an_upload_of_any_size_arrives(size: int) -> None:
    relay = BlobRelay()
    async with relay, RelayClient(relay.address) as client:
        name = await put_blob(client, BLOB[:size])
        assert relay.whole[name] == BLOB[:size]
        count = len(relay.requests)
        assert await put_blob(client, BLOB[:size]) == name
        if size > DIRECT_BYTES:
            assert relay.requests[count:] == ["HEAD"]


@pytest.mark.parametrize("cuts", [[0, 0], [1000, 1000], [900_000] * 3, [300_000] * 8])
async def test_an_upload_survives_cuts_and_goes_on_where_it_was(cuts: list[int]) -> None:
    relay = BlobRelay()
    relay.cut_after = list(cuts)
    async with relay, RelayClient(relay.address) as client:
        await put_blob(client, BLOB)
        assert relay.whole[NAME] == BLOB
    assert relay.received < len(BLOB) + 2_000_000, relay.requests


async def test_an_upload_waits_where_the_relay_still_holds_the_cut_connection() -> None:
    answers = [(429, "0"), (202, "0"), (201, "0"), (429, "3600")]

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        status, retry_after = answers.pop(0)
        return web.Response(status=status, headers={"Retry-After": retry_after})

    relay = HttpRelay()
    relay.app.router.add_put("/v1/blobs/{name}", answer)
    async with relay, RelayClient(relay.address) as client:
        assert await put_blob(client, b"small") == sha256(b"small")
        assert len(answers) == 1
        assert isinstance(await failure(put_blob(client, b"small")), RelayFailed)
        assert not answers


async def test_a_relay_that_keeps_no_beginnings_gets_the_whole_again() -> None:
    relay = BlobRelay(resumable=False)
    relay.cut_after = [900_000, 900_000]
    async with relay, RelayClient(relay.address) as client:
        await put_blob(client, BLOB)
        assert relay.whole[NAME] == BLOB
        relay.cut_after = [900_000] * 50
        assert isinstance(await failure(put_blob(client, BLOB[::-1])), RelayUnreachable)
    assert relay.requests.count("PUT") == 3 + blobs.ATTEMPTS


async def test_an_upload_that_the_relay_refuses_ends() -> None:
    async def refuse(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=409, headers={"Upload-Offset": "0"})

    relay = HttpRelay()
    relay.app.router.add_put("/v1/blobs/{name}", refuse)
    async with relay, RelayClient(relay.address) as client:
        assert isinstance(await failure(put_blob(client, b"small")), Refused)
        assert isinstance(await failure(put_blob(client, BLOB)), Refused)


# -- events -----------------------------------------------------------------------------------------------------


def test_events_are_read_as_the_standard_says() -> None:
    parser = EventParser()
    text = (
        ": a comment\n\n"
        'event: presence\nid: 7\ndata: {"a":\ndata: 1}\n\n'
        "data\n\n"
        "id: 8\r\ndata:no space\r\nunknown: x\r\nretry: 5\r\n\r\n"
        "data: unfinished"
    )
    assert parser.feed(text.encode()) == [
        ServerEvent("7", "presence", '{"a":\n1}'),
        ServerEvent("7", "message", ""),
        ServerEvent("8", "message", "no space"),
    ]
    assert parser.feed(b"\n\n") == [ServerEvent("8", "message", "unfinished")]


@given(st.lists(st.integers(1, 40), max_size=10), st.text("ab: \n\r", max_size=80))
def test_events_do_not_depend_on_how_the_bytes_are_cut(cuts: list[int], text: str) -> None:
    whole = EventParser().feed(text.encode())
    parser, found, rest = EventParser(), [], text.encode()
    for cut in cuts:
        found += parser.feed(rest[:cut])
        rest = rest[cut:]
    assert found + parser.feed(rest) == whole


@pytest.mark.parametrize("flood", [b"data: " + b"x" * 200, b"data: x\n" * 40, b"\xff\n", b"id: \xc3\n"])
def test_an_event_without_bounds_is_refused(flood: bytes) -> None:
    with pytest.raises(BadMessage):
        EventParser(limit=100).feed(flood)


async def test_events_stream_until_the_relay_ends_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []

    async def stream(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers.get("Last-Event-ID"))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(3):
            await response.write(f"id: {number}\ndata: n{number}\n\n".encode())
        if request.query.get("hang"):
            await asyncio.Event().wait()
        return response

    relay = HttpRelay()
    relay.app.router.add_get("/v1/events", stream)
    async with relay, RelayClient(relay.address) as client:
        got = []
        with pytest.raises(RelayUnreachable):
            async for event in read_events(client, "/v1/events", last_id="41"):
                got.append(event.data)
        assert got == ["n0", "n1", "n2"]
        assert asked == ["41"]
        monkeypatch.setattr(events, "SILENCE_S", 0.2)
        with pytest.raises(RelayUnreachable, match="in time"):
            async for event in read_events(client, "/v1/events", query={"hang": 1}, last_id="x\r\ny"):
                got.append(event.data)
        assert len(got) == 6
        assert asked[1] is None
