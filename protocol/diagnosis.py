"""A diagnosis that a technician asked for: what a device says while it looks, and at the end. Lines of JSON.

They come over the subsystem DIAGNOSE of a session's SSH (docs/protocol.md, "SSH"), so they are the device's own word,
and nobody in between reads them:

    {"looked_at": "gateway"}          for each section and rung that is done, at most MAX_LOOKED_AT
    {"diagnosis": {...}}              last
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from protocol.codec import Record, decode
from protocol.errors import EXIT_BROKEN, EXIT_OK, EXIT_WARNINGS, BadMessage
from protocol.sections.base import MAX_SECTION_BYTES, Instant, Section
from protocol.sections.catalogue import decode_section
from protocol.sections.connectivity import RUNGS, Rung
from protocol.sections.findings import MAX_FINDINGS, Finding

CAPABILITY = "view"
"""The right that it needs: it yields what the device reports by itself, only now."""

MAX_LINE_BYTES = 3 * MAX_SECTION_BYTES
MAX_LOOKED_AT = 256
MAX_NAME_CHARS = 64

Health = Literal["healthy", "warnings", "broken"]
EXITS: Mapping[Health, int] = {"healthy": EXIT_OK, "warnings": EXIT_WARNINGS, "broken": EXIT_BROKEN}


class Said(Record, frozen=True, kw_only=True):
    """One line: one of the two."""

    looked_at: str | None = None
    diagnosis: msgspec.Raw = msgspec.Raw()


class Told(Record, frozen=True, kw_only=True):
    """at: Unix seconds, by the device's clock.  relay: whom it looked for.  sections: each as in its own record."""

    at: Instant
    relay: str | None = None
    verdict: Rung | None = None
    status: Health
    findings: tuple[Finding, ...] = ()
    sections: dict[str, msgspec.Raw] = {}


class ToldDiagnosis(msgspec.Struct, frozen=True):
    """What a device said, read. sections: those that this release knows and that could be read."""

    told: Told
    sections: dict[str, Section]

    @property
    def exit_status(self) -> int:
        """By the findings, as the device's own command has it."""
        return EXITS[health(self.told.findings)]


def health(findings: Iterable[Finding]) -> Health:
    """By the worst finding; what is only worth knowing is no illness."""
    severities = {finding.severity for finding in findings}
    if "error" in severities:
        return "broken"
    return "warnings" if "warning" in severities else "healthy"


def read_line(line: bytes) -> str | ToldDiagnosis:
    """The name of what was looked at, at most MAX_NAME_CHARS of it, or the diagnosis. Raises BadMessage."""
    said = decode(line, Said, limit=MAX_LINE_BYTES)
    if diagnosis := bytes(said.diagnosis):
        return _read(decode(diagnosis, Told, limit=MAX_LINE_BYTES))
    if said.looked_at is None:
        raise BadMessage("a line that says nothing")
    return said.looked_at[:MAX_NAME_CHARS]


def _read(told: Told) -> ToldDiagnosis:
    if len(told.findings) > MAX_FINDINGS or len(told.sections) > MAX_LOOKED_AT:
        raise BadMessage("a diagnosis of too many findings or sections")
    if told.verdict is not None and told.verdict.name not in RUNGS:
        raise BadMessage("a verdict on no rung of the ladder")
    sections = {}
    for name, raw in told.sections.items():
        try:
            sections[name] = decode_section(name, bytes(raw))
        except BadMessage:
            continue  # of another release; the others are worth showing
    return ToldDiagnosis(told, sections)
