"""A real relay in its process, over TLS: the day of a device and a technician."""

from __future__ import annotations

import asyncio
import os
import time

import pytest
import pytest_asyncio

from protocol.api import Charters, Device, DevicePage, RelayInfo, Session, SessionNonce
from protocol.codec import decode, encode
from protocol.errors import Refused, Unavailable
from protocol.link import (
    Documents,
    Goodbye,
    SessionAccepted,
    SessionClose,
    SessionEnded,
    SessionRefused,
    SessionWaiting,
)
from protocol.statement import Signed
from tests.support.relay_world import NO_POLICY, World, blob_name, relay_world, sections, until
from transport.blobs import get_blob, put_blob
from transport.leg import open_leg


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world():
    async with relay_world() as world:
        yield world


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_stranger_learns_what_the_relay_is_called_and_what_time_it_is(world: World) -> None:
    info = await world.stranger.request("GET", "/v1/relay", RelayInfo)
    assert info.names == world.relay.names
    assert abs(info.time - time.time()) < 60


async def test_published_documents_come_back_verbatim(world: World) -> None:
    base = f"/v1/organisations/{world.organisation.id}"
    assert (await world.stranger.request("GET", f"{base}/charters", Charters)).charters == tuple(
        world.organisation.charters
    )
    assert await world.stranger.request("GET", f"{base}/policy", Signed) == world.organisation.policies[-1]


async def test_a_device_enrols_links_reports_and_is_listed(world: World) -> None:
    device = await world.device("clinic", "site=madrid")
    _, client = await world.technician()
    async with device.linked() as link:
        made = sections("RECEPTION-7", firefox="115.2.0-1")
        assert (await link.send_report(1, made)).number == 1
        query = {"selector": "tag:clinic online os:debian-12 host:recep* ram>4GiB"}
        page = await client.request("GET", "/v1/devices", DevicePage, query=query)
        assert [d.id for d in page.devices] == [device.id]
        query["selector"] += " software:firefox<128"

        async def is_listed() -> bool:
            found = await client.request("GET", "/v1/devices", DevicePage, query=query)
            return [d.id for d in found.devices] == [device.id]

        await until(is_listed, "its software is searched: it follows the report within moments")
        assert page.total == 1
        shown = page.devices[0]
        assert (shown.hostname, shown.os, shown.ram) == ("RECEPTION-7", "Debian GNU/Linux 12 (bookworm)", 8 << 30)
        assert {head.name for head in shown.sections} == {"system", "memory", "software"}
        for head in shown.sections:
            assert await get_blob(client, head.sha256) == made[head.name]


async def test_what_the_agent_lacks_is_announced_after_the_welcome(world: World) -> None:
    device = await world.device("clinic")
    async with device.linked(charter=0, policy=NO_POLICY) as link:
        documents = await link.next(Documents)
        assert documents.record is not None and documents.policy is not None
        blobs = link.blobs
        assert await get_blob(blobs, documents.charters[0]) == encode(world.organisation.charters[0])
        assert await get_blob(blobs, documents.policy) == encode(world.organisation.policies[-1])
        record = decode(await get_blob(blobs, documents.record), Signed)
        assert b'"tags":["clinic"]' in record.payload


async def test_a_blob_that_arrives_in_parts_is_asked_about_in_between(world: World) -> None:
    device = await world.device("clinic")
    data = os.urandom(300_000)
    path = f"/v1/blobs/{blob_name(data)}"
    async with device.linked() as link:
        for first, last, known in ((0, 99_999, "0"), (100_000, 299_999, "100000")):
            async with link.blobs.exchange("HEAD", path, accept=(404,)) as answer:
                assert answer.headers.get("upload-offset", "0") == known
            part = [("Content-Range", f"bytes {first}-{last}/{len(data)}")]
            async with link.blobs.exchange("PUT", path, part, data[first : last + 1], accept=(201, 202)) as answer:
                assert answer.status == (202 if last < len(data) - 1 else 201)
        async with link.blobs.exchange("HEAD", path) as answer:
            assert (answer.status, answer.headers["content-length"]) == (200, str(len(data)))
        await put_blob(link.blobs, data)
        assert await get_blob(link.blobs, blob_name(data)) == data


async def test_presence_follows_the_link(world: World) -> None:
    device = await world.device("clinic")
    _, client = await world.technician()

    async def online() -> bool:
        return (await client.request("GET", f"/v1/devices/{device.id}", Device)).presence.online

    async with device.linked(offline_reason="the modem restarted", offline_since_at=5):
        await until(online, "online")
        shown = await client.request("GET", f"/v1/devices/{device.id}", Device)
        assert shown.presence.offline_reason == "the modem restarted"
        assert shown.presence.address == "127.0.0.1"

    async def offline() -> bool:
        return not await online()

    await until(offline, "offline")


