"""Our own relay, with its database and keys, that has turned: what passes between two legs, it changes.

    python -m tests.support.turned_relay run --dir ... --ready-file ...

ATTACK (an environment variable) is a file that holds "KIND AFTER": the attack, and how many binary messages of a leg
pass before it begins; what follows tells it from another of the same kind. An empty file is an honest relay. It is read
at each message, so that a test can change it. What was done is counted in ATTACK.done, and the bytes of each session
are kept, to be replayed in another.

KINDS change DATA. ON_RETURN cut every leg once, and lie when its two ends come again. `cross` joins the legs of two
sessions crosswise, `cut-cross` those that it has cut. FRAMES are what no relay says on a leg.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from protocol.stream import DATA, HEADER, RESUME
from relay import splice

KINDS = ("flip", "drop", "duplicate", "reorder", "truncate", "lengthen", "splice", "replay", "offset", "junk")
ON_RETURN = ("resume-ahead", "resume-back", "resume-far", "resume-twice")
FRAMES = ("giant", "text", "packed")
KEPT = 400
JOINS = 4
"""Two sessions of two legs, each of which is joined to the other."""

GIANT = 64 * 1024 * 1024


class Attack:
    """kept: the messages of earlier sessions' legs, from the device's side and the console's alike."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done = path.with_name(path.name + ".done")
        self.kept: list[bytes] = []
        self._held: dict[int, bytes] = {}
        self._odd = False
        self._cut: set[int] = set()
        self._words = ""
        self._joins = 0
        self._joined: list[Turned] = []
        self._to_cross: list[tuple[Turned, Turned]] = []

    def words(self) -> tuple[str, int]:
        """The attack and after how many messages; "" for none."""
        text = self._path.read_text()
        if text != self._words:
            self._words = text
            self._cut.clear()
            self._joins = 0
            self._joined.clear()
            self._to_cross.clear()
        kind, after, *_ = [*text.split(" "), "0"]
        return kind, int(after)

    def done(self, kind: str) -> None:
        with open(self._done, "a", encoding="ascii") as done:
            done.write(f"{kind}\n")

    def cuts(self, leg: Turned) -> bool:
        """Whether the legs are to be cut now: each message's own leg, if it was one before the attack."""
        kind, after = self.words()
        if kind != "cut-cross" and kind not in ON_RETURN:
            return False
        if leg.begun_with == RESUME or leg.number < after or id(leg) in self._cut:
            return False
        if kind != "cut-cross":
            self._cut.add(id(leg))
            return True
        if self._joins < JOINS or sum(other.number >= after for other in self._joined) < JOINS // 2:
            return False  # the other session is still on its way here
        self._cut.update(map(id, self._joined))
        for other in self._joined:  # all at once, so that they come again together
            other.cut()
        self._joined.clear()
        return True

    def joins(self, leg: Turned, peer: Turned) -> list[tuple[Turned, Turned]]:
        """Which legs get which other one, now that these two are to be joined."""
        kind = self.words()[0]
        self._joins += 1
        self._joined.append(leg)
        if kind not in ("cross", "cut-cross") or (kind == "cut-cross" and self._joins <= JOINS):
            return [(leg, peer)]
        # One that was given up has come again meanwhile.
        self._to_cross = [pair for pair in self._to_cross if not (pair[0].is_hung_up or pair[1].is_hung_up)]
        self._to_cross.append((leg, peer))
        if len(self._to_cross) < JOINS:
            return []
        (ours, _), (theirs, _), (our_other, _), (their_other, _) = self._to_cross
        self._to_cross.clear()
        self.done("cross")
        return [(ours, their_other), (their_other, ours), (our_other, theirs), (theirs, our_other)]

    def on(self, leg: int, number: int, data: bytes) -> Iterable[bytes]:
        """What goes to the other leg instead of message `number` (from 0) of this one."""
        kind, after = self.words()
        if not kind:
            self.kept = [*self.kept, data][-KEPT:]
        if kind in ON_RETURN and data[0] == RESUME:
            self.done(kind)
            return self._lie(kind, data)
        if kind not in KINDS or number < after or data[0] != DATA:
            return [data]
        changed = list(self._change(kind, leg, data))
        if changed != [data]:
            self.done(kind)
        return changed

    @staticmethod
    def _lie(kind: str, resume: bytes) -> Iterable[bytes]:
        offset = int.from_bytes(resume[1:9], "big")
        if kind == "resume-twice":
            return [resume, resume]
        said = {"resume-ahead": offset + 1, "resume-back": max(0, offset - 1000), "resume-far": 1 << 61}[kind]
        return [HEADER.pack(RESUME, said)]

    def _change(self, kind: str, leg: int, data: bytes) -> Iterable[bytes]:
        middle = (HEADER.size + len(data)) // 2
        match kind:
            case "flip":
                return [data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]]
            case "drop":  # every other one, so that the next tells what is missing
                self._odd = not self._odd
                return [] if self._odd else [data]
            case "duplicate":
                return [data, data]
            case "reorder":
                held = self._held.pop(leg, None)
                if held is None:
                    self._held[leg] = data
                    return []
                return [data, held]
            case "truncate":
                return [data[:-1]]
            case "lengthen":
                return [data + b"\0"]
            case "splice" | "replay":
                same = [old for old in self.kept if len(old) == len(data)] if kind == "splice" else self.kept
                other = next((old for old in same if old[0] == DATA), None)
                return [data if other is None else data[: HEADER.size] + other[HEADER.size :]]
            case "offset":
                return [data[:1] + (int.from_bytes(data[1:9], "big") ^ (1 << 40)).to_bytes(8, "big") + data[9:]]
            case "junk":
                return [os.urandom(len(data))]
        raise ValueError(kind)


