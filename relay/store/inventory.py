"""What is installed where: a package in a version is a row, however many devices have it, and devices are linked to it.

    packages        organisation, name, version, system, source -> key
    software_links  bucket, key -> mask       a bucket is 32 devices, each of which has a bit in all its masks
    inventories     organisation, device -> bucket, bit, and the keys that are linked, packed

Who has a package is a look at the versions of it that there are, which are compared by the rules of their own systems
(software.py), and at the links of those that fit. A report writes the links that differ from those of the one before.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import msgspec
from sqlalchemy import Connection, bindparam, delete, exists, insert, select, update

from protocol.ids import DeviceId, OrganisationId, Sha256
from protocol.sections.software import Software
from relay.store import last_sections
from relay.store.store import storable
from relay.store.tables import inventories, packages, software_links

T = TypeVar("T")

SECTION = "software"
BITS = 32
"""Devices in a bucket. A mask stays far below what the databases take for an integer."""

ASKED_AT_ONCE = 400
"""Values in one IN. SQLite takes 32,766, and PostgreSQL as many; short statements are prepared sooner."""

MAX_CHANGES = 4_000
"""Links written in one transaction: some 20 ms, for which others wait. A new device has fewer than 2,000."""

MAX_NAME_CHARS = 256
MAX_SYSTEM_CHARS = 32


class PackageRow(NamedTuple):
    """What makes a package of `packages`, in the order of its unique index."""

    name_key: str
    name: str
    version: str
    system: str
    source: str


class Inventory(msgspec.Struct, frozen=True):
    """What a device has by its section `sha256`; None: its software is not known. keys: of those rows that had one
    when it was read. changes: how many links will differ, about."""

    sha256: Sha256
    rows: frozenset[PackageRow] | None
    keys: dict[PackageRow, int]
    changes: int


def rows_of(software: Software) -> frozenset[PackageRow]:
    """Names and versions as any database takes them. The same in two architectures is one."""
    return frozenset(
        PackageRow(
            name_key=storable(package.name.lower(), MAX_NAME_CHARS),
            name=storable(package.name, MAX_NAME_CHARS),
            version=storable(package.version, MAX_NAME_CHARS),
            system=storable(package.system, MAX_SYSTEM_CHARS),
            source=storable(package.source, MAX_NAME_CHARS),
        )
        for package in software.packages
    )


def pack(keys: Iterable[int]) -> bytes:
    """Ascending keys as zlib over their differences, each in 32 bits: 2,000 keys are 3 KB."""
    ordered = sorted(keys)
    steps = [key - before for before, key in zip([0, *ordered], ordered, strict=False)]
    return zlib.compress(struct.pack(f"<{len(steps)}I", *steps), 1)


def unpack(packed: bytes) -> list[int]:
    data = zlib.decompress(packed)
    keys, key = [], 0
    for step in struct.unpack(f"<{len(data) // 4}I", data):
        key += step
        keys.append(key)
    return keys


# -- a report comes -------------------------------------------------------------------------------------------------


def prepare(
    connection: Connection,
    organisation: OrganisationId,
    device: DeviceId,
    sha256: Sha256,
    rows: frozenset[PackageRow] | None,
) -> Inventory:
    """Look up beforehand, as a reader, what `apply` will need: it has others waiting."""
    held = _held(connection, organisation, device)
    keys = _find_keys(connection, organisation, rows or ())
    known = set(keys.values())
    changes = len(rows or ()) - len(known) + len(known ^ (held.keys if held else set()))
    return Inventory(sha256, rows, keys, changes)


def apply(connection: Connection, organisation: OrganisationId, device: DeviceId, inventory: Inventory) -> bool:
    """Bring the links nearer to `inventory`, by MAX_CHANGES at most; whether they are as it says now.

    Until they are, the device's software is not known. Nothing is done where its last report names another section by
    now: whoever commits that one sees to it.
    """
    if last_sections.reported(connection, organisation, device, SECTION) != inventory.sha256:
        return True
    held = _held(connection, organisation, device) or _add(connection, organisation, device)
    keys = set(_still_there(connection, inventory.keys.values()))
    there = {row for row, key in inventory.keys.items() if key in keys}
    missing = sorted((inventory.rows or frozenset()) - there)
    keys |= _keep(connection, organisation, missing[:MAX_CHANGES])
    if len(missing) > MAX_CHANGES:
        return _settle(connection, organisation, device, held.keys, None)
    gone = sorted(held.keys - keys)[:MAX_CHANGES]
    new = sorted(keys - held.keys)[: MAX_CHANGES - len(gone)]
    _unlink(connection, held, gone)
    _link(connection, held, new)
    linked = held.keys.difference(gone).union(new)
    return _settle(connection, organisation, device, linked, inventory if linked == keys else None)


def is_read(connection: Connection, organisation: OrganisationId, device: DeviceId, sha256: Sha256) -> bool:
    """Whether the links are what the section `sha256` says ("": none), so that there is nothing to do."""
    query = select(inventories.c.sha256, inventories.c.packages).where(
        inventories.c.organisation == organisation, inventories.c.device == device
    )
    row = connection.execute(query).first()
    if row is None or not sha256:
        return not sha256 and (row is None or (not row.sha256 and not unpack(row.packages)))
    return bool(row.sha256 == sha256)


# -- one device's place ---------------------------------------------------------------------------------------------


class _Held(NamedTuple):
    bucket: int
    bit: int
    keys: frozenset[int]


def _held(connection: Connection, organisation: OrganisationId, device: DeviceId) -> _Held | None:
    query = select(inventories.c.bucket, inventories.c.bit, inventories.c.packages).where(
        inventories.c.organisation == organisation, inventories.c.device == device
    )
    row = connection.execute(query).first()
    return None if row is None else _Held(row.bucket, row.bit, frozenset(unpack(row.packages)))


def _add(connection: Connection, organisation: OrganisationId, device: DeviceId) -> _Held:
    """The next place that is free. Devices of several organisations may share a bucket; packages are never shared."""
    last = connection.execute(
        select(inventories.c.bucket, inventories.c.bit)
        .order_by(inventories.c.bucket.desc(), inventories.c.bit.desc())
        .limit(1)
    ).first()
    place = 0 if last is None else last.bucket * BITS + last.bit + 1
    held = _Held(place // BITS, place % BITS, frozenset())
    connection.execute(
        insert(inventories).values(
            organisation=organisation,
            device=device,
            bucket=held.bucket,
            bit=held.bit,
            sha256="",
            known=False,
            packages=pack(()),
        )
    )
    return held


def _settle(
    connection: Connection,
    organisation: OrganisationId,
    device: DeviceId,
    linked: frozenset[int],
    inventory: Inventory | None,
) -> bool:
    """inventory: what the links are now; None: they are on the way to it."""
    connection.execute(
        update(inventories)
        .where(inventories.c.organisation == organisation, inventories.c.device == device)
        .values(
            packages=pack(linked),
            sha256="" if inventory is None else inventory.sha256,
            known=inventory is not None and inventory.rows is not None,
        )
    )
    return inventory is not None


# -- packages and links ---------------------------------------------------------------------------------------------


def _find_keys(
    connection: Connection, organisation: OrganisationId, rows: Iterable[PackageRow]
) -> dict[PackageRow, int]:
    wanted = set(rows)
    found: dict[PackageRow, int] = {}
    for names in chunks(sorted({row.name_key for row in wanted})):
        query = select(packages).where(packages.c.organisation == organisation, packages.c.name_key.in_(names))
        for key, _, *columns in connection.execute(query):
            row = PackageRow(*columns)
            if row in wanted:
                found[row] = key
    return found


def _still_there(connection: Connection, keys: Iterable[int]) -> Iterator[int]:
    """Those of which nobody dropped the row since they were read."""
    for some in chunks(sorted(keys)):
        yield from connection.execute(select(packages.c.key).where(packages.c.key.in_(some))).scalars()


def _keep(connection: Connection, organisation: OrganisationId, rows: Sequence[PackageRow]) -> set[int]:
    """The keys of `rows`, those that are new among them."""
    keys = _find_keys(connection, organisation, rows)
    new = [{"organisation": organisation, **row._asdict()} for row in rows if row not in keys]
    if new:
        connection.execute(insert(packages), new)
        keys = _find_keys(connection, organisation, rows)
    return set(keys.values())


def _masks(connection: Connection, bucket: int, keys: Sequence[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for some in chunks(keys):
        query = select(software_links.c.package, software_links.c.mask).where(
            software_links.c.bucket == bucket, software_links.c.package.in_(some)
        )
        found |= {row.package: row.mask for row in connection.execute(query)}
    return found


_SET_MASK = (
    update(software_links)
    .where(software_links.c.bucket == bindparam("of_bucket"), software_links.c.package == bindparam("of_package"))
    .values(mask=bindparam("to_mask"))
)
_NO_DEVICE = (
    delete(software_links)
    .where(software_links.c.bucket == bindparam("of_bucket"), software_links.c.package == bindparam("of_package"))
    .where(software_links.c.mask == 0)
)


def _link(connection: Connection, held: _Held, keys: Sequence[int]) -> None:
    masks = _masks(connection, held.bucket, keys)
    bit = 1 << held.bit
    new = [{"bucket": held.bucket, "package": key, "mask": bit} for key in keys if key not in masks]
    if new:
        connection.execute(insert(software_links), new)
    _set_masks(connection, held.bucket, {key: mask | bit for key, mask in masks.items()})


def _unlink(connection: Connection, held: _Held, keys: Sequence[int]) -> None:
    """What no device has any more is dropped."""
    masks = _masks(connection, held.bucket, keys)
    left = {key: mask & ~(1 << held.bit) for key, mask in masks.items()}
    _set_masks(connection, held.bucket, left)
    empty = [key for key, mask in left.items() if not mask]
    if empty:
        connection.execute(_NO_DEVICE, [{"of_bucket": held.bucket, "of_package": key} for key in empty])
    for some in chunks(empty):
        linked = exists().where(software_links.c.package == packages.c.key)
        connection.execute(delete(packages).where(packages.c.key.in_(some), ~linked))


def _set_masks(connection: Connection, bucket: int, masks: dict[int, int]) -> None:
    if masks:
        values = [{"of_bucket": bucket, "of_package": key, "to_mask": mask} for key, mask in masks.items()]
        connection.execute(_SET_MASK, values)


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), ASKED_AT_ONCE):
        yield values[start : start + ASKED_AT_ONCE]
