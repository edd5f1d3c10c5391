"""A console of a technician of an Organisation made in the test's memory, at a real relay."""

from __future__ import annotations

from pathlib import Path

from console.home import Home
from console.keys import write_key
from console.settings import Settings, save_settings
from protocol.keys import public_line
from protocol.policy import Relay
from tests.support.console_process import ConsoleProcess
from tests.support.organisation import TechnicianKey
from tests.support.relay_world import World


def console_of(folder: Path, world: World, technician: TechnicianKey) -> ConsoleProcess:
    """Logged in. folder: for its key and its home."""
    folder.mkdir(exist_ok=True)
    home = Home(folder / "home")
    write_key(folder / "key", technician.key, technician.public_line, technician.name, None)
    (folder / "key-cert.pub").write_text(f"{public_line(technician.certificate)} {technician.name}\n")
    relay = Relay(url=world.relay.url, pin=world.relay.pin)
    save_settings(home, Settings(organisation=world.organisation.id, relays=(relay,), key=str(folder / "key")))
    console = ConsoleProcess(home.path)
    console.run("login")
    return console
