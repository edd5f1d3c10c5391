"""Organisations that share a relay: everything that one has there, and what another would ask to learn of it.

    victim = await settle(world)      # people, devices, sessions, blobs, mail, events: one of each at least
    victim.names                      # what its things are called
    nowhere(world)                    # the same shapes, of an organisation that the relay never heard of

Whoever asks for the one and for the other must not be able to tell which was which.
"""

from __future__ import annotations

import asyncio
import base64
import random
import sqlite3
import string
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protocol.api import Mail, Session
from protocol.certificate import parse_certificate
from protocol.codec import encode
from protocol.enrolment import JoinToken
from protocol.fleet import SoftwarePage
from protocol.ids import SessionId, Sha256, random_id, sha256
from protocol.keys import line_blob, public_line
from protocol.link import Nonces, SessionClose, SessionRefused
from protocol.policy import Relay
from protocol.sections.findings import Finding, Findings
from protocol.statement import Signed
from relay.logins import key_fingerprint
from tests.support.organisation import DAY_S, Organisation, TechnicianKey, new_key
from tests.support.relay_world import FakeDevice, FakeLink, World, blob_name, sections, until
from transport.blobs import put_blob
from transport.events import events
from transport.http import RelayClient
from transport.websocket import Connection, connect

_luck = random.SystemRandom()


def mark() -> str:
    """A word that occurs nowhere else, and may stand in any name."""
    return "".join(_luck.choice(string.ascii_lowercase) for _ in range(12))


@dataclass(frozen=True, kw_only=True)
class Names:
    """What an organisation's things are called, and signed words of its people that somebody may have copied.

    values: for each parameter of a path.  content: of each blob by its name.  words: whatever would give it away.
    """

    mark: str
    organisation: Organisation
    technician: TechnicianKey
    device: FakeDevice
    token: JoinToken
    nonce: str
    event: str
    values: dict[str, tuple[str, ...]]
    content: dict[str, bytes]
    report: Signed
    request: Signed
    record: Signed
    words: dict[str, str] = field(repr=False)

    @property
    def session(self) -> SessionId:
        return SessionId(self.values["session"][0])

    @property
    def hashes(self) -> tuple[Sha256, ...]:
        return tuple(Sha256(name) for name in self.values["sha256"])

    @property
    def token_id(self) -> str:
        return parse_certificate(line_blob(self.token.certificate)).key_id

    @property
    def token_text(self) -> str:
        return "auxilio-join-" + base64.urlsafe_b64encode(encode(self.token)).decode().rstrip("=")

    def blank(self, text: str) -> str:
        """`text` with what the asker said himself taken out: an echo of it is no news."""
        for word in sorted(self.words, key=len, reverse=True):
            text = text.replace(word, f"<{self.words[word]}>")
        return text


class _Made:
    """The parts of an organisation from which its Names are made, at the relay or nowhere."""

    def __init__(self, world: World, marked: str) -> None:
        self.world = world
        self.mark = marked
        self.technician = world.organisation.technician(f"{marked}-tech")
        ram = _luck.randrange(10**9, 10**10)  # so that no section has the bytes of anybody else's
        self.sections = sections(f"{marked}-host", ram=ram, **{f"{marked}-package": "1.2"})
        found = Finding(code=f"{marked}-finding", severity="error", subject=f"{marked}-subject")
        self.sections["findings"] = encode(Findings(findings=(found,)))
        self.upload = f"{marked}-unfinished".encode()
        self.output = f"{marked}-output".encode()
        self.tags = (f"{marked}-tag", "clinic")

    def names(
        self,
        device: FakeDevice,
        others: tuple[FakeDevice, ...],
        record: Signed,
        request: Signed,
        sessions: tuple[str, ...],
        token: JoinToken,
        nonce: str,
        event: str,
    ) -> Names:
        organisation = self.world.organisation
        documents = [encode(organisation.policies[-1]), encode(organisation.charters[0]), encode(record)]
        content = {
            str(blob_name(data)): data for data in (*self.sections.values(), self.output, self.upload, *documents)
        }
        values = {
            "organisation": (str(organisation.id),),
            "device": tuple(str(d.id) for d in (device, *others)),
            "session": sessions,
            "sha256": tuple(content),
            "fingerprint": (fingerprint(self.technician),),
            "name": ("system", f"{self.mark}-section"),
        }
        token_id = parse_certificate(line_blob(token.certificate)).key_id
        words = {value: f"{name} {i}" for name, them in values.items() for i, value in enumerate(them)}
        del words["system"]
        words |= {self.mark: "mark", nonce: "nonce", token_id: "token", Organisation.line(device.key): "line"}
        return Names(
            mark=self.mark,
            organisation=organisation,
            technician=self.technician,
            device=device,
            token=token,
            nonce=nonce,
            event=event,
            values=values,
            content=content,
            report=device.report(1, self.sections),
            request=request,
            record=record,
            words=words,
        )


