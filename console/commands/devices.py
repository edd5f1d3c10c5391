"""auxilio devices [SELECTOR]"""

from __future__ import annotations

from typing import Any

import click

from console.cli import in_loop
from console.commands.options import as_json, passphrases, say, usage_errors
from console.fleet import JudgedDevice
from console.home import Home
from console.listing import Listing
from console.render import ago, print_csv, print_json_array, print_table, size
from console.signed_in import signed_in
from protocol.errors import UsageInvalid
from protocol.selector import parse, to_text

TABLE_ROWS = 200
"""Of a table at most, unless --limit says otherwise: a person narrows the selector; --json and --csv give all."""

COLUMNS = ("id", "hostname", "state", "online", "last_seen_at", "os", "ram", "tags", "agent")


@click.command()
@click.argument("selector", nargs=-1)
@click.option("--limit", type=click.IntRange(min=1), help=f"Rows at most [{TABLE_ROWS} in a table, else all].")
@click.option("--csv", "as_csv", is_flag=True, help="Records as CSV on standard output.")
@as_json
@click.pass_obj
@in_loop
async def devices(home: Home, selector: tuple[str, ...], limit: int | None, as_csv: bool, as_json: bool) -> None:
    """List devices: all, or those that a SELECTOR matches.

    State is judged here, by signatures; online, last seen, host name and system are what relay and device say.

    \b
    Example:
      auxilio devices 'tag:clinic ram<4GiB online'
      auxilio devices --json provisional
    """
    if as_csv and as_json:
        raise UsageInvalid("either --csv or --json", hint="auxilio devices --help")
    text = " ".join(selector)
    with usage_errors():
        query = to_text(parse(text)) if text.strip() else ""
    async with signed_in(home, passphrases(None), say) as desk:
        listing = Listing(desk, query, limit if limit is not None or as_csv or as_json else TABLE_ROWS)
        if as_json:
            await print_json_array(record_of(judged) async for judged in listing.rows())
        elif as_csv:
            await print_csv(COLUMNS, (_flat(judged) async for judged in listing.rows()))
        else:
            await _print_table(listing)
        listing.finish()


def record_of(judged: JudgedDevice) -> dict[str, Any]:
    """As --json and --csv print it. *_at: Unix seconds.  ram: bytes."""
    return {
        "id": judged.id,
        "hostname": judged.told.hostname,
        "state": judged.state,
        "online": judged.presence.online,
        "last_seen_at": judged.presence.last_seen_at,
        "os": judged.told.os,
        "ram": judged.told.ram,
        "tags": list(judged.tags),
        "agent": judged.presence.agent,
    }


def _flat(judged: JudgedDevice) -> dict[str, Any]:
    return record_of(judged) | {"tags": " ".join(judged.tags)}


async def _print_table(listing: Listing) -> None:
    now = listing.desk.clock.now()
    rows = [
        (
            judged.id,
            judged.told.hostname,
            judged.state,
            "online" if judged.presence.online else f"{ago(judged.presence.last_seen_at, now)} ago",
            judged.told.os,
            size(judged.told.ram) if judged.told.ram else "-",
            " ".join(judged.tags),
        )
        async for judged in listing.rows()
    ]
    print_table(("id", "host", "state", "seen", "system", "memory", "tags"), rows)
    if listing.total > len(rows):
        say(f"{len(rows)} of {listing.total}: narrow the selector, or say --limit")
