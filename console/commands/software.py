"""auxilio software NAME[<VERSION] [SELECTOR], and `diff` beside it"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any, Literal

import click
import msgspec

from console.cli import in_loop
from console.commands.options import as_json, passphrases, say, usage_errors
from console.commands.software_diff import diff
from console.fleet import JudgedDevice
from console.fleet_pages import Pages, SignedSections, Word, word
from console.home import Home
from console.render import print_csv, print_heading, print_json, print_json_array, print_table
from console.signed_in import signed_in
from protocol.api import MAX_PAGE
from protocol.errors import UsageInvalid
from protocol.fleet import PackageRow, SoftwarePage
from protocol.sections.base import Section
from protocol.sections.software import Software
from protocol.selector import Software as Term
from protocol.selector import parse, to_text
from protocol.selector_tree import Comparison

TABLE_ROWS = 200
"""Of a table at most, unless --limit says otherwise; --json and --csv give all."""

WITHIN = 100
"""Devices on a page whose sections are read: 250 KB of each."""

COLUMNS = ("device", "hostname", "state", "name", "version", "system", "source", "said_by", "fault")

_COMPARISON = re.compile(r"<=|>=|!=|<|>|=")
_Signed = frozenset[tuple[str, str, str, str]]


class Commands(click.Group):
    """What is no command is the name of a package."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["search", *args]
        return super().parse_args(ctx, args)


@click.group(cls=Commands)
def software() -> None:
    """Search what devices have installed, and compare it: `auxilio software NAME` is `auxilio software search NAME`.

    \b
    Example:
      auxilio software 'openssl<3.0.14' tag:clinic
      auxilio software diff dana-laptop reception-2
    """


software.add_command(diff)


@software.command()
@click.argument("package")
@click.argument("selector", nargs=-1)
@click.option("--versions", is_flag=True, help="Only how many devices have each version.")
@click.option("--verify", is_flag=True, help="Read each device's signed report: some 100 KB of each.")
@click.option("--limit", type=click.IntRange(min=1), help=f"Devices at most [{TABLE_ROWS} in a table, else all].")
@click.option("--csv", "as_csv", is_flag=True, help="Records as CSV on standard output.")
@as_json
@click.pass_obj
@in_loop
async def search(
    home: Home,
    package: str,
    selector: tuple[str, ...],
    versions: bool,
    verify: bool,
    limit: int | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """List the devices that have PACKAGE, a name that may go on with < <= > >= = != and a version.

    Versions are compared as the packaging system of each compares them. What is listed is the relay's word, unless
    --verify finds it in what the device signed.

    \b
    Example:
      auxilio software 'openssl<3.0.14'
      auxilio software firefox tag:clinic --versions
    """
    if as_csv and (as_json or versions):
        raise UsageInvalid("--csv is of the devices alone", hint="auxilio software search --help")
    query: dict[str, str | int] = {"package": _term(package)}
    text = " ".join(selector)
    with usage_errors():
        if text.strip():
            query["selector"] = to_text(parse(text))
    async with signed_in(home, passphrases(None), say) as desk:
        bound = 1 if versions else limit if limit is not None or as_csv or as_json else TABLE_ROWS
        within = WITHIN if verify else MAX_PAGE
        pages = Pages(desk, lambda after, rows: desk.relay.software(query, after, rows), limit=bound, within=within)
        signed = SignedSections(desk, "software", _signed) if verify and not versions else None
        if versions:
            await _print_versions(pages, as_json)
        elif as_json:
            await print_json_array(_record(shown) async for shown in _rows(pages, signed))
        elif as_csv:
            await print_csv(COLUMNS, (_record(shown) async for shown in _rows(pages, signed)))
        else:
            await _print_table(pages, signed)
        pages.finish()


def _term(package: str) -> str:
    """As the API takes it: `Mozilla Firefox (x64)<128` needs no quotes of its own here. Raises UsageInvalid."""
    found = _COMPARISON.search(package)
    name, version = (package, "") if found is None else (package[: found.start()], package[found.end() :])
    name, version = name.strip(), version.strip()
    comparison: Comparison | Literal[""] = "" if found is None else msgspec.convert(found.group(), Comparison)
    if not name or (comparison and not version):
        raise UsageInvalid("a package's name, and perhaps a comparison", hint="auxilio software 'openssl<3.0.14'")
    with usage_errors():
        return to_text(parse(to_text(Term(name, comparison, version)))).removeprefix("software:")


def _signed(section: Section) -> _Signed:
    listed = section.packages if isinstance(section, Software) else ()
    return frozenset((package.name, package.version, package.system, package.source) for package in listed)


class Shown(msgspec.Struct, frozen=True):
    row: PackageRow
    judged: JudgedDevice
    word: Word


async def _rows(pages: Pages[SoftwarePage], signed: SignedSections[_Signed] | None) -> AsyncIterator[Shown]:
    async for page in pages.pages():
        says = {} if signed is None else await signed.read(pages.devices[device.id] for device in page.devices)
        for row in page.rows:
            judged = pages.devices.get(row.device)
            if judged is None:
                pages.desk.say(f"a package of {row.device} is left out: the relay shows no such device")
                continue
            key = (row.name, row.version, row.system, row.source)
            yield Shown(row, judged, word(says.get(row.device), key, "the device has not signed it"))
        for device, more in page.more_rows.items():
            if device in pages.devices:
                pages.desk.say(f"and {more} more of {device}: `auxilio show {device} software` has all")


def _record(shown: Shown) -> dict[str, Any]:
    row = shown.row
    return {
        "device": row.device,
        "hostname": row.hostname,
        "state": shown.judged.state,
        "name": row.name,
        "version": row.version,
        "system": row.system,
        "source": row.source,
        "said_by": shown.word.name,
        "fault": shown.word.fault,
    }


async def _print_versions(pages: Pages[SoftwarePage], as_json: bool) -> None:
    async for _page in pages.pages():
        break
    assert pages.first is not None
    if as_json:
        print_json([json.loads(msgspec.json.encode(version)) for version in pages.first.versions])
        _say_more_versions(pages.first)
    else:
        _print_version_table(pages.first)


def _print_version_table(page: SoftwarePage) -> None:
    rows = [(one.name, one.version, one.system, str(one.devices)) for one in page.versions]
    print_table(("package", "version", "system", "devices"), rows)
    _say_more_versions(page)


def _say_more_versions(page: SoftwarePage) -> None:
    if page.more_versions:
        say(f"and {page.more_versions} more versions: compare with one, as in 'NAME<VERSION'")


async def _print_table(pages: Pages[SoftwarePage], signed: SignedSections[_Signed] | None) -> None:
    rows = [shown async for shown in _rows(pages, signed)]
    assert pages.first is not None
    _print_version_table(pages.first)
    print_heading("devices")
    print_table(
        ("device", "host", "state", "package", "version", "system", "said by"),
        [
            (s.row.device, s.row.hostname, s.judged.state, s.row.name, s.row.version, s.row.system, s.word.name)
            for s in rows
        ],
    )
    shown = len({one.row.device for one in rows})
    if pages.first.total > shown:
        say(f"{shown} of {pages.first.total} devices: narrow the selector, or say --limit")
    for fault in dict.fromkeys(f"{one.row.device} {one.row.name}: {one.word.fault}" for one in rows if one.word.fault):
        say(fault)
