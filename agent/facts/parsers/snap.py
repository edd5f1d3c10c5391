"""Snaps: as snapd's socket tells them, and as `snap list` does. snapd, REST API; snap(8)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from agent.facts.parsers.installed import Installed, Pending, kib_of_bytes, listed, pending, value, vendor
from agent.facts.parsers.instants import iso_instant
from protocol.sections.software import Package
from protocol.sections.updates import Update

_ROW = re.compile(r"(\S+) +(\S+) +(\d+|x\d+) +(\S+) +(\S+) +(\S+)\Z")
_ROW_WITHOUT_TRACKING = re.compile(r"(\S+) +(\S+) +(\d+|x\d+) +(\S+) +(\S+)\Z")


def parse_snaps(answer: bytes) -> Installed:
    """The answer to GET /v2/snaps."""
    return listed(_package(snap) for snap in _result(answer))


def _package(snap: dict[str, Any]) -> Package | None:
    publisher = snap.get("publisher")
    name = value(snap.get("name"))
    if not name or snap.get("status") not in (None, "active"):
        return None  # an older revision that is kept, or one that was switched off
    return Package(
        name=name,
        version=value(snap.get("version")),
        source=value(snap.get("tracking-channel")) or value(snap.get("channel")),
        size_kib=kib_of_bytes(snap.get("installed-size")),
        vendor=vendor(publisher.get("display-name")) if isinstance(publisher, dict) else vendor(snap.get("developer")),
        system="snap",
        installed_at=iso_instant(value(snap.get("install-date"))),
    )


def parse_snap_refreshes(answer: bytes) -> Pending:
    """The answer to GET /v2/find?select=refresh."""
    return pending(
        Update(
            name=value(snap.get("name")),
            version=value(snap.get("version")),
            system="snap",
            origin=value(snap.get("channel")),
            size_kib=kib_of_bytes(snap.get("download-size")),
        )
        for snap in _result(answer)
    )


def parse_last_refresh(answer: bytes) -> int | None:
    """The answer to GET /v2/system-info: when snapd looked for newer snaps last."""
    result = _decoded(answer)
    refresh = result.get("refresh") if isinstance(result, dict) else None
    return iso_instant(value(refresh.get("last"))) if isinstance(refresh, dict) else None


def _result(answer: bytes) -> Iterator[dict[str, Any]]:
    result = _decoded(answer)
    if isinstance(result, list):
        yield from (snap for snap in result if isinstance(snap, dict))


def _decoded(answer: bytes) -> object:
    try:
        decoded = msgspec.json.decode(answer)
    except (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError):
        return None
    return decoded.get("result") if isinstance(decoded, dict) else None


def parse_snap_list(text: str) -> Installed:
    """`snap list`, where snapd's socket cannot be asked. A star after a publisher means that it is who it says."""
    return listed(_rows(text))


def _rows(text: str) -> Iterator[Package]:
    for line in text.splitlines():
        match = _ROW.match(line.rstrip())
        tracking = 4
        if match is None:
            match, tracking = _ROW_WITHOUT_TRACKING.match(line.rstrip()), 0
        if match and "disabled" not in match[match.re.groups].split(","):
            yield Package(
                name=value(match[1]),
                version=value(match[2]),
                source=value(match[tracking]).rstrip("…") if tracking else "",
                vendor=vendor(match[match.re.groups - 1].rstrip("*✓✪")),
                system="snap",
            )
