"""The section on why this device reaches its relay, or does not: a ladder of rungs from the cable upwards.

The lowest rung that is broken explains the others; that is the verdict, and not a list of what failed.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from protocol.codec import Record
from protocol.sections.base import Instant, Section

RungState = Literal["pass", "warn", "fail", "unknown"]
"""unknown: there is nothing to look at (no modem), or it could not be found out. Never a guess."""

RUNGS = (
    "adapter",
    "wifi",
    "modem",
    "address",
    "gateway",
    "router",
    "internet",
    "dns",
    "portal",
    "proxy",
    "clock",
    "tls",
    "mtu",
    "ipv6",
    "relay",
)
"""From the hardware to the relay, in the order in which each rests on those before it. The clock comes before TLS:
certificates have dates."""

MAX_EVIDENCE = 16
MAX_EVIDENCE_CHARS = 200

Evidence = dict[str, str | int | float]
"""What was seen, by a name that texts use: {"server": "192.0.2.1", "rtt_ms": 12}. At most MAX_EVIDENCE of them."""


class Rung(Record, frozen=True, kw_only=True):
    """name: of RUNGS.  code: of the finding that explains a state other than pass; "" where there is none."""

    name: str
    state: RungState
    code: str = ""
    evidence: Evidence = {}


class Outage(Record, frozen=True, kw_only=True):
    """A time without the relay. until_at: None while it lasts.  code: of the verdict's finding when it was looked at
    first, "" where nobody could look."""

    from_at: Instant
    until_at: Instant | None = None
    code: str = ""
    rung: str = ""


class Connectivity(Section, frozen=True, kw_only=True):
    """rungs: in the order of RUNGS.  latency_ms: the median to open a connection to the relay.  jitter_ms: from one to
    the next, on average (RFC 3550).  loss_percent: of packets that open connections.  down_mbps: megabits a second from
    the relay, where somebody asked for it; down_is_least: the line may carry more."""

    rungs: tuple[Rung, ...] = ()
    latency_ms: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    jitter_ms: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    loss_percent: Annotated[float, Meta(ge=0, le=100)] | None = None
    down_mbps: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    down_is_least: bool = False

    @property
    def verdict(self) -> Rung | None:
        return verdict(self.rungs)


class Outages(Section, frozen=True, kw_only=True):
    """outages: the latest first."""

    outages: tuple[Outage, ...] = ()


def verdict(rungs: tuple[Rung, ...]) -> Rung | None:
    """The first rung that fails, else the first that warns; None where all is well."""
    for state in ("fail", "warn"):
        for rung in rungs:
            if rung.state == state:
                return rung
    return None
