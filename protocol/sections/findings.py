"""The section on what is wrong with this device, or soon will be, as its own rules found it."""

from __future__ import annotations

from typing import Literal

from protocol.codec import Record
from protocol.sections.base import Instant, Section
from protocol.sections.connectivity import Evidence

Severity = Literal["error", "warning", "info"]
"""error: something does not work.  warning: it will not, or works badly.  info: worth knowing, nothing is wrong."""

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""Worst first."""

MAX_FINDINGS = 256
MAX_SUBJECT_CHARS = 200


class Finding(Record, frozen=True, kw_only=True):
    """code: stable, of the texts in `guidance`.  subject: what of several it is about ("/home", "wlan0"), or "".

    evidence: what was seen, by the names that the texts use.  since_at: when it was found first.
    """

    code: str
    severity: Severity
    subject: str = ""
    evidence: Evidence = {}
    since_at: Instant | None = None


class Findings(Section, frozen=True, kw_only=True):
    """findings: the worst first, each of code and subject once."""

    findings: tuple[Finding, ...] = ()
