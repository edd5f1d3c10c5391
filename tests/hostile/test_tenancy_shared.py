"""What two organisations on one relay have in common, keys, names, ids, places and room, joins them nowhere.

A customer's laptop may be looked after by two organisations, and a technician work for two; and a hostile organisation
can choose names, session ids and blobs to be the same as another's, if it has heard of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from protocol.api import (
    Device,
    DevicePage,
    EnrolAnswer,
    Event,
    Mail,
    Published,
    PublishPolicy,
    Session,
    SessionNonce,
    Sessions,
)
from protocol.codec import decode
from protocol.errors import AuxilioError
from protocol.ids import SessionId, random_id
from protocol.keys import public_line
from protocol.link import Nonces, SessionOffer, SessionRefused
from protocol.revocation import Revocations, RevokedDevice, RevokedKeyId
from relay.events import MAX_LISTENERS_EACH
from tests.support.organisation import DAY_S, TechnicianKey, new_key
from tests.support.relay_world import FakeDevice, FakeLink, World, blob_name, relay_world, sections, until
from tests.support.tenancy import fingerprint, last_event, mark
from tests.support.tenancy_asks import UPGRADE
from transport.blobs import MAX_BLOB_BYTES, get_blob, put_blob
from transport.events import events
from transport.http import RelayClient
from transport.websocket import Connection, ConnectionEnded, connect

pytestmark = pytest.mark.asyncio(loop_scope="module")

SETTINGS = """
[limits]
requests_per_s = 0.1
request_burst = 2000.0
[store]
blobs_per_organisation_mib = 32
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worlds():
    async with relay_world(SETTINGS) as ours:
        theirs = await ours.second_organisation()
        yield ours, theirs
        await theirs.close()


async def refused(awaitable: Any) -> AuxilioError:
    with pytest.raises(AuxilioError) as exc:
        await awaitable
    return exc.value


class Side:
    """One organisation's technician, and its link to a device that both have."""

    def __init__(
        self, world: World, key: TechnicianKey, client: RelayClient, device: FakeDevice, link: FakeLink
    ) -> None:
        self.world = world
        self.key = key
        self.client = client
        self.device = device
        self.link = link

    async def start(self, session: SessionId) -> tuple[str, SessionOffer]:
        """Start a session of this id; its console's ticket, and the offer that the device got."""
        started = await self.world.start_session(self.key, self.client, self.device.id, session=session)
        return started.ticket, await self.link.offer()

    async def join(self, session: SessionId, *tickets: str) -> list[Connection]:
        path = f"/v1/legs/{session}"
        legs = [await connect(self.world.address, path, bearer=ticket) for ticket in tickets]
        for leg in legs:
            assert "spliced" in str(await leg.receive())
        return legs

    async def session(self, session: SessionId) -> Session:
        return await self.client.request("GET", f"/v1/sessions/{session}", Session)


@asynccontextmanager
async def both_sides(worlds: tuple[World, World]) -> AsyncIterator[tuple[Side, Side]]:
    """The same device key and technician's key and name in both, tagged alike."""
    key, person = new_key(), new_key()
    sides = []
    for world in worlds:
        device = await world.device("clinic", key=key)
        technician, client = await world.technician("ana", key=person)
        link = await device.dial()
        await link.greet()
        await give_nonces(link)
        sides.append(Side(world, technician, client, device, link))
    try:
        yield sides[0], sides[1]
    finally:
        for side in sides:
            side.link.close()


async def give_nonces(link: FakeLink) -> None:
    link.send(Nonces(nonces=tuple(mark() * 3 + f"{i:07}" for i in range(8)), valid_s=600))


async def passes(legs: list[Connection], data: bytes) -> None:
    legs[0].send_binary(data)
    assert await legs[1].receive() == data


# -- the same ids and keys -------------------------------------------------------------------------------------------


async def test_a_device_of_both_is_two_devices_to_the_relay(worlds: tuple[World, World]) -> None:
    async with both_sides(worlds) as (ours, theirs):
        # Neither link took the other's place, and each organisation's report, tags and nonces are its own.
        await ours.link.send_report(1, sections("seen-by-us"))
        await theirs.link.send_report(1, sections("seen-by-them"))
        await ours.world.approve(ours.device.id, "vip", number=2)
        told = [await side.client.request("GET", f"/v1/devices/{side.device.id}", Device) for side in (ours, theirs)]
        assert [device.hostname for device in told] == ["seen-by-us", "seen-by-them"]
        assert told[1].record is not None and b"vip" not in told[1].record.payload
        page = await theirs.client.request("GET", "/v1/devices", DevicePage, query={"selector": "tag:vip"})
        assert page.total == 0
        section = blob_name(sections("seen-by-us")["system"])
        assert (await refused(get_blob(theirs.client, section))).reason == "not_found"
        given = {
            (await side.client.request("POST", f"/v1/devices/{side.device.id}/sessions/nonce", SessionNonce)).nonce
            for side in (ours, theirs)
        }
        assert len(given) == 2
        await publish(theirs.world, devices=(RevokedDevice(device=theirs.device.id),))
        assert (
            await refused(theirs.client.request("GET", f"/v1/devices/{theirs.device.id}", None))
        ).reason == "not_found"
        assert (await ours.client.request("GET", f"/v1/devices/{ours.device.id}", Device)).presence.online
        await publish(theirs.world)


