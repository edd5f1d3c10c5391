"""When to take a sample, when to sign a batch of them, and when to send it: a pure machine; sampler.py does it.

    sample --> buffer --> spool --> a batch, numbered and signed --> sent --> acknowledged? forgotten
                                        +--> no answer, another link: sent again, the very same bytes

One batch is under way at a time, in the order of their numbers. Nothing wakes the device for it but the next sample,
and, while a batch is under way, its answer's deadline.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

SAMPLE_S = 60.0
"""Between two samples: what goes wrong for a minute is seen, and 1,440 a day cost the processor some seconds."""

BATTERY_FACTOR = 5.0
"""How much rarer on battery: each sample is a wake-up of a machine that would sleep."""

BATCH_S = 900.0
"""From a sample to the batch that carries it: each batch is a signature here and a commit at the relay."""

KEEP_S = 300.0
"""From a sample to the disk. Every commit is a sync, which wakes a disk and wears flash; a power cut costs so much."""

ANSWER_S = 120.0
"""For a relay to acknowledge a batch; then it is sent again."""

MAX_JUMP = 1_000_000
"""Batches of twenty years: by how much a relay may be believed to have more than was ever made here."""


class TakeSample(msgspec.Struct, frozen=True):
    """Measure, then call `sampled`."""


class Keep(msgspec.Struct, frozen=True):
    """Put into the spool what was measured since."""


class MakeBatch(msgspec.Struct, frozen=True):
    """Sign the oldest samples of the spool as one batch above number `above`, then call `batch_made`."""

    above: int


class Send(msgspec.Struct, frozen=True):
    number: int


class Forget(msgspec.Struct, frozen=True):
    """Acknowledged up to this number, or refused for good."""

    number: int


Effect = TakeSample | Keep | MakeBatch | Send | Forget


class SamplingMachine:
    """now: monotonic seconds, as everywhere here.  waiting: numbers of batches in the spool, any order.

    has_samples: the spool holds some that are in no batch.
    """

    def __init__(
        self,
        now: float,
        waiting: Iterable[int] = (),
        *,
        has_samples: bool = False,
        sample_s: float = SAMPLE_S,
        batch_s: float = BATCH_S,
        keep_s: float = KEEP_S,
    ) -> None:
        self._sample_s, self._batch_s, self._keep_s = sample_s, batch_s, keep_s
        self._sample_at = now
        self._sampling = False
        self._waiting = sorted(waiting)
        self._unsent_since: float | None = float("-inf") if has_samples else None
        self._unkept_since: float | None = None
        self._making = False
        self._relay_has: int | None = None
        self._under_way: int | None = None
        self._send_again_at = 0.0

    def next_deadline(self) -> float:
        return self._sample_at if self._under_way is None else min(self._sample_at, self._send_again_at)

    def on_tick(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if now >= self._sample_at and not self._sampling:
            self._sampling = True
            effects.append(TakeSample())
        if self._under_way is not None and now >= self._send_again_at:
            self._under_way = None
        return effects + self._send(now)

    def sampled(self, now: float, *, on_battery: bool = False, empty: bool = False) -> list[Effect]:
        """A sample was taken. empty: and nothing could be measured.

        The next one is due a period after this one was: a machine that slept takes one and not all that it missed.
        """
        self._sampling = False
        period_s = self._sample_s * (BATTERY_FACTOR if on_battery else 1.0)
        self._sample_at += period_s
        if self._sample_at <= now:
            self._sample_at = now + period_s
        if empty:
            return []
        self._unkept_since = now if self._unkept_since is None else self._unkept_since
        self._unsent_since = now if self._unsent_since is None else self._unsent_since
        effects: list[Effect] = []
        if now + self._sample_s >= self._unkept_since + self._keep_s:
            self._unkept_since = None
            effects.append(Keep())
        return effects + self._send(now)

    def batch_made(self, number: int | None, now: float, *, more: bool = False) -> list[Effect]:
        """number: of the batch that the spool holds now; None: there was nothing to make one of.  more: samples are
        left, and due."""
        self._making = False
        self._unkept_since = None
        self._unsent_since = float("-inf") if more else None
        if number is not None:
            self._waiting.append(number)
        return self._send(now)

    def not_made(self, now: float) -> None:
        """The disk is full: with the next batch, perhaps."""
        self._making = False
        self._unsent_since = now

    # -- the link -----------------------------------------------------------------------------------------------------

    def link_up(self, relay_has: int | None, now: float) -> list[Effect]:
        """relay_has: number of the last batch that it committed; None: it takes none.

        What waits is sent with the next sample: relays that are back are not met by all devices in the same instant.
        """
        self._under_way = None
        self._relay_has = relay_has
        return [] if relay_has is None else self._forget(relay_has)

    def link_down(self) -> None:
        self._relay_has = self._under_way = None

    def on_ack(self, number: int, now: float) -> list[Effect]:
        if self._under_way is None or number < self._under_way:
            return []
        effects = self._forget(self._under_way)
        return effects + self._send(now)

    @property
    def under_way(self) -> int | None:
        """Number of the batch that was sent and not answered yet."""
        return self._under_way

    def refused(self, now: float) -> list[Effect]:
        """The relay refuses the batch under way for good."""
        return [] if self._under_way is None else self._forget(self._under_way)

    def lost(self, waiting: Sequence[int], has_samples: bool, now: float) -> None:
        """The spool was begun anew: this is what it holds."""
        self._waiting, self._under_way, self._making = sorted(waiting), None, False
        self._unsent_since = float("-inf") if has_samples else None

    def _forget(self, number: int) -> list[Effect]:
        known = any(waiting <= number for waiting in self._waiting)
        self._waiting = [waiting for waiting in self._waiting if waiting > number]
        if self._under_way is not None and self._under_way <= number:
            self._under_way = None
        if self._relay_has is not None:
            self._relay_has = max(self._relay_has, number)
        return [Forget(number)] if known else []

    def _send(self, now: float) -> list[Effect]:
        if self._relay_has is None or self._under_way is not None or self._making:
            return []
        if self._waiting:
            self._under_way = self._waiting[0]
            self._send_again_at = now + ANSWER_S
            return [Send(self._under_way)]
        if self._unsent_since is not None and now >= self._unsent_since + self._batch_s:
            self._making = True
            return [MakeBatch(self._relay_has)]
        return []


T = TypeVar("T")


def to_drop(oldest_first: Sequence[T]) -> list[T]:
    """Which samples go where there are too many: every second of the older half, the very first stays.

    Again and again, so the longer ago, the fewer are left, and none of the past is wholly gone.
    """
    return list(oldest_first[1 : len(oldest_first) // 2 : 2])
