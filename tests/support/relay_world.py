"""A relay, an organisation, its people, and devices that are only a link: what the relay's contract tests play with."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.api import Device, EnrolAnswer, SessionNonce, SessionStarted, StartSession
from protocol.codec import Record, decode, encode
from protocol.enrolment import EnrolStatement
from protocol.ids import DeviceId, SessionId, Sha256, device_id, sha256
from protocol.link import (
    VERSIONS,
    Challenge,
    Goodbye,
    Hello,
    Nonces,
    Ping,
    PolicyNumber,
    Pong,
    ReportAck,
    ReportMissing,
    ReportSent,
    SessionOffer,
    UnknownMessage,
    Welcome,
    decode_to_agent,
)
from protocol.login import LinkStatement
from protocol.policy import Relay
from protocol.report import Report, SectionRef
from protocol.sections.machine import System
from protocol.sections.memory import Memory
from protocol.sections.software import Software
from protocol.signing import KeyRawSigner, KeySigner
from protocol.statement import LINK, REPORT, Signed, seal_statement
from tests.support.organisation import Organisation, TechnicianKey, new_key
from tests.support.relay_process import RelayProcess
from transport.blobs import put_blob
from transport.http import RelayClient
from transport.relay_address import RelayAddress, parse_address
from transport.websocket import Connection, connect

M = TypeVar("M", bound=Record)
WITHIN_S = 60.0


class World:
    def __init__(self, relay: RelayProcess, organisation: Organisation) -> None:
        self.relay = relay
        self.organisation = organisation
        self.address: RelayAddress = parse_address(relay.url, relay.pin)
        self.stranger = RelayClient(self.address)
        self._clients = [self.stranger]

    def client(self, bearer: str | None = None) -> RelayClient:
        client = RelayClient(self.address, bearer=bearer)
        self._clients.append(client)
        return client

    async def technician(self, name: str = "ana", **changes: Any) -> tuple[TechnicianKey, RelayClient]:
        """A technician who is logged in. changes: as Organisation.technician's."""
        key = self.organisation.technician(name, **changes)
        return key, self.client(await self.organisation.login(self.stranger, key))

    async def close(self) -> None:
        for client in self._clients:
            await client.close()

    async def second_organisation(self) -> World:
        """Another organisation on the same relay."""
        return await begin_world(self.relay)

    async def device(self, *tags: str, suggested: tuple[str, ...] = (), key: Any = None) -> FakeDevice:
        """An enrolled device. tags: it gets a record with them; without any it stays provisional."""
        key = key or new_key()
        token = self.organisation.join_token(tags=suggested)
        signed = self.organisation.enrolment(token, key)
        path = f"/v1/organisations/{self.organisation.id}/enrol"
        answer = await self.stranger.request("POST", path, EnrolAnswer, body=signed)
        device = FakeDevice(self, key)
        assert answer.device == device.id
        if tags:
            await self.approve(device.id, *tags)
        return device

    async def approve(self, device: DeviceId, *tags: str, number: int = 1) -> None:
        admin, client = await self.technician("admin")
        told = await client.request("GET", f"/v1/devices/{device}", Device)
        sealing_key = decode(told.enrolment.payload, EnrolStatement).sealing_key
        record = self.organisation.record(device, *tags, number=number, by=admin, sealing_key=sealing_key)
        await client.request("PUT", f"/v1/devices/{device}/record", None, body=record)

    async def start_session(
        self, technician: TechnicianKey, client: RelayClient, device: DeviceId, **changes: Any
    ) -> SessionStarted:
        base = f"/v1/devices/{device}/sessions"
        nonce = await client.request("POST", f"{base}/nonce", SessionNonce)
        _, signed = self.organisation.session_request(technician, device, nonce.nonce, **changes)
        return await client.request("POST", base, SessionStarted, body=StartSession(request=signed))


async def begin_world(relay: RelayProcess, **policy: Any) -> World:
    """With a new organisation."""
    organisation = Organisation(Relay(url=relay.url, pin=relay.pin), **policy)
    await relay.add_organisation(organisation.id)
    world = World(relay, organisation)
    await organisation.publish(world.stranger)
    return world


@asynccontextmanager
async def relay_world(settings: str = "", prefix: tuple[str, ...] = ()) -> AsyncIterator[World]:
    async with RelayProcess(settings=settings, prefix=prefix) as relay:
        world = await begin_world(relay)
        try:
            yield world
        finally:
            await world.close()


