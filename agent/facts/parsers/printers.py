"""CUPS' printers, as `lpstat` prints them in the C locale. lpstat(1); systemv/lpstat.c of CUPS 2.4."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from protocol.sections.devices import Printer

MAX_PRINTERS = 64
MAX_REASONS = 16
MAX_WAITING = 100_000
State = Literal["idle", "printing", "stopped", ""]

_PRINTER = re.compile(r"printer (\S{1,127}) (is idle|now printing|disabled since|waiting|faulted|unknown)")
"""CUPS allows a queue's name 127 characters."""

_STATES: dict[str, State] = {"is idle": "idle", "now printing": "printing", "disabled since": "stopped"}


def parse_printers(text: str) -> tuple[Printer, ...]:
    """`lpstat -l -p -d -a -o`: printers with their alerts, the default, who accepts, and the jobs that wait, of which
    only the number is kept."""
    printers: dict[str, Printer] = {}
    current = default = ""
    waiting: dict[str, int] = {}
    accepting: dict[str, bool] = {}
    for line in text.splitlines():
        if not line[:1].isspace():
            current = ""  # what follows is of something else: jobs have alerts of their own
        if found := _PRINTER.match(line):
            current = found[1]
            if len(printers) < MAX_PRINTERS:
                printers.setdefault(current, Printer(name=current, state=_STATES.get(found[2], "")))
        elif found := re.match(r"\s+Alerts: (.{0,500})", line):
            if current in printers:
                printers[current] = msgspec.structs.replace(printers[current], reasons=_reasons(found[1]))
        elif found := re.match(r"system default destination: (\S{1,127})", line):
            default = found[1]
        elif found := re.match(r"(\S{1,127}) (not )?accepting requests", line):
            accepting[found[1]] = found[2] is None
        elif found := re.match(r"(\S{1,127})-[0-9]{1,9}\s+\S+\s+[0-9]", line):
            waiting[found[1]] = min(waiting.get(found[1], 0) + 1, MAX_WAITING)
    return tuple(
        msgspec.structs.replace(
            printer, accepting=accepting.get(name), waiting=waiting.get(name, 0), default=name == default
        )
        for name, printer in sorted(printers.items())
    )


def _reasons(text: str) -> tuple[str, ...]:
    words = (word for word in re.split(r"[,+\s]+", text) if re.fullmatch(r"[a-z0-9.-]{2,80}", word))
    return tuple(word for word in words if word != "none")[:MAX_REASONS]
