"""auxilio cp SRC... DST"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import click
import msgspec

from console.commands.options import as_json, say
from console.commands.reaching import Visit, connected, ssh_client, visit_options
from console.files.client import Client
from console.files.copy import Options, run_copy
from console.files.many import first_of
from console.files.names import Task, parse_task, shown
from console.files.progress import Progress
from console.files.tally import Tally
from console.home import Home, file_failure
from console.render import print_json
from protocol.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_PARTIAL, Unavailable
from protocol.system_clock import SystemClock
from protocol.units import duration_text, size_text

if TYPE_CHECKING:
    from console.ssh_client import Subsystem

GO_ON = "Run the same command again to go on."


class Manner(msgspec.Struct, frozen=True):
    """How to tell of it."""

    quiet: bool
    as_json: bool


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SRC...")
@click.argument("target", metavar="DST")
@click.option("--recursive", "-r", is_flag=True, help="Folders, with what is in them.")
@click.option("--links", is_flag=True, help="Also symbolic links, of those that stay inside what is copied.")
@click.option("--verify", is_flag=True, help="Read everything back where the device cannot hash it for us.")
@click.option("--quiet", "-q", is_flag=True, help="No progress and no summary.")
@as_json
@visit_options
@click.pass_obj
def cp(
    home: Home,
    sources: tuple[str, ...],
    target: str,
    recursive: bool,
    links: bool,
    verify: bool,
    quiet: bool,
    as_json: bool,
    visit: Visit,
) -> int:
    """Copy files and folders from or to a device; the side with DEVICE: is there, relative to the account's home.

    Times and permissions are kept, holes stay holes, and every file is verified by its hash before it takes its place.
    Interrupted, the same command goes on where it was. Exit status: 0, or 7 if some files could not be copied.

    \b
    Example:
      auxilio cp k3m7x:/var/log/syslog .
      auxilio cp -r ./driver k3m7x:/tmp/
    """
    task = parse_task(sources, target)
    options = Options(recursive=recursive, links=links, verify=verify)
    try:
        return asyncio.run(_run(home, task, options, Manner(quiet, as_json), visit))
    except KeyboardInterrupt:
        say(f"interrupted. {GO_ON}")
        return EXIT_INTERRUPTED


async def _run(home: Home, task: Task, options: Options, manner: Manner, visit: Visit) -> int:
    clock, tally = SystemClock(), Tally()
    purpose = "fetch files" if task.download else "bring files"
    async with connected(home, task.device, visit, ("files",), purpose) as (connection, reached):
        begun = clock.monotonic()
        async with ssh_client().subsystem(connection, reached.leg, "sftp") as channel:
            with Progress(tally, clock, say, wanted=not manner.quiet) as progress:
                tally.tell = progress.say
                await _copy(channel, task, options, tally)
        seconds = clock.monotonic() - begun
    if manner.as_json:
        print_json(tally.record(seconds))
    if not manner.quiet:
        _tell(tally, seconds)
    return EXIT_PARTIAL if tally.failed else EXIT_OK


async def _copy(channel: Subsystem, task: Task, options: Options, tally: Tally) -> None:
    client = Client(channel)
    channel.listen(client.feed)

    async def watch() -> None:
        client.lose(await channel.ended())

    try:
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch())
            await run_copy(client, task, options, tally)
            watching.cancel()
    except BaseExceptionGroup as group:
        raise _explained(first_of(group), tally) from None


def _explained(error: BaseException, tally: Tally) -> BaseException:
    """What ended the copy, with what to do about the files that are half there."""
    if isinstance(error, OSError):
        error = file_failure(error, shown(os.fsencode(error.filename or "")) or "the copy")
    if isinstance(error, Unavailable) and (tally.moved or tally.settled):
        return Unavailable(error.message, code=error.reason, hint=f"{error.hint} {GO_ON}".strip())
    return error


def _tell(tally: Tally, seconds: float) -> None:
    for note in tally.notes():
        say(note)
    done = f"copied {tally.copied:,} files" if tally.copied != 1 else "copied one file"
    done += f", {tally.unchanged:,} were there already" if tally.unchanged else ""
    rate = f"; {size_text(tally.moved)} moved in {duration_text(seconds)}"
    say(done + rate + (f", {size_text(tally.moved / seconds)}/s" if seconds >= 1 else ""))
    if tally.failed:
        say(f"{tally.failed:,} could not be copied")