class FakeDevice:
    """A device's key, and what it says. It starts no processes and believes everything."""

    def __init__(self, world: World, key: Ed25519PrivateKey) -> None:
        self.world = world
        self.key = key
        self.signer = KeySigner(key)
        self.id: DeviceId = device_id(KeyRawSigner(key).public)

    @asynccontextmanager
    async def linked(self, *, nonces: int = 8, **hello: Any) -> AsyncIterator[FakeLink]:
        link = await self.dial()
        try:
            await link.greet(**hello)
            if nonces:
                link.send_nonces(nonces)
            yield link
        finally:
            link.close()

    async def dial(self) -> FakeLink:
        return FakeLink(self, await connect(self.world.address, "/v1/link"))

    def link_statement(self, nonce: str, **changes: Any) -> Signed:
        fields: dict[str, Any] = {
            "organisation": self.world.organisation.id,
            "relay": self.world.address.dialled_name,
            "nonce": nonce,
            "device_key": Organisation.line(self.key),
            "issued_at": int(time.time()),
        }
        return seal_statement(self.signer, LINK, encode(LinkStatement(**{**fields, **changes})))

    def report(self, number: int, sections: dict[str, bytes], **changes: Any) -> Signed:
        now = int(time.time())
        refs = {
            name: SectionRef(sha256=sha256(data), size=len(data), collected_at=now) for name, data in sections.items()
        }
        fields: dict[str, Any] = {
            "organisation": self.world.organisation.id,
            "device": self.id,
            "number": number,
            "collected_at": now,
            "sections": refs,
        }
        return seal_statement(self.signer, REPORT, encode(Report(**{**fields, **changes})))


class FakeLink:
    def __init__(self, device: FakeDevice, connection: Connection) -> None:
        self.device = device
        self.connection = connection
        self.welcome: Welcome | None = None
        self.heard: list[Any] = []

    def statement(self, nonce: str, **changes: Any) -> Signed:
        return self.device.link_statement(nonce, **changes)

    async def greet(self, *, statement: dict[str, Any] | None = None, **changes: Any) -> Welcome:
        """Say hello, and return the welcome. statement, changes: fields of the LinkStatement and Hello."""
        challenge = await self.next(Challenge)
        fields: dict[str, Any] = {
            "statement": self.statement(**{"nonce": challenge.nonce, **(statement or {})}),
            "version": VERSIONS[-1],
            "agent": "0.1.0",
            "charter": 1,
            "policy": self.device.world.organisation.policy_number,
            "record": 0,
        }
        self.send(Hello(**{**fields, **changes}))
        self.welcome = await self.next(Welcome)
        return self.welcome

    def send(self, message: Record) -> None:
        self.connection.send_text(encode(message).decode())

    def send_nonces(self, count: int = 8) -> None:
        self.send(Nonces(nonces=tuple(os.urandom(32).hex()[:43] for _ in range(count)), valid_s=600))

    async def receive(self) -> Any:
        """The next message but pings, which are answered."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                message = decode_to_agent(await self.connection.receive())
                if isinstance(message, Ping):
                    self.send(Pong(id=message.id))
                else:
                    self.heard.append(message)
                    return message

    async def next(self, type_: type[M]) -> M:
        """The next message of this type; others are passed over, but a goodbye is a failure."""
        while True:
            message = await self.receive()
            if isinstance(message, type_):
                return message
            assert not isinstance(message, Goodbye | UnknownMessage), message

    async def goodbye(self) -> Goodbye:
        while not isinstance(message := await self.receive(), Goodbye):
            pass
        return message

    @property
    def blobs(self) -> RelayClient:
        assert self.welcome is not None
        return self.device.world.client(self.welcome.blob_token)

    async def send_report(self, number: int, sections: dict[str, bytes], **changes: Any) -> ReportAck:
        """Upload what is missing, and return the acknowledgement."""
        return await self.deliver(self.device.report(number, sections, **changes), sections)

    async def deliver(self, signed: Signed, sections: dict[str, bytes]) -> ReportAck:
        """As send_report, of a report that was made before."""
        by_hash = {sha256(data): data for data in sections.values()}
        blobs = self.blobs
        while True:
            self.send(ReportSent(report=signed))
            answer = await self.receive()
            while not isinstance(answer, ReportAck | ReportMissing):
                answer = await self.receive()
            if isinstance(answer, ReportAck):
                return answer
            for name in answer.sha256s:
                await put_blob(blobs, by_hash[name])

    async def offer(self) -> SessionOffer:
        return await self.next(SessionOffer)

    def close(self) -> None:
        self.connection.close()


def sections(hostname: str = "reception-1", *, ram: int = 8 << 30, **packages: str) -> dict[str, bytes]:
    """A small report's sections."""
    from protocol.sections.software import Package

    listed = tuple(Package(name=name, version=version) for name, version in sorted(packages.items()))
    return {
        "system": encode(
            System(
                hostname=hostname,
                family="linux",
                os_id="debian",
                os_version="12",
                os_name="Debian GNU/Linux 12 (bookworm)",
            )
        ),
        "memory": encode(Memory(total=ram)),
        "software": encode(Software(systems=("dpkg",), packages=listed)),
    }


async def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for a condition, which may be a coroutine function."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {WITHIN_S:g} s: {what}")
        await asyncio.sleep(0.02)


def blob_name(data: bytes) -> Sha256:
    return Sha256(hashlib.sha256(data).hexdigest())


NO_POLICY = PolicyNumber(epoch=0, number=0)
__all__ = [
    "NO_POLICY",
    "FakeDevice",
    "FakeLink",
    "SessionId",
    "World",
    "begin_world",
    "blob_name",
    "relay_world",
    "sections",
    "until",
]
