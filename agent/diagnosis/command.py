"""`auxilio-agent diagnose`: for whoever sits at the device, with the rights that they have."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.diagnosis.look import Diagnosis, as_record, diagnose
from agent.diagnosis.target import Target
from agent.diagnosis.text import print_diagnosis, print_progress
from agent.messages import language, say
from agent.show import read_status
from agent.state import StateDir
from agent.way import load_way
from protocol.errors import AuxilioError, ConfigInvalid
from protocol.system_clock import SystemClock
from transport.ways import Ways


def diagnose_command(
    state: Path,
    *,
    relay: str | None,
    pin: str | None,
    as_json: bool,
    html: Path | None,
    throughput: bool,
    quiet: bool,
    lines: bool = False,
) -> int:
    """Print what was found, or write it; return the exit status.

    throughput: measure that as well.  lines: for a technician who is elsewhere: as it goes, in JSON.
    relay, pin: whom to look for, where this device has joined nobody, or where another one is meant.
    Raises ConfigInvalid (bad_relay_address, bad_pin), Unavailable (the file cannot be written).
    """
    target = _given(relay, pin) if relay is not None else _known(state)
    if lines:
        return _in_lines(target)
    told = (lambda name: None) if quiet or as_json else print_progress(sys.stderr)
    diagnosis = asyncio.run(diagnose(target, SystemClock(), throughput=throughput, told=told))
    if html is not None:
        _write_page(diagnosis, html)
    if as_json:
        print(json.dumps(as_record(diagnosis), indent=2))
    elif html is None:
        print_diagnosis(diagnosis, language())
    else:
        print(say("page_written", file=html))
    return diagnosis.exit_status


def _in_lines(target: Target) -> int:
    from agent.diagnosis.remote import last_line, tell_lines

    out = sys.stdout.buffer.raw if hasattr(sys.stdout.buffer, "raw") else sys.stdout.buffer  # each line as it comes
    diagnosis = asyncio.run(diagnose(target, SystemClock(), told=tell_lines(out.write)))
    last_line(sys.stdout.buffer.write, diagnosis)
    return diagnosis.exit_status


def _given(relay: str, pin: str | None) -> Target:
    return Target(Ways().to(relay, pin))


def _known(state: Path) -> Target:
    """What the agent says, or its files; nothing where neither is there or may be read."""
    try:
        status = read_status(state)
    except (AuxilioError, OSError):
        return Target()
    setting = None
    with contextlib.suppress(AuxilioError, OSError):  # closed to all but root: it may hold a password
        setting = load_way(StateDir(state)).proxy
    return target_of(status, setting)


def target_of(status: Mapping[str, Any], proxy: str | None) -> Target:
    """The relay of a status: the one in use, else the first of the policy's. proxy: as transport.ways.Ways has it."""
    relays, pins = status.get("relays") or [], status.get("pins") or {}
    url = status.get("relay") or next(iter(relays), None)
    if url is None:
        return Target()
    return Target(Ways(proxy).to(url, pins.get(url)), tuple(status.get("relay_addresses") or ()))


def _write_page(diagnosis: Diagnosis, path: Path) -> None:
    from agent.diagnosis.page import page

    text = page(diagnosis, language())
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise ConfigInvalid(
            f"the page cannot be written to {path}: {exc.strerror}", code="not_written", hint="Name another file."
        ) from exc
