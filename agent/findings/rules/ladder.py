"""Findings on the way to the relay: the ladder has judged already."""

from __future__ import annotations

from collections.abc import Iterator

from agent.findings.known import Known
from protocol.sections.connectivity import Connectivity
from protocol.sections.findings import Finding


def broken_rungs(known: Known) -> Iterator[Finding]:
    for rung in known.of(Connectivity).rungs:
        if rung.code and rung.state in ("fail", "warn"):
            yield Finding(
                code=rung.code, severity="error" if rung.state == "fail" else "warning", evidence=rung.evidence
            )


RULES = (broken_rungs,)
