"""Any two drivers, any timing, any cuts: what goes in comes out. Any bytes: a fault, and nothing else."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from protocol.errors import PeerFault
from protocol.stream import DATA, HEADER, Stream, decode_frame, encode_frame

WINDOW = 50


class TwoEnds(RuleBasedStateMachine):
    """Two streams over legs that may be cut at any frame, after which both go on over new ones."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = (Stream(window=WINDOW), Stream(window=WINDOW))
        self.wires: tuple[deque[bytes], deque[bytes]] = (deque(), deque())
        self.written = (bytearray(), bytearray())
        self.got = (bytearray(), bytearray())
        self.finished = [False, False]

    which = st.integers(0, 1)

    @rule(end=which, data=st.binary(max_size=120), kind=st.sampled_from([bytes, bytearray, memoryview]))
    def write(self, end: int, data: bytes, kind: type) -> None:
        if not self.finished[end]:
            self.ends[end].write(kind(data))
            self.written[end].extend(data)

    @rule(end=which)
    def finish(self, end: int) -> None:
        self.finished[end] = True
        self.ends[end].finish()

    @rule(end=which, count=st.integers(1, 5))
    def send(self, end: int, count: int) -> None:
        for _ in range(count):
            frame = self.ends[end].next_frame()
            if frame is not None:
                self.wires[end].append(frame)

    @precondition(lambda self: any(self.wires))
    @rule(end=which, count=st.integers(1, 5))
    def arrive(self, end: int, count: int) -> None:
        for _ in range(min(count, len(self.wires[end]))):
            self.got[1 - end].extend(self.ends[1 - end].receive(self.wires[end].popleft()))

    @rule(end=which, share=st.floats(0, 1))
    def consume(self, end: int, share: float) -> None:
        stream = self.ends[end]
        stream.consumed(int((stream.received_offset - stream._consumed) * share))

    @rule(end=which)
    def acknowledge(self, end: int) -> None:
        self.ends[end].acknowledge()

    @rule()
    def cut(self) -> None:
        """Everything under way is lost; both ends tell the other how far they got, and resend. It may happen again
        before they have."""
        for end in (0, 1):
            self.wires[end].clear()
        for end in (0, 1):
            self.wires[end].append(self.ends[end].rejoin())

    @invariant()
    def what_came_out_is_what_went_in(self) -> None:
        for end in (0, 1):
            assert self.written[end].startswith(self.got[1 - end])
            assert self.ends[end].unacknowledged <= WINDOW
            kept = sum(len(frame) - HEADER.size for frame in self.ends[end]._unacked)
            assert kept <= 2 * WINDOW

    def teardown(self) -> None:
        """However it went, with working legs all of it arrives."""
        self.cut()
        for end in (0, 1):
            self.finish(end)
        for _ in range(400):
            for end in (0, 1):
                self.consume(end, 1.0)
                self.acknowledge(end)
                self.send(end, 5)
                self.arrive(end, 99)
        for end in (0, 1):
            assert self.got[1 - end] == self.written[end]
            assert self.ends[end].done


class TwoEndsAndARelay(TwoEnds):
    """The same, with a relay between them that loses, repeats, exchanges and rewrites frames, and invents some."""

    failed = False

    def tamper(self, end: int, change: Callable[[list[bytes]], None]) -> None:
        frames = list(self.wires[end])
        change(frames)
        self.wires[end].clear()
        self.wires[end].extend(frames)

    @precondition(lambda self: any(self.wires))
    @rule(end=TwoEnds.which, at=st.integers(0, 9))
    def lose(self, end: int, at: int) -> None:
        self.tamper(end, lambda frames: frames.pop(at % len(frames)) if frames else None)

    @precondition(lambda self: any(self.wires))
    @rule(end=TwoEnds.which, at=st.integers(0, 9), to=st.integers(0, 9))
    def repeat(self, end: int, at: int, to: int) -> None:
        self.tamper(end, lambda frames: frames.insert(to, frames[at % len(frames)]) if frames else None)

    @precondition(lambda self: any(self.wires))
    @rule(end=TwoEnds.which, at=st.integers(0, 9))
    def exchange(self, end: int, at: int) -> None:
        self.tamper(end, lambda frames: frames.append(frames.pop(at % len(frames))) if frames else None)

    @rule(end=TwoEnds.which, kind=st.integers(0, 4), offset=st.integers(0, 300))
    def invent(self, end: int, kind: int, offset: int) -> None:
        """Not DATA with other bytes: that these are no good is for SSH to notice, which runs on it."""
        if kind != DATA:
            self.wires[end].append(encode_frame(kind, offset))

    def arrive(self, end: int, count: int) -> None:
        if not self.failed:
            try:
                super().arrive(end, count)
            except PeerFault:
                self.failed = True  # a clean end

    arrive = rule(end=TwoEnds.which, count=st.integers(1, 5))(arrive)

    def teardown(self) -> None:
        self.what_came_out_is_what_went_in()


TestTwoEnds = TwoEnds.TestCase
TestTwoEndsAndARelay = TwoEndsAndARelay.TestCase
TestTwoEndsAndARelay.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestTwoEnds.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_bytes_are_taken_or_are_the_far_ends_fault(messages: list[bytes]) -> None:
    stream = Stream(window=WINDOW)
    stream.write(b"x" * 20)
    stream.next_frame()
    received = 0
    for message in messages:
        try:
            received += len(stream.receive(message))
        except PeerFault:
            break
        assert received == stream.received_offset <= WINDOW
        assert 0 <= stream.unacknowledged <= 20


@given(st.integers(0, 4), st.integers(0, 2**64 - 1), st.binary(max_size=30))
def test_any_frame_is_taken_or_is_the_far_ends_fault(kind: int, offset: int, payload: bytes) -> None:
    frame = encode_frame(kind, offset, payload)
    try:
        found = decode_frame(frame)
        assert (*found[:2], bytes(found[2])) == (kind, offset, payload)
        Stream(window=WINDOW).receive(frame)
    except PeerFault:
        pass