class Turned(splice.Leg):
    """A leg whose socket's messages go through the attack before they reach the other one."""

    attack: Attack

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.number = 0
        self.begun_with: int | None = None  # kind of the first frame that was for its end
        self._framed = False
        self._socket = _Socket(self._socket, self)  # type: ignore[assignment]  # what a leg uses of a socket

    def join(self, peer: splice.Leg) -> None:
        assert isinstance(peer, Turned)
        for leg, other in self.attack.joins(self, peer):
            super(Turned, leg).join(other)

    @property
    def is_hung_up(self) -> bool:
        return self._hung_up

    def cut(self) -> None:
        self._cut()

    async def frames(self) -> None:
        """Once: what no relay says."""
        kind, after = self.attack.words()
        transport = self._transport()
        if kind not in FRAMES or self.number < after or self._framed or transport is None:
            return
        self._framed = True
        self.attack.done(kind)
        if kind == "text":
            transport.write(b"\x81\x02{}")
        elif kind == "packed":
            transport.write(b"\xc2\x04\x4a\x04\x00\x00")
        else:
            transport.write(b"\x82\x7f" + (2**63 - 1).to_bytes(8, "big"))
            for _ in range(GIANT // 65536):
                transport.write(bytes(65536))
                while transport.get_write_buffer_size() > 1 << 20 and not transport.is_closing():
                    await asyncio.sleep(0.01)


class _Socket:
    """Everything as the real one, but what is sent: it came from the other leg."""

    def __init__(self, real: Any, leg: Turned) -> None:
        self._real, self._leg = real, leg

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def send_bytes(self, data: bytes) -> None:
        leg = self._leg
        if leg.begun_with is None:
            leg.begun_with = data[0]
        if leg.attack.cuts(leg):
            leg.cut()
            raise ConnectionResetError
        await leg.frames()
        number, leg.number = leg.number, leg.number + 1
        for changed in leg.attack.on(id(leg), number, bytes(data)):
            await self._real.send_bytes(changed)


def main() -> int:
    from relay.http import session_routes
    from relay.main import main as run

    Turned.attack = Attack(Path(os.environ["ATTACK"]))
    vars(session_routes)["Leg"] = Turned  # the name by which the relay makes its legs
    return run()


if __name__ == "__main__":
    sys.exit(main())