async def publish(world: World, **revocations: Any) -> None:
    expected = world.organisation.policy_number
    policy = world.organisation.publish_policy(revocations=Revocations(**revocations))
    body = PublishPolicy(policy=policy, expected=expected)
    await world.stranger.request("POST", f"/v1/organisations/{world.organisation.id}/policy", Published, body=body)


async def test_sessions_of_the_same_id_do_not_meet_nor_end_each_other(worlds: tuple[World, World]) -> None:
    session = SessionId(random_id(bytes(range(16))))
    async with both_sides(worlds) as (ours, theirs):
        console, offer = await ours.start(session)
        _, their_offer = await theirs.start(session)
        legs = await ours.join(session, console, offer.ticket)
        # Their session of this id is theirs: not ours that is open.
        assert (await theirs.session(session)).state == "offered"
        theirs.link.send(SessionRefused(session=session, code="nobody_present", message="nobody"))
        await until(lambda: is_over(theirs, session), "their refusal")
        assert (await ours.session(session)).state == "open"
        await passes(legs, b"still here")
        # A ticket of theirs opens nothing of ours, and their end of it ends nothing of ours.
        assert (await refused(connect(ours.world.address, f"/v1/legs/{session}", bearer=their_offer.ticket))).reason
        await theirs.client.request("DELETE", f"/v1/sessions/{session}", Session)
        assert (await ours.session(session)).state == "open"
        await passes(legs, b"and still")
        # What is over there is known here as little: a revocation of ours still ends ours.
        listed = await ours.client.request("GET", "/v1/sessions", Sessions, query={"state": "live"})
        assert [s.id for s in listed.sessions] == [session]
        await publish(ours.world, key_ids=(RevokedKeyId(key_id="ana"),))
        with pytest.raises(ConnectionEnded) as ended:
            await legs[0].receive()
        assert ended.value.close_code == 4004
        await publish(ours.world)


async def is_over(side: Side, session: SessionId) -> bool:
    return (await side.session(session)).state == "refused"


async def test_a_technician_of_both_has_a_login_and_a_mailbox_in_each(worlds: tuple[World, World]) -> None:
    ours, theirs = worlds
    person = new_key()
    keys = [world.organisation.technician("zoe", key=person) for world in worlds]
    clients = [
        world.client(await world.organisation.login(world.stranger, key))
        for world, key in zip(worlds, keys, strict=True)
    ]
    renewed = theirs.organisation.technician("zoe", key=person, valid_s=9 * DAY_S)
    path = f"/v1/mailbox/{fingerprint(renewed)}"
    await clients[1].request("PUT", path, None, body=Mail(certificate=public_line(renewed.certificate)))
    assert (await refused(clients[0].request("GET", "/v1/mailbox", Mail))).reason == "not_found"
    assert await clients[1].request("GET", "/v1/mailbox", Mail)
    # What their CA issued is no mail of ours, and whom they put out stays with us.
    error = await refused(
        clients[0].request("PUT", path, None, body=Mail(certificate=public_line(renewed.certificate)))
    )
    assert error.reason == "wrong_ca"
    await publish(theirs, key_ids=(RevokedKeyId(key_id="zoe"),))
    assert (await refused(clients[1].request("GET", "/v1/devices", DevicePage))).reason == "unauthorized"
    assert await clients[0].request("GET", "/v1/devices", DevicePage)
    await publish(theirs)
    assert ours.organisation.id != theirs.organisation.id


async def test_a_token_of_the_same_id_is_another_token(worlds: tuple[World, World]) -> None:
    ours, theirs = worlds
    token = ours.organisation.join_token(uses=1)
    enrol = f"/v1/organisations/{ours.organisation.id}/enrol"
    await ours.stranger.request("POST", enrol, EnrolAnswer, body=ours.organisation.enrolment(token, new_key()))
    assert (
        await refused(ours.stranger.request("POST", enrol, None, body=ours.organisation.enrolment(token, new_key())))
    ).reason == "token_used_up"
    # It names us, is signed by our CA, and is worth nothing at another organisation's address.
    other = f"/v1/organisations/{theirs.organisation.id}/enrol"
    error = await refused(
        ours.stranger.request("POST", other, None, body=ours.organisation.enrolment(token, new_key()))
    )
    assert error.reason == "wrong_ca"


async def test_the_same_bytes_are_uploaded_by_each_as_if_nobody_had_them(worlds: tuple[World, World]) -> None:
    data = b"what both organisations have" * 1000
    statuses = []
    for world in worlds:
        _, client = await world.technician("kim")
        for _ in range(2):
            async with client.exchange("PUT", f"/v1/blobs/{blob_name(data)}", (), data) as answer:
                statuses.append(answer.status)
    assert statuses == [201, 200, 201, 200]


# -- events ----------------------------------------------------------------------------------------------------------


