"""When to look at which section, and which report to send: a pure machine; supervisor and spool do what it says.

    collect --> changed? --> stored in the spool --> sent --> missing? put the blobs, send again --> acknowledged
                                                      +-----> refused for good? --> abandoned; everything is said anew

One report is under way at a time, oldest first, so that "acknowledged up to n" is all that has to be remembered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

import msgspec

from protocol.ids import Sha256

CHEAP_S = 300.0
"""Between two looks at what is read from /proc and /sys in milliseconds."""

SOFTWARE_S = 3600.0
"""Between two looks at the packages, unless the packaging system's own file changed (see `touch`)."""

BATTERY_FACTOR = 4.0
"""How much rarer everything is on battery."""

REFRESH_S = 24 * 3600.0
"""After it a report is made though nothing changed: "nothing changed" and "it stopped looking" must not look alike.
It names the same sections, so that a KiB is all that it costs."""

CONNECTIVITY_S = 3600.0
"""Between two climbs of the ladder while all is well: each opens some connections to the relay."""

UPDATES_S = 6 * 3600.0
"""Between two questions for what could be upgraded, unless packages changed: the lists are fetched once a day."""

HEALTH_S = 3600.0
"""Between two questions to the disks: what wears out takes months, and each question is a little work for them."""

PROGRAMS_S = 900.0
"""Between two looks that start a program or two: a hundredth of a second's work each."""

ROUTER_S = 3600.0
"""Between two questions to the home router: its line changes seldom, and the ladder asks it when it does."""

INTERVALS_S: Mapping[str, float] = {
    "software": SOFTWARE_S,
    "updates": UPDATES_S,
    "router": ROUTER_S,
    "connectivity": CONNECTIVITY_S,
    "health": HEALTH_S,
    "startup": HEALTH_S,
    "services": PROGRAMS_S,
    "devices": PROGRAMS_S,
}

FIRST_S: Mapping[str, float] = {"updates": 90.0, "router": 90.0, "connectivity": 90.0}
"""From the start to the first look: the first report does not wait for the network's slowest answer."""

MAX_JUMP = 1_000_000
"""Reports of ten years, one every five minutes."""

ANSWER_S = 120.0
"""For a relay to acknowledge a report over a slow line with its blobs; then it is sent again."""

MAX_MISSING_ROUNDS = 3
"""A relay that misses the same blobs again after they were put will go on missing them: leave it for later."""

RETRY_S = 300.0


class Collect(msgspec.Struct, frozen=True):
    names: tuple[str, ...]


class SendReport(msgspec.Struct, frozen=True):
    number: int


class PutBlobs(msgspec.Struct, frozen=True):
    """Put these blobs, then call `blobs_put(number)`."""

    number: int
    sha256s: tuple[Sha256, ...]


class Forget(msgspec.Struct, frozen=True):
    """Acknowledged: the spool may forget this report and every older one."""

    number: int


class StartOver(msgspec.Struct, frozen=True):
    """What was reported so far counts for nothing: the next report carries every section."""


Effect = Collect | SendReport | PutBlobs | Forget | StartOver


