"""auxilio diagnose DEVICE"""

from __future__ import annotations

import asyncio
import json
import sys
from types import TracebackType
from typing import Self

import click
import msgspec

from console.commands.options import as_json
from console.commands.reaching import Visit, connected, ssh_client, visit_options
from console.home import Home
from console.render import print_json
from guidance.memory import memory_answer
from protocol.diagnosis import CAPABILITY, ToldDiagnosis, health
from protocol.ids import DeviceId
from protocol.sections.memory import Memory
from protocol.text import escape

PURPOSE = "look at what is wrong"


@click.command()
@click.argument("device")
@as_json
@visit_options
@click.pass_obj
def diagnose(home: Home, device: str, as_json: bool, visit: Visit) -> int:
    """Have a device look at itself now: from the cable to this relay, its memory, disks and the rest.

    Needs the right `view`, and asks the customer nothing: it yields what the device reports by itself, only now.
    Ends with 0 where nothing is wrong, 8 for warnings, 9 where something is broken.

    \b
    Example:
      auxilio diagnose k3m7x-abcde-fghij-klmno
      auxilio diagnose dana-laptop --json
    """
    return asyncio.run(_diagnose(home, device, visit, as_json=as_json))


async def _diagnose(home: Home, name: str, visit: Visit, *, as_json: bool) -> int:
    from console.diagnosing import look
    from console.views.diagnosis import diagnosis_view

    async with connected(home, name, visit, (CAPABILITY,), PURPOSE) as (connection, reached):
        with _Progress(quiet=as_json) as progress:
            diagnosis = await look(ssh_client(), connection, reached.leg, progress.looked_at)
    if as_json:
        print_json(_record(diagnosis, reached.device))
    else:
        diagnosis_view(diagnosis)
    return diagnosis.exit_status


class _Progress:
    """What was looked at, as it comes, on standard error: on one line of a terminal, else on a line each."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live and not self._quiet:
            self._write("\r\x1b[K")

    def looked_at(self, name: str) -> None:
        if not self._quiet:
            text = f"looked at {escape(name, limit=64)}"
            self._write(f"\r\x1b[K{text}" if self._live else f"{text}\n")

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def _record(diagnosis: ToldDiagnosis, device: DeviceId) -> dict[str, object]:
    """As `auxilio-agent diagnose --json` has it, with the device's id."""
    told, memory = diagnosis.told, diagnosis.sections.get("memory")
    answer = memory_answer(memory) if isinstance(memory, Memory) else None
    return {
        "id": device,
        "at": told.at,
        "relay": told.relay,
        "verdict": msgspec.to_builtins(told.verdict),
        "status": health(told.findings),
        "findings": msgspec.to_builtins(told.findings),
        "memory": msgspec.to_builtins(answer),
        "sections": {name: json.loads(msgspec.json.encode(section)) for name, section in diagnosis.sections.items()},
    }
