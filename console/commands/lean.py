"""`proxy` and `known-host` in the list of commands; main.py runs them before click is ever imported."""

from __future__ import annotations

import click


@click.command(add_help_option=False)
def proxy() -> None:
    """Connect standard input and output to a device's SSH, for stock ssh."""


@click.command("known-host", add_help_option=False)
def known_host() -> None:
    """Vouch for a device's host key by its id, for stock ssh."""
