"""What a device says about itself: sections, and the signed report that names them.

A section is JSON named by its SHA-256 and sent only when it changed, so what is in it changes rarely: facts, not
samples. What moves all the time (load, free memory, free space, charge) is coarse: a step of about a tenth of its
value, and it stays at one step until it has clearly left it (agent/facts/steady.py). So a section changes when
something happened and not because a minute went by. What is derived from others (uptime, memory in use) is not in it.

Every section says what it could not find out: `unavailable` maps a source to the reason. Nothing is guessed.
Numbers are bounded where they are read, so that whoever shows or compares them need not be careful.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from protocol.codec import Record, decode
from protocol.errors import BadMessage, Refused
from protocol.ids import DeviceId, OrganisationId, Sha256, parse_sha256
from protocol.keys import parse_public_line
from protocol.sections.base import MAX_COUNT, MAX_SECTION_BYTES, Count, Instant
from protocol.statement import REPORT, Signed, open_by_key

MAX_REPORT_BYTES = 16 * 1024
MAX_SECTIONS = 64


class SectionRef(Record, frozen=True, kw_only=True):
    """sha256, size (bytes): of the section's JSON.  collected_at: Unix seconds.  cpu_ms, wall_ms: what it cost."""

    sha256: Sha256
    size: Annotated[int, Meta(ge=1, le=MAX_SECTION_BYTES)]
    collected_at: Instant
    cpu_ms: Count = 0
    wall_ms: Count = 0


class Report(Record, frozen=True, kw_only=True):
    """Signed by the device key in report@auxilio. number: rises by one; the relay keeps the highest."""

    organisation: OrganisationId
    device: DeviceId
    number: Annotated[int, Meta(ge=1, le=MAX_COUNT)]
    collected_at: Instant
    sections: dict[str, SectionRef]


def open_report(signed: Signed, *, organisation: OrganisationId, device: DeviceId, device_key: str) -> Report:
    """Return what `device`, whose public line is `device_key`, signed about itself.

    Raises Untrusted (a signature's), BadMessage, or Refused with code wrong_organisation or wrong_device.
    """
    keys = {parse_public_line(device_key).blob}
    opened = open_by_key(signed, namespace=REPORT, keys=keys, limit=MAX_REPORT_BYTES)
    report = decode(opened.payload, Report, limit=MAX_REPORT_BYTES)
    if report.organisation != organisation:
        raise Refused("the report is for another organisation", code="wrong_organisation")
    if report.device != device:
        raise Refused("the report is another device's", code="wrong_device")
    if len(report.sections) > MAX_SECTIONS:
        raise BadMessage(f"a report of {len(report.sections)} sections, where {MAX_SECTIONS} are the most")
    for name, ref in report.sections.items():
        parse_sha256(ref.sha256)
        if not (0 < len(name) <= 40 and name.isascii() and name.replace("_", "").isalnum()):
            raise BadMessage("a section's name is letters, digits and underscores")
    return report
