"""Who has a package: the versions of it that there are, compared here, and the devices that are linked to those."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select

from protocol.ids import OrganisationId
from protocol.selector import And, Installed, Not, Or, Selector, Software, fits
from relay.store.engine import integers
from relay.store.inventory import BITS, chunks, unpack
from relay.store.tables import devices, inventories, packages, software_links

Clause = ColumnElement[bool]
G = TypeVar("G", bound=Hashable)


class Version(msgspec.Struct, frozen=True):
    """A package in a version. name: as its packaging system writes it."""

    name: str
    version: str
    system: str
    source: str


def versions(connection: Connection, organisation: OrganisationId, term: Software) -> dict[int, Version]:
    """All those of the term's package, by key."""
    query = select(packages.c.key, packages.c.name, packages.c.version, packages.c.system, packages.c.source).where(
        packages.c.organisation == organisation, packages.c.name_key == term.name.lower()
    )
    return {key: Version(*columns) for key, *columns in connection.execute(query)}


def fitting(found: Mapping[int, Version], term: Software) -> tuple[list[int], list[int]]:
    """The keys of those that `term` asks for, and of those of which nobody knows."""
    held = {key: fits(term, Installed(one.version, one.system)) for key, one in found.items()}
    return [key for key, does in held.items() if does], [key for key, does in held.items() if does is None]


def clauses(connection: Connection, organisation: OrganisationId, term: Software) -> tuple[Clause, Clause]:
    """That the term holds for a row of `devices`, and that it does not. Both exactly."""
    found = versions(connection, organisation, term)
    fit, unclear = fitting(found, term)
    has = may_have = _at(organisation, _places(connection, fit))
    if unclear:
        clear = set(_places(connection, [key for key in found if key not in unclear]))
        may_have = or_(has, _at(organisation, set(_places(connection, unclear)) - clear))
    known = select(inventories.c.device).where(
        inventories.c.organisation == organisation, inventories.c.known.is_(True)
    )
    return has, and_(devices.c.id.in_(known.correlate(None)), ~may_have)


def _places(connection: Connection, keys: Sequence[int]) -> Iterator[int]:
    """Of the devices that have one of these packages at least."""
    masks: dict[int, int] = {}
    for row in _links(connection, keys):
        masks[row.bucket] = masks.get(row.bucket, 0) | row.mask
    return (bucket * BITS + bit for bucket, mask in masks.items() for bit in range(BITS) if mask >> bit & 1)


def _at(organisation: OrganisationId, places: Iterable[int]) -> Clause:
    held = select(inventories.c.device).where(
        inventories.c.place.in_(integers(places)),
        inventories.c.organisation == organisation,
        inventories.c.known.is_(True),
    )
    return devices.c.id.in_(held.correlate(None))


def _links(connection: Connection, keys: Iterable[int]) -> Sequence[Row[Any]]:
    return connection.execute(select(software_links).where(software_links.c.package.in_(integers(keys)))).all()


def having(
    connection: Connection, organisation: OrganisationId, ids: Sequence[str], keys: Iterable[int]
) -> dict[str, list[int]]:
    """Which of `keys` each of the devices `ids` is linked to, ascending. One without a known inventory is left out."""
    places: dict[int, list[tuple[int, str]]] = {}
    for some in chunks(ids):
        query = select(inventories.c.device, inventories.c.place).where(
            inventories.c.organisation == organisation, inventories.c.device.in_(some), inventories.c.known.is_(True)
        )
        for device, place in connection.execute(query):
            places.setdefault(place // BITS, []).append((place % BITS, device))
    found: dict[str, list[int]] = {device: [] for held in places.values() for _, device in held}
    for link in _links(connection, keys):
        for bit, device in places.get(link.bucket, ()):
            if link.mask >> bit & 1:
                found[device].append(link.package)
    return {device: sorted(held) for device, held in found.items()}


def count(connection: Connection, where: Clause, ids: frozenset[str] | None, groups: Mapping[int, G]) -> Counter[G]:
    """Devices that have a package of each group. groups: by the packages' keys.  where, ids: as select_devices says."""
    joined = inventories.join(
        devices, and_(devices.c.organisation == inventories.c.organisation, devices.c.id == inventories.c.device)
    )
    query = select(inventories.c.place, inventories.c.device).select_from(joined)
    meant: dict[int, int] = {}
    for place, device in connection.execute(query.where(inventories.c.known.is_(True), where)):
        if ids is None or device in ids:
            meant[place // BITS] = meant.get(place // BITS, 0) | 1 << place % BITS
    masks: dict[tuple[G, int], int] = {}
    for link in _links(connection, groups):
        group = (groups[link.package], link.bucket)
        masks[group] = masks.get(group, 0) | link.mask & meant.get(link.bucket, 0)
    counts: Counter[G] = Counter()
    for (group_of, _), mask in masks.items():
        counts[group_of] += mask.bit_count()
    return +counts


# -- for what SQL does not decide -----------------------------------------------------------------------------------


class Named:
    """The packages that a selector's terms name, so that of each device only those are looked at."""

    def __init__(self, connection: Connection, organisation: OrganisationId, tree: Selector) -> None:
        self._by_key: dict[int, tuple[str, Installed]] = {}
        for some in chunks(sorted(_names(tree))):
            query = select(packages.c.key, packages.c.name_key, packages.c.version, packages.c.system).where(
                packages.c.organisation == organisation, packages.c.name_key.in_(some)
            )
            for key, name, version, system in connection.execute(query):
                self._by_key[key] = (name, Installed(version, system))

    def of(self, packed: bytes) -> Mapping[str, tuple[Installed, ...]]:
        """Of a device whose inventory is known: what selectors look at, as far as this one looks."""
        found: dict[str, list[Installed]] = {}
        for key in unpack(packed):
            if key in self._by_key:
                name, installed = self._by_key[key]
                found.setdefault(name, []).append(installed)
        return {name: tuple(held) for name, held in found.items()}


def _names(tree: Selector) -> set[str]:
    match tree:
        case And(terms) | Or(terms):
            return set().union(*(_names(term) for term in terms))
        case Not(term):
            return _names(term)
        case Software(name):
            return {name.lower()}
        case _:
            return set()
