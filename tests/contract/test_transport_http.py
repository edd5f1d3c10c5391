"""The HTTP client against a real server, and against servers that no sane operator would run."""

from __future__ import annotations

import asyncio
import gc
import json
import resource
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from aiohttp import web

from protocol.errors import AuxilioError, BadMessage, PeerFault, Refused, RelayUnreachable, Unavailable
from tests.support.tls_relay import HttpRelay, RawRelay
from transport.failures import RelayFailed, RelayTimeout
from transport.http import MAX_CONNECTIONS, RelayClient


class Greeting(msgspec.Struct, frozen=True):
    text: str
    number: int = 0


async def failure(asked: Awaitable[object]) -> AuxilioError:
    with pytest.raises(AuxilioError) as caught:
        await asked
    return caught.value


async def test_a_typed_request_and_answer_over_one_kept_connection() -> None:
    ports = set()

    async def greet(request: web.Request) -> web.Response:
        assert request.transport is not None
        ports.add(request.transport.get_extra_info("peername"))
        asked = json.loads(await request.read())
        assert request.headers["Authorization"] == "Bearer token"
        assert request.headers["Content-Type"] == "application/json"
        assert request.headers["Host"] == relay.address.dialled_name
        assert dict(request.query) == {"selector": "tag:a or b&c", "limit": "3"}
        return web.json_response({"text": asked["text"].upper(), "number": 7, "from_tomorrow": [1]})

    relay = HttpRelay()
    relay.app.router.add_post("/v1/greet", greet)
    async with relay, RelayClient(relay.address, bearer="token") as client:
        for _ in range(5):
            answer = await client.request(
                "POST",
                "/v1/greet",
                Greeting,
                body=Greeting("hé"),
                query={"selector": "tag:a or b&c", "limit": 3},
            )
            assert answer == Greeting("HÉ", 7)
        assert len(ports) == 1


@pytest.mark.parametrize(
    ("status", "body", "kind", "reason", "message"),
    [
        (403, {"code": "out_of_scope", "message": "not yours", "hint": "ask"}, Refused, "out_of_scope", "not yours"),
        (401, None, Refused, "unauthorized", "the relay answered 401"),
        (404, "<html>", Refused, "not_found", "the relay answered 404"),
        (409, {"code": "conflict", "message": "changed"}, Refused, "conflict", "changed"),
        (400, {"code": "X" * 900, "message": "m"}, Refused, "refused", "m"),
        (400, {"code": "a\u001b[31m", "message": "red \u001b[31m"}, Refused, "refused", "red \\x1b[31m"),
        (429, {"code": "too_many", "message": "slower"}, RelayFailed, "too_many", "slower"),
        (500, None, RelayFailed, "relay_failed", "the relay answered 500"),
        (503, ["no", "error"], RelayFailed, "relay_failed", "the relay answered 503"),
        (301, None, PeerFault, "unexpected_status", "the relay answered 301, which means nothing here"),
        (206, None, PeerFault, "unexpected_status", "the relay answered 206, which means nothing here"),
    ],
)
async def test_a_refusal_is_told_in_the_relays_words(
    status: int, body: object, kind: type[AuxilioError], reason: str, message: str
) -> None:
    async def refuse(request: web.Request) -> web.Response:
        text = body if isinstance(body, str) else "" if body is None else json.dumps(body)
        headers = {"Retry-After": "17", "Location": "https://elsewhere.example/"}
        return web.Response(status=status, text=text, headers=headers)

    relay = HttpRelay()
    relay.app.router.add_get("/no", refuse)
    async with relay, RelayClient(relay.address) as client:
        error = await failure(client.request("GET", "/no", Greeting))
        assert type(error) is kind
        assert error.reason == reason
        assert error.message == message
        if isinstance(error, RelayFailed):
            assert error.retry_after_s == 17.0
        # An error leaves the connection fit for the next request.
        assert (await failure(client.request("GET", "/no", Greeting))).reason == reason


