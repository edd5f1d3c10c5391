"""The stream's rules, one by one; tests/fuzz/test_stream_fuzz.py has the rest."""

from __future__ import annotations

import pytest

from protocol.errors import BadMessage, PeerFault
from protocol.stream import (
    ACK,
    ACK_EVERY_BYTES,
    COPY_BELOW_BYTES,
    DATA,
    FIN,
    HEADER,
    MAX_DATA_BYTES,
    MAX_OFFSET,
    RESUME,
    WINDOW_BYTES,
    Stream,
    StreamFault,
    decode_frame,
    encode_frame,
)


def frames_of(stream: Stream) -> list[bytes]:
    return list(iter(stream.next_frame, None))


def ferry(sender: Stream, receiver: Stream) -> bytes:
    """Everything that the sender may send now, delivered and consumed at once."""
    got = b""
    for frame in frames_of(sender):
        data = receiver.receive(frame)
        receiver.consumed(len(data))
        got += data
    return got


@pytest.mark.parametrize(
    ("frame", "hexadecimal"),
    [
        ((DATA, 0, b"hi"), "0000000000000000006869"),
        ((DATA, 0x0102030405060708, b"\xff"), "000102030405060708ff"),
        ((ACK, 4194304, b""), "010000000000400000"),
        ((FIN, 1, b""), "020000000000000001"),
    ],
)
def test_a_frame_is_these_bytes(frame: tuple[int, int, bytes], hexadecimal: str) -> None:
    encoded = bytes.fromhex(hexadecimal)
    assert encode_frame(*frame) == encoded
    kind, offset, payload = decode_frame(encoded)
    assert (kind, offset, bytes(payload)) == frame


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x00" * 8,
        HEADER.pack(DATA, 0),  # DATA of nothing
        HEADER.pack(ACK, 0) + b"x",
        HEADER.pack(FIN, 0) + b"x",
        HEADER.pack(4, 0),
        HEADER.pack(255, 0) + b"x",
        HEADER.pack(ACK, MAX_OFFSET + 1),
        HEADER.pack(DATA, 2**64 - 1) + b"x",
        HEADER.pack(DATA, 0) + b"x" * (MAX_DATA_BYTES + 1),
    ],
)
def test_what_is_no_frame_is_refused(message: bytes) -> None:
    with pytest.raises(BadMessage):
        Stream().receive(message)


def test_bytes_arrive_once_and_in_order() -> None:
    one, other = Stream(), Stream()
    one.write(b"hello ")
    one.write(bytearray(b"world"))
    one.write(memoryview(b"!"))
    one.write(b"")
    assert ferry(one, other) == b"hello world!"
    assert frames_of(one) == []


def test_small_writes_share_a_frame_and_a_large_one_is_cut_without_copies() -> None:
    stream = Stream()
    for _ in range(10):
        stream.write(b"key")
    assert len(frames_of(stream)) == 1
    stream.write(b"x" * (2 * MAX_DATA_BYTES + 1))
    assert [len(frame) - HEADER.size for frame in frames_of(stream)] == [MAX_DATA_BYTES, MAX_DATA_BYTES, 1]
    stream.write(b"small")
    stream.write(b"x" * (COPY_BELOW_BYTES + 1))
    assert len(frames_of(stream)) == 2


def test_a_window_of_unacknowledged_bytes_is_the_most() -> None:
    one, other = Stream(), Stream()
    one.write(b"x" * (WINDOW_BYTES + 5))
    sent = frames_of(one)
    assert sum(len(frame) - HEADER.size for frame in sent) == WINDOW_BYTES == one.unacknowledged
    assert (one.backlog, one.writable) == (5, 0)
    for frame in sent:
        other.receive(frame)
    assert frames_of(other) == []  # received is not consumed
    other.consumed(ACK_EVERY_BYTES)
    (ack,) = frames_of(other)
    assert decode_frame(ack)[:2] == (ACK, ACK_EVERY_BYTES)
    one.receive(ack)
    assert len(frames_of(one)) == 1
    assert one.unacknowledged == WINDOW_BYTES - ACK_EVERY_BYTES + 5


def test_the_rest_is_acknowledged_when_the_driver_says_so() -> None:
    one, other = Stream(), Stream()
    one.write(b"few")
    ferry(one, other)
    assert [other.ack_pending, frames_of(other)] == [True, []]
    other.acknowledge()
    ferry(other, one)
    assert one.unacknowledged == 0
    assert other.ack_pending is False
    other.acknowledge()
    assert frames_of(other) == []


def test_each_direction_is_closed_by_its_own_fin() -> None:
    one, other = Stream(), Stream()
    one.write(b"request")
    one.finish()
    assert ferry(one, other) == b"request"
    assert other.peer_finished and not one.peer_finished
    other.write(b"answer")
    assert ferry(other, one) == b"answer"
    other.finish()
    ferry(other, one)
    ferry(one, other)
    ferry(other, one)
    assert one.done and other.done
    with pytest.raises(ValueError, match="finished"):
        one.write(b"more")
    assert one.writable == 0


def test_fin_waits_for_what_was_written_before_it() -> None:
    one, other = Stream(window=4), Stream(window=4)
    one.write(b"123456")
    one.finish()
    assert [frame[0] for frame in frames_of(one)] == [DATA]
    assert not one.all_taken
    other.receive(encode_frame(DATA, 0, b"1234"))
    other.consumed(4)
    ferry(other, one)
    assert [frame[0] for frame in frames_of(one)] == [DATA, FIN]


