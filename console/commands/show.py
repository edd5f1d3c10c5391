"""auxilio show DEVICE [SECTION]"""

from __future__ import annotations

import json
from typing import Any

import click
import msgspec

from console.cli import in_loop
from console.commands.options import as_json, passphrases, say
from console.fleet import JudgedDevice, fetch_device, fetch_section
from console.home import Home
from console.known_devices import KnownDevices
from console.render import ago, print_heading, print_json, print_pairs, when
from console.resolving import resolve
from console.section_views import print_section
from console.signed_in import Desk, signed_in
from protocol.errors import AuxilioError, Refused, Untrusted
from protocol.report import SECTIONS, Section, System
from protocol.text import escape

LONG_SECTIONS = frozenset({"software"})
"""Shown only when asked for by name: two thousand packages hide everything else."""


@click.command()
@click.argument("device")
@click.argument("section", required=False)
@as_json
@click.pass_obj
@in_loop
async def show(home: Home, device: str, section: str | None, as_json: bool) -> None:
    """Show what a device says about itself, verified by its own signature.

    \b
    Example:
      auxilio show k3m7x-abcde-fghij-klmno
      auxilio show k3m7x software
    """
    async with signed_in(home, passphrases(None), say) as desk:
        judged = await fetch_device(desk, await resolve(desk, device))
        names = _wanted(judged, section, everything=as_json)
        sections: dict[str, Section] = {}
        faults: dict[str, str] = {}
        for name in names:
            assert judged.report is not None
            try:
                sections[name] = await fetch_section(desk, name, judged.report.sections[name])
            except AuxilioError as exc:
                faults[name] = exc.message
        _note_hostname(desk, judged, sections)
        if as_json:
            print_json(_record(judged, sections, faults))
        else:
            if section is None:
                _print_head(judged, desk.clock.now())
            _print_sections(judged, sections, alone=section is not None)
        for name, fault in faults.items():
            say(f"the section {name} cannot be shown: {fault}")


def _wanted(judged: JudgedDevice, section: str | None, *, everything: bool) -> list[str]:
    """The names of sections to fetch, in the order in which people read them. Raises Refused (no_such_section)."""
    held = judged.report.sections if judged.report else {}
    if section is not None:
        if section not in held:
            why = judged.report_fault or "it has reported no such section"
            raise Refused(
                f"no section {escape(section, limit=40)} of {judged.id}: {why}",
                code="no_such_section",
                hint=f"It reported: {' '.join(sorted(held)) or 'nothing that verifies'}.",
            )
        return [section]
    ordered = [name for name in SECTIONS if name in held]
    return ordered if everything else [name for name in ordered if name not in LONG_SECTIONS]


def _note_hostname(desk: Desk, judged: JudgedDevice, sections: dict[str, Section]) -> None:
    """For completion, which asks nobody."""
    system = sections.get("system")
    if isinstance(system, System) and judged.report is not None:
        known = KnownDevices(desk.home)
        sha256 = judged.report.sections["system"].sha256
        try:
            known.note_hostname(judged.id, judged.report.number, sha256, system.hostname)
        except Untrusted as exc:
            desk.say(exc.message)
        known.save()


def _print_head(judged: JudgedDevice, now: float) -> None:
    presence = judged.presence
    seen = "online" if presence.online else "offline"
    pairs = [
        ("device", judged.id),
        ("state", f"{judged.state}{f': {judged.record_fault}' if judged.record_fault else ''}"),
        ("tags", " ".join(judged.tags) or "-"),
        ("link", f"{seen} since {when(presence.since_at)}, last seen {ago(presence.last_seen_at, now)}"),
    ]
    if presence.offline_reason:
        pairs.append(("last offline", f"{when(presence.offline_since_at)}: {presence.offline_reason}"))
    if judged.record is not None:
        pairs.append(("vouched for by", judged.record.signer.name))
    print_pairs(pairs)
    if judged.report_fault is not None:
        say(f"its report is NOT SHOWN, since its signature does not hold: {judged.report_fault}")
    elif judged.report is None:
        say("it has reported nothing yet")


def _print_sections(judged: JudgedDevice, sections: dict[str, Section], *, alone: bool) -> None:
    for name, section in sections.items():
        assert judged.report is not None
        print_heading(f"{name}, {when(judged.report.sections[name].collected_at)}")
        print_section(section)
    if judged.report is not None and not alone:
        left = sorted(set(judged.report.sections) - set(sections))
        if left:
            print(f"\nalso: {', '.join(f'auxilio show {judged.id} {name}' for name in left)}")


def _record(judged: JudgedDevice, sections: dict[str, Section], faults: dict[str, str]) -> dict[str, Any]:
    presence = json.loads(msgspec.json.encode(judged.presence))
    return {
        "id": judged.id,
        "state": judged.state,
        "tags": list(judged.tags),
        "record_fault": judged.record_fault,
        "report_fault": judged.report_fault,
        "report": judged.report.number if judged.report else None,
        "collected_at": judged.report.collected_at if judged.report else None,
        "presence": presence,
        "sections": {name: json.loads(msgspec.json.encode(section)) for name, section in sections.items()},
        "section_faults": faults,
    }