async def test_two_legs_are_spliced_and_carry_bytes_both_ways(world: World) -> None:
    device = await world.device("clinic")
    technician, client = await world.technician()
    async with device.linked() as link:
        started = await world.start_session(technician, client, device.id)
        offer = await link.offer()
        assert offer.session == started.session
        assert offer.leg_url == started.leg_url == world.relay.url
        link.send(SessionAccepted(session=offer.session))
        theirs, ours = await _both(world, started, offer)
        far, near = await _echo(theirs), await _collect(ours)
        near.transport.write(b"hello" * 100_000)
        await until(lambda: len(near.data) == 500_000, "the echo")
        assert bytes(near.data) == b"hello" * 100_000
        near.transport.close()
        await until(lambda: far.lost, "the far end hears of the close")

        async def ended() -> Session | None:
            session = await client.request("GET", f"/v1/sessions/{started.session}", Session)
            return session if session.state == "ended" else None

        assert (await until(ended, "ended")).reason == "closed"
        link.send(SessionEnded(session=started.session, reason="closed", message="the shell ended with status 0"))

        async def explained() -> bool:
            return "status 0" in (await client.request("GET", f"/v1/sessions/{started.session}", Session)).message

        await until(explained, "the device's own word")


async def test_a_console_hears_that_the_customer_is_asked_and_says_no(world: World) -> None:
    device = await world.device("clinic")
    technician, client = await world.technician()
    async with device.linked() as link:
        started = await world.start_session(technician, client, device.id)
        await link.offer()
        link.send(SessionWaiting(session=started.session, until_at=int(time.time()) + 60, wait_s=60))
        heard: list[int] = []

        def waiting(message) -> None:
            heard.append(message.until_at)
            link.send(SessionRefused(session=started.session, code="consent_denied", message="no", hint="call first"))

        with pytest.raises(Refused) as refused:
            await open_leg(world.address, started.session, started.ticket, on_waiting=waiting)
        assert heard and refused.value.reason == "consent_denied"
        assert refused.value.hint == "call first"
        session = await client.request("GET", f"/v1/sessions/{started.session}", Session)
        assert (session.state, session.reason) == ("refused", "consent_denied")


async def test_a_refusal_that_came_before_the_consoles_leg_is_told_to_it(world: World) -> None:
    device = await world.device("clinic")
    technician, client = await world.technician()
    async with device.linked() as link:
        started = await world.start_session(technician, client, device.id)
        await link.offer()
        link.send(SessionRefused(session=started.session, code="out_of_scope", message="not yours"))

        async def refused() -> bool:
            return (await client.request("GET", f"/v1/sessions/{started.session}", Session)).state == "refused"

        await until(refused, "refused")
        with pytest.raises(Refused) as exc:
            await open_leg(world.address, started.session, started.ticket)
        assert exc.value.reason == "out_of_scope"


async def test_a_console_that_gives_up_withdraws_the_offer(world: World) -> None:
    device = await world.device("clinic")
    technician, client = await world.technician()
    async with device.linked() as link:
        started = await world.start_session(technician, client, device.id)
        await link.offer()
        session = await client.request("DELETE", f"/v1/sessions/{started.session}", Session)
        assert (session.state, session.reason) == ("ended", "withdrawn")
        assert (await link.next(SessionClose)).session == started.session


async def test_an_offline_device_gives_no_nonce(world: World) -> None:
    device = await world.device("clinic")
    _, client = await world.technician()
    with pytest.raises(Unavailable) as exc:
        await client.request("POST", f"/v1/devices/{device.id}/sessions/nonce", SessionNonce)
    assert exc.value.reason == "device_offline"


async def test_a_restart_says_goodbye_and_everything_is_there_afterwards(world: World) -> None:
    device = await world.device("clinic")
    _, client = await world.technician()
    async with device.linked() as link:
        await link.send_report(1, sections())
        restart = world.relay.restart()
        goodbye: Goodbye | None = None

        async def hear() -> None:
            nonlocal goodbye
            goodbye = await link.goodbye()

        await asyncio.gather(restart, hear())
        assert goodbye is not None and goodbye.reason == "relay_restarting"
        assert 0 < goodbye.return_after_s < 5
    shown = await client.request("GET", f"/v1/devices/{device.id}", Device)
    assert shown.report is not None
    assert not shown.presence.online
    async with device.linked() as link:
        assert link.welcome is not None and link.welcome.report == 1


# -- the ends of a stream -------------------------------------------------------------------------------------------


class _End:
    def __init__(self) -> None:
        self.data = bytearray()
        self.transport = None
        self.lost = False
        self.echo = False

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        if self.echo:
            self.transport.write(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc) -> None:
        self.lost = True

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


async def _both(world: World, started, offer):
    return await asyncio.gather(
        open_leg(world.address, offer.session, offer.ticket),
        open_leg(world.address, started.session, started.ticket),
    )


async def _collect(leg) -> _End:
    return (await leg.create_connection(_End))[1]


async def _echo(leg) -> _End:
    end = await _collect(leg)
    end.echo = True
    return end
