"""All rules over all facts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec

from agent.findings.known import Known
from agent.findings.rules import (
    health,
    ladder,
    machine,
    memory,
    memory_modules,
    mobile,
    router,
    storage,
    system,
    updates,
)
from protocol.sections.findings import MAX_FINDINGS, SEVERITIES, Finding, Findings

Rule = Callable[[Known], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    *ladder.RULES,
    *storage.RULES,
    *memory.RULES,
    *memory_modules.RULES,
    *machine.RULES,
    *updates.RULES,
    *health.RULES,
    *system.RULES,
    *router.RULES,
    *mobile.RULES,
)


def find(known: Known, before: Iterable[Finding] = ()) -> Findings:
    """What the rules find, the worst first. before: the findings of last time, which keep the time they began."""
    since = {(finding.code, finding.subject): finding.since_at for finding in before}
    found: dict[tuple[str, str], Finding] = {}
    failed: dict[str, str] = {}
    for rule in RULES:
        try:
            for finding in rule(known):
                found.setdefault((finding.code, finding.subject), _dated(finding, since, known.now))
        except Exception as exc:  # one rule that is wrong hides no other's findings
            failed[rule.__name__] = f"{type(exc).__name__}: {exc}"[:200]
    ordered = sorted(found.values(), key=lambda f: (SEVERITIES.index(f.severity), f.code, f.subject))
    return Findings(findings=tuple(ordered[:MAX_FINDINGS]), unavailable=failed)


def _dated(finding: Finding, since: dict[tuple[str, str], int | None], now: float) -> Finding:
    at = since.get((finding.code, finding.subject))
    return msgspec.structs.replace(finding, since_at=at if at is not None else int(now))
