"""Who has a package: the versions of it that there are, compared here, and the devices that are linked to those."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, and_, false, select

from protocol.ids import OrganisationId
from protocol.selector import And, Installed, Not, Or, Selector, Software, fits
from relay.store.inventory import chunks, unpack
from relay.store.tables import devices, inventories, packages, software_links

MAX_VERSIONS = 500
"""Of one package, in one statement. A fleet has a dozen; where somebody reports more, each device is looked at."""

Clause = ColumnElement[bool]


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


def clauses(connection: Connection, organisation: OrganisationId, term: Software) -> tuple[Clause, Clause, bool]:
    """That the term holds for a row of `devices`, that it does not, and whether these are exact (selection.py)."""
    known = _known(organisation)
    fit, unclear = fitting(versions(connection, organisation, term), term)
    if len(fit) + len(unclear) > MAX_VERSIONS:
        return known, known, False
    has = devices.c.id.in_(_linked(organisation, fit)) if fit else false()
    may_have = devices.c.id.in_(_linked(organisation, fit + unclear)) if fit or unclear else false()
    return and_(known, has), and_(known, ~may_have), True


def _known(organisation: OrganisationId) -> Clause:
    held = select(inventories.c.device).where(inventories.c.organisation == organisation, inventories.c.known.is_(True))
    return devices.c.id.in_(held.correlate(None))


def _linked(organisation: OrganisationId, keys: Sequence[int]) -> Select[tuple[str]]:
    has_bit = software_links.c.mask.bitwise_rshift(inventories.c.bit).bitwise_and(1) == 1
    return (
        select(inventories.c.device)
        .join(software_links, and_(software_links.c.bucket == inventories.c.bucket, has_bit))
        .where(software_links.c.package.in_(keys), inventories.c.organisation == organisation)
        .correlate(None)
    )


def having(
    connection: Connection, organisation: OrganisationId, ids: Sequence[str], keys: Iterable[int]
) -> dict[str, list[int]]:
    """Which of `keys` each of the devices `ids` is linked to, ascending. One without a known inventory is left out."""
    places: dict[int, list[tuple[int, str]]] = {}
    for some in chunks(ids):
        query = select(inventories.c.device, inventories.c.bucket, inventories.c.bit).where(
            inventories.c.organisation == organisation, inventories.c.device.in_(some), inventories.c.known.is_(True)
        )
        for device, bucket, bit in connection.execute(query):
            places.setdefault(bucket, []).append((bit, device))
    found: dict[str, list[int]] = {device: [] for held in places.values() for _, device in held}
    for wanted in chunks(sorted(keys)):
        query = select(software_links).where(software_links.c.package.in_(wanted))
        for bucket, key, mask in connection.execute(query):
            for bit, device in places.get(bucket, ()):
                if mask >> bit & 1:
                    found[device].append(key)
    return {device: sorted(held) for device, held in found.items()}


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
