"""Asks each configured name server by itself: the system's resolver hides which of them is dead and which lies."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence

from agent.connectivity.dns_wire import AAAA, NO_ERROR, NXDOMAIN, REFUSED, SERVFAIL, A, Answer, question, read_answer
from agent.connectivity.observed import DnsOutcome, NameServer
from protocol.errors import BadMessage
from protocol.system_clock import Clock

PORT = 53
TRIES_S = (1.0, 2.0, 3.0)
"""How long each of the questions waits. glibc gives up on a server after 5 s."""

MAX_SERVERS = 8

_OUTCOMES: dict[int, DnsOutcome] = {NXDOMAIN: "no_name", SERVFAIL: "servfail", REFUSED: "refused"}


def name_that_cannot_be() -> str:
    """A name that nobody has, below a real domain, so that only the real domain's servers can deny it: no server's
    cache holds it, and a router that answers "no such name" has asked somebody beyond it."""
    return f"auxilio-{secrets.token_hex(10)}.com"


async def ask_all(servers: Sequence[str], name: str | None, clock: Clock) -> tuple[NameServer, ...]:
    """name: the relay's; None where it is dialled by address, and then only the name that cannot be is asked for."""
    return tuple(await asyncio.gather(*(_ask_one(server, name, clock) for server in servers[:MAX_SERVERS])))


async def _ask_one(server: str, name: str | None, clock: Clock) -> NameServer:
    begun = clock.monotonic()
    nowhere, (first, six) = await asyncio.gather(
        _resolve(server, name_that_cannot_be(), A),
        _both(server, name) if name is not None else _neither(),
    )
    outcome, answer = nowhere if name is None else first
    if name is None and outcome == "no_name":
        outcome = "answered"  # as it should
    addresses = () if name is None or answer is None else answer.addresses
    if six is not None and six[1] is not None:
        addresses += six[1].addresses
    if addresses:
        outcome = "answered"
    invented = nowhere[1].addresses if nowhere[1] is not None else ()
    ms = (clock.monotonic() - begun) * 1000 if outcome not in ("silent", "closed") else None
    return NameServer(
        server=server,
        outcome=outcome,
        addresses=addresses,
        ms=ms,
        invents=bool(invented),
        invented=invented,
        asks_others=nowhere[0] == "no_name",
    )


_Answered = tuple[DnsOutcome, Answer | None]


async def _both(server: str, name: str) -> tuple[_Answered, _Answered]:
    return await asyncio.gather(_resolve(server, name, A), _resolve(server, name, AAAA))


async def _neither() -> tuple[_Answered, None]:
    return ("silent", None), None


async def _resolve(server: str, name: str, kind: int) -> _Answered:
    loop = asyncio.get_running_loop()
    try:
        transport, client = await loop.create_datagram_endpoint(_Client, remote_addr=(server, PORT))
    except OSError:
        return "silent", None
    outcome: DnsOutcome = "silent"
    try:
        for wait_s in TRIES_S:
            ident = secrets.randbelow(0x10000)
            transport.sendto(question(name, kind, ident))
            try:
                async with asyncio.timeout(wait_s):
                    return _outcome(await client.answer(kind, ident))
            except TimeoutError:
                continue
            except ConnectionRefusedError:
                outcome = "closed"
                break
            except OSError:
                break
    finally:
        transport.close()
    return outcome, None


def _outcome(answer: Answer) -> _Answered:
    if answer.rcode != NO_ERROR:
        return _OUTCOMES.get(answer.rcode, "garbled"), answer
    return ("answered" if answer.addresses else "no_address"), answer


class _Client(asyncio.DatagramProtocol):
    """Answers of one server, from whoever has its address; what is no answer to our question is not for us."""

    def __init__(self) -> None:
        self._heard: asyncio.Queue[bytes | Exception] = asyncio.Queue(maxsize=64)

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._put(data)

    def error_received(self, exc: Exception) -> None:
        self._put(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        pass

    def _put(self, what: bytes | Exception) -> None:
        if not self._heard.full():
            self._heard.put_nowait(what)

    async def answer(self, kind: int, ident: int) -> Answer:
        """Raises OSError as the socket told it."""
        while True:
            heard = await self._heard.get()
            if isinstance(heard, Exception):
                raise heard
            try:
                return read_answer(heard, kind, ident)
            except BadMessage:
                continue
