"""Who was told that they have their share: counted for the operator, and named in the log, but not each time.

Which share that is, is decided where it is given: relay/uploads.py, relay/store/turns.py.
"""

from __future__ import annotations

from protocol.system_clock import Clock
from relay import logs
from relay.failures import Quota
from relay.metrics import Metrics

LOG_PERIOD_S = 600.0
"""For each organisation and thing: a fleet that comes back to a full share must not fill the log."""


class Quotas:
    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._logged: dict[tuple[str, str], float] = {}

    def note(self, quota: Quota) -> None:
        self._metrics.quota_refusals.labels(what=quota.what).inc()
        key, now = (quota.organisation, quota.what), self._clock.monotonic()
        last = self._logged.get(key)
        if last is None or now - last >= LOG_PERIOD_S:
            self._logged[key] = now
            logs.warning("quota", organisation=quota.organisation, what=quota.what)
