"""Takes samples, keeps them in the spool, signs and sends batches of them, as agent.sampling says. Its driver.

It never lets the agent down: what cannot be measured is not in the sample, and what the disk does not take is lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

import msgspec

from agent.facts.parsers.processor_time import ProcessorTime, busy_percent
from agent.facts.source import Asked, Hung
from agent.membership import DeviceKeys, Membership
from agent.sample_spool import MAX_WAITING, SampleSpool
from agent.sampling import (
    BATCH_S,
    KEEP_S,
    MAX_JUMP,
    SAMPLE_S,
    Effect,
    Forget,
    Keep,
    MakeBatch,
    SamplingMachine,
    Send,
    TakeSample,
)
from agent.session.journal import Journal
from agent.spool import Spool, SpoolDamaged
from protocol.codec import encode
from protocol.errors import AuxilioError
from protocol.link import SamplesAck, SamplesSent
from protocol.samples import METRICS, Sample, SampleBatch, batch_of, columns_of
from protocol.sections.base import Section
from protocol.sections.connectivity import Connectivity
from protocol.statement import REPORT, seal_statement
from protocol.system_clock import Clock

log = logging.getLogger(__name__)

LOOK_WITHIN_S = 6.0
"""For all sources of a sample. One that hangs is left out, and not asked again before it has come back."""

REFUSED = "samples_refused"
"""Of a relay's Goodbye: the batch under way will be refused again."""

MAX_UNKEPT = 64
"""Samples that wait in memory for a disk that takes nothing."""


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """What others of the agent know at the moment of a sample.

    latency_ms: of the link since the sample before; None while there is none.  ladder: climbed since the sample before.
    modem: the section on it, if there is any.
    """

    on_battery: bool = False
    latency_ms: float | None = None
    ladder: Connectivity | None = None
    modem: Section | None = None


