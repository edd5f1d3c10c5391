"""Findings on updates, restarts and software that nobody repairs any more."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from agent.findings.known import Known
from agent.findings.support_ends import days_left, support_end
from protocol.sections.connectivity import Evidence
from protocol.sections.findings import Finding
from protocol.sections.machine import System
from protocol.sections.software import Software
from protocol.sections.updates import Updates

DAY_S = 86_400
NAMED = 5
"""Names in a sentence; more are a list, which the section on updates is."""

ABANDONED: tuple[tuple[str, str], ...] = (
    ("Adobe Flash Player", "2020-12-31"),
    ("Adobe Shockwave Player", "2019-04-09"),
    ("Microsoft Silverlight", "2021-10-12"),
    ("QuickTime", "2016-04-14"),
    ("Java 6", "2018-12-31"),
    ("Java(TM) 6", "2018-12-31"),
    ("Adobe Reader XI", "2017-10-15"),
    ("Skype", "2025-05-05"),
)
"""How the names of programs begin that are attacked and not repaired any more; when their makers stopped.

Sources: Adobe, "End of support"; Microsoft, "Silverlight end of support", "Skype is retiring"; CISA, alert TA16-105A;
Oracle, "Java SE support roadmap"."""

NOT_ABANDONED = re.compile(r"Skype for Business", re.I)

ANTIVIRUS = re.compile(
    r"\b(Avast|AVG|Avira|Bitdefender|ESET|F-Secure|G ?DATA|Kaspersky|McAfee|Norton|Panda|Sophos|Trend Micro|Webroot)\b"
    r"(?=.*\b(anti-?virus|security|protection|360|endpoint|total|nod32|free|essential|dome|premium|home)\b)",
    re.I,
)
"""Makers whose programs watch every file. Defender is left out: it steps back by itself."""


def security_waits(known: Known) -> Iterator[Finding]:
    waiting = known.of(Updates).security
    if waiting:
        evidence: Evidence = {"count": len(waiting), "names": _names([update.name for update in waiting])}
        yield Finding(code="updates-security", severity="warning", evidence=evidence)


def others_wait(known: Known) -> Iterator[Finding]:
    """Worth knowing; nothing is wrong with a few of them."""
    waiting = [update.name for update in known.of(Updates).updates if not update.security]
    if len(waiting) >= known.thresholds.updates_pending:
        evidence: Evidence = {"count": len(waiting), "names": _names(waiting)}
        yield Finding(code="updates-pending", severity="info", evidence=evidence)


def restart_waits(known: Known) -> Iterator[Finding]:
    updates = known.of(Updates)
    if updates.restart:
        yield Finding(code="restart-required", severity="warning", evidence={"reason": _names(updates.restart_for)})


def lists_are_old(known: Known) -> Iterator[Finding]:
    """A list that is too old makes "no updates" mean nothing."""
    for system, at in sorted(known.of(Updates).refreshed_at.items()):
        days = (known.now - at) / DAY_S
        if days >= known.thresholds.update_lists_days:
            yield Finding(code="updates-stale", severity="warning", subject=system, evidence={"days": round(days)})


def half_there(known: Known) -> Iterator[Finding]:
    broken = known.of(Updates).broken
    if broken:
        names = _names([f"{one.name} ({one.state})" for one in broken])
        yield Finding(code="packages-broken", severity="error", evidence={"count": len(broken), "names": names})


def held_back(known: Known) -> Iterator[Finding]:
    held = known.of(Updates).held
    if held:
        yield Finding(code="packages-held", severity="info", evidence={"count": len(held), "names": _names(held)})


def no_longer_supported(known: Known) -> Iterator[Finding]:
    system = known.of(System)
    end = support_end(system.os_id, system.os_version)
    if end is None:
        return
    evidence: Evidence = {"name": system.os_name or system.os_id, "date": end.isoformat()}
    left = days_left(end, known.now)
    if left < 0:
        yield Finding(code="system-unsupported", severity="warning", evidence=evidence)
    elif left <= known.thresholds.support_ends_days:
        yield Finding(code="system-support-ends", severity="info", evidence={**evidence, "days": left})


def abandoned(known: Known) -> Iterator[Finding]:
    """Of programs that were installed by hand: a distribution's own packages are its maintainers' care."""
    names = {package.name for package in known.of(Software).packages if package.system in ("windows", "msix", "macos")}
    for name in sorted(names):
        for beginning, ended in ABANDONED:
            if name.startswith(beginning) and not NOT_ABANDONED.match(name):
                yield Finding(
                    code="software-abandoned", severity="warning", subject=name[:100], evidence={"date": ended}
                )
                break


def several_antivirus(known: Known) -> Iterator[Finding]:
    makers: dict[str, str] = {}
    for package in known.of(Software).packages:
        match = ANTIVIRUS.search(package.name) if package.system == "windows" else None
        if match:
            makers.setdefault(match[1].lower().replace(" ", ""), package.name)
    if len(makers) > 1:
        names = _names(sorted(makers.values()))
        yield Finding(code="antivirus-several", severity="warning", evidence={"count": len(makers), "names": names})


def _names(names: Sequence[str]) -> str:
    """The first of them; a mark where there are more. No words: the texts are translated, this is not."""
    shown = ", ".join(list(dict.fromkeys(names))[:NAMED])
    return f"{shown}, …" if len(dict.fromkeys(names)) > NAMED else shown


RULES = (
    security_waits,
    others_wait,
    restart_waits,
    lists_are_old,
    half_there,
    held_back,
    no_longer_supported,
    abandoned,
    several_antivirus,
)
