"""What is installed where: a package in a version is a row, however many devices have it, and devices are linked to it.

    packages        organisation, name, version, system, source -> key
    software_links  bucket, key -> mask       a bucket is 32 devices, each of which has a bit in all its masks
    inventories     organisation, device -> its place: bucket and bit; and apart, the keys that are linked, packed

Who has a package is a look at the versions of it that there are, which are compared by the rules of their own systems
(software.py), and at the links of those that fit. A report writes the links that differ from those of the one before.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, and_, delete, exists, func, insert, literal, select, update

from protocol.ids import DeviceId, OrganisationId, Sha256
from protocol.sections.software import MAX_PACKAGES, Software
from relay.store import last_sections
from relay.store.engine import integers, texts, upsert
from relay.store.store import storable
from relay.store.tables import inventories, inventory_packages, packages, software_links

T = TypeVar("T")

SECTION = "software"
BITS = 32
"""Devices in a bucket. A mask stays far below what the databases take for an integer."""

ASKED_AT_ONCE = 400
"""Names in one IN, rows in one look for packages. SQLite takes 32,766; short statements are prepared sooner."""

MAX_CHANGES = 4_000
"""Links written in one transaction: some 20 ms, for which others wait. A new device has fewer than 2,000."""

MAX_REMEMBERED = 30_000
"""Packages whose keys are kept in memory: 15 MB at the most, and nearly all that a fleet has in common."""

MAX_DROPPED = 1_000
"""Packages that nobody has any more, dropped at once."""

MAX_VERSIONS = 64
"""Rows of one name on one device. Kernels that stay after an upgrade are a handful, keys of rpm some dozens; a search
reads every version of a name that there is, so that a device with thousands of them would be a burden to all."""

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
    when it was read. changes: how many links will differ, about.  fault: why it is not known where it could be read."""

    sha256: Sha256
    rows: frozenset[PackageRow] | None
    keys: dict[PackageRow, int]
    changes: int
    fault: str = ""


class Keys:
    """Of packages, as somebody read them: for whoever reads next. A row may be gone by then; `apply` looks."""

    def __init__(self) -> None:
        self._known: dict[tuple[OrganisationId, PackageRow], int] = {}

    def find(
        self, connection: Connection, organisation: OrganisationId, rows: Iterable[PackageRow]
    ) -> dict[PackageRow, int]:
        known, found, unknown = self._known, {}, []
        for row in rows:
            key = known.get((organisation, row))
            if key is None:
                unknown.append(row)
            else:
                found[row] = key
        new = _find_keys(connection, organisation, unknown)
        if len(known) + len(new) > MAX_REMEMBERED:
            self._known = {}
        self._known |= {(organisation, row): key for row, key in new.items()}
        return found | new

    def forget(self) -> None:
        self._known = {}


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


def fault_of(software: Software) -> str:
    """Why it is not searched, or "". No agent of ours says so much."""
    if len(software.packages) > MAX_PACKAGES:
        return f"{len(software.packages)} packages, where {MAX_PACKAGES} are the most"
    counts = Counter(row.name_key for row in rows_of(software))
    most = max(counts.values(), default=0)
    return f"{most} versions of one package, where {MAX_VERSIONS} are the most" if most > MAX_VERSIONS else ""


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
    known: Keys,
    fault: str = "",
) -> Inventory:
    """Look up beforehand, as a reader, what `apply` will need: it has others waiting."""
    held = _held(connection, organisation, device)
    found = known.find(connection, organisation, rows or ())
    keys = set(found.values())
    changes = len(rows or ()) - len(keys) + len(keys ^ (held.keys if held else set()))
    return Inventory(sha256, rows, found, changes, fault)


def apply(connection: Connection, organisation: OrganisationId, device: DeviceId, inventory: Inventory) -> bool:
    """Bring the links nearer to `inventory`, by MAX_CHANGES at most; whether they are as it says now.

    Until they are, the device's software is not known. Nothing is done where its last report names another section by
    now: whoever commits that one sees to it.
    """
    if last_sections.reported(connection, organisation, device, SECTION) != inventory.sha256:
        return True
    held = _held(connection, organisation, device) or _add(connection, organisation, device)
    keys = _still_there(connection, set(inventory.keys.values()))
    there = {row for row, key in inventory.keys.items() if key in keys}
    missing = sorted((inventory.rows or frozenset()) - there)
    keys |= _keep(connection, organisation, missing[:MAX_CHANGES])
    if len(missing) > MAX_CHANGES:
        return _settle(connection, organisation, device, held.keys, None)
    gone = sorted(held.keys - keys)[:MAX_CHANGES]
    new = sorted(keys - held.keys)[: MAX_CHANGES - len(gone)]
    if gone:
        _unlink(connection, held, gone)
    if new:
        _link(connection, held, new)
    linked = held.keys.difference(gone).union(new)
    return _settle(connection, organisation, device, linked, inventory if linked == keys else None)


def is_read(connection: Connection, organisation: OrganisationId, device: DeviceId, sha256: Sha256) -> bool:
    """Whether the links are what the section `sha256` says ("": none), so that there is nothing to do."""
    query = select(inventories.c.sha256, inventory_packages.c.packages).select_from(WHOLE)
    row = connection.execute(query.where(_of(inventories, organisation, device))).first()
    if row is None or not sha256:
        return not sha256 and (row is None or (not row.sha256 and not unpack(row.packages)))
    return bool(row.sha256 == sha256)


