"""The agent's state directory: what is in it, and how it is written so that a crash loses nothing.

    device_key        OpenSSH PEM; never leaves the device        sealing_key   age identity
    membership.json   which organisation, since when, by which relays
    charters/N.json   every charter accepted, as it was signed    policy.json   record.json
    floor.json        the time floor                              reports.json  what was last reported
    spool.sqlite      reports that wait                           journal.jsonl the log
    lock              held by the one agent that runs here        control.sock  where commands ask it

Mode 0700, files 0600. A file is replaced as a whole: written beside, flushed to the disk, renamed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from protocol.codec import MAX_DOCUMENT_BYTES, decode, encode
from protocol.errors import AuxilioError, BadMessage, ConfigInvalid, Unavailable

T = TypeVar("T")

MAX_FILE_BYTES = 4 * MAX_DOCUMENT_BYTES

SYSTEM_STATE = Path("/var/lib/auxilio-agent")


class CorruptState(ConfigInvalid):
    """A file of the state directory that is not what was once written. It is never overwritten."""

    code = "corrupt_state"


def default_state_dir() -> Path:
    """/var/lib/auxilio-agent for the system's agent, the user's own state folder otherwise (XDG base directories)."""
    chosen = os.environ.get("AUXILIO_AGENT_STATE")
    if chosen:
        return Path(chosen)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return SYSTEM_STATE
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "auxilio-agent"


def storage_failed(path: Path, exc: OSError) -> AuxilioError:
    """What a failed file operation means to a person."""
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable(
            f"the disk is full: {path} could not be written",
            code="disk_full",
            hint="Free some space and try again; nothing that was stored is lost.",
        )
    if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ConfigInvalid(
            f"{path} cannot be used: {exc.strerror}",
            code="no_permission",
            hint="Run it as the account that owns the directory (the system's agent: as root), or use --state DIR.",
        )
    return Unavailable(f"{path}: {exc.strerror or exc}", code="storage_failed", hint="Check the disk.")


class StateDir:
    """One agent's state directory, which exists and is private once this object does."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigInvalid or Unavailable where it cannot be made."""
        self.path = path
        with self._failures(path):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.stat().st_mode & 0o077:
                path.chmod(0o700)
            (path / "charters").mkdir(mode=0o700, exist_ok=True)

    @contextmanager
    def _failures(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise storage_failed(path, exc) from exc

    def read(self, name: str) -> bytes | None:
        """The bytes of a file, or None where there is none."""
        path = self.path / name
        with self._failures(path):
            try:
                with open(path, "rb") as file:
                    data = file.read(MAX_FILE_BYTES + 1)
            except FileNotFoundError:
                return None
        if len(data) > MAX_FILE_BYTES:
            raise self.corrupt(name, "it is too large")
        return data

    def write(self, name: str, data: bytes) -> None:
        """Replace a file as a whole; on return it is on the disk."""
        path = self.path / name
        beside = path.with_name(f".{path.name}.new")
        with self._failures(path):
            try:
                descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with open(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(beside, path)
                _sync_folder(path.parent)
            except OSError:
                beside.unlink(missing_ok=True)
                raise

    def read_as(self, name: str, type_: type[T]) -> T | None:
        """A JSON file as `type_`, or None where there is none. Raises CorruptState."""
        data = self.read(name)
        if data is None:
            return None
        try:
            return decode(data, type_, limit=MAX_FILE_BYTES)
        except BadMessage as exc:
            raise self.corrupt(name, exc.message) from exc

    def write_as(self, name: str, value: object) -> None:
        self.write(name, encode(value))

    def remove(self, name: str) -> None:
        with self._failures(self.path / name):
            (self.path / name).unlink(missing_ok=True)

    def names(self, folder: str) -> list[str]:
        with self._failures(self.path / folder):
            return sorted(entry for entry in os.listdir(self.path / folder) if not entry.startswith("."))

    def corrupt(self, name: str, why: str) -> CorruptState:
        return CorruptState(
            f"{self.path / name} is damaged: {why}",
            hint="Restore it from a backup, or move the whole folder away and join again. Nothing was changed.",
        )


def _sync_folder(folder: Path) -> None:
    """Without it a rename may be lost with the power. Not every system can open a folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
