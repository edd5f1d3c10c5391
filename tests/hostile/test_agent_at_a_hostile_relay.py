"""What a relay in an attacker's hands, or a broken one, can do to an agent: nothing that lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from protocol.codec import MAX_MESSAGE_BYTES, Record, decode
from protocol.keys import parse_public_line
from protocol.link import (
    Documents,
    Goodbye,
    Held,
    Ping,
    PolicyNumber,
    SessionAccepted,
    SessionOffer,
    SessionRefused,
    Welcome,
)
from protocol.login import LinkStatement
from protocol.revocation import Revocations, RevokedKeyId
from protocol.signing import KeySigner
from protocol.statement import LINK, POLICY, Signed, open_by_key, seal_statement
from tests.support.effort import LONG
from tests.support.forgery import flip
from tests.support.meeting import Meeting, meeting_in
from tests.support.organisation import new_key


@pytest.fixture
async def meeting(tmp_path: Path) -> AsyncIterator[Meeting]:
    async with meeting_in(tmp_path) as meeting:
        yield meeting


# -- the handshake ----------------------------------------------------------------------------------------------------


async def test_a_hello_names_organisation_relay_as_dialled_and_nonce_so_that_it_is_good_nowhere_else(
    meeting: Meeting,
) -> None:
    link = await meeting.relay.next_link()
    hello = await link.challenge(nonce="of-another-relay", versions=(1, 7))
    claimed = decode(hello.statement.payload, LinkStatement)
    opened = open_by_key(hello.statement, namespace=LINK, keys={parse_public_line(claimed.device_key).blob})
    statement = decode(opened.payload, LinkStatement)
    assert statement.nonce == "of-another-relay"
    assert statement.relay == f"127.0.0.1:{meeting.relay.port}"
    assert statement.organisation == meeting.relay.organisation.id
    assert hello.version == 1 and hello.offline_reason == ""


@pytest.mark.parametrize(
    "first",
    [
        '{"type":"challenge","nonce":"n","relay_time":1,"versions":[7]}',
        '{"type":"challenge","nonce":"n","relay_time":"soon","versions":[1]}',
        '{"type":"goodbye","reason":"\\u001b[2Jno","return_after_s":-1}',
        '{"type":"ping","id":1}',
        '{"type":"of_tomorrow"}',
        "{" * 60_000,
        b"binary",
        "x" * (MAX_MESSAGE_BYTES + 1),
    ],
    ids=["versions", "type", "goodbye", "ping", "unknown", "deep", "binary", "long"],
)
async def test_a_handshake_that_goes_wrong_is_remembered_and_tried_again(meeting: Meeting, first: str | bytes) -> None:
    link = await meeting.relay.next_link()
    await link.send(first)
    await link.wait_ended()
    status = await meeting.until(lambda s: s["offline_reason"], "it says why")
    assert not status["linked"]
    shown = (await asyncio.to_thread(meeting.agent.command, "status")).stdout
    assert "\x1b" not in shown
    await meeting.is_well(await meeting.link())


# -- the link ---------------------------------------------------------------------------------------------------------


async def test_a_message_of_an_unknown_type_is_ignored_and_counted(meeting: Meeting) -> None:
    link = await meeting.link()
    await link.send('{"type":"of_tomorrow","field":[1,2,3]}')
    await link.send('{"type":"ping","id":1,"field":"of tomorrow"}')
    await meeting.is_well(link)
    status = await meeting.status()
    assert status["unknown_messages"] == 1 and status["linked"]


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"ping"}',
        '{"type":"ping","id":1e400}',
        "{}",
        "[" * 60_000,
        b"\x00",
        '{"type":"documents","charters":[1]}',
    ],
    ids=["lacking", "number", "untyped", "deep", "binary", "shape"],
)
async def test_a_malformed_message_ends_the_link_and_not_the_agent(meeting: Meeting, text: str | bytes) -> None:
    link = await meeting.link()
    pid = meeting.agent.pid
    await link.send(text)
    await link.wait_ended()
    again = await meeting.link()
    await meeting.is_well(again)
    assert meeting.agent.pid == pid and psutil.pid_exists(pid)
    assert again.heard[0].offline_reason and len(await meeting.journal("offline")) == 1


@pytest.mark.parametrize("heartbeat_s", [-1.0, 0.0, 1e300])
async def test_a_senseless_heartbeat_is_bounded(meeting: Meeting, heartbeat_s: float) -> None:
    link = await meeting.link(heartbeat_s=heartbeat_s)
    await meeting.is_well(link)


async def test_a_relay_that_falls_silent_is_left(meeting: Meeting) -> None:
    link = await meeting.link(heartbeat_s=1.0)
    # It reads nothing and answers nothing: a half-open connection. The deadline is protocol.liveness's 20 s.
    status = await meeting.until(lambda s: "no answer to a ping" in s["offline_reason"], "it noticed")
    assert status["offline_since_at"] >= status["joined_at"]
    await link.close()
    hello = await (await meeting.relay.next_link()).welcome()
    assert "no answer to a ping" in hello.offline_reason


async def test_a_goodbye_is_obeyed_within_reason_and_is_why_it_was_offline(meeting: Meeting) -> None:
    link = await meeting.link()
    await link.send(Goodbye(reason="maintenance\x1b]0;", return_after_s=1.5))
    await link.wait_ended()
    again = await meeting.relay.next_link()
    hello = await again.welcome()
    assert "maintenance" in hello.offline_reason
    assert "\x1b" not in (await asyncio.to_thread(meeting.agent.command, "status")).stdout


async def test_a_relay_that_pings_and_never_reads_fills_no_memory(meeting: Meeting) -> None:
    link = await meeting.link()
    await meeting.is_well(link)
    process = psutil.Process(meeting.agent.pid)
    before = process.memory_info().rss
    for number in range(200_000 if LONG else 50_000):
        await link.send(Ping(id=number))
    assert (await meeting.status())["running"]
    assert process.memory_info().rss - before < 32 * 1024 * 1024


# -- documents --------------------------------------------------------------------------------------------------------


async def test_a_policy_by_a_stranger_is_refused_said_and_logged(meeting: Meeting) -> None:
    link = await meeting.link()
    genuine = meeting.relay.organisation.publish_policy(max_session_s=60)
    forged = seal_statement(KeySigner(new_key()), POLICY, genuine.payload)
    edited = Signed(payload=genuine.payload.replace(b"60", b"61"), signature=genuine.signature)
    for signed, code in ((forged, "unknown_signer"), (edited, "bad_signature")):
        name = meeting.relay.offer_blob(signed)
        await link.send(Documents(policy=name))
        held = await link.next(Held)
        assert held.refused == (f"{name}: {code}",) and held.policy.number == 1
    assert [entry["code"] for entry in await meeting.journal("policy_refused")] == ["unknown_signer", "bad_signature"]
    await link.send(Documents(policy=meeting.relay.offer_blob(genuine)))
    assert (await link.next(Held)).policy.number == 2


async def test_an_older_policy_is_not_taken_back(meeting: Meeting) -> None:
    link = await meeting.link()
    old = meeting.relay.organisation.policies[0]
    new = meeting.relay.organisation.publish_policy()
    await link.send(Documents(policy=meeting.relay.offer_blob(new)))
    assert (await link.next(Held)).policy.number == 2
    await link.send(Documents(policy=meeting.relay.offer_blob(old)))
    assert (await link.next(Held)).policy.number == 2
    await asyncio.to_thread(meeting.agent.kill)
    meeting.agent.start()
    assert (await meeting.relay.next_link()).heard == []
    assert (await meeting.status())["policy"]["number"] == 2


async def test_a_blob_that_is_something_else_or_missing_is_noted_and_nothing_waits_for_it(meeting: Meeting) -> None:
    link = await meeting.link()
    policy = meeting.relay.organisation.publish_policy()
    name = meeting.relay.offer_blob(policy)
    meeting.relay.blobs[name] = b"something else"
    await link.send(Documents(policy=name, record="0" * 64))
    while not await meeting.journal("documents_not_fetched"):
        await asyncio.sleep(0.1)
    name = meeting.relay.offer_blob(policy)
    await link.send(Documents(policy=name))
    assert (await link.next(Held)).policy.number == 2


async def test_a_blob_that_cannot_be_had_now_is_tried_again_while_the_link_stands(meeting: Meeting) -> None:
    link = await meeting.link()
    meeting.relay.failures = 3
    await link.send(Documents(policy=meeting.relay.offer_blob(meeting.relay.organisation.publish_policy())))
    assert (await link.next(Held)).policy.number == 2
    assert meeting.relay.blob_requests >= 4


async def test_an_announcement_that_leaves_out_what_it_follows_from_is_completed(meeting: Meeting) -> None:
    organisation = meeting.relay.organisation
    link = await meeting.link()
    old_root, organisation.root = organisation.root, new_key()
    roots = tuple(organisation.line(key) for key in (old_root, organisation.root))
    new_root, organisation.root = organisation.root, old_root
    organisation.next_charter(roots=roots)
    organisation.root = new_root
    third = organisation.next_charter(roots=(organisation.line(new_root),))
    await link.send(Documents(charters=(meeting.relay.offer_blob(third),)))
    assert (await link.next(Held)).charter == 3


# -- sessions ---------------------------------------------------------------------------------------------------------


async def test_a_policy_that_the_relay_does_not_announce_is_fetched_when_a_technician_names_it(
    meeting: Meeting,
) -> None:
    link = await meeting.link()
    meeting.relay.served.append(meeting.relay.organisation.publish_policy(max_session_s=60))
    await link.send(await meeting.ask(link))
    await link.next(SessionAccepted)
    assert (await meeting.status())["policy"]["number"] == 2


async def test_a_policy_that_the_relay_withholds_keeps_the_session_out(meeting: Meeting) -> None:
    link = await meeting.link()
    meeting.relay.organisation.publish_policy(revocations=Revocations(key_ids=(RevokedKeyId(key_id="ana"),)))
    await link.send(await meeting.ask(link))
    refused = await link.next(SessionRefused)
    assert refused.code == "policy_behind" and refused.hint
    await meeting.is_well(link)


async def test_requests_that_nobody_signed_are_refused_by_thousands_without_filling_log_or_memory(
    meeting: Meeting,
) -> None:
    link = await meeting.link()
    genuine = await meeting.ask(link)
    forged = Signed(payload=genuine.request.payload, signature=flip(-1)(genuine.request.signature))
    process = psutil.Process(meeting.agent.pid)
    before = process.memory_info().rss
    for number in range(10_000 if LONG else 2_000):
        session = f"{number:026d}".translate(str.maketrans("0189", "abcd"))
        await link.send(SessionOffer(session=session, request=forged, ticket="t", leg_url=genuine.leg_url))
        assert (await link.next(SessionRefused)).session == session
    assert process.memory_info().rss - before < 32 * 1024 * 1024
    assert (meeting.agent.state / "journal.jsonl").stat().st_size < 200_000
    assert not process.children()
    # And the genuine one, whose nonce the forgeries could not use up, is still good.
    await link.send(genuine)
    await link.next(SessionAccepted)


async def test_nonces_die_with_the_agent(meeting: Meeting) -> None:
    link = await meeting.link()
    genuine = await meeting.ask(link)
    await asyncio.to_thread(meeting.agent.kill)
    meeting.agent.start()
    link = await meeting.link()
    await link.send(genuine)
    assert (await link.next(SessionRefused)).code == "nonce_unknown"


async def test_a_second_challenge_or_welcome_changes_nothing(meeting: Meeting) -> None:
    link = await meeting.link()
    await link.send('{"type":"challenge","nonce":"n","relay_time":1,"versions":[1]}')
    welcome = Welcome(
        version=1,
        heartbeat_s=1.0,
        blob_token="x",
        charter=9,
        policy=PolicyNumber(epoch=9, number=9),
        record=9,
        report=9,
    )
    await link.send(welcome)
    await meeting.is_well(link)
    assert (await meeting.status())["linked"]


async def test_who_only_looks_takes_few_of_the_device_s_places(meeting: Meeting) -> None:
    """Nobody is asked for such sessions; those of others still begin."""
    link = await meeting.link()
    looker = meeting.relay.organisation.technician("looker", may="view")
    offers = [await meeting.ask(link, looker, capabilities=("view",)) for _ in range(3)]
    for offer in offers:
        await link.send(offer)
    codes = []
    while len(codes) < len(offers):
        answer = await link.next(Record)
        if isinstance(answer, SessionAccepted | SessionRefused):
            codes.append(answer.code if isinstance(answer, SessionRefused) else "")
    assert codes == ["", "", "too_many_looks"]
    await link.send(await meeting.ask(link))
    await link.next(SessionAccepted)
