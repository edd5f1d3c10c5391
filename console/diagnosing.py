"""Has a device look at itself now, and hears what it says: over a session's SSH, so that it is the device's own word.

A device may say anything: lines and their number are bounded, and each is read into its Struct or ends the attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

from protocol.diagnosis import MAX_LINE_BYTES, MAX_LOOKED_AT, ToldDiagnosis, read_line
from protocol.errors import AuxilioError, BadMessage
from protocol.subsystems import DIAGNOSE
from transport.leg import Leg

if TYPE_CHECKING:
    import asyncssh

LEAVE_WITHIN_S = 3.0
"""After its last line, for the device's process to end by itself; what it said is whole by then."""

LookedAt = Callable[[str], None]


class Hearing:
    """Bytes in, in any pieces; names of what was looked at, and at last the diagnosis or a fault."""

    def __init__(self, looked_at: LookedAt) -> None:
        self._looked_at = looked_at
        self._pieces: list[bytes] = []
        self._size = 0
        self._count = 0
        self.diagnosis: ToldDiagnosis | None = None
        self.fault: BadMessage | None = None

    @property
    def is_over(self) -> bool:
        return self.diagnosis is not None or self.fault is not None

    def feed(self, data: bytes) -> None:
        """What comes after the end is passed over."""
        *lines, rest = data.split(b"\n")
        try:
            for line in lines:
                if self.is_over:
                    return
                self._add(line)
                whole, self._pieces, self._size = b"".join(self._pieces), [], 0
                self._line(whole)
            if not self.is_over:
                self._add(rest)
        except BadMessage as exc:
            self._pieces = []
            self.fault = BadMessage(f"the device's diagnosis cannot be read: {exc.message}", code="bad_diagnosis")

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > MAX_LINE_BYTES:
            raise BadMessage(f"a line of more than {MAX_LINE_BYTES} bytes")
        self._pieces.append(piece)

    def _line(self, line: bytes) -> None:
        said = read_line(line)
        if isinstance(said, ToldDiagnosis):
            self.diagnosis = said
            return
        self._count += 1
        if self._count > MAX_LOOKED_AT:
            raise BadMessage("it looks at more than there is")
        self._looked_at(said)


async def look(
    client: ModuleType, connection: asyncssh.SSHClientConnection, leg: Leg, looked_at: LookedAt
) -> ToldDiagnosis:
    """client: console.ssh_client.  looked_at: called with each section and rung that is done; not to be trusted.

    Raises Refused in the device's words (channel_refused), BadMessage (bad_diagnosis), Unavailable (session_lost).
    """
    hearing, over = Hearing(looked_at), asyncio.Event()

    def heard(data: bytes) -> None:
        hearing.feed(data)
        if hearing.is_over:
            over.set()

    async with client.subsystem(connection, leg, DIAGNOSE) as channel:
        channel.listen(heard)
        async with asyncio.TaskGroup() as tasks:
            ended, done = tasks.create_task(channel.ended()), tasks.create_task(over.wait())
            await asyncio.wait((ended, done), return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait((ended,), timeout=LEAVE_WITHIN_S if hearing.fault is None else 0.0)
            for task in (ended, done):
                task.cancel()
    if hearing.fault is not None:
        raise hearing.fault
    if hearing.diagnosis is None:
        error: AuxilioError = ended.result()
        raise error
    return hearing.diagnosis