async def test_the_numbers_of_events_do_not_tell_how_much_happens_elsewhere(worlds: tuple[World, World]) -> None:
    ours, theirs = worlds
    _, client = await theirs.technician("kim")
    heard: list[tuple[str, Event]] = []

    async def listen() -> None:
        async with aclosing(events(client, "/v1/events", last_id="")) as stream:
            async for told in stream:
                heard.append((told.id, decode(told.data, Event)))

    task = asyncio.ensure_future(listen())

    async def hears() -> bool:
        await theirs.device()
        return bool(heard)

    await until(hears, "the stream stands")
    for count in range(3):
        for _ in range(count):
            await ours.device("clinic")
        last = await theirs.device()
        await until(lambda last=last: any(event.device == last.id for _, event in heard), "their own event")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    numbers = [int(id_.partition("-")[2]) for id_, _ in heard]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    # An id of ours is to them but a number: from there on they hear what they may.
    replayed: list[Event] = []
    _, ours_too = await ours.technician("kim")
    number = (await last_event(ours, ours_too)).partition("-")[2]
    start = heard[0][0].partition("-")[0]
    async with aclosing(events(client, "/v1/events", last_id=f"{start}-{min(int(number), numbers[-1] - 1)}")) as stream:
        async for told in stream:
            replayed.append(decode(told.data, Event))
            if told.id == heard[-1][0]:
                break
    assert {event.organisation for _, event in heard} == {theirs.organisation.id}
    assert {event.organisation for event in replayed} == {theirs.organisation.id}


# -- room ------------------------------------------------------------------------------------------------------------


async def test_who_has_filled_their_share_of_blobs_is_told_and_nobody_else_is_refused(
    worlds: tuple[World, World],
) -> None:
    ours, theirs = worlds
    _, client = await theirs.technician("kim")

    async def announce(number: int) -> None:
        size = MAX_BLOB_BYTES - 64 * 1024  # what the other tests have stored has room as well
        path = f"/v1/blobs/{blob_name(bytes([number]))}"
        async with client.exchange("PUT", path, [("Content-Range", f"bytes 0-0/{size}")], b"x") as answer:
            assert answer.status == 202

    await announce(0)
    await announce(1)
    for number in (2, 3):
        error = await refused(announce(number))
        assert error.reason == "quota" and "blobs_per_organisation_mib" in error.hint
    # The operator is told how often, and once who it is.
    said = [line for line in ours.relay.log.splitlines() if '"event":"quota"' in line]
    assert len(said) == 1 and theirs.organisation.id in said[0]
    async with aiohttp.ClientSession() as http, http.get(f"{ours.relay.admin_url}/metrics") as answer:
        assert 'auxilio_quota_refusals_total{what="blobs"} 2.0' in await answer.text()
    _, unbothered = await ours.technician("kim")
    data = bytes(MAX_BLOB_BYTES)
    assert await put_blob(unbothered, data) == blob_name(data)
    listed = (await ours.relay.command("organisation", "list", "--json")).splitlines()
    sizes = {told["organisation"]: told["blob_bytes"] for told in map(json.loads, listed)}
    assert sizes[ours.organisation.id] >= len(data) > sizes[theirs.organisation.id]


async def test_who_has_all_their_listeners_leaves_others_theirs(worlds: tuple[World, World]) -> None:
    ours, theirs = worlds
    person = new_key()
    async with contextlib.AsyncExitStack() as stack:
        clients = []
        for world in worlds:
            key = world.organisation.technician("lou", key=person)
            clients.append(world.client(await world.organisation.login(world.stranger, key)))

        async def listen(world: World, client: RelayClient) -> None:
            fresh = world.client(client.bearer)
            await stack.enter_async_context(fresh.exchange("GET", "/v1/events"))

        for _ in range(MAX_LISTENERS_EACH):
            await listen(theirs, clients[1])
        assert (await refused(listen(theirs, clients[1]))).reason == "too_many_requests"
        await listen(ours, clients[0])  # the same person, by another organisation's word


async def test_a_stranger_pays_as_much_for_a_session_that_is_there_as_for_one_that_is_not(
    worlds: tuple[World, World],
) -> None:
    """From addresses of their own: how many asks one has is no measure of what is there."""
    asks = []
    async with both_sides(worlds) as (ours, _):
        session = SessionId(random_id(bytes(range(1, 17))))
        await ours.start(session)
        for address, id_ in (("127.0.0.2", session), ("127.0.0.3", random_id(bytes(16)))):
            connector = aiohttp.TCPConnector(local_addr=(address, 0), ssl=False)
            async with aiohttp.ClientSession(ours.world.relay.url, connector=connector) as http:
                count = 0
                while await ask_for_leg(http, id_) != 429:
                    count += 1
                asks.append(count)
    assert min(asks) > 100 and abs(asks[0] - asks[1]) <= 1  # the second gets a little back meanwhile


async def ask_for_leg(http: aiohttp.ClientSession, session: str) -> int:
    headers = {**UPGRADE, "Authorization": "Bearer none"}
    async with http.get(f"/v1/legs/{session}", headers=headers) as answer:
        return answer.status