def fingerprint(technician: TechnicianKey) -> str:
    return key_fingerprint(parse_certificate(technician.certificate))


def nowhere(world: World) -> Names:
    """An organisation that exists, with keys and statements like any other, but is not served by the relay."""
    relay = world.relay
    made = _Made(World(relay, Organisation(Relay(url=relay.url, pin=relay.pin))), mark())
    device, *others = (FakeDevice(made.world, new_key()) for _ in range(3))
    nonce = mark() * 3 + "abcdefg"
    session, request = made.world.organisation.session_request(made.technician, device.id, nonce)
    record = made.world.organisation.record(device.id, *made.tags, by=made.technician)
    sessions = (str(session), random_id(_luck.randbytes(16)))
    token = made.world.organisation.join_token(tags=made.tags)
    return made.names(device, tuple(others), record, request, sessions, token, nonce, "00000000-999999999")


@dataclass
class Tenant:
    """An organisation that has settled at the relay, with everything in use."""

    world: World
    names: Names
    client: RelayClient
    mailbox: str
    ticket: str
    link: FakeLink
    legs: tuple[Connection, Connection]

    @property
    def callers(self) -> dict[str, str | None]:
        """What its people and devices show when they ask for something."""
        assert self.link.welcome is not None
        return {
            "technician": self.client.bearer,
            "mailbox": self.mailbox,
            "device": self.link.welcome.blob_token,
            "join token": self.names.token_text[:256],
            "token id": self.names.token_id,
            "ticket": self.ticket,
            "nobody": None,
        }

    async def listen(self) -> None:
        """Answer the relay's pings until cancelled: a link that is silent for a minute is cut."""
        while True:
            await self.link.receive()

    async def works(self) -> None:
        """Fails unless its link, its session, its login and its nonces are as they were. Needs `listen` beside it."""
        console, child = self.legs
        for sender, reader, data in ((console, child, b"down"), (child, console, b"up")):
            sender.send_binary(data)
            assert await reader.receive() == data
        assert self.link.heard == [], "its device was told something"
        started = await self.world.start_session(self.names.technician, self.client, self.names.device.id)
        await until(lambda: self.link.heard, "the offer")
        assert [message.session for message in self.link.heard] == [started.session]
        self.link.send(SessionRefused(session=started.session, code="busy", message="not now"))

    def close(self) -> None:
        for leg in self.legs:
            leg.close()
        self.link.close()


async def settle(world: World) -> Tenant:
    made = _Made(world, mark())
    organisation, marked = world.organisation, made.mark
    client = world.client(await organisation.login(world.stranger, made.technician))
    device = await world.device(suggested=(f"{marked}-suggested",))
    others = (await world.device(suggested=made.tags), await world.device(*made.tags))
    record = organisation.record(device.id, *made.tags, by=made.technician)
    await client.request("PUT", f"/v1/devices/{device.id}/record", None, body=record)
    link = await device.dial()
    await link.greet(agent=f"{marked}-agent", offline_reason=f"{marked}-reason", record=1)
    nonces = tuple(mark() * 3 + f"nonce{i:02}" for i in range(16))
    link.send(Nonces(nonces=nonces, valid_s=3600))
    await link.send_report(1, made.sections)
    await until(lambda: _is_searched(client, f"{marked}-package"), "its software is searched")
    await put_blob(client, made.output)
    await _begin_upload(link.blobs, made.upload)
    over = await _start(world, made, client, device, link, f"{marked}-over")
    link.send(SessionRefused(session=over[0], code=f"{marked}-code", message=f"{marked}-no"))
    await until(lambda: _is_over(client, over[0]), "the refusal is known")
    session, request, console_ticket, device_ticket = await _start(world, made, client, device, link, f"{marked}-why")
    legs = await _join(world, session, console_ticket, device_ticket)
    unused = await _start(world, made, client, device, link, f"{marked}-unused")
    await client.request("DELETE", f"/v1/sessions/{unused[0]}", None)  # else it ends by itself, some time later
    await link.next(SessionClose)
    await _leave_mail(made, client)
    token = organisation.join_token(tags=made.tags)
    await _use(world, token)
    event = await last_event(world, client)
    link.heard.clear()
    sessions = (str(session), str(over[0]))
    names = made.names(device, others, record, request, sessions, token, nonces[-1], event)
    return Tenant(world, names, client, await _mailbox_login(made), unused[2], link, legs)