class ReportMachine:
    """known: hash of each section in the newest report made.  waiting: numbers in the spool, any order.

    newest: number of the newest report that was ever made here, as far as is remembered.
    look_s: between two looks at what is cheap to read.
    """

    def __init__(
        self,
        sections: Iterable[str],
        known: Mapping[str, Sha256],
        waiting: Iterable[int],
        now: float,
        *,
        newest: int = 0,
        look_s: float = CHEAP_S,
    ) -> None:
        self._due = {name: now + FIRST_S.get(name, 0.0) for name in sections}
        self._known = dict(known)
        self._waiting = deque(sorted(waiting))
        self._newest = max(newest, *self._waiting, 0)
        self._look_s = look_s
        self._collecting = False
        self._outdated = False
        self._linked = False
        self._under_way: int | None = None
        self._missing_rounds = 0
        self._send_again_at: float | None = None
        self._on_battery = False
        self._reported_at = now

    # -- collecting ---------------------------------------------------------------------------------------------

    def on_tick(self, now: float) -> list[Effect]:
        """What is due at `now` (monotonic seconds, as everywhere here)."""
        effects: list[Effect] = []
        due = tuple(name for name, at in self._due.items() if at <= now)
        if due and not self._collecting:
            self._collecting = True
            effects.append(Collect(due))
        if self._linked and self._send_again_at is not None and self._send_again_at <= now:
            self._under_way = None
            self._missing_rounds = 0
            effects += self._send(now)
        return effects

    def next_deadline(self) -> float:
        deadlines = [] if self._collecting else list(self._due.values())
        if self._linked and self._send_again_at is not None:
            deadlines.append(self._send_again_at)
        return min(deadlines, default=float("inf"))

    def touch(self, name: str, now: float) -> None:
        """Something says that this section changed: look at `now`. (dpkg's status, addresses, a plug.)"""
        if name in self._due:
            self._due[name] = now

    def on_collected(self, sections: Mapping[str, Sha256], now: float, *, on_battery: bool = False) -> bool:
        """Sections were looked at. Return whether to make a report: any differs from what was last reported, or that
        is long ago. on_battery: what the battery section says, if it is among them."""
        self._collecting = False
        if "battery" in sections:
            self._on_battery = on_battery
        if self._outdated:
            self._outdated = False
            return False  # everything is to be said anew, and this may be a part of it: it is all due
        factor = BATTERY_FACTOR if self._on_battery else 1.0
        for name in sections:
            self._due[name] = now + INTERVALS_S.get(name, self._look_s) * factor
        changed = any(self._known.get(name) != digest for name, digest in sections.items())
        return changed or now >= self._reported_at + REFRESH_S

    def on_stored(self, number: int, sections: Mapping[str, Sha256], now: float) -> list[Effect]:
        """The spool holds report `number`, which names these sections."""
        self._known.update(sections)
        self._waiting.append(number)
        self._newest = max(self._newest, number)
        self._reported_at = now
        return self._send(now)

    def abandon(self, number: int, now: float) -> list[Effect]:
        """It can never be completed, or the relay refuses it for good: a whole one follows in its place."""
        self._waiting = deque(n for n in self._waiting if n != number)
        if self._under_way == number:
            self._under_way = None
        return [*self._start_over(now), *self._send(now)]

    def _start_over(self, now: float) -> list[Effect]:
        """Every section counts as changed and is due."""
        self._known.clear()
        self._due = {name: now + FIRST_S.get(name, 0.0) for name in self._due}
        self._outdated = self._collecting
        return [StartOver()]

    def on_not_stored(self, now: float) -> None:
        """The disk is full: look again later, for the same change is still to be told."""
        for name in self._due:
            self._due[name] = now + self._look_s

    @property
    def on_battery(self) -> bool:
        """What the battery section said last."""
        return self._on_battery

    # -- sending ------------------------------------------------------------------------------------------------

    def link_up(self, relay_has: int, now: float) -> list[Effect]:
        """relay_has: the last report that the relay committed, from its Welcome.

        Memory may have been lost on either side: a relay restored from a backup, a spool that was damaged, a device
        set back to an older state. Numbers tell: the relay must hold our newest report or we must still keep it, and
        it cannot hold one that we never made. Where that is not so, everything is said anew.

        The report of that very number is sent again if it is still kept: only the answer to it says that the relay
        committed this one, and not another one of the same number from a life that the device has forgotten.
        """
        self._linked = True
        self._under_way = None
        self._missing_rounds = 0
        effects: list[Effect] = []
        if relay_has > self._newest or (relay_has < self._newest and self._newest not in self._waiting):
            effects += self._start_over(now)
            self._newest = max(self._newest, relay_has)
            relay_has += 1  # a report of that number is another life's
        if self._waiting and self._waiting[0] < relay_has:
            effects.append(Forget(relay_has - 1))
            while self._waiting and self._waiting[0] < relay_has:
                self._waiting.popleft()
        return effects + self._send(now)

    def link_down(self) -> None:
        self._linked = False
        self._under_way = None
        self._send_again_at = None

    @property
    def newest(self) -> int:
        """The highest number that was given to a report here, or that a relay was believed to have."""
        return self._newest

    def believable(self, relay_has: int) -> int:
        """`relay_has`, or as much of it as a device that forgot its reports may have made: numbers only go up, and a
        relay that lies must not use them up."""
        return min(relay_has, self._newest + MAX_JUMP)

    def on_ack(self, number: int, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if self._waiting and self._waiting[0] <= number:
            effects.append(Forget(number))
            while self._waiting and self._waiting[0] <= number:
                self._waiting.popleft()
        if self._under_way is not None and self._under_way <= number:
            self._under_way = None
        return effects + self._send(now)

    @property
    def under_way(self) -> int | None:
        """Number of the report that was sent and not answered yet."""
        return self._under_way

    def on_missing(self, number: int, sha256s: tuple[Sha256, ...], now: float) -> list[Effect]:
        if number != self._under_way:
            return []
        self._missing_rounds += 1
        if self._missing_rounds > MAX_MISSING_ROUNDS:
            self._send_again_at = now + RETRY_S
            return []
        self._send_again_at = now + ANSWER_S
        return [PutBlobs(number, sha256s)]

    def blobs_put(self, number: int, now: float) -> list[Effect]:
        """The relay has them now: say the report again."""
        if number != self._under_way or not self._linked:
            return []
        self._send_again_at = now + ANSWER_S
        return [SendReport(number)]

    def dropped(self, waiting: Iterable[int]) -> None:
        """The spool gave some up for want of room: these are left."""
        self._waiting = deque(sorted(waiting))

    def _send(self, now: float) -> list[Effect]:
        if not self._linked or self._under_way is not None or not self._waiting:
            if not self._waiting:
                self._send_again_at = None
            return []
        self._under_way = self._waiting[0]
        self._missing_rounds = 0
        self._send_again_at = now + ANSWER_S
        return [SendReport(self._under_way)]
