"""auxilio ssh DEVICE [-- CMD]"""

from __future__ import annotations

import asyncio
import os
import shlex
import sys

import click
import msgspec

from console.commands.reaching import Visit, connected, ssh_client, visit_options
from console.home import Home
from console.main import report
from protocol.errors import AuxilioError

EXIT_OWN = 255
"""As stock ssh: what is below is the remote command's own."""


class Wanted(msgspec.Struct, frozen=True):
    """The command's arguments. line: for the device's shell, or None for a shell of ours."""

    device: str
    line: str | None
    pty: bool
    visit: Visit


@click.command()
@click.argument("device")
@click.argument("command", nargs=-1)
@click.option("-t", "force_tty", is_flag=True, help="A terminal on the device, also for a command.")
@click.option("-T", "no_tty", is_flag=True, help="No terminal on the device.")
@visit_options
@click.pass_obj
def ssh(home: Home, device: str, command: tuple[str, ...], force_tty: bool, no_tty: bool, visit: Visit) -> int:
    """Open a shell on a device, or run a command there. Its exit status is ours; 255 is a failure of our own.

    One argument is a line for the device's shell; several are words, quoted for it. In a terminal, ~. after a line
    break ends the session, and ~? helps.

    \b
    Example:
      auxilio ssh k3m7x-abcde-fghij-klmno
      auxilio ssh k3m7x -p 'printer is offline' -- lpstat -p
    """
    line = (command[0] if len(command) == 1 else shlex.join(command)) if command else None
    pty = not no_tty and (force_tty or (line is None and sys.stdin.isatty()))
    try:
        return asyncio.run(_run(home, Wanted(device, line, pty, visit)))
    except AuxilioError as error:
        report(error)
        return EXIT_OWN


async def _run(home: Home, wanted: Wanted) -> int:
    purpose = "remote command" if wanted.line is not None else "remote shell"
    async with connected(home, wanted.device, wanted.visit, ("shell",), purpose) as (connection, reached):
        client = ssh_client()
        command = client.Command(wanted.line, wanted.pty, os.environ.get("TERM", "xterm-256color"))
        status: int = await client.run(connection, reached.leg, command)
        return status
