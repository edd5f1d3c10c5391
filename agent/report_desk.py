"""Opens the spool and keeps a Reporter and a Sampler at work on it. A driver.

A disk that is full, or turned read-only by an error, may be what somebody is about to repair: without a spool nothing
is reported, and everything else of the agent goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from agent.parts import side_by_side
from agent.reporter import Reporter
from agent.sampler import Sampler
from agent.session.journal import Journal
from agent.spool import Spool, SpoolStatus
from protocol.errors import AuxilioError
from protocol.link import ReportAck, ReportMissing, SamplesAck, Welcome
from protocol.sections.base import Section
from transport.relay_address import RelayAddress

log = logging.getLogger(__name__)

OPEN_AGAIN_S = 60.0


class ReportDesk:
    """make_reporter, make_sampler: such as work on this spool.  failure: why there are none at the moment, or ""."""

    def __init__(
        self,
        folder: Path,
        journal: Journal,
        make_reporter: Callable[[Spool], Reporter],
        make_sampler: Callable[[Spool], Sampler],
    ) -> None:
        self._path = folder / "spool.sqlite"
        self._journal = journal
        self._make_reporter = make_reporter
        self._make_sampler = make_sampler
        self._link: tuple[RelayAddress, Welcome] | None = None
        self._spool: Spool | None = None
        self._reporter: Reporter | None = None
        self._sampler: Sampler | None = None
        self.failure = ""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                self._open()
                self.failure = ""
            except AuxilioError as exc:
                if exc.message != self.failure:
                    self._journal.record("spool_unavailable", code=exc.reason, message=exc.message)
                    log.warning("%s", exc.message)
                self.failure = exc.message
                await asyncio.sleep(OPEN_AGAIN_S)
                continue
            try:
                await self._work()
            finally:
                self._close()

    async def _work(self) -> None:
        if self._reporter is None or self._sampler is None:
            return
        await side_by_side(self._reporter.run, self._sampler.run)

    def _open(self) -> None:
        """Raises Unavailable."""
        self._spool = Spool(self._path)
        if self._spool.moved_aside is not None:
            self._journal.record("spool_damaged", moved_to=str(self._spool.moved_aside))
        try:
            self._reporter, self._sampler = self._make_reporter(self._spool), self._make_sampler(self._spool)
        except BaseException:
            self._close()
            raise
        if self._link is not None:
            self.link_up(*self._link)

    def _close(self) -> None:
        spool, self._spool, self._reporter, self._sampler = self._spool, None, None, None
        if spool is not None:
            spool.close()

    def status(self) -> SpoolStatus | None:
        """What waits; None where the spool cannot be used."""
        if self._spool is None:
            return None
        try:
            return self._spool.status()
        except AuxilioError as exc:
            self.failure = exc.message
            return None

    @property
    def on_battery(self) -> bool:
        return self._reporter is not None and self._reporter.on_battery

    def held(self, name: str) -> Section | None:
        """A section as it was made last."""
        return self._reporter.held(name) if self._reporter is not None else None

    # -- the link ---------------------------------------------------------------------------------------------------

    def link_up(self, relay: RelayAddress, welcome: Welcome) -> None:
        self._link = (relay, welcome)
        if self._reporter is not None:
            self._reporter.link_up(relay, welcome.blob_token, welcome.report)
        if self._sampler is not None:
            self._sampler.link_up(welcome.samples)

    def link_down(self) -> None:
        self._link = None
        if self._reporter is not None:
            self._reporter.link_down()
        if self._sampler is not None:
            self._sampler.link_down()

    def on_goodbye(self, reason: str) -> None:
        if self._reporter is not None:
            self._reporter.on_goodbye(reason)
        if self._sampler is not None:
            self._sampler.on_goodbye(reason)

    def on_ack(self, ack: ReportAck) -> None:
        if self._reporter is not None:
            self._reporter.on_ack(ack)

    def on_missing(self, missing: ReportMissing) -> None:
        if self._reporter is not None:
            self._reporter.on_missing(missing)

    def on_samples_ack(self, ack: SamplesAck) -> None:
        if self._sampler is not None:
            self._sampler.on_ack(ack)
