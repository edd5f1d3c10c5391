"""Fuzzing that learns from coverage: an input that reaches lines which none before it reached is kept, and bred from.

    python -m tests.fuzz 300            `make fuzz SECONDS=300`

Inputs of the past lie in tests/fuzz/corpus, a folder for each decoder: those that once found a bug, and a few by which
a short run begins where a long one ended.
"""

from __future__ import annotations

import random
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from protocol.errors import AuxilioError
from tests.fuzz.decoders import Decoder

CORPUS = Path(__file__).parent / "corpus"
MAX_BYTES = 4096
TRACED = re.compile(r"/(?:protocol|agent/facts/parsers)/[a-z_]+\.py$")
INTERESTING = (
    *(b"\0", b"\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\xff" * 8),
    *(b"{", b"}", b'"', b"\\u0000", b"-", b"1e999"),
)


class Coverage:
    """The lines of decoders that a call went through, as (code, line before, line): the ways, not only the places."""

    def __init__(self) -> None:
        self._wanted: dict[CodeType, bool] = {}
        self.ways: set[tuple[int, int, int]] = set()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        wanted = self._wanted.get(code)
        if wanted is None:
            wanted = self._wanted[code] = TRACED.search(code.co_filename) is not None
        if not wanted:
            return None
        before, id_ = 0, id(code)

        def line(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal before
            if event == "line":
                self.ways.add((id_, before, frame.f_lineno))
                before = frame.f_lineno
            return line

        return line

    def of(self, work: Callable[[], object]) -> set[tuple[int, int, int]]:
        """What `work` went through; raises what it raises but AuxilioError."""
        self.ways = set()
        sys.settrace(self)
        try:
            work()
        except AuxilioError:
            pass
        finally:
            sys.settrace(None)
        return self.ways


class Found(Exception):
    """An input that a decoder fails on. file: where it is kept."""


def mutated(data: bytes, other: bytes, luck: random.Random) -> bytes:
    """A relative of `data`: a few changes, one of which may be a part of `other`."""
    result = bytearray(data)
    for _ in range(luck.choice((1, 1, 1, 2, 4, 8))):
        at = luck.randrange(len(result) + 1)
        match luck.randrange(7):
            case 0 if result:
                result[at % len(result)] ^= 1 << luck.randrange(8)
            case 1 if result:
                result[at % len(result)] = luck.randrange(256)
            case 2:
                result[at:at] = luck.choice(INTERESTING)
            case 3:
                del result[at : at + luck.choice((1, 1, 4, 32))]
            case 4:
                size = luck.randrange(1, 33)
                result[at:at] = result[at : at + size] * luck.choice((1, 1, 8, 64))
            case 5 if other:
                begin = luck.randrange(len(other))
                result[at : at + luck.randrange(33)] = other[begin : begin + luck.randrange(1, 65)]
            case _:
                width = luck.choice((1, 2, 4, 8))
                number = luck.choice((0, 1, len(result), 2 ** (8 * width) - 1, 2 ** (8 * width - 1)))
                result[at : at + width] = (number % 2 ** (8 * width)).to_bytes(width, "big")
    return bytes(result[:MAX_BYTES])


def kept(name: str) -> list[bytes]:
    folder = CORPUS / name.replace(" ", "-")
    return [path.read_bytes() for path in sorted(folder.glob("*"))] if folder.is_dir() else []


def keep(name: str, data: bytes) -> Path:
    folder = CORPUS / name.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / sha256(data).hexdigest()[:16]
    path.write_bytes(data)
    return path


def fuzz(name: str, decoder: Decoder, seconds: float, luck: random.Random) -> Iterator[bytes]:
    """Inputs that reached something new, as they are found. Raises Found."""
    coverage, seen = Coverage(), set[tuple[int, int, int]]()

    def is_new(data: bytes) -> bool:
        try:
            ways = coverage.of(lambda: decoder.decode(data))
        except BaseException:
            path = keep(name, data)
            raise Found(f"{name} fails on {path}:\n{traceback.format_exc()}") from None
        new = not ways <= seen
        seen.update(ways)
        return new

    pool = [data for data in (*decoder.seeds, *kept(name)) if is_new(data) or True]
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        data = mutated(luck.choice(pool), luck.choice(pool), luck)
        if is_new(data):
            pool.append(data)
            yield data
