"""Our own relay, with its database and keys, that has turned: what passes between two legs, it changes.

    python -m tests.support.turned_relay run --dir ... --ready-file ...

ATTACK (an environment variable) is a file that holds "KIND AFTER": the attack, and how many binary messages of a leg
pass before it begins; an empty file is an honest relay. It is read at each message, so that a test can change it. What
was done is counted in ATTACK.done, and the bytes of each session are kept, to be replayed in another.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from protocol.stream import DATA, HEADER
from relay import splice

KINDS = ("flip", "drop", "duplicate", "reorder", "truncate", "lengthen", "splice", "replay", "offset", "junk")
KEPT = 400


class Attack:
    """kept: the messages of earlier sessions' legs, from the device's side and the console's alike."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done = path.with_name(path.name + ".done")
        self.kept: list[bytes] = []
        self._held: dict[int, bytes] = {}
        self._odd = False

    def on(self, leg: int, number: int, data: bytes) -> Iterable[bytes]:
        """What goes to the other leg instead of message `number` (from 0) of this one."""
        words = self._path.read_text().split()
        if not words:
            self.kept = [*self.kept, data][-KEPT:]
            return [data]
        kind, after = words[0], int(words[1])
        if number < after or data[0] != DATA:
            return [data]
        changed = list(self._change(kind, leg, data))
        if changed != [data]:
            with open(self._done, "a", encoding="ascii") as done:
                done.write(f"{kind}\n")
        return changed

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
        self._number = 0
        self._socket = _Socket(self._socket, self)  # type: ignore[assignment]  # what a leg uses of a socket


class _Socket:
    """Everything as the real one, but what is sent: it came from the other leg."""

    def __init__(self, real: Any, leg: Turned) -> None:
        self._real, self._leg = real, leg

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def send_bytes(self, data: bytes) -> None:
        number, self._leg._number = self._leg._number, self._leg._number + 1
        for changed in self._leg.attack.on(id(self._leg), number, bytes(data)):
            await self._real.send_bytes(changed)


def main() -> int:
    from relay.http import session_routes
    from relay.main import main as run

    Turned.attack = Attack(Path(os.environ["ATTACK"]))
    vars(session_routes)["Leg"] = Turned  # the name by which the relay makes its legs
    return run()


if __name__ == "__main__":
    sys.exit(main())
