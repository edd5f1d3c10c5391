"""Collects, stores and sends reports as agent.reporting says. The driver of that machine.

It never lets the agent down: a full disk or a slow relay is noted, and tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

import msgspec

from agent.diagnosis.sections import Surroundings, derived_collectors
from agent.facts.collect import Collected, Facts, collectors
from agent.facts.sources.packages import software_version
from agent.membership import DeviceKeys, Membership
from agent.release import RELEASE
from agent.reporting import (
    CHEAP_S,
    CONNECTIVITY_S,
    Collect,
    Effect,
    Forget,
    PutBlobs,
    ReportMachine,
    SendReport,
    StartOver,
)
from agent.session.journal import Journal
from agent.spool import Spool
from agent.state import CorruptState, StateDir
from protocol.codec import Record, encode
from protocol.errors import AuxilioError
from protocol.ids import Sha256
from protocol.link import ReportAck, ReportMissing, ReportSent
from protocol.report import Report, SectionRef
from protocol.sections.base import Section
from protocol.statement import REPORT, seal_statement
from protocol.system_clock import Clock
from transport.blobs import put_blob
from transport.http import RelayClient
from transport.relay_address import RelayAddress

log = logging.getLogger(__name__)

WATCH_S = 30.0
"""Between two looks at whether packages changed: a stat of each packaging system's database."""

UPDATES_AFTER_S = 90.0
"""From a change of packages to the question what else could be upgraded: whoever changes them is not done at once."""

LOOK_AFTER_LOSS_S = 15.0
"""From the loss of the link to the look why; one that was replaced or restarted is back by then."""

REFUSALS = frozenset(
    {
        "bad_message",
        "bad_signature",
        "number_reused",
        "too_long",
        "unknown_signer",
        "wrong_device",
        "wrong_organisation",
    }
)
"""Reasons of a relay's Goodbye that will be the same when the same report is sent again."""


class Abandon(msgspec.Struct, frozen=True):
    """The relay refuses this report for good, for `reason`."""

    number: int
    reason: str


class _Known(Record, frozen=True, kw_only=True):
    """The sections of the newest report. software: version of the packages' database that it was made from."""

    number: int = 0
    sections: dict[str, SectionRef] = {}
    software: str = ""


