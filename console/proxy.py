"""`auxilio proxy DEVICE --account A`: stock ssh's ProxyCommand. Standard input and output are the leg's two ends.

    ssh  <-- pipes -->  auxilio proxy  <-- leg -->  device

It signs the session request with the technician's key and names the same key for SSH to admit. Every connection of
stock ssh starts one, so it imports no more than it needs: no click, rich or asyncssh.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from console import pipes
from console import pump as threads
from console.home import Home
from console.passphrase import Passphrases
from console.resolving import resolve
from console.sessions import Reached, Wish, leave, reach
from console.signed_in import Desk, signed_in
from console.waiting import WaitingLine
from protocol.durations import parse_duration
from protocol.errors import UsageInvalid
from protocol.keys import public_line
from protocol.text import escape
from transport.leg import Leg

PURPOSE_VARIABLE = "AUXILIO_PURPOSE"
CASE_VARIABLE = "AUXILIO_CASE"
DEFAULT_PURPOSE = "remote shell"

HANGUP_S = 5.0
"""For ssh's last words to be read and sent, once it is gone."""

CAPABILITIES = ("shell", "files", "forward")
"""Stock ssh does not tell its ProxyCommand what it is for; devices check every channel anyway."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageInvalid(message, hint="auxilio proxy --help")


def parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="auxilio proxy",
        description="Connect standard input and output to a device's SSH: for ssh's ProxyCommand.",
        epilog="Example: ssh -o 'ProxyCommand auxilio proxy %n --account %r' admin@k3m7x-...  "
        "(`auxilio ssh-config` writes all that is needed). Exit status: 0, or as docs/commands.md lists.",
    )
    parser.add_argument("device", metavar="DEVICE", help="its id, with or without .auxilio")
    parser.add_argument("--account", help="admin, user, or an account's name; ssh's %%r")
    parser.add_argument("--purpose", help=f"why; the customer reads it (or ${PURPOSE_VARIABLE})")
    parser.add_argument("--case", help=f"the case's id (or ${CASE_VARIABLE})")
    parser.add_argument("--provisional", action="store_true", help="reach a device that no admin vouched for")
    parser.add_argument(
        "--resume-for", type=parse_duration, default=600, help="how long to try when the connection is lost (10m)"
    )
    return parser


def main(home: Home, arguments: Sequence[str]) -> int:
    """Returns 0 when either side ended the connection in order. Raises AuxilioError."""
    options = parser().parse_args(arguments)
    status = asyncio.run(_run(home, options))
    # ssh waits for us, and an interpreter takes its time to tidy up where nothing is left to be kept.
    sys.stderr.flush()
    os._exit(status)


async def _run(home: Home, options: argparse.Namespace) -> int:
    # ssh owns the terminal and may be asking something itself: nothing is asked here.
    passphrases = Passphrases(os.environ, may_ask=False)
    async with signed_in(home, passphrases, say) as desk:
        reached = await _reach(desk, options)
        try:
            await pump(reached.leg)
        finally:
            await leave(desk, reached)
    if reached.leg.error is not None:
        raise reached.leg.error
    return 0


async def _reach(desk: Desk, options: argparse.Namespace) -> Reached:
    wish = Wish(
        device=await resolve(desk, options.device),
        capabilities=tuple(c for c in CAPABILITIES if c in desk.identity.technician.rights) or CAPABILITIES,
        ssh_key=public_line(desk.identity.key.public.blob),
        purpose=options.purpose or os.environ.get(PURPOSE_VARIABLE) or DEFAULT_PURPOSE,
        account=options.account,
        case=options.case or os.environ.get(CASE_VARIABLE),
        provisional=options.provisional,
    )
    watcher = WaitingLine(desk.clock.now, live=False)
    return await reach(desk, wish, watcher, resume_for_s=options.resume_for)


def say(text: str) -> None:
    print(f"auxilio: {escape(text)}", file=sys.stderr)


class _Far(asyncio.Protocol):
    """What comes from the device, to our output, no faster than it is read."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        # ssh's pipes are ours alone; by hand or from another program it may be a terminal or a file.
        self.out = pipes.Output(1, self._heed) if pipes.may_wait_in_loop(1) else threads.Output(1, self._heed)
        self.out.on_broken = lambda error: self.ended.set()
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.out.write(data)

    def eof_received(self) -> bool:
        self.ended.set()
        return False  # SSH is over when the device ends it: nothing that we still say would be heard

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()

    def _heed(self, room: bool) -> None:
        if self.transport is not None:
            (self.transport.resume_reading if room else self.transport.pause_reading)()


async def pump(leg: Leg) -> None:
    """Both ways until the device ends, or ssh has closed both its ends.

    OpenSSH's client hangs its ProxyCommand up (SIGHUP) as soon as it has said goodbye: the goodbye is still on its way
    to us then, and the device is to hear it, else the session counts as lost there.
    """
    transport, far = await leg.create_connection(_Far)
    hung_up = asyncio.Event()
    with contextlib.suppress(AttributeError, NotImplementedError):  # Windows has neither
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up.set)

    async def up() -> None:
        async for data in (pipes if pipes.may_wait_in_loop(0) else threads).chunks(0):
            await leg.writable()
            transport.write(data)
        transport.write_eof()

    async def leave(sending: asyncio.Task[None]) -> None:
        """ssh waits for our end: no longer than its last words take to be on their way."""
        await hung_up.wait()
        await asyncio.wait((sending,), timeout=HANGUP_S)
        leg.leave()
        far.ended.set()

    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(up())
        leaving = tasks.create_task(leave(sending))
        await far.ended.wait()
        sending.cancel()
        leaving.cancel()
    await far.out.drain()
