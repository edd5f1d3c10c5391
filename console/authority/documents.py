"""Charters and policies on disk, so that `ssh-keygen` can check them without us.

    charters/1/charter.json       the payload, byte for byte as signed
    charters/1/charter.json.sig   its armored SSHSIG:  ssh-keygen -Y verify -f allowed_signers -I root \\
                                      -n charter@auxilio -s charter.json.sig < charter.json

A document is a folder that appears in one step under its number, or not at all; none is ever replaced.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from console.home import file_errors, make_folder, read_file, sync_folder
from protocol.codec import MAX_DOCUMENT_BYTES
from protocol.errors import BadMessage, ConfigInvalid, Refused
from protocol.sshsig import MAX_SIGNATURE_BYTES, armor, dearmor
from protocol.statement import Signed


def write_document(folder: Path, kind: str, signed: Signed) -> None:
    """Put a document at `folder`. kind: "charter" or "policy".  Raises Refused (number_taken), Unavailable."""
    with file_errors(folder):
        make_folder(folder.parent)
        new = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            _write(new / f"{kind}.json", signed.payload)
            _write(new / f"{kind}.json.sig", armor(signed.signature).encode())
            sync_folder(new)
            _take_name(new, folder)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        sync_folder(folder.parent)


def _take_name(new: Path, folder: Path) -> None:
    try:
        os.rename(new, folder)
    except OSError as exc:
        if not folder.exists():
            raise
        raise Refused(
            f"{folder} exists already", code="number_taken", hint="Somebody else was faster: repeat the command."
        ) from exc


def _write(path: Path, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read_document(folder: Path, kind: str) -> Signed:
    """Raises ConfigInvalid, naming the file."""
    path = folder / f"{kind}.json"
    payload = read_file(path, MAX_DOCUMENT_BYTES)
    signature = read_file(Path(f"{path}.sig"), 2 * MAX_SIGNATURE_BYTES)
    if payload is None or signature is None:
        raise ConfigInvalid(f"{path} or its .sig is missing", code="corrupt_file", hint="Restore it from a backup.")
    try:
        return Signed(payload=payload, signature=dearmor(signature.decode("ascii", "replace")))
    except BadMessage as exc:
        raise ConfigInvalid(f"{path}.sig: {exc.message}", code="corrupt_file", hint="Restore it.") from exc


def numbered(parent: Path) -> list[tuple[tuple[int, ...], Path]]:
    """The documents below `parent`, ascending by number ("7", or "epoch.number")."""
    with file_errors(parent):
        if not parent.is_dir():
            return []
        entries = [(_number(path.name), path) for path in parent.iterdir()]
    return sorted((number, path) for number, path in entries if number is not None)


def _number(name: str) -> tuple[int, ...] | None:
    parts = name.split(".")
    return tuple(int(part) for part in parts) if all(part.isdecimal() for part in parts) else None
