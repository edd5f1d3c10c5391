"""Opens the spool and keeps a Reporter at work on it. A driver.

A disk that is full, or turned read-only by an error, may be what somebody is about to repair: without a spool nothing
is reported, and everything else of the agent goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from agent.reporter import Reporter
from agent.session.journal import Journal
from agent.spool import Spool, SpoolStatus
from protocol.errors import AuxilioError
from protocol.link import ReportAck, ReportMissing
from transport.relay_address import RelayAddress

log = logging.getLogger(__name__)

OPEN_AGAIN_S = 60.0


class ReportDesk:
    """make_reporter: one that works on this spool.  failure: why there are no reports at the moment, or ""."""

    def __init__(self, folder: Path, journal: Journal, make_reporter: Callable[[Spool], Reporter]) -> None:
        self._path = folder / "spool.sqlite"
        self._journal = journal
        self._make_reporter = make_reporter
        self._link: tuple[RelayAddress, str, int] | None = None
        self._spool: Spool | None = None
        self._reporter: Reporter | None = None
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
                if self._reporter is not None:
                    await self._reporter.run()
            finally:
                self._close()

    def _open(self) -> None:
        """Raises Unavailable."""
        self._spool = Spool(self._path)
        if self._spool.moved_aside is not None:
            self._journal.record("spool_damaged", moved_to=str(self._spool.moved_aside))
        try:
            self._reporter = self._make_reporter(self._spool)
        except BaseException:
            self._close()
            raise
        if self._link is not None:
            self._reporter.link_up(*self._link)

    def _close(self) -> None:
        spool, self._spool, self._reporter = self._spool, None, None
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

    # -- the link ---------------------------------------------------------------------------------------------------

    def link_up(self, relay: RelayAddress, blob_token: str, relay_has: int) -> None:
        self._link = (relay, blob_token, relay_has)
        if self._reporter is not None:
            self._reporter.link_up(relay, blob_token, relay_has)

    def link_down(self) -> None:
        self._link = None
        if self._reporter is not None:
            self._reporter.link_down()

    def on_goodbye(self, reason: str) -> None:
        if self._reporter is not None:
            self._reporter.on_goodbye(reason)

    def on_ack(self, ack: ReportAck) -> None:
        if self._reporter is not None:
            self._reporter.on_ack(ack)

    def on_missing(self, missing: ReportMissing) -> None:
        if self._reporter is not None:
            self._reporter.on_missing(missing)
