"""A diagnosis in a terminal, in the customer's language: what is wrong and what to do first, the details after it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from typing import TextIO

from agent.diagnosis.look import Diagnosis
from agent.messages import say
from guidance.catalogue import guidance_for
from guidance.language import fill, translated
from guidance.memory import memory_answer
from protocol.sections.connectivity import Connectivity, Rung
from protocol.sections.findings import Finding
from protocol.sections.memory import Memory
from protocol.text import escape

WIDTH = 88
SIGNS = {"pass": "+", "warn": "!", "fail": "X", "unknown": "?"}
SEVERITY_SIGNS = {"error": "X", "warning": "!", "info": "i"}


def print_progress(stream: TextIO) -> Callable[[str], None]:
    """One line that is written over: what was looked at last."""

    def told(name: str) -> None:
        stream.write(f"\r\x1b[K{say('looked_at', what=name)}")
        stream.flush()

    return told


def print_diagnosis(diagnosis: Diagnosis, language: str) -> None:
    for line in lines_of(diagnosis, language):
        print(line)


def lines_of(diagnosis: Diagnosis, language: str) -> Iterator[str]:
    """language: "en" or "es". Everything that others chose is escaped."""
    findings = diagnosis.findings.findings
    yield from _verdict(diagnosis, language)
    for finding in findings:
        yield ""
        yield from _finding(finding, language)
    yield ""
    yield say("ladder")
    for rung in diagnosis.connectivity.rungs:
        yield f"  {SIGNS[rung.state]} {say('rung_' + rung.name)}{_shown_evidence(rung)}"
    if (rate := throughput_text(diagnosis.connectivity)) is not None:
        yield rate
    yield from _memory(diagnosis, language)
    unavailable = {
        f"{name}: {source}": reason
        for name, section in diagnosis.sections.items()
        for source, reason in section.unavailable.items()
    }
    if unavailable:
        yield ""
        yield say("not_looked_at")
        for what, reason in unavailable.items():
            yield f"  - {escape(what)}: {escape(reason)}"


def throughput_text(connectivity: Connectivity) -> str | None:
    """None where nobody asked for it."""
    if connectivity.down_mbps is None:
        return None
    return say("throughput_least" if connectivity.down_is_least else "throughput", mbps=f"{connectivity.down_mbps:g}")


def _memory(diagnosis: Diagnosis, language: str) -> Iterator[str]:
    """What can be done about memory, and what of that is not certain."""
    memory = diagnosis.sections.get("memory")
    answer = memory_answer(memory, language) if isinstance(memory, Memory) else None
    if answer is not None:
        yield ""
        yield f"{say('memory_answer')}:"
        yield from _wrapped(answer.line)
        for doubt in answer.doubts:
            yield from _wrapped(f"({doubt})")


def _verdict(diagnosis: Diagnosis, language: str) -> Iterator[str]:
    verdict = diagnosis.verdict
    if verdict is not None:
        finding = next((f for f in diagnosis.findings.findings if f.code == verdict.code), None)
        title = _title(finding, language) if finding is not None else verdict.code
        yield say("verdict_broken" if verdict.state == "fail" else "verdict_warns", title=title)
    elif diagnosis.target.address is None:
        yield say("verdict_no_relay")
    else:
        yield say("verdict_connected")


def _title(finding: Finding, language: str) -> str:
    guidance = guidance_for(finding.code)
    return escape(fill(translated(guidance, language).title, finding)) if guidance else escape(finding.code)


def _finding(finding: Finding, language: str) -> Iterator[str]:
    guidance = guidance_for(finding.code)
    about = f" ({escape(finding.subject)})" if finding.subject else ""
    yield f"{SEVERITY_SIGNS[finding.severity]} {_title(finding, language)}{about}  [{escape(finding.code)}]"
    if guidance is None:
        return
    texts = translated(guidance, language)
    yield from _wrapped(fill(texts.customer, finding))
    if texts.customer_does:
        yield from _wrapped(f"-> {fill(texts.customer_does, finding)}")
    if texts.guide:
        yield from _wrapped(say("guide_is", command=f"auxilio-agent guide {texts.guide}"))


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(escape(text), WIDTH, initial_indent="  ", subsequent_indent="  ")


def _shown_evidence(rung: Rung) -> str:
    if not rung.evidence:
        return ""
    return "  " + escape(", ".join(f"{name} {value}" for name, value in rung.evidence.items() if value != ""))
