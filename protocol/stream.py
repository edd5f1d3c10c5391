"""The stream: one resumable byte channel, on which a session's SSH runs. Pure; a driver moves the frames.

One binary WebSocket message is one frame:

    0        type     u8    0 DATA, 1 ACK, 2 FIN, 3 RESUME
    1..8     offset   u64   big-endian; bytes since the stream began
    9..      payload        DATA only, 1 byte to MAX_DATA_BYTES

    DATA  offset of its first byte. What was received before is dropped; a gap is a fault.
    ACK   offset up to which the receiver has *consumed*. Never goes back, never beyond what was sent.
    FIN   offset of the end: the sender says nothing after it (half-close; the other direction goes on).
    RESUME  offset up to which the sender has *received*. The first word of each end on every leg but the first.

At most WINDOW_BYTES are sent and not acknowledged. The sender keeps them, so that both ends can go on over another
leg from where the other one's RESUME says; the receiver may hold them until its reader wants them, which is what
bounds the memory of both ends and makes a slow reader slow the writer. The machine trusts the far end in nothing:
whatever a frame says is refused with PeerFault unless it could be true.
"""

from __future__ import annotations

import struct
from collections import deque

from protocol.errors import BadMessage, PeerFault

DATA, ACK, FIN, RESUME = 0, 1, 2, 3

HEADER = struct.Struct(">BQ")

MAX_FRAME_BYTES = 256 * 1024
"""A message of a leg: each costs every process on the way a turn of its loop and a call into the kernel or two."""

MAX_DATA_BYTES = MAX_FRAME_BYTES - HEADER.size

WINDOW_BYTES = 4 * 1024 * 1024
"""Sent and not acknowledged. 40 MB/s at 100 ms round trip, and the most that either end has to keep in memory."""

ACK_EVERY_BYTES = 512 * 1024
"""Consumed bytes that are acknowledged at once: 8 times a window, so the sender never idles for want of an ACK."""

ACK_DELAY_S = 0.2
"""Driver's: the rest is acknowledged when nothing more was consumed for so long, to free the sender's memory."""

MAX_OFFSET = 1 << 62
"""4 EiB. No stream gets there; a frame that claims it is hostile, and sums of offsets stay in 64 bits."""

COPY_BELOW_BYTES = 4096
"""Waiting pieces up to this size are sent together in a frame; larger ones are not worth the copy."""


class StreamFault(PeerFault):
    """The far end broke the stream's rules. The stream is of no further use."""

    code = "stream_fault"


def encode_frame(kind: int, offset: int, payload: bytes | memoryview = b"") -> bytes:
    return b"".join((HEADER.pack(kind, offset), payload))


def decode_frame(frame: bytes | bytearray | memoryview) -> tuple[int, int, memoryview]:
    """Return (type, offset, payload) of one message; the payload is a view into it.

    Raises BadMessage if it is no frame: too short, too long, of an unknown type, or with a payload where none is due.
    """
    if not HEADER.size <= len(frame) <= MAX_FRAME_BYTES:
        raise BadMessage(f"a stream frame of {len(frame)} bytes")
    kind, offset = HEADER.unpack_from(frame)
    payload = memoryview(frame)[HEADER.size :]
    if kind > RESUME or (kind == DATA) != bool(payload):
        raise BadMessage(f"a stream frame of type {kind} with {len(payload)} bytes of payload")
    if offset > MAX_OFFSET:
        raise BadMessage("a stream frame with an offset beyond all bounds")
    return kind, offset, payload