class Reporter:
    """One per agent. `run` until cancelled; the link's events come from the supervisor."""

    def __init__(
        self,
        state: StateDir,
        spool: Spool,
        *,
        membership: Membership,
        keys: DeviceKeys,
        clock: Clock,
        now: Callable[[], float],
        send: Callable[[ReportSent], None],
        journal: Journal,
        surroundings: Surroundings,
        look_s: float = CHEAP_S,
    ) -> None:
        """look_s: between two looks at what is cheap to read, seconds."""
        self._state = state
        self._spool = spool
        self._membership = membership
        self._keys = keys
        self._clock = clock
        self._now = now
        self._send = send
        self._journal = journal
        self._facts = Facts(collectors(RELEASE), clock)
        self._facts.add(derived_collectors(surroundings, lambda: self._facts.held, clock))
        self._known = self._load_known()
        self._software = self._known.software
        self._relay_has = 0
        self._relay: tuple[RelayAddress, str] | None = None
        self._wake = asyncio.Event()
        self._effects: list[Effect | Abandon] = []
        hashes = {name: ref.sha256 for name, ref in self._known.sections.items()}
        newest = max(spool.last_number(), self._known.number)
        self._machine = ReportMachine(
            self._facts.names, hashes, spool.waiting(), clock.monotonic(), newest=newest, look_s=look_s
        )

    def _load_known(self) -> _Known:
        try:
            return self._state.read_as("reports.json", _Known) or _Known()
        except AuxilioError as exc:
            # Only a cache of what was reported: without it everything is reported once more.
            log.warning("%s", exc.message)
            if isinstance(exc, CorruptState):
                self._state.move_aside("reports.json")
            return _Known()

    @property
    def on_battery(self) -> bool:
        return self._machine.on_battery

    def held(self, name: str) -> Section | None:
        """A section as it was made last."""
        return self._facts.held.get(name)

    # -- the link ---------------------------------------------------------------------------------------------------

    def link_up(self, relay: RelayAddress, blob_token: str, relay_has: int) -> None:
        self._relay = (relay, blob_token)
        # What it was is known by now, or was over too soon: no relay that is back is met by the looks of all devices.
        self._machine.touch("connectivity", self._clock.monotonic() + CONNECTIVITY_S)
        self._machine.touch("outages", self._clock.monotonic())
        relay_has = self._machine.believable(relay_has)
        self._relay_has = relay_has
        self._do(self._machine.link_up(relay_has, self._clock.monotonic()))

    def link_down(self) -> None:
        self._relay = None
        self._machine.link_down()
        # Not at once: what only flickers is back before the ladder is climbed.
        self._machine.touch("connectivity", self._clock.monotonic() + LOOK_AFTER_LOSS_S)
        self._wake.set()

    def on_goodbye(self, reason: str) -> None:
        """The relay is about to end the link. Over the report under way, or for reasons of its own?"""
        number = self._machine.under_way
        if number is not None and reason in REFUSALS:
            self._do([Abandon(number, reason)])

    def on_ack(self, ack: ReportAck) -> None:
        number = min(ack.number, self._machine.newest)  # nobody has a report that was not made
        self._relay_has = max(self._relay_has, number)
        self._do(self._machine.on_ack(number, self._clock.monotonic()))

    def on_missing(self, missing: ReportMissing) -> None:
        self._do(self._machine.on_missing(missing.number, missing.sha256s, self._clock.monotonic()))

    # -- the loop ---------------------------------------------------------------------------------------------------

    def _do(self, effects: Sequence[Effect | Abandon]) -> None:
        if effects:
            self._effects += effects
            self._wake.set()

    async def run(self) -> None:
        while True:
            self._notice_software()
            self._do(self._machine.on_tick(self._clock.monotonic()))
            while self._effects:
                effect = self._effects.pop(0)
                try:
                    await self._carry_out(effect)
                except AuxilioError as exc:
                    log.warning("%s", exc.message)
                    self._journal.record("report_delayed", code=exc.reason, message=exc.message)
                    if isinstance(effect, Collect):
                        self._machine.on_not_stored(self._clock.monotonic())
            wait_s = min(WATCH_S, self._machine.next_deadline() - self._clock.monotonic())
            try:
                async with asyncio.timeout(max(0.0, wait_s) + 0.01):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    def _notice_software(self) -> None:
        version = software_version()
        if version != self._software:
            self._software = version
            self._machine.touch("software", self._clock.monotonic())
            self._machine.touch("updates", self._clock.monotonic() + UPDATES_AFTER_S)

    async def _carry_out(self, effect: Effect | Abandon) -> None:
        match effect:
            case Collect(names):
                await self._collect(names)
            case SendReport(number):
                self._send_report(number)
            case PutBlobs(number, sha256s):
                await self._put_blobs(number, sha256s)
            case Forget(number):
                self._spool.acknowledged(number)
            case StartOver():
                self._journal.record("report_anew", number=self._known.number)
                self._known = _Known(number=self._known.number)
            case Abandon(number, reason):
                self._abandon(number, reason)

    async def _collect(self, names: tuple[str, ...]) -> None:
        collected = await self._facts.collect(names, self._now())
        hashes = {section.name: section.sha256 for section in collected}
        if self._machine.on_collected(hashes, self._clock.monotonic(), on_battery=_on_battery(collected)):
            self._store(collected)

    def _store(self, collected: list[Collected]) -> None:
        """Make a report that names every section, new or not, and put it into the spool with what is new."""
        sections = {**self._known.sections, **{section.name: section.ref for section in collected}}
        number = self._spool.next_number(max(self._relay_has, self._known.number))
        report = Report(
            organisation=self._membership.organisation,
            device=self._membership.device,
            number=number,
            collected_at=int(self._now()),
            sections=sections,
        )
        signed = seal_statement(self._keys.sshsig(), REPORT, encode(report))
        data = {section.sha256: section.data for section in collected}
        self._spool.put_report(
            number, signed, [(name, ref.sha256, data.get(ref.sha256)) for name, ref in sections.items()]
        )
        self._machine.dropped(n for n in self._spool.waiting() if n != number)
        self._known = _Known(number=number, sections=sections, software=self._software)
        self._keep_known()
        hashes = {name: ref.sha256 for name, ref in sections.items()}
        self._do(self._machine.on_stored(number, hashes, self._clock.monotonic()))

    def _keep_known(self) -> None:
        """A cache: without it, everything is reported once more. The report itself is safe in the spool."""
        try:
            self._state.write_as("reports.json", self._known)
        except AuxilioError as exc:
            log.warning("%s", exc.message)

    def _send_report(self, number: int) -> None:
        report = self._spool.report(number)
        if report is None:
            self._abandon(number, "it cannot be read from the spool any more")
        else:
            self._send(ReportSent(report=report.signed))

    async def _put_blobs(self, number: int, sha256s: tuple[Sha256, ...]) -> None:
        if self._relay is None:
            return
        relay, bearer = self._relay
        async with RelayClient(relay, bearer=bearer) as client:
            for digest in sha256s:
                data = self._spool.blob(digest)
                if data is None:
                    self._abandon(number, "a section that the relay lacks is not kept here any more")
                    return
                await put_blob(client, data)
        self._do(self._machine.blobs_put(number, self._clock.monotonic()))

    def _abandon(self, number: int, reason: str) -> None:
        """It can never be delivered. A whole one takes its place, so that no report waits behind it for ever."""
        self._journal.record("report_abandoned", number=number, reason=reason)
        self._spool.discard(number)
        self._do(self._machine.abandon(number, self._clock.monotonic()))


def _on_battery(collected: list[Collected]) -> bool:
    """Whether the battery section that was just made says that the machine is not plugged in."""
    return any(section.name == "battery" and b'"mains":false' in section.data for section in collected)