def test_duplicates_are_trimmed_by_their_offset() -> None:
    stream = Stream()
    assert bytes(stream.receive(encode_frame(DATA, 0, b"abcd"))) == b"abcd"
    assert bytes(stream.receive(encode_frame(DATA, 0, b"abcd"))) == b""
    assert bytes(stream.receive(encode_frame(DATA, 2, b"cdef"))) == b"ef"
    assert stream.received_offset == 6


def fed(*frames: bytes, window: int = WINDOW_BYTES) -> Stream:
    stream = Stream(window=window)
    for frame in frames:
        stream.receive(frame)
    return stream


@pytest.mark.parametrize(
    ("before", "fault"),
    [
        ([], encode_frame(DATA, 1, b"x")),  # a gap
        ([encode_frame(DATA, 0, b"ab")], encode_frame(DATA, 3, b"x")),
        ([], encode_frame(ACK, 1)),  # of what was never sent
        ([], encode_frame(FIN, 1)),  # beyond what was received
        ([encode_frame(DATA, 0, b"ab")], encode_frame(FIN, 1)),  # before it
        ([encode_frame(FIN, 0)], encode_frame(DATA, 0, b"x")),  # after the end
        ([encode_frame(DATA, 0, b"12345678")], encode_frame(DATA, 8, b"9")),  # over the window
        ([], encode_frame(DATA, 0, b"123456789")),
    ],
)
def test_what_cannot_be_true_is_the_far_ends_fault(before: list[bytes], fault: bytes) -> None:
    stream = fed(*before, window=8)
    with pytest.raises(StreamFault) as caught:
        stream.receive(fault)
    assert isinstance(caught.value, PeerFault)


def test_an_acknowledgement_that_goes_back_is_a_fault() -> None:
    stream = Stream()
    stream.write(b"abc")
    frames_of(stream)
    stream.receive(encode_frame(ACK, 2))
    stream.receive(encode_frame(ACK, 2))
    with pytest.raises(StreamFault, match="goes back"):
        stream.receive(encode_frame(ACK, 1))


def test_the_same_end_may_be_said_twice() -> None:
    assert fed(encode_frame(DATA, 0, b"x"), encode_frame(FIN, 1), encode_frame(FIN, 1)).peer_finished


def test_consuming_more_than_was_received_is_our_own_bug() -> None:
    with pytest.raises(ValueError, match="consumed"):
        Stream().consumed(1)


def test_a_stream_goes_on_over_another_leg_from_its_offsets() -> None:
    one, other = Stream(), Stream()
    one.write(b"abc")
    one.write(b"d" * (COPY_BELOW_BYTES + 1))
    one.finish()
    first, *lost = frames_of(one)
    other.consumed(len(other.receive(first)))
    said, answered = one.rejoin(), other.rejoin()
    assert said == encode_frame(RESUME, 0) and answered == encode_frame(RESUME, 3)
    assert frames_of(one) == []  # until it knows from where
    one.receive(answered)
    other.receive(said)
    assert frames_of(one) == lost
    for frame in lost:
        other.receive(frame)
    assert other.peer_finished and other.received_offset == 3 + COPY_BELOW_BYTES + 1


def test_a_frame_is_cut_where_the_far_end_has_its_beginning() -> None:
    stream = Stream()
    stream.write(b"abcdef")
    frames_of(stream)
    stream.receive(encode_frame(ACK, 2))
    for offset, again in ((2, [encode_frame(DATA, 2, b"cdef")]), (6, [])):
        stream.rejoin()
        stream.receive(encode_frame(RESUME, offset))
        assert frames_of(stream) == again
    for impossible in (1, 7):
        stream.rejoin()
        with pytest.raises(StreamFault, match="goes on from"):
            stream.receive(encode_frame(RESUME, impossible))


def test_what_a_lost_leg_still_owed_is_not_owed_twice() -> None:
    stream = Stream()
    stream.write(b"abcdef")
    frames_of(stream)
    for _ in range(2):  # the leg is lost again before anything was resent
        stream.rejoin()
        stream.receive(encode_frame(RESUME, 0))
    assert frames_of(stream) == [encode_frame(DATA, 0, b"abcdef")]


@pytest.mark.parametrize("kind", [DATA, ACK, FIN])
def test_a_new_leg_begins_with_resume_and_no_other_has_one(kind: int) -> None:
    stream = Stream()
    with pytest.raises(StreamFault, match="a leg begins"):
        stream.receive(encode_frame(RESUME, 0))
    stream.rejoin()
    with pytest.raises(StreamFault, match="a leg begins"):
        stream.receive(encode_frame(kind, 0, b"x" if kind == DATA else b""))


def test_after_a_resume_the_far_end_is_told_what_was_consumed() -> None:
    stream = Stream()
    stream.consumed(len(stream.receive(encode_frame(DATA, 0, b"abc"))))
    stream.rejoin()
    stream.receive(encode_frame(RESUME, 0))
    assert frames_of(stream) == [encode_frame(ACK, 3)]


def test_an_acknowledgement_that_was_lost_with_its_leg_is_sent_anew_whatever_is_asked_meanwhile() -> None:
    left, right = Stream(window=64), Stream(window=64)
    left.write(b"x")
    frame = left.next_frame()
    assert frame is not None
    right.receive(frame)
    right.consumed(1)
    right.acknowledge()
    assert right.next_frame() is not None  # it is lost, and the leg with it
    right.rejoin()
    right.receive(encode_frame(RESUME, 0))
    right.acknowledge()
    again = right.next_frame()
    assert again is not None
    left.rejoin()
    left.receive(encode_frame(RESUME, 1))
    left.receive(again)
    assert left.unacknowledged == 0
