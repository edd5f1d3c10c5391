"""`auxilio-agent proxy`: show how relays are reached, or set it, in the agent that runs or else in its files."""

from __future__ import annotations

from pathlib import Path

from agent.command_input import read_input
from agent.control import AgentNotRunning, ask, socket_path
from agent.messages import say
from agent.state import StateDir
from agent.way import load_way, set_proxy
from protocol.errors import EXIT_OK
from transport.proxy import MAX_URL_CHARS, check_setting, show_setting


def proxy(path: Path, setting: str | None) -> int:
    """path: of the state directory.  setting: None shows it; "-" reads it, so that no list of processes has it.

    Raises ConfigInvalid (bad_proxy), NotJoined, Refused, or what StateDir.write does.
    """
    if setting is None:
        shown = show_setting(load_way(StateDir(path)).proxy)
    else:
        text = read_input(None, "proxy", MAX_URL_CHARS) if setting == "-" else setting
        shown = show_setting(check_setting(text))
        _set(path, text)
    print(say("proxy_is", proxy=shown))
    return EXIT_OK


def _set(path: Path, setting: str) -> None:
    try:
        ask(socket_path(path), "proxy", setting)
    except AgentNotRunning:
        state = StateDir(path, make=True)
        with state.locked():
            set_proxy(state, setting)