def fault_noted(connection: Connection, organisation: OrganisationId, device: DeviceId, sha256: Sha256) -> str:
    """What was noted of the section `sha256`, where it was read and is not searched; else "". It is not read again
    while reports name it, and each report has notes of its own."""
    unknown = and_(inventories.c.sha256 == sha256, inventories.c.known.is_(False))
    query = select(inventories.c.device).where(_of(inventories, organisation, device), unknown)
    if connection.execute(query).first() is None:
        return ""
    noted = last_sections.notes_of(connection, organisation, device)
    return next((part for part in noted if part.startswith(f"{SECTION}: ")), "")


def drop_unused(connection: Connection, keys: Sequence[int]) -> None:
    """Drop those of `keys` (of `unused`) that still nobody has."""
    connection.execute(delete(packages).where(packages.c.key.in_(integers(keys)), ~_IS_LINKED))


def unused(connection: Connection) -> list[int]:
    """Packages that no device has any more, up to MAX_DROPPED. Those of a report that comes just now are among them."""
    return list(connection.execute(select(packages.c.key).where(~_IS_LINKED).limit(MAX_DROPPED)).scalars())


_IS_LINKED = exists().where(software_links.c.package == packages.c.key)


# -- one device's place ---------------------------------------------------------------------------------------------


class _Held(NamedTuple):
    bucket: int
    bit: int
    keys: frozenset[int]


def _held(connection: Connection, organisation: OrganisationId, device: DeviceId) -> _Held | None:
    query = select(inventories.c.place, inventory_packages.c.packages).select_from(WHOLE)
    row = connection.execute(query.where(_of(inventories, organisation, device))).first()
    return None if row is None else _Held(row.place // BITS, row.place % BITS, frozenset(unpack(row.packages)))


def _add(connection: Connection, organisation: OrganisationId, device: DeviceId) -> _Held:
    """The next place that is free. Devices of several organisations may share a bucket; packages are never shared."""
    last = connection.execute(select(func.max(inventories.c.place))).scalar()
    place = 0 if last is None else int(last) + 1
    this = {"organisation": organisation, "device": device}
    connection.execute(insert(inventories).values(**this, place=place, sha256="", known=False))
    connection.execute(insert(inventory_packages).values(**this, packages=pack(())))
    return _Held(place // BITS, place % BITS, frozenset())


def _settle(
    connection: Connection,
    organisation: OrganisationId,
    device: DeviceId,
    linked: frozenset[int],
    inventory: Inventory | None,
) -> bool:
    """inventory: what the links are now; None: they are on the way to it."""
    if inventory is not None and inventory.fault:
        last_sections.note(connection, organisation, device, f"{SECTION}: {inventory.fault}")
    connection.execute(
        update(inventories)
        .where(_of(inventories, organisation, device))
        .values(
            sha256="" if inventory is None else inventory.sha256,
            known=inventory is not None and inventory.rows is not None,
        )
    )
    packed = update(inventory_packages).where(_of(inventory_packages, organisation, device))
    connection.execute(packed.values(packages=pack(linked)))
    return inventory is not None


WHOLE = inventories.join(
    inventory_packages,
    and_(
        inventory_packages.c.organisation == inventories.c.organisation,
        inventory_packages.c.device == inventories.c.device,
    ),
)


def _of(table: Table, organisation: OrganisationId, device: DeviceId) -> ColumnElement[bool]:
    return and_(table.c.organisation == organisation, table.c.device == device)


# -- packages and links ---------------------------------------------------------------------------------------------


def _find_keys(
    connection: Connection, organisation: OrganisationId, rows: Iterable[PackageRow]
) -> dict[PackageRow, int]:
    """Each by the whole of its unique index: however many other versions of a name there are, none of them is read."""
    found: dict[PackageRow, int] = {}
    for some in chunks(sorted(set(rows))):
        wanted = texts(some, len(PackageRow._fields))
        same = [packages.c[name] == wanted.c[f"text{number}"] for number, name in enumerate(PackageRow._fields)]
        # An outer join: SQLite goes through what is wanted then, and never through the packages.
        joined = wanted.outerjoin(packages, and_(packages.c.organisation == organisation, *same))
        query = select(wanted.c.position, packages.c.key).select_from(joined)
        found |= {some[position]: key for position, key in connection.execute(query) if key is not None}
    return found


def _still_there(connection: Connection, keys: set[int]) -> set[int]:
    """Those of which nobody dropped the row since they were read: nearly always all of them."""
    these = packages.c.key.in_(integers(keys))
    if connection.execute(select(func.count()).select_from(packages).where(these)).scalar_one() == len(keys):
        return keys
    return set(connection.execute(select(packages.c.key).where(these)).scalars())


def _keep(connection: Connection, organisation: OrganisationId, rows: Sequence[PackageRow]) -> set[int]:
    """The keys of `rows`, those that are new among them."""
    keys = _find_keys(connection, organisation, rows)
    new = [{"organisation": organisation, **row._asdict()} for row in rows if row not in keys]
    if new:
        connection.execute(insert(packages), new)
        keys = _find_keys(connection, organisation, rows)
    return set(keys.values())


def _link(connection: Connection, held: _Held, keys: Sequence[int]) -> None:
    bit = 1 << held.bit
    new = integers(keys).subquery()
    rows = select(literal(held.bucket), new.c.value, literal(bit))
    connection.execute(upsert(software_links, rows, mask=software_links.c.mask.bitwise_or(bit)))


def _unlink(connection: Connection, held: _Held, keys: Sequence[int]) -> None:
    these = and_(software_links.c.bucket == held.bucket, software_links.c.package.in_(integers(keys)))
    left = software_links.c.mask.bitwise_and(~(1 << held.bit))
    connection.execute(update(software_links).where(these).values(mask=left))
    connection.execute(delete(software_links).where(these, software_links.c.mask == 0))


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), ASKED_AT_ONCE):
        yield values[start : start + ASKED_AT_ONCE]
