"""A selector as a WHERE clause, so that the database does the searching.

Selectors are three-valued (protocol/selector_tree.py): an unknown fact makes neither a term nor its negation true. So
each node becomes two clauses, "is true" and "is false"; `not` swaps them. Versions of software are compared before, on
the few that there are (software.py). Where the selector is long, the clause only narrows down, and `matches` decides on
each row.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, exists, false, or_, true

from protocol.ids import OrganisationId
from protocol.selector import (
    All,
    And,
    Finding,
    Host,
    Id,
    Not,
    Online,
    Or,
    Os,
    Provisional,
    Ram,
    Selector,
    Signal,
    SlotsFree,
    Software,
    Tag,
)
from relay.store import software
from relay.store.tables import device_findings, device_os, device_tags, devices, findings

MAX_TERMS = 100
"""Beyond it `matches` decides alone: databases bound the depth of an expression (SQLite: 1,000)."""

Clause = ColumnElement[bool]


class Clauses(msgspec.Struct, frozen=True):
    """is_true, is_false: exact where `exact`; else each holds at least where the node does."""

    is_true: Clause
    is_false: Clause
    exact: bool


def narrow(connection: Connection, tree: Selector, organisation: OrganisationId, *, suggested: bool = False) -> Clauses:
    """suggested: tags are those that the join token suggests, instead of the signed ones."""
    if _terms(tree) > MAX_TERMS:
        return Clauses(true(), true(), False)
    return _clauses(connection, tree, organisation, suggested)


def _terms(tree: Selector) -> int:
    match tree:
        case And(terms) | Or(terms):
            return sum(_terms(term) for term in terms)
        case Not(term):
            return _terms(term)
        case _:
            return 1


def _clauses(connection: Connection, tree: Selector, organisation: OrganisationId, suggested: bool) -> Clauses:
    match tree:
        case And(terms) | Or(terms):
            parts = [_clauses(connection, term, organisation, suggested) for term in terms]
            trues, falses = [part.is_true for part in parts], [part.is_false for part in parts]
            exact = all(part.exact for part in parts)
            if isinstance(tree, Or):
                return Clauses(or_(*trues), and_(*falses), exact)
            return Clauses(and_(*trues), or_(*falses), exact)
        case Not(term):
            part = _clauses(connection, term, organisation, suggested)
            return Clauses(part.is_false, part.is_true, part.exact)
        case Software():
            return Clauses(*software.clauses(connection, organisation, tree), True)
        case _:
            is_true, is_false = _term(tree, organisation, suggested)
            return Clauses(is_true, is_false, True)


def _term(term: Selector, organisation: OrganisationId, suggested: bool) -> tuple[Clause, Clause]:
    match term:
        case All():
            return true(), false()
        case Online():
            return devices.c.online.is_(True), devices.c.online.is_(False)
        case Provisional():
            return devices.c.record_number == 0, devices.c.record_number != 0
        case Tag(tag):
            has = _exists(device_tags, organisation, device_tags.c.tag == tag, device_tags.c.suggested.is_(suggested))
            return has, ~has
        case Id(prefix):
            begins = devices.c.id.startswith(prefix, autoescape=True)
            return begins, ~begins
        case Os(name):
            has, known = _exists(device_os, organisation, device_os.c.name == name), _exists(device_os, organisation)
            return has, and_(known, ~has)
        case Host(pattern):
            fits = devices.c.hostname_key.like(_like(pattern.lower()), escape="\\")
            return and_(devices.c.hostname_key.is_not(None), fits), and_(devices.c.hostname_key.is_not(None), ~fits)
        case Ram(order, size):
            return _compared(devices.c.ram, order, size)
        case SlotsFree(comparison, count):
            return _compared(devices.c.slots_free, comparison, count)
        case Signal(order, dbm):
            return _compared(devices.c.signal, order, dbm)
        case Finding(code):
            has = _exists(findings, organisation, findings.c.code == code)
            known = _exists(device_findings, organisation, device_findings.c.known.is_(True))
            return and_(known, has), and_(known, ~has)
        case _:
            raise TypeError(f"{type(term).__name__} is no term")


def _exists(table: object, organisation: OrganisationId, *conditions: Clause) -> Clause:
    columns = table.c  # type: ignore[attr-defined]  # one of our tables
    # Of the query around it only `devices` is meant, also where that one is of the same table.
    found = exists().where(columns.organisation == organisation, columns.device == devices.c.id, *conditions)
    return found.correlate(devices)


def _like(pattern: str) -> str:
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%").replace("?", "_")


def _compared(column: ColumnElement[int | None], comparison: str, number: int) -> tuple[Clause, Clause]:
    # An integer beyond 64 bits is no bind value; no machine has as much of anything.
    number = min(number, 2**62)
    return {
        "<": (column < number, column >= number),
        "<=": (column <= number, column > number),
        ">": (column > number, column <= number),
        ">=": (column >= number, column < number),
        "=": (column == number, column != number),
        "!=": (column != number, column == number),
    }[comparison]
