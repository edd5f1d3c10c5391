"""The agent's state directory: what is in it, and how it is written so that a crash loses nothing.

    device_key        OpenSSH PEM; never leaves the device        sealing_key   age identity
    membership.json   which organisation, since when, by which relays
    charters/N.json   every charter accepted, as it was signed    policy.json   record.json
    floor.json        the time floor                              forks.json    documents that contradict those held
    reports.json      what was last reported                      spool.sqlite  reports that wait
    journal.jsonl     the log                                     joining.json  whom an unfinished join is for
    enrolment.json    what it joined with                         outages.json  when it was without a relay, and why
    way.json          the proxy that was set, the relay that served last
    lock              held by the one agent that runs here        control.sock  where commands ask it
    join_token        where it may serve clones, too              aside-N/      identities of other machines

Mode 0700, files 0600. A file is replaced as a whole: written beside, flushed to the disk, renamed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from agent import platform
from protocol.codec import MAX_DOCUMENT_BYTES, decode, encode
from protocol.errors import AuxilioError, BadMessage, ConfigInvalid, Unavailable

T = TypeVar("T")

MAX_FILE_BYTES = 4 * MAX_DOCUMENT_BYTES

SYSTEM_STATE = Path("/var/lib/auxilio-agent")


OURS = frozenset(
    {"device_key", "sealing_key", "membership.json", "joining.json", "journal.jsonl", "way.json", "lock", "join_token"}
)
"""Any of these makes a folder a state directory, whose modes may be tightened. No other folder is touched."""

LOCK_WITHIN_S = 2.0
"""Commands hold the lock for milliseconds: an agent that starts meanwhile waits, and is not refused."""

LOCK_EVERY_S = 0.05

FETCHED_AGAIN = frozenset({"policy.json", "record.json", "forks.json"})


class CorruptState(ConfigInvalid):
    """A file of the state directory that is not what was once written. It is never overwritten."""

    code = "corrupt_state"


class NotJoined(ConfigInvalid):
    code = "not_joined"
    default_hint = "Join with `auxilio-agent join TOKEN`; your support organisation gives you the token."


class AlreadyRunning(ConfigInvalid):
    code = "already_running"
    default_hint = (
        "`auxilio-agent status` asks the one that runs. Several on one machine each need a --state of their own."
    )


def default_state_dir() -> Path:
    """/var/lib/auxilio-agent for the system's agent, the user's own state folder otherwise (XDG base directories)."""
    chosen = os.environ.get("AUXILIO_AGENT_STATE")
    if chosen:
        return Path(chosen)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return SYSTEM_STATE
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "auxilio-agent"


def customer_state_dir() -> Path:
    """Where the commands of whoever sits at the device look: their own agent's directory if they run one, else the
    system's, whose control socket answers those who are logged in.
    """
    own = default_state_dir()
    if own == SYSTEM_STATE or os.environ.get("AUXILIO_AGENT_STATE") or (own / "membership.json").exists():
        return own
    return SYSTEM_STATE if SYSTEM_STATE.exists() else own


def storage_failed(path: Path, exc: OSError) -> AuxilioError:
    """What a failed file operation means to a person."""
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable(
            f"the disk is full: {path} could not be written",
            code="disk_full",
            hint="Free some space and try again; nothing that was stored is lost.",
        )
    if exc.errno in (errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EEXIST, errno.ENXIO):
        return ConfigInvalid(
            f"{path} cannot be used: {exc.strerror}",
            code="wrong_kind",
            hint="Something else is in its place: look at it, and move it away.",
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

    def __init__(self, path: Path, *, make: bool = False) -> None:
        """make: for the command that begins one.

        Raises NotJoined where there is none and none is to be made, ConfigInvalid (no_permission, not_a_state) or
        Unavailable where it cannot be used.
        """
        self.path = path
        with self._failures(path):
            if make:
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                entries = set(os.listdir(path))
            except (FileNotFoundError, NotADirectoryError) as exc:
                raise NotJoined(f"this device has not joined an organisation: there is no directory {path}") from exc
            self._take(path.stat(), entries, make=make)

    def _take(self, stat: os.stat_result, entries: set[str], *, make: bool) -> None:
        """`--state /tmp` must not close /tmp to everybody else; and root must not write where another account may
        put links in its way.
        """
        is_ours = bool(entries & OURS)
        if make and not is_ours and entries - {"lost+found"}:
            raise ConfigInvalid(
                f"{self.path} holds other things, so it cannot become a state directory",
                code="not_a_state",
                hint="Name a new directory with --state.",
            )
        if (is_ours or make) and hasattr(os, "geteuid") and stat.st_uid != os.geteuid():
            raise ConfigInvalid(
                f"{self.path} belongs to another account",
                code="no_permission",
                hint="Run it as the account that owns the directory, or name another one with --state.",
            )
        if stat.st_mode & 0o077 and (is_ours or make):
            self.path.chmod(0o700)

    def lock(self, within_s: float = LOCK_WITHIN_S) -> int:
        """Be the only one to change what is here; return the descriptor that holds the lock. Raises AlreadyRunning."""
        deadline = time.monotonic() + within_s
        while True:
            with self._failures(self.path / "lock"):
                descriptor = platform.lock_file(self.path / "lock")
            if descriptor is not None:
                return descriptor
            if time.monotonic() > deadline:
                raise AlreadyRunning(f"an agent is already running with the state directory {self.path}")
            time.sleep(LOCK_EVERY_S)

    @contextmanager
    def locked(self, within_s: float = LOCK_WITHIN_S) -> Iterator[None]:
        """As `lock`, for as long as the block lasts."""
        descriptor = self.lock(within_s)
        try:
            yield
        finally:
            os.close(descriptor)

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
                path.parent.mkdir(mode=0o700, exist_ok=True)
                descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with open(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(beside, path)
                _sync_folder(path.parent)
            except OSError:
                with contextlib.suppress(OSError):
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

    def move_aside(self, name: str) -> Path:
        """Put a damaged file where it can be looked at, and return where. Nothing is overwritten."""
        path, number = self.path / name, 1
        while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
            number += 1
        with self._failures(path):
            path.rename(aside)
        return aside

    def move(self, name: str, target: str) -> None:
        """Rename a file or folder; on return it is on the disk."""
        with self._failures(self.path / target):
            (self.path / target).parent.mkdir(mode=0o700, exist_ok=True)
            (self.path / name).rename(self.path / target)
            _sync_folder((self.path / target).parent)
            _sync_folder((self.path / name).parent)

    def remove_folder(self, name: str) -> None:
        """With all that is in it."""
        with self._failures(self.path / name):
            shutil.rmtree(self.path / name)

    def entries(self, folder: str = ".") -> list[str]:
        """Everything in it, sorted; nothing where there is no such folder."""
        with self._failures(self.path / folder):
            try:
                return sorted(os.listdir(self.path / folder))
            except FileNotFoundError:
                return []

    def names(self, folder: str) -> list[str]:
        """Of the files in a folder, sorted; none where there is no such folder."""
        with self._failures(self.path / folder):
            try:
                entries = os.listdir(self.path / folder)
            except FileNotFoundError:
                return []
        return sorted(entry for entry in entries if not entry.startswith("."))

    def corrupt(self, name: str, why: str) -> CorruptState:
        if name in FETCHED_AGAIN:
            hint = "Move that file away: the agent fetches it again from its relay. Nothing was changed."
        elif name == "way.json":
            hint = "Move that file away, and set the proxy again with `auxilio-agent proxy`. Nothing was changed."
        else:
            hint = "Restore it from a backup, or move the whole folder away and join again. Nothing was changed."
        return CorruptState(f"{self.path / name} is damaged: {why}", hint=hint)


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
