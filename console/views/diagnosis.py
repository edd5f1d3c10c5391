"""A diagnosis to a technician: the verdict first, then what is wrong and what to do, then the ladder."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from console.views.connectivity import connectivity_view, evidence_text
from guidance.catalogue import guidance_for
from guidance.language import fill
from protocol.diagnosis import ToldDiagnosis, health
from protocol.sections.connectivity import Connectivity
from protocol.sections.findings import SEVERITIES, Finding
from protocol.text import escape

WIDTH = 96
SIGNS = {"error": "X", "warning": "!", "info": "i"}


def diagnosis_view(diagnosis: ToldDiagnosis) -> None:
    """Everything that the device chose is escaped."""
    print(_verdict(diagnosis))
    findings = sorted(diagnosis.told.findings, key=lambda finding: SEVERITIES.index(finding.severity))
    for finding in findings:
        print()
        print("\n".join(_finding(finding)))
    connectivity = diagnosis.sections.get("connectivity")
    if isinstance(connectivity, Connectivity):
        print()
        connectivity_view(connectivity)
    unavailable = [
        f"{name}: {source}: {reason}"
        for name, section in diagnosis.sections.items()
        for source, reason in section.unavailable.items()
    ]
    if unavailable:
        print("\nnot looked at:")
        for text in unavailable:
            print(f"  - {escape(text, limit=300)}")


def _verdict(diagnosis: ToldDiagnosis) -> str:
    told = diagnosis.told
    verdict = told.verdict
    if verdict is None:
        words = {"healthy": "nothing is wrong", "warnings": "it works, with warnings", "broken": "something is broken"}
        looked = "every rung up to the relay is in order" if told.relay else "it knows no relay to look for"
        return f"{words[health(told.findings)]}; {looked}"
    finding = next((f for f in told.findings if f.code == verdict.code), None)
    state = "is broken" if verdict.state == "fail" else "works badly"
    return f"{verdict.name} {state}: {_title(finding) if finding is not None else escape(verdict.code, limit=60)}"


def _title(finding: Finding) -> str:
    guidance = guidance_for(finding.code)
    return escape(fill(guidance.title, finding) if guidance else finding.code, limit=300)


def _finding(finding: Finding) -> Iterator[str]:
    about = f" ({escape(finding.subject, limit=100)})" if finding.subject else ""
    yield f"{SIGNS[finding.severity]} {_title(finding)}{about}  [{escape(finding.code, limit=60)}]"
    guidance = guidance_for(finding.code)
    if guidance is None:
        yield f"  {escape(evidence_text(finding.evidence), limit=1000)}"
        return
    yield from _wrapped(fill(guidance.technician, finding))
    if guidance.technician_does:
        yield from _wrapped(f"-> {fill(guidance.technician_does, finding)}")
    if guidance.command:
        yield f"  $ {escape(fill(guidance.command, finding), limit=300)}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(escape(text, limit=3000), WIDTH, initial_indent="  ", subsequent_indent="  ")
