"""What a device could say over its link of an organisation that is not its own: every message of protocol/link.py."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from protocol.codec import Record, encode
from protocol.link import (
    VERSIONS,
    Challenge,
    Documents,
    Goodbye,
    Held,
    Hello,
    Nonces,
    Ping,
    PolicyNumber,
    Pong,
    ReportAck,
    ReportMissing,
    ReportSent,
    SamplesAck,
    SamplesSent,
    SessionAccepted,
    SessionAway,
    SessionClose,
    SessionEnded,
    SessionOffer,
    SessionRefused,
    SessionWaiting,
    Welcome,
    decode_to_agent,
)
from protocol.login import LinkStatement
from protocol.samples import SampleBatch
from protocol.signing import KeySigner
from protocol.statement import LINK, REPORT, Signed, seal_statement
from tests.support.organisation import Organisation
from tests.support.relay_world import FakeDevice, FakeLink
from tests.support.tenancy import Names
from tests.support.tenancy_asks import Asker, readable
from transport.websocket import ConnectionEnded

NUMBER = PolicyNumber(epoch=0, number=1)
MARKER = 777_777


def reports(us: FakeDevice, them: Names) -> list[Record]:
    """Theirs, copied; and ours, with their sections in it, or in their organisation's or device's name."""
    number = 41
    made = [
        them.report,
        us.report(number, {f"section{i}": them.content[name] for i, name in enumerate(them.hashes)}),
        us.report(number, {}, organisation=them.organisation.id),
        us.report(number, {}, device=them.device.id),
    ]
    return [ReportSent(report=report) for report in made]


def samples(us: FakeDevice, them: Names) -> list[Record]:
    """Ours in their organisation's or device's name; and a report of theirs, which is no batch."""
    fields: dict[str, Any] = {"organisation": us.world.organisation.id, "device": us.id, "number": 1}
    made = [
        SampleBatch(**{**fields, **named}, at=(int(time.time()),), values={"cpu_percent": (1.0,)})
        for named in ({"organisation": them.organisation.id}, {"device": them.device.id})
    ]
    signed = [seal_statement(us.signer, REPORT, encode(batch)) for batch in made]
    return [SamplesSent(samples=one) for one in (*signed, them.report)]


def hellos(us: FakeDevice, them: Names, nonce: str) -> list[Record]:
    """Ours in their organisation; in the name of their device, with our signature; and theirs, copied elsewhere."""
    relay, mine = us.world.address.dialled_name, us.world.organisation.id

    def statement(by: FakeDevice, line: str, organisation: Any, nonce: str, relay: str = relay) -> Signed:
        at = int(time.time())
        claimed = LinkStatement(organisation=organisation, relay=relay, nonce=nonce, device_key=line, issued_at=at)
        return seal_statement(KeySigner(by.key), LINK, encode(claimed))

    our_line, their_line = Organisation.line(us.key), Organisation.line(them.device.key)
    theirs = them.organisation.id
    made = [
        statement(us, our_line, theirs, nonce),
        statement(us, their_line, theirs, nonce),
        statement(us, their_line, mine, nonce),
        statement(them.device, their_line, theirs, "A" * 43),
        statement(them.device, their_line, theirs, nonce, "elsewhere.example:443"),
        statement(them.device, their_line, mine, nonce),
        statement(us, our_line, theirs, them.nonce),
    ]
    return [
        Hello(statement=signed, version=VERSIONS[-1], agent="0.1.0", charter=1, policy=NUMBER, record=0)
        for signed in made
    ]


def waits(_us: FakeDevice, them: Names) -> list[Record]:
    return [SessionWaiting(session=s, until_at=2**40, wait_s=60) for s in _sessions(them)]


def accepts(_us: FakeDevice, them: Names) -> list[Record]:
    return [SessionAccepted(session=s) for s in _sessions(them)]


def refusals(_us: FakeDevice, them: Names) -> list[Record]:
    return [SessionRefused(session=s, code="no", message="no") for s in _sessions(them)]


def absences(_us: FakeDevice, them: Names) -> list[Record]:
    return [SessionAway(session=s) for s in _sessions(them)]


def endings(_us: FakeDevice, them: Names) -> list[Record]:
    return [SessionEnded(session=s, reason="closed", message="over") for s in _sessions(them)]


def _sessions(them: Names) -> list[Any]:
    return list(them.values["session"])


def held(_us: FakeDevice, them: Names) -> list[Record]:
    refused = tuple(f"{name}: no" for name in them.hashes)
    return [
        Held(charter=1, policy=NUMBER, record=1, forks=them.hashes, refused=refused),
        Held(charter=2**53, policy=PolicyNumber(epoch=2**53, number=2**53), record=2**53),
    ]


def nonces(_us: FakeDevice, them: Names) -> list[Record]:
    return [Nonces(nonces=(them.nonce,), valid_s=60)]


def offers(_us: FakeDevice, them: Names) -> list[Record]:
    """A relay's words, said by a device: not one of them is known in this direction."""
    return [SessionOffer(session=them.session, request=them.request, ticket="A" * 43, leg_url="https://relay.example")]