class Sampler:
    """One per spool. `run` until cancelled; the link's events come from the supervisor."""

    def __init__(
        self,
        spool: Spool,
        *,
        membership: Membership,
        keys: DeviceKeys,
        clock: Clock,
        now: Callable[[], float],
        send: Callable[[SamplesSent], None],
        journal: Journal,
        circumstances: Callable[[], Circumstances],
        sample_s: float = SAMPLE_S,
        most: int = MAX_WAITING,
    ) -> None:
        """now: Unix seconds.  sample_s: between two samples; whatever else there is to wait for is as much longer.

        most: samples that wait for a relay, before the oldest are thinned.
        """
        self._spool = SampleSpool(spool, most=most)
        self._membership = membership
        self._keys = keys
        self._clock = clock
        self._now = now
        self._send = send
        self._journal = journal
        self._circumstances = circumstances
        self._hung = Hung()
        self._processor_time: ProcessorTime | None = None
        self._unkept: list[Sample] = []
        self._last_at = self._spool.newest_at()
        self._wake = asyncio.Event()
        self._effects: list[Effect] = []
        scale = sample_s / SAMPLE_S
        self._machine = SamplingMachine(
            clock.monotonic(),
            self._spool.batches(),
            has_samples=self._spool.waiting() > 0,
            sample_s=sample_s,
            batch_s=BATCH_S * scale,
            keep_s=KEEP_S * scale,
        )

    # -- the link -----------------------------------------------------------------------------------------------------

    def link_up(self, relay_has: int | None) -> None:
        """relay_has: number of the last batch that it committed; None: it takes none."""
        if relay_has is not None:
            relay_has = min(relay_has, self._last_number() + MAX_JUMP)
        self._do(self._machine.link_up(relay_has, self._clock.monotonic()))

    def _last_number(self) -> int:
        try:
            return self._spool.last_number()
        except AuxilioError as exc:
            log.warning("%s", exc.message)
            return 0

    def link_down(self) -> None:
        self._machine.link_down()

    def on_ack(self, ack: SamplesAck) -> None:
        self._do(self._machine.on_ack(ack.number, self._clock.monotonic()))

    def on_goodbye(self, reason: str) -> None:
        if reason == REFUSED and self._machine.under_way is not None:
            self._journal.record("samples_abandoned", number=self._machine.under_way)
            self._do(self._machine.refused(self._clock.monotonic()))

    # -- the loop -----------------------------------------------------------------------------------------------------

    def _do(self, effects: list[Effect]) -> None:
        if effects:
            self._effects += effects
            self._wake.set()

    async def run(self) -> None:
        try:
            while True:
                await self.tick()
                wait_s = self._machine.next_deadline() - self._clock.monotonic()
                try:
                    async with asyncio.timeout(max(0.0, wait_s) + 0.01):
                        await self._wake.wait()
                except TimeoutError:
                    pass
                self._wake.clear()
        finally:
            self._keep()

    async def tick(self) -> None:
        """Do what is due."""
        self._do(self._machine.on_tick(self._clock.monotonic()))
        while self._effects:
            await self._carry_out(self._effects.pop(0))

    async def _carry_out(self, effect: Effect) -> None:
        try:
            match effect:
                case TakeSample():
                    await self._take()
                case Keep():
                    self._keep()
                case MakeBatch(above):
                    self._make_batch(above)
                case Send(number):
                    self._send_batch(number)
                case Forget(number):
                    self._spool.forget(number)
        except SpoolDamaged as exc:
            log.warning("%s", exc.message)
            self._machine.lost(self._spool.batches(), self._spool.waiting() > 0, self._clock.monotonic())
        except AuxilioError as exc:
            log.warning("%s", exc.message)
            if isinstance(effect, MakeBatch):
                self._machine.not_made(self._clock.monotonic())

    async def _take(self) -> None:
        circumstances = self._circumstances()
        at = int(self._now())
        values = await asyncio.to_thread(self._measure)
        values |= _told(circumstances)
        if at == self._last_at:
            values = {}  # one a second, also where the agent was started again: instants tell samples apart
        if values:
            self._last_at = at
            self._unkept.append(Sample(at, {name: values[name] for name in METRICS if name in values}))
        now, on_battery = self._clock.monotonic(), circumstances.on_battery
        self._do(self._machine.sampled(now, on_battery=on_battery, empty=not values))

    def _measure(self) -> dict[str, float]:
        """In a thread of its own."""
        from agent.facts.sources.machine import MEMORY
        from agent.facts.sources.samples import PROCESSOR_TIME, SYSTEM_DISK_FREE

        asked = Asked(self._hung, self._clock, self._clock.monotonic() + LOOK_WITHIN_S)
        before, now = self._processor_time, asked.ask(PROCESSOR_TIME, None)
        self._processor_time = now
        busy = busy_percent(before, now) if before is not None and now is not None else None
        memory = asked.ask(MEMORY, None)
        used = 100.0 * (1.0 - memory.free / memory.total) if memory is not None and memory.total > 0 else None
        free = asked.ask(SYSTEM_DISK_FREE, None)
        return _plausible({"cpu_percent": busy, "memory_percent": used, "disk_free_bytes": free})

    def _keep(self) -> None:
        """To the disk; what it does not take waits, as far as memory allows."""
        if not self._unkept:
            return
        try:
            self._spool.add(self._unkept)
        except AuxilioError as exc:
            log.warning("%s", exc.message)
            self._unkept = self._unkept[-MAX_UNKEPT:]
        else:
            self._unkept = []

    def _make_batch(self, above: int) -> None:
        self._keep()
        kept = self._spool.oldest()
        samples = batch_of([one.sample for one in kept])
        now = self._clock.monotonic()
        if not samples:
            self._do(self._machine.batch_made(None, now))
            return
        number = self._spool.next_number(above)
        batch = SampleBatch(
            organisation=self._membership.organisation,
            device=self._membership.device,
            number=number,
            at=tuple(sample.at for sample in samples),
            values=columns_of(samples),
        )
        signed = seal_statement(self._keys.sshsig(), REPORT, encode(batch))
        self._spool.put_batch(number, signed, [one.id for one in kept[: len(samples)]])
        self._do(self._machine.batch_made(number, now, more=self._spool.waiting() > 0))

    def _send_batch(self, number: int) -> None:
        signed = self._spool.batch(number)
        if signed is None:  # a damage that SQLite does not see: it can never be sent
            self._journal.record("samples_abandoned", number=number)
            self._do(self._machine.refused(self._clock.monotonic()))
        else:
            self._send(SamplesSent(samples=signed))


def _told(circumstances: Circumstances) -> dict[str, float]:
    """What others have measured."""
    from protocol.facts import strongest_signal

    ladder, latency = circumstances.ladder, circumstances.latency_ms
    return _plausible(
        {
            "latency_ms": ladder.latency_ms if latency is None and ladder is not None else latency,
            "loss_percent": ladder.loss_percent if ladder is not None else None,
            "signal_dbm": strongest_signal(circumstances.modem),
        }
    )


def _plausible(measured: Mapping[str, float | None]) -> dict[str, float]:
    """What was measured and can be, to a tenth."""
    return {
        name: float(round(value, 1))
        for name, value in measured.items()
        if value is not None and METRICS[name].least <= value <= METRICS[name].most
    }
