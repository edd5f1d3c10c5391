"""docs/commands.md names every command, option and exit status that there is."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from console.cli import COMMANDS, auxilio
from console.proxy import parser
from protocol import errors

TEXT = Path(__file__).resolve().parents[2].joinpath("docs", "commands.md").read_text(encoding="utf-8")


def _section(path: str) -> str:
    found = re.search(rf"^### auxilio {re.escape(path)}( [^\n]*)?\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no section on auxilio {path}"
    return found[2]


def _commands() -> list[tuple[str, click.Command]]:
    found = []
    for name in COMMANDS:
        command = auxilio.get_command(click.Context(auxilio), name)
        assert command is not None
        if isinstance(command, click.Group):
            found += [(f"{name} {sub}", command.commands[sub]) for sub in command.commands]
        else:
            found.append((name, command))
    return found


@pytest.mark.parametrize(("path", "command"), _commands(), ids=[path for path, _ in _commands()])
def test_every_command_and_option_is_documented(path: str, command: click.Command) -> None:
    section = _section(path)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            for option in parameter.opts:
                assert f"`{option}`" in section, f"{path} {option}"


def test_no_option_is_documented_that_does_not_exist() -> None:
    for path, command in _commands():
        real = {option for parameter in command.params for option in parameter.opts}
        if path == "proxy":
            real |= {option for action in parser()._actions for option in action.option_strings}
        for option in re.findall(r"^\| ((?:`-[-a-zA-Z]+`(?:, )?)+)", _section(path), re.MULTILINE):
            assert set(re.findall(r"`(-[-a-zA-Z]+)`", option)) <= real, f"{path} {option}"


def test_the_options_of_proxy_are_documented() -> None:
    for action in parser()._actions:
        for option in action.option_strings:
            assert option in ("-h", "--help") or f"`{option}`" in _section("proxy")


def test_every_exit_status_is_documented() -> None:
    statuses = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    for status in statuses:
        assert re.search(rf"^\| {status} \|", TEXT, re.MULTILINE), status
