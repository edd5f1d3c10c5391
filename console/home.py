"""The console's folder: what it keeps, written whole or not at all, readable by its owner alone.

    settings.json     organisation, relays, the technician's key (settings.py)
    trust/            charters and policy that verified (trust.py)
    logins/           bearer tokens, one file a relay (login.py)
    devices.json      devices whose records verified (known_devices.py)
    names/            what each name meant that was used here (remembered_names.py)
    completion.json   commands and options, for completion (completion.py)
    certificate.pub   the technician's certificate, as the mailbox handed it out (identity.py)
    authority/        an admin's: role keys, documents, ledger (console/authority/)

It knows names and bytes, not what they mean.
"""

from __future__ import annotations

import errno
import os
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from protocol.codec import MAX_DOCUMENT_BYTES, decode, encode
from protocol.errors import AuxilioError, BadMessage, ConfigInvalid, Unavailable

T = TypeVar("T")

HOME_VARIABLE = "AUXILIO_HOME"

BUG_LOG = "bugs.log"

MAX_BUG_LOG_BYTES = 256 * 1024
"""Two hundred tracebacks; then it begins anew."""

MAX_FILE_BYTES = 8 * MAX_DOCUMENT_BYTES
"""No file of ours is larger; one that is has been damaged or swapped, and is not read into memory."""


def home_folder(environ: Mapping[str, str], option: str | None = None) -> Path:
    """--home, else $AUXILIO_HOME, else auxilio/ where the system keeps configuration."""
    chosen = option or environ.get(HOME_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = environ.get("XDG_CONFIG_HOME") or environ.get("APPDATA")
    return (Path(base) if base else Path("~/.config").expanduser()) / "auxilio"


class Home:
    """Files under one folder, by relative names. Nothing is created before the first write."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def file(self, name: str) -> Path:
        return self.path / name

    def read(self, name: str) -> bytes | None:
        """The bytes of a file, or None where there is none. Raises ConfigInvalid, naming the file."""
        return read_file(self.file(name))

    def write(self, name: str, data: bytes) -> None:
        """Replace a file as one step. Raises Unavailable (disk_full) or ConfigInvalid; then the old one stands."""
        write_file(self.file(name), data)

    def read_record(self, name: str, type_: type[T]) -> T | None:
        """A JSON file as `type_`, or None. Raises ConfigInvalid (corrupt_file) without touching what is there."""
        data = self.read(name)
        if data is None:
            return None
        try:
            return decode(data, type_, limit=MAX_FILE_BYTES)
        except BadMessage as exc:
            raise ConfigInvalid(
                f"{self.file(name)} is damaged: {exc.message}",
                code="corrupt_file",
                hint="Put a copy from a backup in its place, or move it away and repeat what made it.",
            ) from exc

    def write_record(self, name: str, value: object) -> None:
        self.write(name, encode(value) + b"\n")

    def remove(self, name: str) -> None:
        with file_errors(self.file(name)):
            self.file(name).unlink(missing_ok=True)

    def note_bug(self, error: BaseException) -> Path | None:
        """Append the traceback of a bug of ours to a log; None where even that cannot be written."""
        path = self.file(BUG_LOG)
        try:
            make_folder(self.path)
            mode = "a" if not path.exists() or path.stat().st_size < MAX_BUG_LOG_BYTES else "w"
            with open(path, mode, encoding="utf-8", opener=_private) as log:
                traceback.print_exception(error, file=log)
        except (OSError, AuxilioError):
            return None
        return path


def read_file(path: Path, limit: int = MAX_FILE_BYTES) -> bytes | None:
    """At most `limit` bytes. None where there is no such file. Raises ConfigInvalid."""
    with file_errors(path):
        try:
            with open(path, "rb") as file:
                data = file.read(limit + 1)
        except FileNotFoundError:
            return None
    if len(data) > limit:
        raise ConfigInvalid(f"{path} is larger than {limit} bytes", code="corrupt_file", hint="It is none of ours.")
    return data


def write_file(path: Path, data: bytes, *, private_folder: bool = True) -> None:
    """Write, fsync, rename, in the same folder: after a power cut there is the old file or the new one.

    private_folder: make the folder, and refuse one that others may write into; False for files that are handed on.
    """
    with file_errors(path):
        if private_folder:
            make_folder(path.parent)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make the folder, 0700, if it is missing. Raises ConfigInvalid where others may write into it."""
    with file_errors(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_folder(path)


def check_folder(path: Path) -> None:
    """Raises ConfigInvalid (insecure_folder) where another account could swap its files: whoever can chooses whom this
    console trusts. A folder that is not there yet is nobody's."""
    if os.name != "posix":
        return
    with file_errors(path):
        try:
            found = path.stat()
        except FileNotFoundError:
            return
    if found.st_uid not in (0, os.geteuid()):
        raise ConfigInvalid(f"{path} belongs to another account", code="insecure_folder", hint="Use one of your own.")
    if found.st_mode & 0o022:
        raise ConfigInvalid(f"others may write into {path}", code="insecure_folder", hint=f"chmod go-w {path}")


def sync_folder(path: Path) -> None:
    if os.name != "posix":
        return  # a folder cannot be opened there; NTFS journals the rename
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """OSError as one of our errors, naming the file."""
    try:
        yield
    except OSError as exc:
        raise file_failure(exc, path) from exc


def file_failure(error: OSError, path: Path | str) -> AuxilioError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Unavailable(f"no space left for {path}", code="disk_full", hint="Make room, then repeat the command.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ConfigInvalid(
            f"{path}: {error.strerror}", code="no_access", hint="Whose file is it, and may it be written?"
        )
    return ConfigInvalid(f"{path}: {error.strerror or error}", code="bad_file", hint="Check the path and its disk.")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
