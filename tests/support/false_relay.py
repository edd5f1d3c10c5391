"""A relay in the tester's hands: it enrols, links and serves blobs as a real one, or says whatever the test wants.

async with FalseRelay() as relay:
    token = relay.organisation.join_token()      # an agent that joins with it comes here
    link = await relay.next_link()               # challenged and answered; not welcomed yet
    await link.welcome(); link.send(...)
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar

from aiohttp import WSMsgType, web

from protocol.api import EnrolAnswer
from protocol.codec import Record, encode
from protocol.enrolment import verify_enrolment
from protocol.ids import DeviceId, Sha256, sha256
from protocol.link import Challenge, Hello, Ping, PolicyNumber, Pong, Welcome, decode_to_relay
from protocol.policy import Relay
from protocol.statement import Signed
from tests.support.organisation import Organisation
from tests.support.tls_relay import HttpRelay

M = TypeVar("M", bound=Record)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
WITHIN_S = 60.0


class FalseRelay(HttpRelay):
    """organisation: what it serves to whoever asks.  blobs: by hash.  failures: so many requests for one fail next."""

    def __init__(self, **policy: Any) -> None:
        super().__init__()
        self.app.middlewares.append(self._count_legs)
        self._policy = policy
        self.blobs: dict[str, bytes] = {}
        self.sealing_keys: dict[DeviceId, str] = {}
        self.failures = 0
        self.blob_requests = 0
        self.blob_headers: dict[str, str] = {}
        self.legs_dialled = 0
        self._links: asyncio.Queue[FalseLink] = asyncio.Queue()
        self.app.add_routes(
            [
                web.post("/v1/organisations/{organisation}/enrol", self._enrol),
                web.get("/v1/organisations/{organisation}/charters", self._charters),
                web.get("/v1/organisations/{organisation}/policy", self._latest),
                web.get("/v1/link", self._link),
                web.get("/v1/blobs/{name}", self._blob),
                web.put("/v1/blobs/{name}", self._put),
            ]
        )

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        url = f"https://127.0.0.1:{self.port}"
        self.organisation = Organisation(Relay(url=url, pin=self.certificate.pin), **self._policy)
        self.served = list(self.organisation.policies)
        return self

    def offer_blob(self, signed: Signed) -> Sha256:
        """Keep a document as a blob, and return the name under which it is announced."""
        data = encode(signed)
        self.blobs[sha256(data)] = data
        return sha256(data)

    async def next_link(self) -> FalseLink:
        """The next one that was challenged and said hello."""
        async with asyncio.timeout(WITHIN_S):
            return await self._links.get()

    @web.middleware
    async def _count_legs(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.legs_dialled += request.path.startswith("/v1/legs/")
        return await handler(request)

    # -- routes -----------------------------------------------------------------------------------------------------

    async def _enrol(self, request: web.Request) -> web.Response:
        signed = _signed(await request.read())
        rules = self.organisation.authority().enrolment_rules()
        enrolment = verify_enrolment(signed, rules=rules, organisation=self.organisation.id, now=time.time())
        self.sealing_keys[enrolment.device] = enrolment.statement.sealing_key
        answer = EnrolAnswer(
            device=enrolment.device,
            charters=tuple(self.organisation.charters),
            policy=self.organisation.policies[-1],
            tags=enrolment.grant.tags,
        )
        return _json(answer)

    async def _charters(self, request: web.Request) -> web.Response:
        return _json(tuple(self.organisation.charters))

    async def _latest(self, request: web.Request) -> web.Response:
        return _json(self.served[-1])

    async def _blob(self, request: web.Request) -> web.Response:
        self.blob_requests += 1
        if self.failures:
            self.failures -= 1
            raise web.HTTPServiceUnavailable
        data = self.blobs.get(request.match_info["name"])
        if data is None:
            raise web.HTTPNotFound
        return web.Response(body=data, headers=self.blob_headers)

    async def _put(self, request: web.Request) -> web.Response:
        self.blobs[request.match_info["name"]] = await request.read()
        return web.Response(status=201)

    async def _link(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=1024 * 1024)
        await socket.prepare(request)
        link = FalseLink(self, socket, request.transport)
        await self._links.put(link)
        await link.ended.wait()
        return socket


class FalseLink:
    """What is sent is what the test says, from the very first message."""

    def __init__(self, relay: FalseRelay, socket: web.WebSocketResponse, transport: asyncio.Transport | None) -> None:
        self.relay = relay
        self.socket = socket
        assert transport is not None
        self._transport = transport
        self.nonce = "n" * 43
        self.heard: list[Any] = []
        self.used: set[str] = set()  # nonces of the device's that a request of the test has
        self.ended = asyncio.Event()

    async def send(self, message: Record | str | bytes) -> None:
        if isinstance(message, bytes):
            await self.socket.send_bytes(message)
        else:
            await self.socket.send_str(message if isinstance(message, str) else encode(message).decode())

    async def send_raw(self, *pieces: bytes, pause_s: float = 0.0) -> None:
        """Send bytes that are no frames of ours, until the agent hangs up."""
        for piece in pieces:
            if self._transport.is_closing():
                break
            self._transport.write(piece)
            with contextlib.suppress(AttributeError):  # of a transport that was cut meanwhile
                while not self._transport.is_closing() and self._transport.get_write_buffer_size() > 1 << 20:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(pause_s)

    async def challenge(self, **changes: Any) -> Hello:
        """Challenge the agent, and return its hello."""
        fields: dict[str, Any] = {"nonce": self.nonce, "relay_time": int(time.time()), "versions": (1,)}
        await self.send(Challenge(**{**fields, **changes}))
        return await self.next(Hello)

    async def welcome(self, *, challenge: dict[str, Any] | None = None, **changes: Any) -> Hello:
        """Challenge and welcome."""
        hello = await self.challenge(**(challenge or {}))
        fields: dict[str, Any] = {
            "version": 1,
            "heartbeat_s": 25.0,
            "blob_token": "b" * 43,
            "charter": 1,
            "policy": PolicyNumber(epoch=0, number=1),
            "record": 0,
            "report": 0,
        }
        await self.send(Welcome(**{**fields, **changes}))
        return hello

    async def next(self, type_: type[M]) -> M:
        """The next message of a type; pings are answered, others passed over."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                received = await self.socket.receive()
                if received.type is not WSMsgType.TEXT:
                    raise AssertionError(f"the agent ended the link: {received}")
                message = decode_to_relay(received.data)
                self.heard.append(message)
                if isinstance(message, Ping):
                    await self.send(Pong(id=message.id))
                if isinstance(message, type_):
                    return message

    async def wait_ended(self) -> None:
        """Until the agent hangs up."""
        async with asyncio.timeout(WITHIN_S):
            while (await self.socket.receive()).type in (WSMsgType.TEXT, WSMsgType.BINARY):
                pass
        self.ended.set()

    async def close(self) -> None:
        self.ended.set()
        await self.socket.close()


def _json(value: object) -> web.Response:
    return web.Response(body=encode(value), content_type="application/json")


def _signed(data: bytes) -> Signed:
    from protocol.codec import decode

    return decode(data, Signed)
