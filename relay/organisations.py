"""`auxilio-relay organisation add|list`, which work while the relay runs, and `auxilio-relay address`."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from protocol.codec import Record, encode
from protocol.errors import EXIT_OK, BadMessage, ConfigInvalid, UsageInvalid
from protocol.ids import OrganisationId, parse_organisation_id
from protocol.system_clock import SystemClock
from relay import config
from relay.certificate import read_certificate
from relay.store.blobs import total_bytes
from relay.store.documents import add_organisation, list_organisations
from relay.store.engine import Database, open_database
from relay.store.migrate import HEAD, revision

T = TypeVar("T")

MIB = 1024 * 1024


class OrganisationLine(Record, frozen=True, kw_only=True):
    """charter: number of the latest one here; 0: none was published yet.  blob_bytes: of its share of the blobs."""

    organisation: OrganisationId
    devices: int
    charter: int
    blob_bytes: int


def organisations(given: argparse.Namespace) -> int:
    path = config.load(given.dir).database
    if given.action == "add":
        new = add(path, given.fingerprint)
        print(f"{given.fingerprint.strip().lower()} {'added' if new else 'was there already'}")
        return EXIT_OK
    listed, blobs = asyncio.run(_with(path, lambda d: d.read(lambda c: (list_organisations(c), total_bytes(c)))))
    for id_, devices, charter in listed:
        size = blobs.get(id_, 0)
        if given.json:
            line = OrganisationLine(organisation=id_, devices=devices, charter=charter, blob_bytes=size)
            print(encode(line).decode("utf-8"))
        else:
            state = f"charter {charter}" if charter else "no charter published yet"
            print(f"{id_}  {devices} device{'' if devices == 1 else 's'}, {size / MIB:.1f} MiB of blobs, {state}")
    return EXIT_OK


def add(path: Path, text: str) -> bool:
    """Serve the organisation `text`; False: it was served already. path: of the database. Raises UsageInvalid, ..."""
    try:
        fingerprint = parse_organisation_id(text.strip().lower())
    except BadMessage as exc:
        raise UsageInvalid(exc.message, hint=exc.hint) from exc
    now = SystemClock().now()
    return asyncio.run(_with(path, lambda d: d.write(lambda c: add_organisation(c, fingerprint, now))))


def address(given: argparse.Namespace) -> int:
    """Print `--relay URL --pin PIN`, or without the pin where a proxy in front has the certificate."""
    settings = config.load(given.dir)
    if not settings.names:
        raise ConfigInvalid("this relay has no name", hint="[server] names in its configuration say how it is dialled.")
    words = ["--relay", f"https://{settings.names[0]}"]
    if settings.certificate is not None:
        words += ["--pin", read_certificate(settings.certificate).pin]
    print(" ".join(words))
    return EXIT_OK


async def _with(path: Path, work: Callable[[Database], Awaitable[T]]) -> T:
    database = await open_database(path)
    try:
        if await revision(database) != HEAD:
            raise ConfigInvalid(
                "the database is not of this release", hint="Start the relay once: `auxilio-relay run` brings it up."
            )
        return await work(database)
    finally:
        database.close()
