"""auxilio ssh-config"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from console.cli import in_loop
from console.commands.options import passphrases, say
from console.home import Home, write_file
from console.invocation import own_command
from console.settings import load_settings, relay_in_use
from console.signed_in import open_desk
from console.ssh_config import Include, render
from protocol.keys import public_line

FILE = "ssh_config"
KEY_FILE = "ssh_key.pub"


@click.command("ssh-config")
@click.option("--label", default="", help="Hosts become ID.LABEL.auxilio: for a second organisation on this machine.")
@click.option("--user", help="The account where ssh names none [the first that your certificate allows].")
@click.option("--print", "to_stdout", is_flag=True, help="Print it instead of writing a file.")
@click.pass_obj
@in_loop
async def ssh_config(home: Home, label: str, user: str | None, to_stdout: bool) -> None:
    """Write the include by which stock ssh reaches devices, and say the line that ~/.ssh/config needs.

    \b
    Example:
      auxilio ssh-config
      ssh admin@k3m7x-abcde-fghij-klmno.auxilio
    """
    settings = load_settings(home)
    desk = open_desk(home, settings, relay_in_use(settings), passphrases(None), say)
    identity = desk.identity
    key = identity.key.path
    if key is None:
        # ssh finds a key of ssh-agent by its public half in a file.
        key = home.file(KEY_FILE)
        write_file(key, f"{public_line(identity.key.public.blob)} {identity.name}\n".encode())
    text = render(
        Include(
            command=own_command(home),
            key=str(key),
            account=user or identity.technician.principals[0],
            label=label,
        )
    )
    if to_stdout:
        sys.stdout.write(text)
        return
    path = home.file(FILE)
    write_file(path, text.encode())
    wanted = f"Include {_quoted(path)}"
    if wanted not in _own_config():
        say("put this line at the beginning of ~/.ssh/config:")
        print(wanted)
    host = f"ID.{label}.auxilio" if label else "ID.auxilio"
    say(f"then: ssh {host}")


def _quoted(path: Path) -> str:
    return f'"{path}"' if " " in str(path) else str(path)


def _own_config() -> str:
    try:
        return Path("~/.ssh/config").expanduser().read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
