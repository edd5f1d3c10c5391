"""auxilio software diff DEVICE [DEVICE]"""

from __future__ import annotations

import json
import sys
from typing import Any

import click
import msgspec

from console.cli import in_loop
from console.commands.options import DATE, as_json, passphrases, say
from console.fleet import fetch_device
from console.home import Home
from console.installed import InstalledSoftware, fetch_installed
from console.render import print_json, print_pairs, print_table, when
from console.resolving import resolve
from console.signed_in import Desk, signed_in
from console.software_diff import Difference, differences
from protocol.errors import UsageInvalid
from protocol.text import csv_line

COLUMNS = ("name", "system", "architecture", "left", "right", "change")


@click.command()
@click.argument("devices", nargs=-1, required=True, metavar="DEVICE...")
@click.option("--at", type=DATE, multiple=True, help="As it was then; twice: for left and right.")
@click.option("--csv", "as_csv", is_flag=True, help="Records as CSV on standard output.")
@as_json
@click.pass_obj
@in_loop
async def diff(home: Home, devices: tuple[str, ...], at: tuple[int, ...], as_csv: bool, as_json: bool) -> None:
    """Compare what two devices have installed, or one at two dates, by what they signed.

    One device and one date: then and now. The last report of that date or before counts; a date without a time is its
    end. How far back reports go, the relay's operator decides.

    \b
    Example:
      auxilio software diff dana-laptop reception-2
      auxilio software diff dana-laptop --at 2026-11-01 --at '2026-11-20 09:00'
    """
    if as_csv and as_json:
        raise UsageInvalid("either --csv or --json", hint="auxilio software diff --help")
    instants = _instants(len(devices), at)
    async with signed_in(home, passphrases(None), say) as desk:
        names = devices if len(devices) == 2 else devices * 2
        left, right = [await _fetch(desk, name, instant) for name, instant in zip(names, instants, strict=True)]
    found = differences(left.software, right.software)
    if as_json:
        listed = [json.loads(msgspec.json.encode(one)) for one in found]
        print_json({"left": _side(left), "right": _side(right), "differences": listed})
    elif as_csv:
        sys.stdout.write(csv_line(COLUMNS))
        sys.stdout.writelines(csv_line(_cells(one)) for one in found)
    else:
        _print(left, right, found)


def _instants(count: int, at: tuple[int, ...]) -> tuple[int | None, int | None]:
    """Of left and right; None: now. Raises UsageInvalid."""
    if count > 2 or len(at) > 2 or (count == 1 and not at):
        raise UsageInvalid("two devices, or one and a date or two", hint="auxilio software diff --help")
    if len(at) == 2:
        return at[0], at[1]
    if not at:
        return None, None
    return (at[0], at[0]) if count == 2 else (at[0], None)


async def _fetch(desk: Desk, name: str, at: int | None) -> InstalledSoftware:
    return await fetch_installed(desk, await fetch_device(desk, await resolve(desk, name)), at)


def _side(side: InstalledSoftware) -> dict[str, Any]:
    return {
        "device": side.device,
        "report": side.report.number,
        "reported_at": side.report.collected_at,
        "collected_at": side.collected_at,
        "packages": len(side.software.packages),
        "systems": list(side.software.systems),
    }


def _cells(one: Difference) -> tuple[str, ...]:
    return one.name, one.system, one.architecture, " ".join(one.left), " ".join(one.right), one.change


def _print(left: InstalledSoftware, right: InstalledSoftware, found: list[Difference]) -> None:
    print_pairs(
        (name, f"{side.device}, report {side.report.number} of {when(side.report.collected_at)}: {_told(side)}")
        for name, side in (("left", left), ("right", right))
    )
    if not found:
        print("\nno difference")
        return
    print()
    print_table(("package", "system", "architecture", "left", "right", "change"), map(_cells, found))


def _told(side: InstalledSoftware) -> str:
    return f"{len(side.software.packages)} packages ({', '.join(side.software.systems) or 'no packaging system'})"
