"""The certificate in use, and how another takes its place while the relay runs: on SIGHUP, or when the files changed.

Only new connections see the new one: links and legs that stand keep what they were opened with. What is no pair, is
half written, or is out of date while the present one is not, is refused, logged and counted; the present one stays.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import msgspec

from protocol.errors import AuxilioError, ConfigInvalid
from protocol.system_clock import Clock
from relay import logs
from relay.certificate import CertificateFacts, read_certificate, server_context
from relay.metrics import Metrics

LOOK_PERIOD_S = 2.0
"""Two stat(2) calls; certbot and people alike are done with both files within two of these."""

Mark = tuple[tuple[int, int, int, int] | None, ...]
"""Device, inode, size and time of change (ns) of each file; None: it is not there."""


class Settled:
    """Whether files that changed have come to rest: replaced one after the other, they are no pair in between. Pure."""

    def __init__(self, mark: Mark) -> None:
        self._in_use = mark
        self._last = mark

    def look(self, mark: Mark) -> bool:
        """True once for each state of the files that differs from the one before, when two looks in a row saw it."""
        settled = mark == self._last and mark != self._in_use
        self._last = mark
        if settled:
            self._in_use = mark
        return settled


class InUse(msgspec.Struct, frozen=True):
    context: ssl.SSLContext
    facts: CertificateFacts


class CertificateFiles:
    """context: for the next connection. Raises ConfigInvalid when made, where the files are no pair."""

    def __init__(self, certificate: Path, key: Path, metrics: Metrics, clock: Clock) -> None:
        self._certificate, self._key = certificate, key
        self._metrics = metrics
        self._clock = clock
        self._settled = Settled(self._mark())
        self._take(self._read())

    @property
    def context(self) -> ssl.SSLContext:
        return self._in_use.context

    @property
    def facts(self) -> CertificateFacts:
        return self._in_use.facts

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_PERIOD_S)
            if self._settled.look(self._mark()):
                self.reload()

    def reload(self) -> None:
        """Take what is in the files now, if it is good."""
        try:
            new = self._read()
            self._check(new.facts)
        except AuxilioError as exc:
            self._metrics.certificates.labels(outcome="refused").inc()
            logs.warning("certificate_refused", reason=exc.reason, error=exc.message, pin_kept=self.facts.pin)
            return
        old = self.facts
        self._take(new)
        self._metrics.certificates.labels(outcome="taken").inc()
        logs.info("certificate_taken", pin=new.facts.pin, not_after=new.facts.not_after)
        if new.facts.pin != old.pin:
            hint = "devices whose policy pins the old key do not come back: see docs/relay.md, Certificates"
            logs.warning("certificate_key_changed", old_pin=old.pin, pin=new.facts.pin, hint=hint)

    def _read(self) -> InUse:
        # A context of its own, not another pair in the one in use: that would be left with half of a bad one.
        return InUse(server_context(self._certificate, self._key), read_certificate(self._certificate))

    def _check(self, new: CertificateFacts) -> None:
        """Raises ConfigInvalid (certificate_out_of_date)."""
        now = self._clock.now()
        if new.is_valid_at(now) or not self.facts.is_valid_at(now):
            return
        raise ConfigInvalid("the certificate is not valid at this time", code="certificate_out_of_date")

    def _take(self, new: InUse) -> None:
        self._in_use = new
        self._metrics.certificate_not_after.set(new.facts.not_after)

    def _mark(self) -> Mark:
        return tuple(_mark(path) for path in (self._certificate, self._key))


def _mark(path: Path) -> tuple[int, int, int, int] | None:
    """Of what the path leads to: certbot changes a symbolic link."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
