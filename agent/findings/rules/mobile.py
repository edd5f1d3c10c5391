"""Findings on mobile broadband and Wi-Fi that work, and could do better or cost less. The ladder tells what broke."""

from __future__ import annotations

from collections.abc import Iterator

from agent.findings.known import Known
from protocol.sections.findings import Finding
from protocol.sections.modem import Modems
from protocol.sections.wifi import Wifi

SECOND_GENERATION = frozenset({"gsm", "gprs", "edge"})
READABLE_BY_ALL = frozenset({"open", "wep"})
"""WEP is broken in minutes, and says so to nobody."""


def roams(known: Known) -> Iterator[Finding]:
    for modem in known.of(Modems).modems:
        if modem.roaming and modem.state == "connected":
            operator = modem.operator or modem.operator_code or "?"
            yield Finding(code="roaming", severity="info", subject=modem.name, evidence={"operator": operator})


def few_tries_left(known: Known) -> Iterator[Finding]:
    for modem in known.of(Modems).modems:
        tries = modem.unlock_tries
        if modem.lock == "sim-pin" and tries is not None and tries <= known.thresholds.sim_tries:
            yield Finding(code="sim-tries-low", severity="warning", subject=modem.name, evidence={"tries": tries})


def old_technology(known: Known) -> Iterator[Finding]:
    for modem in known.of(Modems).modems:
        if modem.technology in SECOND_GENERATION and modem.state == "connected":
            evidence: dict[str, str | int | float] = {"technology": modem.technology.upper()}
            yield Finding(code="mobile-2g", severity="warning", subject=modem.name, evidence=evidence)


def slow_wifi(known: Known) -> Iterator[Finding]:
    """Both ways: at rest, one of them falls to the least, and means nothing."""
    limit = known.thresholds.wifi_slow_mbps
    for one in known.of(Wifi).interfaces:
        sent, received = one.rate_mbps, one.rx_rate_mbps
        if one.state == "connected" and sent is not None and received is not None and max(sent, received) < limit:
            evidence: dict[str, str | int | float] = {"ssid": one.ssid, "rate_mbps": max(sent, received)}
            yield Finding(code="wifi-slow", severity="warning", subject=one.name, evidence=evidence)


def crowded_wifi(known: Known) -> Iterator[Finding]:
    limits = known.thresholds
    for one in known.of(Wifi).interfaces:
        busy, others = one.channel_busy_percent or 0, one.neighbours or 0
        if one.state != "connected" or one.channel is None:
            continue
        if busy >= limits.wifi_busy_percent or (one.band == "2.4" and others >= limits.wifi_crowded_networks):
            yield Finding(
                code="wifi-crowded",
                severity="warning" if busy >= limits.wifi_busy_percent else "info",
                subject=one.name,
                evidence={"channel": one.channel, "band": one.band, "networks": others, "percent": busy},
            )


def open_wifi(known: Known) -> Iterator[Finding]:
    for one in known.of(Wifi).interfaces:
        if one.state == "connected" and one.security in READABLE_BY_ALL:
            yield Finding(code="wifi-open", severity="info", subject=one.name, evidence={"ssid": one.ssid or "?"})


RULES = (roams, few_tries_left, old_technology, slow_wifi, crowded_wifi, open_wifi)
