"""A relay that sends too much, too deep, too long or too slowly: what it costs a real agent, as the kernel says."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import zlib
from collections.abc import AsyncIterator, Iterator

import msgspec
import psutil
import pytest
import pytest_asyncio

from protocol.codec import MAX_MESSAGE_BYTES
from protocol.ids import SessionId, random_id, sha256
from protocol.link import Documents, SessionAccepted, SessionClose, SessionEnded, SessionOffer, SessionRefused
from protocol.statement import Signed
from tests.support.effort import LONG
from tests.support.footprint import MIB, cpu_s, forget_peak, peak
from tests.support.forgery import flip
from tests.support.meeting import Meeting, meeting_in
from tests.support.organisation import new_key

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNASKED = 10_000 if LONG else 3_000
BOUND = 24 * MIB
"""Above what it took before: some buffers of a TLS connection, a message or two, and what the allocator keeps."""

FLOOD = (1024 if LONG else 64) * MIB


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def meeting(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Meeting]:
    async with meeting_in(tmp_path_factory.mktemp("flood")) as meeting:
        await meeting.link()
        await meeting.approve(meeting.current)
        yield meeting


@contextlib.contextmanager
def bounded(meeting: Meeting, bound: int = BOUND) -> Iterator[None]:
    pid = meeting.agent.pid
    before = forget_peak(pid)
    yield
    assert meeting.agent.pid == pid and psutil.pid_exists(pid)
    assert peak(pid) - before < bound, f"{(peak(pid) - before) / MIB:.0f} MiB more"


def ids() -> Iterator[SessionId]:
    return (SessionId(random_id(number.to_bytes(16, "big"))) for number in itertools.count(1))


async def test_thousands_of_sessions_and_legs_that_nobody_asked_for(meeting: Meeting) -> None:
    organisation, link = meeting.relay.organisation, meeting.current
    genuine = await meeting.ask(link)
    by_nobody = Signed(payload=genuine.request.payload, signature=flip(-1)(genuine.request.signature))
    _, by_a_stranger = organisation.session_request(organisation.technician(ca=new_key()), meeting.device, "n")
    _, invented = organisation.session_request(organisation.technician(), meeting.device, "A" * 22)

    def offers() -> Iterator[SessionOffer | SessionClose]:
        for number, session in enumerate(itertools.islice(ids(), UNASKED)):
            match number % 6:
                case 0:
                    yield msgspec.structs.replace(genuine, session=session, request=by_nobody)
                case 1:
                    yield msgspec.structs.replace(genuine, session=session, request=by_a_stranger)
                case 2:
                    yield msgspec.structs.replace(genuine, session=session)  # another session's request
                case 3:
                    yield msgspec.structs.replace(genuine, session=session, resume=True)
                case 4:
                    yield msgspec.structs.replace(genuine, request=invented, leg_url="https://evil.example")
                case _:
                    yield SessionClose(session=session, reason="\x1b[2Jnobody")

    codes: set[str] = set()

    async def hear(count: int) -> None:
        for _ in range(count):
            codes.add((await link.next(SessionRefused)).code)

    with bounded(meeting):
        hearing = asyncio.ensure_future(hear(UNASKED - len(range(5, UNASKED, 6))))
        for offer in offers():
            await link.send(offer)
        await hearing
    assert codes == {"bad_signature", "wrong_ca", "wrong_session", "no_such_session"}
    # Every session's process is made by one that stays for minutes afterwards: there was none.
    assert not [child for child in psutil.Process(meeting.agent.pid).children() if "nursery" in str(child.cmdline())]
    assert meeting.relay.legs_dialled == 0
    assert (meeting.agent.state / "journal.jsonl").stat().st_size < 500_000
    await link.send(genuine)  # and none of that used the nonce of the one that was asked for up
    assert (await link.next(SessionAccepted)).session == genuine.session
    await link.send(SessionClose(session=genuine.session, reason="closed"))
    await link.next(SessionEnded)


async def test_a_recorded_request_is_replayed_in_vain(meeting: Meeting) -> None:
    link = meeting.current
    recorded = await meeting.ask(link)
    await link.send(recorded)
    await link.next(SessionAccepted)
    await link.send(SessionClose(session=recorded.session, reason="closed"))
    await link.next(SessionEnded)
    started, dialled = len(await meeting.journal("session_started")), meeting.relay.legs_dialled
    for replay in (recorded, msgspec.structs.replace(recorded, resume=True)) * 100:
        await link.send(replay)
        assert (await link.next(SessionRefused)).code in ("nonce_unknown", "no_such_session")
    assert len(await meeting.journal("session_started")) == started and meeting.relay.legs_dialled == dialled


@pytest.mark.parametrize("length", [1000 * MAX_MESSAGE_BYTES, 2**63 - 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("kind", [0x81, 0x82], ids=["text", "binary"])
async def test_a_frame_that_says_it_is_huge_is_not_waited_for(meeting: Meeting, kind: int, length: int) -> None:
    await meeting.restart()
    with bounded(meeting):
        head = bytes([kind, 127]) + length.to_bytes(8, "big")
        await meeting.current.send_raw(head, *(b"[" * MIB for _ in range(FLOOD // MIB)))
        status = await meeting.until(lambda s: not s["linked"], "it left")
    assert status["offline_reason"] or status["last_failure"]


async def test_a_message_without_an_end_is_not_collected(meeting: Meeting) -> None:
    """In pieces that are each harmless, and in pieces of nothing at all."""
    await meeting.restart()
    with bounded(meeting):
        empty = bytes([0x00, 0]) * 100_000
        await meeting.current.send_raw(bytes([0x01, 1]) + b"[", *(empty for _ in range(10)))
        assert (await meeting.status())["linked"]
        piece = bytes([0x00, 126]) + (60_000).to_bytes(2, "big") + b"[" * 60_000
        await meeting.current.send_raw(*(piece for _ in range(FLOOD // len(piece))))
        await meeting.until(lambda s: not s["linked"], "it left")


async def test_what_is_packed_is_not_unpacked(meeting: Meeting) -> None:
    """A frame that is marked as compressed (RFC 7692) without leave, and a blob with a content coding."""
    await meeting.restart()
    with bounded(meeting):
        policy = meeting.relay.organisation.publish_policy()
        name = meeting.relay.offer_blob(policy)
        meeting.relay.blobs[name] = gzip.compress(b" " * (256 * MIB))
        meeting.relay.blob_headers = {"Content-Encoding": "gzip"}
        await meeting.current.send(Documents(policy=name))
        while not await meeting.journal("documents_not_fetched"):
            await asyncio.sleep(0.1)
        meeting.relay.blob_headers = {}
        packer = zlib.compressobj(wbits=-15)
        bomb = packer.compress(b"[" * (32 * MIB)) + packer.flush(zlib.Z_SYNC_FLUSH)
        assert len(bomb) < MAX_MESSAGE_BYTES
        await meeting.current.send_raw(bytes([0xC1, 126]) + len(bomb).to_bytes(2, "big") + bomb)
        await meeting.until(lambda s: not s["linked"], "it left")


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"ping","id":' + "[" * 60_000,
        '{"a":' * 10_000 + "1" + "}" * 10_000,
        '{"type":"ping","id":1' + "0" * 60_000 + "}",
        '{"type":"ping","id":1,"id":2,' + '"x":0,' * 8_000 + '"y":0}',
    ],
    ids=["open brackets", "an object in itself", "a number as long as a book", "many keys"],
)
async def test_a_message_that_is_deep_or_wide_ends_the_link_at_most(meeting: Meeting, text: str) -> None:
    link = await meeting.restart()
    with bounded(meeting):
        await link.send(text)
        if '"y":0' in text:  # fields of tomorrow
            await meeting.is_well(link)
        else:
            await meeting.until(lambda s: not s["linked"], "it left")


async def test_bytes_that_crawl_cost_nothing_and_hold_nobody_up(meeting: Meeting) -> None:
    link = await meeting.restart()
    before = cpu_s(meeting.agent.pid)
    with bounded(meeting):
        await link.send_raw(bytes([0x81, 126]) + (60_000).to_bytes(2, "big"), *[b" "] * 100, pause_s=0.01)
        assert (await meeting.status())["running"], "it answers whoever sits before it"
    assert cpu_s(meeting.agent.pid) - before < 2.0


async def test_a_document_that_is_deep_or_long_is_refused_by_its_bounds(meeting: Meeting) -> None:
    link = await meeting.restart()
    with bounded(meeting):
        for body in (b"[" * 1_000_000, b'{"payload":' * 80_000, b'"' + b"A" * (FLOOD // 2), b"\xff" * 1000):
            name = sha256(body)
            meeting.relay.blobs[name] = body
            before = len(await meeting.journal("documents_not_fetched"))
            await link.send(Documents(policy=name))
            while len(await meeting.journal("documents_not_fetched")) == before:
                await asyncio.sleep(0.1)
            await meeting.is_well(link)


@pytest.mark.long
async def test_a_relay_that_sends_a_byte_now_and_then_is_left(meeting: Meeting) -> None:
    """In the middle of a message, for ever: pings go unanswered meanwhile, and that is what counts."""
    await meeting.restart(heartbeat_s=1.0)
    trickle = asyncio.ensure_future(
        meeting.current.send_raw(bytes([0x81, 126]) + (60_000).to_bytes(2, "big"), *[b" "] * 60_000, pause_s=0.5)
    )
    status = await meeting.until(lambda s: "no answer to a ping" in s["offline_reason"], "it left")
    assert status["running"]
    trickle.cancel()


@pytest.mark.long
async def test_a_relay_that_is_slow_to_shake_hands_is_left(meeting: Meeting) -> None:
    await asyncio.to_thread(meeting.agent.kill)
    meeting.agent.start()
    link = await meeting.relay.next_link()
    with bounded(meeting):
        trickle = asyncio.ensure_future(
            link.send_raw(bytes([0x81, 126]) + (60_000).to_bytes(2, "big"), *[b" "] * 60_000, pause_s=0.5)
        )
        await meeting.until(lambda s: "did not complete the handshake" in s["last_failure"], "it left")
    trickle.cancel()