MESSAGES: dict[type[Record], Callable[[FakeDevice, Names], list[Record]]] = {
    Hello: lambda us, them: hellos(us, them, "A" * 43),
    Held: held,
    ReportSent: reports,
    SamplesSent: samples,
    Nonces: nonces,
    SessionWaiting: waits,
    SessionAccepted: accepts,
    SessionRefused: refusals,
    SessionAway: absences,
    SessionEnded: endings,
    Ping: lambda _us, _them: [Ping(id=1)],
    Pong: lambda _us, _them: [Pong(id=1)],
    Challenge: lambda _us, them: [Challenge(nonce=them.nonce, relay_time=0, versions=VERSIONS)],
    Welcome: lambda _us, them: [
        Welcome(version=1, heartbeat_s=1.0, blob_token=them.nonce, charter=1, policy=NUMBER, record=1, report=1)
    ],
    Documents: lambda _us, them: [
        Documents(charters=them.hashes, policy=name, record=name) for name in them.hashes[-3:]
    ],
    ReportAck: lambda _us, _them: [ReportAck(number=1)],
    ReportMissing: lambda _us, them: [ReportMissing(number=1, sha256s=them.hashes)],
    SamplesAck: lambda _us, _them: [SamplesAck(number=1)],
    SessionOffer: offers,
    SessionClose: lambda _us, them: [SessionClose(session=them.session, reason="over")],
    Goodbye: lambda _us, _them: [Goodbye(reason="over", return_after_s=1.0)],
}
"""For each message of the link, either way: what is said of `them`."""


async def answers(link: FakeLink, message: Record, asker: Asker) -> list[str]:
    """Say `message`; what the relay says to it, until it answers a ping or ends the link."""
    link.send(message)
    link.send(Ping(id=MARKER))
    return await _until_marker(link, readable(encode(message)), asker)


async def greeting(device: FakeDevice, them: Names, number: int, asker: Asker) -> list[str]:
    """Begin a link with one of `hellos`; what the relay says to it."""
    link = await device.dial()
    try:
        challenge = await link.next(Challenge)
        hello = hellos(device, them, challenge.nonce)[number]
        link.send(hello)
        return await _until_marker(link, readable(encode(hello)), asker)
    finally:
        link.close()


async def _until_marker(link: FakeLink, sent: str, asker: Asker) -> list[str]:
    heard: list[str] = []
    try:
        while True:
            text = str(await link.connection.receive())
            asker.hear(sent, readable(text.encode()))
            message = decode_to_agent(text)
            if message == Pong(id=MARKER):
                return heard
            if not isinstance(message, Ping):
                heard.append(text)
    except ConnectionEnded as exc:
        return [*heard, f"closed: {exc.close_code} {exc.message}"]
