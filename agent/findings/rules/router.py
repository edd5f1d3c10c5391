"""Findings on the home router's line, from its own words. What keeps it from the internet is the ladder's to say."""

from __future__ import annotations

from collections.abc import Iterator

from agent.findings.known import Known
from protocol.sections.findings import Finding
from protocol.sections.router import Router

MBPS = 1_000_000


def translated_twice(known: Known) -> Iterator[Finding]:
    """An address that is nobody's own: nothing is broken, and some things cannot work."""
    router = known.of(Router)
    if router.external_kind == "private":
        yield Finding(code="double-nat", severity="info", evidence={"address": router.external_address})
    elif router.external_kind == "shared":
        yield Finding(code="cgnat", severity="info", evidence={"address": router.external_address})


def up_since_just_now(known: Known) -> Iterator[Finding]:
    router = known.of(Router)
    if router.wan != "up" or router.connected_since_at is None:
        return
    minutes = (known.now - router.connected_since_at) / 60
    if 0 <= minutes < known.thresholds.line_fresh_minutes:
        yield Finding(code="router-restarted-recently", severity="info", evidence={"minutes": round(minutes)})


def slow_line(known: Known) -> Iterator[Finding]:
    """By the rate that the router names for its line, where that is one of copper, light or air."""
    router = known.of(Router)
    if router.down_bps is None or router.link == "down" or router.access.lower() == "ethernet":
        return  # what an Ethernet port to another box carries is not the line
    mbps = router.down_bps / MBPS
    if mbps < known.thresholds.line_slow_mbps:
        yield Finding(code="wan-rates-low", severity="info", evidence={"mbps": round(mbps, 1)})


RULES = (translated_twice, up_since_just_now, slow_line)
