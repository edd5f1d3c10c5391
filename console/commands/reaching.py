"""From a name that a technician typed to SSH on the device behind it: what every command with a session shares.

@visit_options
def command(home, device, visit): ...
    async with connected(home, device, visit, ("files",), "copy files") as (connection, reached): ...
"""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import update_wrapper
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click
import msgspec

from console.commands.options import DURATION, confirm, passphrase_file, passphrases, say
from console.fleet import fetch_device
from console.home import Home
from console.resolving import resolve
from console.sessions import Reached, Wish, leave, reach, why_ended
from console.signed_in import Desk, signed_in
from console.waiting import WaitingLine
from protocol.errors import AuxilioError, Unavailable
from protocol.ids import DeviceId

if TYPE_CHECKING:
    import asyncssh


class Visit(msgspec.Struct, frozen=True):
    """What visit_options say.

    account: None takes the first that the certificate allows.  purpose: None takes the command's own words.
    """

    account: str | None = None
    purpose: str | None = None
    case: str | None = None
    provisional: bool = False
    resume_for: int = 600
    passphrase_file: Path | None = None


_OPTIONS = (
    click.option("--account", "-a", help="admin, user, or an account's name [the first that your certificate allows]."),
    click.option("--purpose", "-p", help="Why; the customer reads it."),
    click.option("--case", help="The case's id."),
    click.option("--provisional", is_flag=True, help="Reach a device that no admin has vouched for."),
    click.option("--resume-for", type=DURATION, default=600, help="How long to try when the connection is lost [10m]."),
    passphrase_file,
)


def visit_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that opens a session; the command gets them as one, `visit`."""

    def command(*args: Any, **kwargs: Any) -> Any:
        kwargs["visit"] = Visit(**{name: kwargs.pop(name) for name in Visit.__struct_fields__})
        return function(*args, **kwargs)

    wrapped: Callable[..., Any] = update_wrapper(command, function)
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


@asynccontextmanager
async def connected(
    home: Home, name: str, visit: Visit, capabilities: tuple[str, ...], purpose: str
) -> AsyncIterator[tuple[asyncssh.SSHClientConnection, Reached]]:
    """A session on the device that `name` stands for, with SSH on it; closed at the end.

    purpose: where the visit has none.  Raises what console.sessions.reach and console.ssh_client.connect raise. An
    Unavailable from the body is raised anew in the words of whoever ended the session, where they said any.
    """
    # asyncio warns of each write to a connection that just broke; its end is told in one line, by whoever notices.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    client = ssh_client()
    async with signed_in(home, passphrases(visit.passphrase_file), say) as desk:
        device = await resolve(desk, name)
        provisional = visit.provisional or await _warned(desk, device)
        key = client.ephemeral_key()
        wish = Wish(
            device=device,
            capabilities=capabilities,
            ssh_key=key.export_public_key().decode("ascii").strip(),
            purpose=visit.purpose or purpose,
            account=visit.account,
            case=visit.case,
            provisional=provisional,
        )
        with WaitingLine(desk.clock.now) as waiting:
            reached = await reach(desk, wish, waiting, resume_for_s=visit.resume_for)
            waiting.spliced()
            failed = True
            try:
                connection = await client.connect(reached.leg, device, key, reached.account)
                async with connection:
                    yield connection, reached
                failed = False
            except Unavailable as error:
                raise await _explained(desk, reached, error) from error
            finally:
                await leave(desk, reached, failed=failed)


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


def ssh_client() -> ModuleType:
    """Import asyncssh without its search for a shared library, which runs ldconfig, gcc and ld (60 ms)."""
    import ctypes.util

    find = ctypes.util.find_library
    ctypes.util.find_library = lambda name: None
    try:
        from console import ssh_client
    finally:
        ctypes.util.find_library = find
    return ssh_client