async def _start(
    world: World, made: _Made, client: RelayClient, device: FakeDevice, link: FakeLink, purpose: str
) -> tuple[SessionId, Signed, str, str]:
    started = await world.start_session(made.technician, client, device.id, purpose=purpose, case=f"{made.mark}-case")
    offer = await link.offer()
    return started.session, offer.request, started.ticket, offer.ticket


async def _join(world: World, session: SessionId, console: str, device: str) -> tuple[Connection, Connection]:
    legs = [await connect(world.address, f"/v1/legs/{session}", bearer=ticket) for ticket in (console, device)]
    for leg in legs:
        assert "spliced" in str(await leg.receive())
    return legs[0], legs[1]


async def _is_over(client: RelayClient, session: SessionId) -> bool:
    told = await client.request("GET", f"/v1/sessions/{session}", Session)
    return told.state == "refused" and told.message.endswith("-no")


async def _is_searched(client: RelayClient, package: str) -> bool:
    return (await client.request("GET", "/v1/software", SoftwarePage, query={"package": package})).total == 1


async def _begin_upload(client: RelayClient, data: bytes) -> None:
    """Leave the last byte out."""
    headers = [("Content-Range", f"bytes 0-{len(data) - 2}/{len(data)}")]
    async with client.exchange("PUT", f"/v1/blobs/{sha256(data)}", headers, data[:-1]) as answer:
        assert answer.status == 202


async def _leave_mail(made: _Made, client: RelayClient) -> None:
    renewed = made.world.organisation.technician(made.technician.name, key=made.technician.key, valid_s=8 * DAY_S)
    mail = Mail(certificate=public_line(renewed.certificate))
    await client.request("PUT", f"/v1/mailbox/{fingerprint(renewed)}", None, body=mail)


async def _mailbox_login(made: _Made) -> str:
    expired = made.world.organisation.technician(f"{made.mark}-gone", since_s=8 * DAY_S)
    return await made.world.organisation.login(made.world.stranger, expired)


async def _use(world: World, token: JoinToken) -> None:
    enrolment = world.organisation.enrolment(token, new_key())
    await world.stranger.request("POST", f"/v1/organisations/{world.organisation.id}/enrol", None, body=enrolment)


async def last_event(world: World, client: RelayClient) -> str:
    """The id of an event that `client` is told now."""
    async with aclosing(events(client, "/v1/events", last_id="")) as stream:
        first = asyncio.ensure_future(anext(stream))
        while not first.done():
            await world.device()
            await asyncio.sleep(0.02)
        return (await first).id


# -- what is kept of an organisation ---------------------------------------------------------------------------------

VOLATILE = {"last_seen_at"}
"""Columns that time alone changes."""


def rows(database: Path, organisation: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table that is the organisation's."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        found = {}
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            owner = "id" if table == "organisations" else "organisation"
            if owner in columns:
                kept = ", ".join(name for name in columns if name not in VOLATILE)
                query = f"SELECT {kept} FROM {table} WHERE {owner} = ? ORDER BY {kept}"
                found[table] = connection.execute(query, (organisation,)).fetchall()
        links = "SELECT l.* FROM software_links l JOIN packages p ON p.key = l.package WHERE p.organisation = ?"
        found["software_links"] = connection.execute(f"{links} ORDER BY 1, 2", (organisation,)).fetchall()
    return found
