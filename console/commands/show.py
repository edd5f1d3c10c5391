"""auxilio show DEVICE [SECTION]"""

from __future__ import annotations

import json
from typing import Any

import click
import msgspec

from console.cli import in_loop
from console.commands.options import DURATION, as_json, passphrases, say
from console.fleet import JudgedDevice, fetch_device, fetch_section
from console.history import fetch_history
from console.home import Home
from console.known_devices import KnownDevices
from console.render import ago, print_heading, print_json, print_pairs, print_table, when
from console.resolving import resolve
from console.samples import fetch_samples
from console.signed_in import Desk, signed_in
from console.views.table import print_section
from protocol.api import Session
from protocol.errors import AuxilioError, Refused, Untrusted, UsageInvalid
from protocol.sections.base import Section
from protocol.sections.catalogue import SECTIONS
from protocol.sections.connectivity import Outage, Outages
from protocol.sections.machine import System
from protocol.text import escape

REPLACED = ": replaced"
"""How agents say that a relay ended their link because another came in its place."""

LONG_SECTIONS = frozenset({"software", "updates"})
"""Shown only when asked for by name: two thousand packages hide everything else."""


@click.command()
@click.argument("device")
@click.argument("section", required=False)
@click.option("--history", is_flag=True, help="Also what it was before it was reinstalled, and its sessions.")
@click.option("--since", type=DURATION, help="Instead, charts of what it measured for so long: 24h, 90m, 30d.")
@click.option("--csv", "as_csv", is_flag=True, help="What it measured, as CSV on standard output; with --since.")
@as_json
@click.pass_obj
@in_loop
async def show(
    home: Home, device: str, section: str | None, history: bool, since: int | None, as_csv: bool, as_json: bool
) -> None:
    """Show what a device says about itself, verified by its own signature.

    --history goes back along signed records (`device approve --continues`); which sessions there were, is the relay's
    word. --since draws load, memory, free disk, signal, latency and loss: of the last two days as the device signed
    them, before that as the relay rolled them up. Gaps are times of which nothing is known.

    \b
    Example:
      auxilio show k3m7x-abcde-fghij-klmno
      auxilio show k3m7x software
      auxilio show dana-laptop --history
      auxilio show dana-laptop --since 24h
    """
    if since is not None:
        if section is not None or history or (as_csv and as_json):
            raise UsageInvalid("--since goes with --json or --csv alone", hint="auxilio show --help")
        await _show_samples(home, device, since, "json" if as_json else "csv" if as_csv else "charts")
        return
    if as_csv:
        raise UsageInvalid(
            "--csv is of what was measured: say --since, too", hint="auxilio show DEVICE --since 24h --csv"
        )
    async with signed_in(home, passphrases(None), say) as desk:
        judged = await fetch_device(desk, await resolve(desk, device))
        before, sessions = await fetch_history(desk, judged) if history else ([], ())
        shown = [await _fetch(desk, judged, section, everything=as_json)]
        shown += [await _fetch(desk, old, section, everything=as_json, of_old=True) for old in before]
        _note_hostname(desk, judged, shown[0].sections)
        for one in shown:
            for name, fault in one.faults.items():
                say(f"the section {name} of {one.judged.id} cannot be shown: {fault}")
        if as_json:
            print_json(_record(shown[0]) | (_history_record(shown[1:], sessions) if history else {}))
            return
        for one in shown:
            if section is None or one.judged is not judged:
                _print_head(one.judged, desk.clock.now())
            _print_sections(one.judged, one.sections, alone=section is not None)
        if history:
            _print_sessions(sessions)


async def _show_samples(home: Home, device: str, since_s: int, form: str) -> None:
    from console.views.samples import print_samples_csv, samples_record, samples_view, source_text

    async with signed_in(home, passphrases(None), say) as desk:
        judged = await fetch_device(desk, await resolve(desk, device))
        now = int(desk.clock.now())
        measured = await fetch_samples(desk, judged, max(0, now - since_s), now)
        outages = await _outages_since(desk, judged, measured.since_at)
    if measured.faults:
        say(f"{measured.faults} batches of samples are NOT SHOWN, since they do not verify: {measured.first_fault}")
    if measured.more:
        say("there is more than fits: the oldest are left out")
    if form == "json":
        print_json({"id": judged.id, **samples_record(measured, outages)})
    elif form == "csv":
        print_samples_csv(measured)
    else:
        print_pairs([("device", judged.id), ("samples", source_text(measured))])
        samples_view(measured, outages)


async def _outages_since(desk: Desk, judged: JudgedDevice, since_at: int) -> tuple[Outage, ...]:
    """Of its report, those that lasted until `since_at` or later."""
    ref = judged.report.sections.get("outages") if judged.report else None
    if ref is None:
        return ()
    try:
        section = await fetch_section(desk, "outages", ref)
    except AuxilioError as exc:
        say(f"its outages cannot be shown: {exc.message}")
        return ()
    assert isinstance(section, Outages)
    return tuple(o for o in section.outages if o.until_at is None or o.until_at >= since_at)


class _Shown(msgspec.Struct, frozen=True):
    """A device with those of its sections that were asked for; faults: why one of them cannot be shown."""

    judged: JudgedDevice
    sections: dict[str, Section]
    faults: dict[str, str]


async def _fetch(
    desk: Desk, judged: JudgedDevice, section: str | None, *, everything: bool, of_old: bool = False
) -> _Shown:
    """of_old: the section need not be there. Raises Refused (no_such_section)."""
    shown = _Shown(judged, {}, {})
    if of_old and section is not None and (judged.report is None or section not in judged.report.sections):
        return shown
    for name in _wanted(judged, section, everything=everything):
        assert judged.report is not None
        try:
            shown.sections[name] = await fetch_section(desk, name, judged.report.sections[name])
        except AuxilioError as exc:
            shown.faults[name] = exc.message
    return shown


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
    if judged.continues is not None:
        pairs.append(("continues", judged.continues))
    print_pairs(pairs)
    if presence.offline_reason.endswith(REPLACED):
        say("another process with its key was linked in its place: its state may have been copied to another machine")
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


def _print_sessions(sessions: tuple[Session, ...]) -> None:
    print_heading("sessions, by the relay's word")
    rows = [(when(s.started_at), s.device, s.technician, s.purpose, s.message or s.reason or s.state) for s in sessions]
    print_table(("started", "device", "technician", "purpose", "ended"), rows)


def _history_record(before: list[_Shown], sessions: tuple[Session, ...]) -> dict[str, Any]:
    return {
        "history": [_record(one) for one in before],
        "sessions": json.loads(msgspec.json.encode(sessions)),
    }


def _record(shown: _Shown) -> dict[str, Any]:
    judged = shown.judged
    presence = json.loads(msgspec.json.encode(judged.presence))
    return {
        "id": judged.id,
        "state": judged.state,
        "tags": list(judged.tags),
        "continues": judged.continues,
        "record_fault": judged.record_fault,
        "report_fault": judged.report_fault,
        "report": judged.report.number if judged.report else None,
        "collected_at": judged.report.collected_at if judged.report else None,
        "presence": presence,
        "sections": {name: json.loads(msgspec.json.encode(section)) for name, section in shown.sections.items()},
        "section_faults": shown.faults,
    }