class Stream:
    """One end. The driver writes and consumes, hands every received message to `receive`, and sends what
    `next_frame` returns, for as long as its connection takes more.
    """

    def __init__(self, *, window: int = WINDOW_BYTES) -> None:
        self._window = window
        # Sending: [acked .. sent) is kept in _unacked as whole frames, [sent .. written) waits in _waiting.
        self._acked = 0
        self._sent = 0
        self._written = 0
        self._waiting: deque[memoryview] = deque()
        self._unacked: deque[bytes] = deque()
        self._finished = False
        self._fin_sent = False
        self._again: deque[bytes] = deque()  # what a new leg needs first
        self._rejoining = False  # the far end's RESUME is still to come
        # Receiving: [consumed .. received) is with the driver.
        self._received = 0
        self._consumed = 0
        self._ack_sent = 0
        self._ack_wanted = False
        self._peer_end: int | None = None

    # -- sending ------------------------------------------------------------------------------------------------

    @property
    def writable(self) -> int:
        """Bytes that may be written and will leave at once, as far as the window goes."""
        return 0 if self._finished else max(0, self._acked + self._window - self._written)

    @property
    def backlog(self) -> int:
        """Bytes written that wait for `next_frame`. The driver bounds it, by making its writers wait."""
        return self._written - self._sent

    @property
    def unacknowledged(self) -> int:
        return self._sent - self._acked

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue `data`. It is copied unless it is `bytes`. ValueError after `finish`: a bug of the driver."""
        if self._finished:
            raise ValueError("the stream was finished")
        if data:
            self._waiting.append(memoryview(data if isinstance(data, bytes) else bytes(data)))
            self._written += len(data)

    def finish(self) -> None:
        """Say that nothing follows what was written. Receiving goes on."""
        self._finished = True

    def next_frame(self) -> bytes | None:
        """The next frame to send, or None until something is written, consumed or acknowledged."""
        if self._rejoining:
            return None
        if self._again:
            return self._again.popleft()
        if self._ack_wanted:
            return self._ack_frame()
        if self._waiting:
            room = min(MAX_DATA_BYTES, self._acked + self._window - self._sent)
            return self._data_frame(room) if room > 0 else None
        if self._finished and not self._fin_sent:
            self._fin_sent = True
            return encode_frame(FIN, self._sent)
        return None

    def _data_frame(self, room: int) -> bytes:
        head = self._waiting[0]
        if len(head) > room:
            self._waiting[0] = head[room:]
            frame = encode_frame(DATA, self._sent, head[:room])
        else:
            parts: list[bytes | memoryview] = [HEADER.pack(DATA, self._sent), self._waiting.popleft()]
            room -= len(head)
            while self._waiting and len(self._waiting[0]) <= min(room, COPY_BELOW_BYTES):
                room -= len(self._waiting[0])
                parts.append(self._waiting.popleft())
            frame = b"".join(parts)
        self._unacked.append(frame)
        self._sent += len(frame) - HEADER.size
        return frame

    def _ack_frame(self) -> bytes:
        self._ack_wanted = False
        self._ack_sent = self._consumed
        return encode_frame(ACK, self._consumed)

    # -- receiving ----------------------------------------------------------------------------------------------

    @property
    def received_offset(self) -> int:
        """How far the far end's bytes have arrived: what a resumed leg asks it to go on from."""
        return self._received

    @property
    def peer_finished(self) -> bool:
        """The far end has said FIN, and all before it was received (not necessarily consumed)."""
        return self._peer_end is not None

    @property
    def all_said(self) -> bool:
        """We said FIN, whoever may have heard it."""
        return self._fin_sent

    @property
    def all_taken(self) -> bool:
        """We said FIN, and the far end has consumed everything before it."""
        return self._fin_sent and self._acked == self._sent

    @property
    def done(self) -> bool:
        """Both ends said FIN, and the far end has consumed everything."""
        return self.peer_finished and self.all_taken

    def receive(self, message: bytes | bytearray | memoryview) -> memoryview:
        """Take one message of the far end; return the bytes in it that are new (a view into it, often empty).

        Each byte comes once and in order. The driver says with `consumed` when its reader has taken them.
        Raises StreamFault or BadMessage; the stream is of no further use then.
        """
        kind, offset, payload = decode_frame(message)
        if (kind == RESUME) != self._rejoining:
            raise StreamFault("a leg begins with where its far end goes on from, unless it is the first")
        if kind == DATA:
            return self._on_data(offset, payload)
        if kind == ACK:
            self._on_ack(offset)
        elif kind == FIN:
            self._on_fin(offset)
        else:
            self._on_resume(offset)
        return payload[:0]

    def consumed(self, count: int) -> None:
        """The reader took `count` more bytes; the far end may send as many again."""
        if not 0 <= count <= self._received - self._consumed:
            raise ValueError("more consumed than received")
        self._consumed += count
        if self.peer_finished or self._consumed - self._ack_sent >= min(ACK_EVERY_BYTES, self._window // 2):
            self.acknowledge()

    @property
    def ack_pending(self) -> bool:
        """Some consumed bytes are not acknowledged yet; the driver calls `acknowledge` after ACK_DELAY_S."""
        return self._consumed > self._ack_sent

    def acknowledge(self) -> None:
        """Let the next frame be an ACK, if there is anything to acknowledge."""
        if self._consumed > self._ack_sent:  # else one that a new leg needs anew may be wanted still
            self._ack_wanted = True

    def _on_data(self, offset: int, payload: memoryview) -> memoryview:
        end = offset + len(payload)
        if offset > self._received:
            raise StreamFault(f"{offset - self._received} bytes are missing in the stream")
        if self._peer_end is not None and end > self._peer_end:
            raise StreamFault("data after the end of the stream")
        if end > self._consumed + self._window:
            raise StreamFault("more data than the window allows")
        if end <= self._received:
            return payload[:0]
        new = payload[self._received - offset :]
        self._received = end
        return new

    def _on_ack(self, offset: int) -> None:
        if offset > self._sent:
            raise StreamFault("an acknowledgement of bytes that were never sent")
        if offset < self._acked:
            raise StreamFault("an acknowledgement that goes back")
        self._forget(offset)

    def _on_fin(self, offset: int) -> None:
        if offset != self._received or self._peer_end not in (None, offset):
            raise StreamFault("an end of the stream that is not where its bytes end")
        self._peer_end = offset
        self.acknowledge()  # at once: whoever said FIN waits for it

    def _forget(self, offset: int) -> None:
        self._acked = offset
        while self._unacked and _end_of(self._unacked[0]) <= offset:
            self._unacked.popleft()

    # -- resuming -----------------------------------------------------------------------------------------------

    def rejoin(self) -> bytes:
        """There is a new leg: what to say on it first. Nothing else is said until the far end's RESUME was received."""
        self._again.clear()
        self._rejoining = True
        return encode_frame(RESUME, self._received)

    def _on_resume(self, offset: int) -> None:
        if not self._acked <= offset <= self._sent:
            raise StreamFault("the far end goes on from an offset that it cannot have")
        self._rejoining = False
        self._again.extend(_from(frame, offset) for frame in self._unacked if _end_of(frame) > offset)
        if self._fin_sent:
            self._again.append(encode_frame(FIN, self._sent))
        self._ack_wanted = self._consumed > 0  # an acknowledgement may have been lost with the last leg


def _end_of(frame: bytes) -> int:
    _, offset = HEADER.unpack_from(frame)
    return int(offset) + len(frame) - HEADER.size


def _from(frame: bytes, offset: int) -> bytes:
    """The DATA frame `frame` without what lies before `offset`."""
    _, start = HEADER.unpack_from(frame)
    if offset <= start:
        return frame
    return encode_frame(DATA, offset, memoryview(frame)[HEADER.size + offset - start :])
