"""Asks the home router of its line: UPnP's InternetGatewayDevice, and TR-064 where it has that.

Our own client, of one page: async-upnp-client would do the same, but brings aiohttp (12 MB and 0.1 s more), which the
agent may not import. Nobody is believed but the default gateway, and nobody else is dialled: replies from others are
dropped, and addresses that a description names have to be its own. Nothing is set, and no password is tried: we read
what the router tells everybody in its network.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Iterable

import h11
import msgspec

from agent.facts.parsers.igd import (
    PRIVATE,
    Description,
    Service,
    parse_description,
    read_answer,
    with_connection,
    with_line,
)
from agent.facts.parsers.ssdp import GATEWAY, ROOT, Reply, parse_reply, search
from agent.facts.parsers.upnp_xml import MAX_XML_BYTES
from protocol.errors import BadMessage
from protocol.sections.network import Route
from protocol.sections.router import Router
from protocol.system_clock import Clock
from transport.dial import connect_tcp
from transport.hosts import join_port
from transport.http_wire import HttpWire

WITHIN_S = 15.0
"""For all of it. A router that answers takes 0.1 s; the slowest that we know of takes 1 s a question."""

GROUP, SSDP_PORT = "239.255.255.250", 1900
DIRECT_S = 1.0
"""For a reply to a question that was sent to the router alone (UPnP 1.1); older ones ignore it."""

GROUP_S = 2.0
"""For one to a question to the group: a device may wait for a second (MX), so that not all answer at once."""

EXCHANGE_S = 4.0
DIAL_S = 1.5
MAX_REPLIES = 8
MAX_DATAGRAMS = 256
"""That are looked at for them: a house full of televisions sends some dozen; more are not read."""

MAX_DESCRIPTIONS = 3

KNOWN = (Reply(49000, "/igddesc.xml"), Reply(49000, "/tr64desc.xml"), Reply(5000, "/rootDesc.xml"))
"""Where descriptions are if nobody answers the search: AVM's, and miniupnpd's as it comes."""

AVM_PORT, AVM_DESCRIPTION = 49000, "/tr64desc.xml"

LINE = ("GetCommonLinkProperties", "GetTotalBytesReceived", "GetTotalBytesSent")
AVM_LINE = ("GetCommonLinkProperties", "GetAddonInfos")
"""AVM counts in 64 bits there; elsewhere a counter starts again after 4 GiB."""

CONNECTION = ("GetStatusInfo", "GetExternalIPAddress")

SILENT = (OSError, TimeoutError, BadMessage, h11.ProtocolError)
"""What it is when a router does not answer, or not with what was asked."""


async def look_at_router(routes: Iterable[Route], clock: Clock) -> Router:
    """What the first IPv4 gateway says; without asking where it is none of a home: those have private addresses."""
    gateway = next((r.gateway for r in routes if r.family == 4 and r.gateway and _is_at_home(r.gateway)), "")
    look = _Look(gateway, clock)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(WITHIN_S):
            if gateway:
                await look.run()
    return look.seen


def _is_at_home(address: str) -> bool:
    return any(ipaddress.ip_address(address) in network for network in PRIVATE)


class _Look:
    """seen: what is known so far, so that a router that falls silent in the middle has said something."""

    def __init__(self, gateway: str, clock: Clock) -> None:
        self._gateway = gateway
        self._clock = clock
        self.seen = Router(address=gateway)

    async def run(self) -> None:
        replies = await _search(self._gateway)
        described = await self._first_described(replies) or await self._first_described(KNOWN)
        if described is None:
            return
        reply, description = described
        is_tr064 = any("dslforum" in service.urn for service in description.services)
        self._replace(
            asked_by="tr064" if is_tr064 else "igd",
            maker=description.maker,
            model=description.model,
            firmware=description.firmware,
        )
        if reply.port == AVM_PORT and not is_tr064:
            with contextlib.suppress(*SILENT):
                self._replace(firmware=(await self._describe(AVM_PORT, AVM_DESCRIPTION)).firmware)
        for service in description.services:
            await self._ask(service, AVM_LINE if reply.port == AVM_PORT else LINE)

    async def _first_described(self, replies: Iterable[Reply]) -> tuple[Reply, Description] | None:
        ordered = sorted(replies, key=lambda reply: not reply.is_gateway)[:MAX_DESCRIPTIONS]
        for reply in ordered:
            with contextlib.suppress(*SILENT):
                description = await self._describe(reply.port, reply.path)
                if description.services:
                    return reply, description
        return None

    async def _describe(self, port: int, path: str) -> Description:
        status, body = await _exchange(self._gateway, port, "GET", path)
        if status != 200:
            raise BadMessage(f"no description: status {status}")
        return parse_description(body, self._gateway, port)

    async def _ask(self, service: Service, line: tuple[str, ...]) -> None:
        answers: dict[str, str] = {}
        for action in CONNECTION if service.is_connection else line:
            with contextlib.suppress(*SILENT):
                answers |= await self._act(service, action)
        if service.is_connection:
            self.seen = with_connection(self.seen, answers, self._clock.now())
        else:
            self.seen = with_line(self.seen, answers)

    async def _act(self, service: Service, action: str) -> dict[str, str]:
        """Raises what SILENT names; a refusal among it, which comes with status 500."""
        body = (
            '<?xml version="1.0"?>\r\n<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
            's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
            f'<u:{action} xmlns:u="{service.urn}"></u:{action}></s:Body></s:Envelope>\r\n'
        ).encode("ascii")
        headers = [("Content-Type", 'text/xml; charset="utf-8"'), ("SOAPAction", f'"{service.urn}#{action}"')]
        _, answer = await _exchange(self._gateway, service.port, "POST", service.path, headers, body)
        return read_answer(answer, action)

    def _replace(self, **values: str) -> None:
        self.seen = msgspec.structs.replace(self.seen, **values)


async def _search(gateway: str) -> list[Reply]:
    """The descriptions that it names: asked alone first, then with the group, for routers that only hear that."""
    found: list[Reply] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.setblocking(False)
        with contextlib.suppress(OSError):
            asker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(_own_address(gateway)))
        for host, wait_s in ((gateway, DIRECT_S), (GROUP, GROUP_S)):
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(wait_s):
                    await _replies(asker, host, gateway, found)
            if found:
                break
    return found


async def _replies(asker: socket.socket, host: str, gateway: str, found: list[Reply]) -> None:
    """Until one is a gateway's, or there are enough; the caller sets the deadline."""
    loop = asyncio.get_running_loop()
    for target in (GATEWAY, ROOT):
        await loop.sock_sendto(asker, search(target, host), (host, SSDP_PORT))
    for _ in range(MAX_DATAGRAMS):
        if len(found) >= MAX_REPLIES or any(reply.is_gateway for reply in found):
            break
        data, sender = await loop.sock_recvfrom(asker, 2048)
        if sender[0] == gateway and (reply := parse_reply(data, gateway)) is not None and reply not in found:
            found.append(reply)
        await asyncio.sleep(0)  # where one is there already, sock_recvfrom lets no deadline fire


def _own_address(gateway: str) -> str:
    """Of the interface that leads there: the group's question goes out by that one. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect((gateway, SSDP_PORT))
        address: str = way.getsockname()[0]
        return address


async def _exchange(
    gateway: str, port: int, method: str, path: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
) -> tuple[int, bytes]:
    """Status and body of an answer, at most MAX_XML_BYTES. A redirect is an answer like any other."""
    async with asyncio.timeout(DIAL_S):
        connection = await connect_tcp(gateway, port)
    wire = HttpWire(*await asyncio.open_connection(sock=connection))
    try:
        async with asyncio.timeout(EXCHANGE_S):
            length = [("Content-Length", str(len(body)))] if method == "POST" else []
            await wire.send(
                method,
                path,
                [("Host", join_port(gateway, port)), *headers, *length, ("Connection", "close")],
                [body] if body else [],
            )
            answer = await wire.answer()
            content = bytearray()
            async for chunk in wire.body():
                content += chunk
                if len(content) > MAX_XML_BYTES:
                    raise BadMessage("an answer that is too long")
            return answer.status_code, bytes(content)
    finally:
        wire.close()
