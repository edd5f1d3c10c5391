"""The commands, as click knows them: loaded when they are named, and their errors left to main.py."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Coroutine, Sequence
from functools import update_wrapper
from typing import Any, TypeVar

import click

from console.home import Home
from console.release import release
from protocol.errors import EXIT_OK, EXIT_USAGE, UsageInvalid

T = TypeVar("T")

COMMANDS = {
    "demo": ("console.commands.demo", "demo"),
    "authority": ("console.commands.authority", "authority"),
    "technician": ("console.commands.technician", "technician"),
    "join-token": ("console.commands.join_token", "join_token"),
    "policy": ("console.commands.policy", "policy"),
    "device": ("console.commands.device", "device"),
    "login": ("console.commands.login", "login"),
    "devices": ("console.commands.devices", "devices"),
    "findings": ("console.commands.findings", "findings"),
    "software": ("console.commands.software", "software"),
    "show": ("console.commands.show", "show"),
    "diagnose": ("console.commands.diagnose", "diagnose"),
    "forward": ("console.commands.forward", "forward"),
    "ssh": ("console.commands.ssh", "ssh"),
    "cp": ("console.commands.cp", "cp"),
    "proxy": ("console.commands.lean", "proxy"),
    "ssh-config": ("console.commands.ssh_config", "ssh_config"),
    "known-host": ("console.commands.lean", "known_host"),
    "completion": ("console.commands.completion", "completion"),
}
"""In the order in which people meet them."""


class LazyGroup(click.Group):
    """Imports a command's module only when the command is wanted: `auxilio devices` does without asyncssh."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(release(), message="auxilio %(version)s")
def auxilio() -> None:
    """Help people with their devices, through a relay that nobody has to trust.

    `auxilio --home DIR COMMAND` keeps everything of one organisation in DIR (else $AUXILIO_HOME, else
    ~/.config/auxilio). Exit status: 0, or 2 usage, 3 refused, 4 unavailable, 5 untrusted or broken peer,
    6 configuration; docs/commands.md says more.

    \b
    Example:
      auxilio demo
    """


def run(home: Home, arguments: Sequence[str]) -> int:
    """Run a command. Raises AuxilioError, also for click's own usage errors, which say it in our words."""
    try:
        result = auxilio.main(list(arguments), prog_name="auxilio", standalone_mode=False, obj=home)
    except click.exceptions.NoArgsIsHelpError as exc:
        click.echo(exc.format_message(), err=True)
        return EXIT_USAGE
    except click.UsageError as exc:
        path = exc.ctx.command_path if exc.ctx else "auxilio"
        raise UsageInvalid(exc.format_message().replace("\n", " "), hint=f"{path} --help") from exc
    except click.Abort as exc:
        raise KeyboardInterrupt from exc
    except click.exceptions.Exit as exc:
        return exc.exit_code
    return result if isinstance(result, int) else EXIT_OK


def in_loop(function: Callable[..., Coroutine[Any, Any, T]]) -> Callable[..., T]:
    """A command written as a coroutine."""

    def command(*args: Any, **kwargs: Any) -> T:
        import asyncio

        return asyncio.run(function(*args, **kwargs))

    return update_wrapper(command, function)
