"""auxilio findings [SELECTOR]"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import click
import msgspec

from console.cli import in_loop
from console.commands.options import as_json, passphrases, say, usage_errors
from console.fleet import JudgedDevice
from console.fleet_pages import Pages, SignedSections, Word, word
from console.home import Home
from console.render import print_csv, print_heading, print_json, print_json_array, print_table, when
from console.signed_in import signed_in
from console.views.connectivity import evidence_text
from protocol.errors import UsageInvalid
from protocol.fleet import FindingRow, FindingsPage
from protocol.sections.base import Section
from protocol.sections.connectivity import Evidence
from protocol.sections.findings import SEVERITIES, Finding, Findings
from protocol.selector import parse, to_text

TABLE_ROWS = 200
"""Of a table at most, unless --limit says otherwise; --json and --csv give all."""

COLUMNS = ("device", "hostname", "state", "severity", "code", "subject", "since_at", "said_by", "fault")

_Signed = dict[tuple[str, str], Finding]


class Shown(msgspec.Struct, frozen=True):
    """A finding: what the device signed where it did, else what the relay says."""

    row: FindingRow
    judged: JudgedDevice
    word: Word
    evidence: Evidence


@click.command()
@click.argument("selector", nargs=-1)
@click.option("--code", help="This finding alone: disk-full.")
@click.option("--severity", type=click.Choice(SEVERITIES), help="So bad, or worse.")
@click.option("--counts", is_flag=True, help="Only how many devices have each.")
@click.option("--unverified", is_flag=True, help="By the relay's word alone: devices' signed reports are not read.")
@click.option("--limit", type=click.IntRange(min=1), help=f"Rows at most [{TABLE_ROWS} in a table, else all].")
@click.option("--csv", "as_csv", is_flag=True, help="Records as CSV on standard output.")
@as_json
@click.pass_obj
@in_loop
async def findings(
    home: Home,
    selector: tuple[str, ...],
    code: str | None,
    severity: str | None,
    counts: bool,
    unverified: bool,
    limit: int | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """List what is wrong with devices: with all, or those that a SELECTOR matches; the worst first.

    Each finding is looked for in what its device signed, and `said by` tells where it is not there. Counts, and that
    nothing was left out, are the relay's word. docs/findings.md has all codes.

    \b
    Example:
      auxilio findings tag:clinic --severity error
      auxilio findings --code disk-full --csv
    """
    if as_csv and (as_json or counts):
        raise UsageInvalid("--csv is of the findings alone", hint="auxilio findings --help")
    query: dict[str, str | int] = {}
    text = " ".join(selector)
    with usage_errors():
        if text.strip():
            query["selector"] = to_text(parse(text))
    query |= {name: value for name, value in (("code", code), ("severity", severity)) if value is not None}
    async with signed_in(home, passphrases(None), say) as desk:
        bound = 1 if counts else limit if limit is not None or as_csv or as_json else TABLE_ROWS
        pages = Pages(desk, lambda after, rows: desk.relay.findings(query, after, rows), limit=bound)
        signed = None if unverified or counts else SignedSections(desk, "findings", _by_name)
        if counts:
            await _print_counts(pages, as_json)
        elif as_json:
            await print_json_array(_record(s) | {"evidence": s.evidence} async for s in _rows(pages, signed))
        elif as_csv:
            await print_csv(COLUMNS, (_record(shown) async for shown in _rows(pages, signed)))
        else:
            await _print_table(pages, signed)
        pages.finish()


def _by_name(section: Section) -> _Signed:
    listed = section.findings if isinstance(section, Findings) else ()
    return {(finding.code, finding.subject): finding for finding in listed}


async def _rows(pages: Pages[FindingsPage], signed: SignedSections[_Signed] | None) -> AsyncIterator[Shown]:
    async for page in pages.pages():
        says = {} if signed is None else await signed.read(pages.devices[device.id] for device in page.devices)
        for row in page.rows:
            judged = pages.devices.get(row.device)
            if judged is None:
                pages.desk.say(f"a finding of {row.device} is left out: the relay shows no such device")
                continue
            said, key = says.get(row.device), (row.code, row.subject)
            whose = word(said, key, "the device has not signed it")
            finding = said[key] if whose.by_device and isinstance(said, dict) else None
            if finding is not None:
                row = msgspec.structs.replace(row, severity=finding.severity, since_at=finding.since_at)
            yield Shown(row, judged, whose, finding.evidence if finding is not None else {})


def _record(shown: Shown) -> dict[str, Any]:
    row = shown.row
    return {
        "device": row.device,
        "hostname": row.hostname,
        "state": shown.judged.state,
        "severity": row.severity,
        "code": row.code,
        "subject": row.subject,
        "since_at": row.since_at,
        "said_by": shown.word.name,
        "fault": shown.word.fault,
    }


async def _print_counts(pages: Pages[FindingsPage], as_json: bool) -> None:
    async for _page in pages.pages():
        break
    assert pages.first is not None
    if as_json:
        print_json([json.loads(msgspec.json.encode(count)) for count in pages.first.counts])
    else:
        _print_count_table(pages.first)


def _print_count_table(page: FindingsPage) -> None:
    rows = [(one.severity, one.code, str(one.devices), str(one.findings)) for one in page.counts]
    print_table(("severity", "finding", "devices", "findings"), rows)


async def _print_table(pages: Pages[FindingsPage], signed: SignedSections[_Signed] | None) -> None:
    rows = [shown async for shown in _rows(pages, signed)]
    assert pages.first is not None
    _print_count_table(pages.first)
    print_heading("the worst first")
    print_table(
        ("severity", "finding", "about", "since", "device", "host", "said by", "evidence"),
        [
            (
                shown.row.severity,
                shown.row.code,
                shown.row.subject,
                when(shown.row.since_at) if shown.row.since_at else "",
                shown.row.device,
                shown.row.hostname,
                shown.word.name,
                evidence_text(shown.evidence),
            )
            for shown in rows
        ],
    )
    if pages.first.total > len(rows):
        say(f"{len(rows)} of {pages.first.total}: narrow the selector, or say --limit")
    for fault in dict.fromkeys(f"{one.row.device} {one.row.code}: {one.word.fault}" for one in rows if one.word.fault):
        say(fault)
