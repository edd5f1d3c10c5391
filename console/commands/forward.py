"""auxilio forward DEVICE [BIND:]LPORT:HOST:PORT..."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
from collections.abc import Sequence

import click

from console.commands.options import as_json, say
from console.commands.reaching import Visit, connected, ssh_client, visit_options
from console.forward_spec import Forward, parse_forward
from console.home import Home
from protocol.errors import Unavailable

WEB_PORTS = {80: "http", 443: "https", 8080: "http", 8443: "https"}
"""Of which a link is printed, to be opened in a browser."""


@click.command()
@click.argument("device")
@click.argument("forwards", metavar="[BIND:]LPORT:HOST:PORT...", nargs=-1, required=True)
@visit_options
@as_json
@click.pass_obj
def forward(home: Home, device: str, forwards: tuple[str, ...], visit: Visit, as_json: bool) -> None:
    """Let programs here connect to what a device can reach, until Ctrl-C.

    HOST is a name or address as the device sees it; `localhost` is the device itself, and `gateway` the modem or router
    before it. The policy says which targets are permitted. LPORT 0 takes a free port; --json prints which.

    \b
    Example:
      auxilio forward k3m7x-abcde-fghij-klmno 8080:gateway:80
      auxilio forward dana-laptop 5900:localhost:5900 2222:localhost:22
    """
    wanted = [parse_forward(text) for text in forwards]
    asyncio.run(_run(home, device, wanted, visit, as_json))


async def _run(home: Home, device: str, wanted: Sequence[Forward], visit: Visit, as_json: bool) -> None:
    ssh_client()  # asyncssh is imported in its way, before the next line does it in its own
    from console.forwarding import Forwarding, listen

    with contextlib.ExitStack() as open_sockets:
        # First of all: nobody is asked for a port that we cannot have.
        listeners = [(open_sockets.enter_context(listen(entry)), entry) for entry in wanted]
        purpose = f"forward to {', '.join(entry.target for entry in wanted)}"[:200]
        stopped = _on_signals()
        async with connected(home, device, visit, ("forward",), purpose) as (connection, reached):
            async with Forwarding(connection, reached.leg, say).serving(listeners):
                for listener, entry in listeners:
                    _tell(listener, entry, as_json)
                async with asyncio.TaskGroup() as tasks:
                    lost = tasks.create_task(connection.wait_closed())
                    await asyncio.wait((lost, stopped), return_when=asyncio.FIRST_COMPLETED)
                    lost.cancel()
            if not stopped.done():
                raise Unavailable(
                    f"the session ended: {reached.leg.ended or 'the device closed it'}", code="session_lost", hint=""
                )


def _on_signals() -> asyncio.Future[None]:
    """Done at Ctrl-C or SIGTERM, which are how a forward is meant to end."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[None] = loop.create_future()

    def stop() -> None:
        if not stopped.done():
            stopped.set_result(None)

    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C interrupts us there
            loop.add_signal_handler(number, stop)
    return stopped


def _tell(listener: socket.socket, entry: Forward, as_json: bool) -> None:
    port = listener.getsockname()[1]
    bind = f"[{entry.bind}]" if ":" in entry.bind else entry.bind
    if as_json:
        print(json.dumps({"listen": f"{bind}:{port}", "target": entry.target}), flush=True)
        return
    scheme = WEB_PORTS.get(entry.port)
    here = f"{scheme}://{bind}:{port}/" if scheme else f"{bind}:{port}"
    say(f"{here} is now {entry.target} of the device; Ctrl-C ends it")