async def test_what_the_relay_answers_is_bounded_and_typed() -> None:
    async def huge(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while request.transport is not None and not request.transport.is_closing():
            await response.write(b"x" * 65536)
            await asyncio.sleep(0)  # the client lives on the same loop, and a write need not give way
        return response

    async def other(request: web.Request) -> web.Response:
        return web.json_response({"text": 1})

    relay = HttpRelay()
    relay.app.router.add_get("/huge", huge)
    relay.app.router.add_get("/other", other)
    async with relay, RelayClient(relay.address) as client:
        assert isinstance(await failure(client.request("GET", "/huge", Greeting)), BadMessage)
        assert isinstance(await failure(client.request("GET", "/other", Greeting)), BadMessage)
        assert isinstance(await failure(client.request("GET", "/other", Greeting, limit=3)), BadMessage)


Reply = Callable[[asyncio.StreamWriter], Awaitable[None]]


async def asked_of(reply: Reply, *, timeout_s: float = 60.0) -> AuxilioError:
    """What a GET ends with at a server that reads a request and then does `reply`."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await relay.request(reader)
            await reply(writer)

    relay = RawRelay(talk)
    async with relay, RelayClient(relay.address, timeout_s=timeout_s) as client:
        return await failure(client.request("GET", "/", Greeting))


async def test_a_server_that_never_answers_is_left_at_the_deadline() -> None:
    async def silence(writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    assert isinstance(await asked_of(silence, timeout_s=0.3), RelayTimeout)


async def test_a_server_that_drips_is_left_at_the_deadline_too() -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.01)

    assert isinstance(await asked_of(drip, timeout_s=0.5), RelayTimeout)


async def test_an_endless_header_is_cut_off_within_bounded_memory() -> None:
    async def babble(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-Filler: " + b"x" * 1000 + b"\r\n")
            await writer.drain()

    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert isinstance(await asked_of(babble), PeerFault)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 * 1024


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1" + b"0" * 100_000,
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/1.1 200 OK\x00\r\n\r\n",
        b"\x00" * 100,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_the_relays_fault(answer: bytes) -> None:
    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    error = await asked_of(say, timeout_s=20)
    assert isinstance(error, PeerFault)
    assert error.message.isprintable()


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"HTTP/1.1 200 O",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
)
async def test_a_connection_cut_in_the_middle_is_a_network_failure(beginning: bytes) -> None:
    async def cut(writer: asyncio.StreamWriter) -> None:
        writer.write(beginning)
        await writer.drain()
        writer.close()
        raise ConnectionError

    error = await asked_of(cut)
    assert isinstance(error, RelayUnreachable)
    assert not isinstance(error, RelayTimeout)


async def test_a_kept_connection_that_died_is_replaced_where_repeating_is_safe() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one request, and hangs up on the second without having looked at it."""
        await relay.request(reader)
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"text":"one"}')
        await relay.request(reader)

    relay = RawRelay(once)
    async with relay, RelayClient(relay.address) as client:
        for _ in range(3):
            assert await client.request("GET", "/", Greeting) == Greeting("one")
        assert relay.accepted == 3
        # A POST may have been acted on: it is not silently sent twice.
        assert isinstance(await failure(client.request("POST", "/", Greeting)), RelayUnreachable)
        assert relay.accepted == 3


async def test_a_refusal_before_the_end_of_a_large_body_is_still_heard() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await relay.request(reader)
        body = b'{"code":"too_large","message":"1 MiB is the most"}'
        writer.write(b"HTTP/1.1 413 X\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        await reader.read(100_000)
        writer.write_eof() if writer.can_write_eof() else writer.close()

    relay = RawRelay(refuse)
    async with relay, RelayClient(relay.address) as client:
        with pytest.raises((Refused, RelayUnreachable)) as caught:
            await client.request("POST", "/", None, body=Greeting("x" * 4_000_000))
        # The kernel may drop the answer when the server resets; what we must not do is hang or crash.
        assert caught.value.reason in ("too_large", "relay_unreachable")


async def test_many_at_once_share_a_few_connections_and_a_cancelled_one_poisons_none() -> None:
    busy, most = 0, 0

    async def slow(request: web.Request) -> web.Response:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.01)
        busy -= 1
        return web.json_response({"text": request.query["n"]})

    relay = HttpRelay()
    relay.app.router.add_get("/slow", slow)
    async with relay, RelayClient(relay.address) as client:

        async def ask(n: int) -> Greeting:
            return await client.request("GET", "/slow", Greeting, query={"n": n})

        answers = await asyncio.gather(*(ask(n) for n in range(30)))
        assert [answer.text for answer in answers] == [str(n) for n in range(30)]
        assert most <= MAX_CONNECTIONS
        tasks = [asyncio.ensure_future(ask(n)) for n in range(8)]
        await asyncio.sleep(0.005)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        answers = await asyncio.gather(*(ask(n) for n in range(8)))
        assert [answer.text for answer in answers] == [str(n) for n in range(8)]


async def test_a_token_from_a_hostile_relay_cannot_add_a_header() -> None:
    async with HttpRelay() as relay, RelayClient(relay.address) as client:
        for token in ("a\r\nX-Evil: 1", "a b", "", "é", "x" * 9000):
            if token:
                assert isinstance(await failure(client.request("GET", "/", None, bearer=token)), BadMessage)


async def test_an_unavailable_relay_is_worth_another_try() -> None:
    assert issubclass(RelayFailed, Unavailable)
    assert issubclass(RelayTimeout, RelayUnreachable)
    assert issubclass(RelayUnreachable, Unavailable)
