"""The commands and options as click knows them, for completion. Slow: it loads them all, so completion.py keeps it."""

from __future__ import annotations

import click

from console.cli import COMMANDS, auxilio
from console.completion import ANYTHING, DEVICE, NAME, CommandWords

REMEMBERED = "remembered"
"""How an argument is called in the code that is a name which this console remembers."""


def build_table() -> dict[str, CommandWords]:
    """By path: "" for `auxilio` itself, "device approve"."""
    table = {"": CommandWords(commands=tuple(COMMANDS), flags=("--help", "--version"), values={"--home": ANYTHING})}
    context = click.Context(auxilio)
    for name in COMMANDS:
        command = auxilio.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            table[name] = CommandWords(commands=tuple(command.commands), flags=("--help",))
            for sub, inner in command.commands.items():
                table[f"{name} {sub}"] = _words(inner)
        else:
            table[name] = _words(command)
    return table


def _words(command: click.Command) -> CommandWords:
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
    return CommandWords(
        flags=("--help", *(name for option in options if option.is_flag for name in option.opts)),
        values={name: _kind(option) for option in options if not option.is_flag for name in option.opts},
        arguments=tuple(_kind(argument) for argument in arguments),
        repeated=bool(arguments) and arguments[-1].nargs == -1,
    )


def _kind(parameter: click.Parameter) -> str:
    if isinstance(parameter.type, click.Choice):
        return "|".join(str(choice) for choice in parameter.type.choices)
    if parameter.name == "device" or parameter.metavar in ("DEVICE", "DEVICE..."):
        return DEVICE
    return NAME if parameter.name == REMEMBERED else ANYTHING
