"""`auxilio-relay init`: a relay in a directory, made once. A second init changes nothing, whatever its arguments: a
set-up that can be run again is how others' servers were taken over (ScreenConnect, CVE-2024-1709)."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
from pathlib import Path

from protocol.errors import EXIT_OK, ConfigInvalid, Unavailable, UsageInvalid
from protocol.system_clock import SystemClock
from relay import config
from relay.certificate import make_self_signed, read_certificate, server_context
from relay.store.engine import open_database, owned
from relay.store.migrate import migrate

DEFAULT_LISTEN = "*:8443"
DEFAULT_ADMIN = "127.0.0.1:9643"


def initialise(given: argparse.Namespace) -> int:
    folder: Path = given.dir
    if (given.certificate is None) != (given.key is None):
        raise UsageInvalid("--certificate and --key go together", hint="Give both, or neither for a self-signed one.")
    listen = config.parse_address(given.listen or DEFAULT_LISTEN, "--listen")
    admin = config.parse_address(given.admin or DEFAULT_ADMIN, "--admin")
    names = [config.parse_name(name) for name in given.name] or [_guess_name(listen)]
    if (folder / config.CONFIG_NAME).exists():
        raise ConfigInvalid(
            f"there is a relay in {folder} already, and it stays as it is",
            code="relay_exists",
            hint=f"Edit {folder / config.CONFIG_NAME}, or choose another --dir.",
        )
    _make_folder(folder)
    certificate, key = _certificate(given, folder, names)
    text = config.TEMPLATE.format(
        listen=listen,
        names=", ".join(json.dumps(name) for name in names),
        certificate=certificate.name,
        key=key.name,
        admin=admin,
    )
    config.parse(text)
    _make_database(folder)
    # The configuration comes last: it is what says that there is a relay here.
    _write_new(folder / config.CONFIG_NAME, text.encode("utf-8"), 0o600)
    _report(folder, names, read_certificate(certificate).pin, bool(given.name))
    return EXIT_OK


def _guess_name(listen: config.Address) -> str:
    host = listen.host
    if host in (config.EVERYWHERE, "0.0.0.0", "::"):  # noqa: S104  # compared, not bound
        host = socket.getfqdn()
    return config.parse_name(str(config.Address(host, listen.port)))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigInvalid(f"cannot make {folder}: {exc.strerror}", hint="--dir names another directory.") from exc


def _certificate(given: argparse.Namespace, folder: Path, names: list[str]) -> tuple[Path, Path]:
    """The certificate and key in `folder`: given ones copied, else made. Ones that are there already are kept."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    if given.certificate is not None:
        server_context(given.certificate, given.key)  # refuses two files that are no pair
        read_certificate(given.certificate)
        _write_new(key, _read(given.key), 0o600)
        _write_new(certificate, _read(given.certificate), 0o644)
    elif not (certificate.exists() and key.exists()):
        hosts = list(dict.fromkeys(name.rpartition(":")[0] for name in names))
        pem, key_pem = make_self_signed(hosts, SystemClock().now())
        key.unlink(missing_ok=True)  # half of an interrupted init
        certificate.unlink(missing_ok=True)
        _write_new(key, key_pem, 0o600)
        _write_new(certificate, pem, 0o644)
    return certificate, key


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ConfigInvalid(f"cannot read {path}: {exc.strerror}") from exc


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that does not exist yet, whole and on disk, or not at all."""
    partial = path.with_name(path.name + ".part")
    try:
        if path.exists():
            raise ConfigInvalid(f"{path} exists already, and stays as it is", hint="Move it away first.")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError as exc:
        raise Unavailable(f"cannot write {path}: {exc.strerror}", hint=_space_hint(path)) from exc


def _space_hint(path: Path) -> str:
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        return "Is the directory the relay's own?"
    return "The disk is full." if free < 1024 * 1024 else "Is the directory the relay's own?"


def _make_database(folder: Path) -> None:
    path = folder / config.Store().database

    async def make() -> None:
        database = await open_database(path)
        try:
            await migrate(database)
        finally:
            database.close()

    with owned(path):
        asyncio.run(make())


def _report(folder: Path, names: list[str], pin: str, were_given: bool) -> None:
    print(f"relay      {folder}")
    print(f"names      {', '.join(names)}" + ("" if were_given else "   (guessed: see [server] names)"))
    print(f"pin        {pin}")
    print("next       auxilio-relay organisation add FINGERPRINT   (auxilio authority show prints it)")
    print("           auxilio-relay run")
