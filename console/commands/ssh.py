"""auxilio ssh DEVICE [-- CMD]"""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from pathlib import Path
from types import ModuleType

import click
import msgspec

from console.commands.options import confirm, passphrase_file, passphrases, say
from console.fleet import fetch_device
from console.home import Home
from console.main import report
from console.passphrase import Passphrases
from console.resolving import resolve
from console.sessions import Reached, Wish, reach, why_ended
from console.signed_in import Desk, signed_in
from console.waiting import WaitingLine
from protocol.errors import AuxilioError, Unavailable
from protocol.ids import DeviceId

EXIT_OWN = 255
"""As stock ssh: what is below is the remote command's own."""


class Wanted(msgspec.Struct, frozen=True):
    """The command's arguments. line: for the device's shell, or None for a shell of ours."""

    device: str
    line: str | None
    pty: bool
    account: str | None
    purpose: str | None
    case: str | None
    provisional: bool


@click.command()
@click.argument("device")
@click.argument("command", nargs=-1)
@click.option("--account", "-a", help="admin, user, or an account's name [the first that your certificate allows].")
@click.option("--purpose", "-p", help="Why; the customer reads it.")
@click.option("--case", help="The case's id.")
@click.option("-t", "force_tty", is_flag=True, help="A terminal on the device, also for a command.")
@click.option("-T", "no_tty", is_flag=True, help="No terminal on the device.")
@click.option("--provisional", is_flag=True, help="Reach a device that no admin has vouched for.")
@passphrase_file
@click.pass_obj
def ssh(
    home: Home,
    device: str,
    command: tuple[str, ...],
    account: str | None,
    purpose: str | None,
    case: str | None,
    force_tty: bool,
    no_tty: bool,
    provisional: bool,
    passphrase_file: Path | None,
) -> int:
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
    wanted = Wanted(device, line, pty, account, purpose, case, provisional)
    try:
        return asyncio.run(_run(home, wanted, passphrases(passphrase_file)))
    except AuxilioError as error:
        report(error)
        return EXIT_OWN


async def _run(home: Home, wanted: Wanted, source: Passphrases) -> int:
    client = _ssh_client()
    async with signed_in(home, source, say) as desk:
        device = await resolve(desk, wanted.device)
        provisional = wanted.provisional or await _warned(desk, device)
        key = client.ephemeral_key()
        wish = Wish(
            device=device,
            capabilities=("shell",),
            ssh_key=key.export_public_key().decode("ascii").strip(),
            purpose=wanted.purpose or ("remote command" if wanted.line is not None else "remote shell"),
            account=wanted.account,
            case=wanted.case,
            provisional=provisional,
        )
        with WaitingLine(desk.clock.now) as waiting:
            reached = await reach(desk, wish, waiting.ask)
        try:
            connection = await client.connect(reached.leg, device, key, reached.account)
            async with connection:
                command = client.Command(wanted.line, wanted.pty, os.environ.get("TERM", "xterm-256color"))
                status: int = await client.run(connection, reached.leg, command)
                return status
        except Unavailable as error:
            raise await _explained(desk, reached, error) from error
        finally:
            reached.leg.close()
            await reached.leg.wait_closed()


async def _warned(desk: Desk, device: DeviceId) -> bool:
    """Whether a person at a terminal, told that nobody vouched for the device, goes on all the same."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False  # `reach` refuses, and its hint says --provisional
    judged = await fetch_device(desk, device)
    if judged.record is not None or judged.revoked or judged.record_fault is not None:
        return False
    say(f"{device} is PROVISIONAL: no admin has vouched that it is the machine you mean")
    confirm("Does the device itself show this id?", yes=False)
    return True


async def _explained(desk: Desk, reached: Reached, error: Unavailable) -> AuxilioError:
    """A session that was ended, in the words of whoever ended it."""
    why = await why_ended(desk, reached.session)
    return Unavailable(f"the session ended: {why}", code=error.reason, hint=error.hint) if why else error


def _ssh_client() -> ModuleType:
    """Import asyncssh without its search for a shared library, which runs ldconfig, gcc and ld (60 ms)."""
    import ctypes.util

    find = ctypes.util.find_library
    ctypes.util.find_library = lambda name: None
    try:
        from console import ssh_client
    finally:
        ctypes.util.find_library = find
    return ssh_client
