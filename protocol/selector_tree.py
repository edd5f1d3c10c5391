"""The tree of a selector: its nodes, what decides on it, and its canonical text. protocol/selector.py reads one.

Three-valued: a fact that is not known makes neither a term nor its negation true. `not software:firefox` does not
match a device that has reported no software, so that no job runs on what somebody merely does not know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from protocol.versions import compare

Order = Literal["<", "<=", ">", ">="]
Comparison = Literal["<", "<=", ">", ">=", "=", "!="]


class _Node(msgspec.Struct, frozen=True, tag=True):
    """A node of the tree. Made by `parse`, which alone guarantees the bounds and the canonical form."""


class All(_Node, frozen=True):
    """Every device."""


class Online(_Node, frozen=True):
    """The relay holds its link now."""


class Provisional(_Node, frozen=True):
    """It has no device record yet."""


class Tag(_Node, frozen=True):
    """The device record has exactly this tag: `tag:site` is not `tag:site=madrid`."""

    tag: str


class Id(_Node, frozen=True):
    """The id begins with `prefix`: lower case, hyphens where an id has them."""

    prefix: str


class Os(_Node, frozen=True):
    """One of the system's names is this: linux, debian, debian-12."""

    name: str


class Host(_Node, frozen=True):
    """The hostname fits `pattern`, whatever the case. `*`: any characters, `?`: one."""

    pattern: str


class Finding(_Node, frozen=True):
    code: str


class Ram(_Node, frozen=True):
    """Total memory compared with `size` bytes."""

    order: Order
    size: int


class SlotsFree(_Node, frozen=True):
    """How many memory slots are empty, compared with `count`."""

    comparison: Comparison
    count: int


class Software(_Node, frozen=True):
    """A package is installed, and its version compares so (as Debian compares). comparison "": any version."""

    name: str
    comparison: Comparison | Literal[""] = ""
    version: str = ""


class Not(_Node, frozen=True):
    term: Selector


class And(_Node, frozen=True):
    """terms: two or more, none of them an And."""

    terms: tuple[Selector, ...]


class Or(_Node, frozen=True):
    """terms: two or more, none of them an Or."""

    terms: tuple[Selector, ...]


Selector = All | Online | Provisional | Tag | Id | Os | Host | Finding | Ram | SlotsFree | Software | Not | And | Or


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one device. None (os: empty) is "not known", which no term and no negation matches.

    id: the full device id.  tags: of its verified record; () for a device known to have none.
    os: lower case, from general to exact.  ram_bytes: total.  slots_free: for memory.  software: package name to
    version.  findings: codes of the latest diagnosis.
    """

    id: str
    tags: frozenset[str] | None = frozenset()
    provisional: bool | None = None
    online: bool | None = None
    hostname: str | None = None
    os: tuple[str, ...] = ()
    ram_bytes: int | None = None
    slots_free: int | None = None
    software: Mapping[str, str] | None = None
    findings: frozenset[str] | None = None


# -- deciding ---------------------------------------------------------------------------------------------------


def matches(tree: Selector, facts: Facts) -> bool:
    """Whether the device is selected: true on what is known. Unknown is no."""
    return _holds(tree, facts) is True


def tags_only(tree: Selector) -> bool:
    """Whether the selector looks only at what an admin signed: `all`, tags and complete ids.

    A scope or a consent rule must: everything else is said by the device or the relay, which could widen it. A part
    of an id is not enough, since somebody patient can make a key whose id begins with it.
    """
    match tree:
        case And(terms) | Or(terms):
            return all(tags_only(term) for term in terms)
        case Not(term):
            return tags_only(term)
        case Id(prefix):
            return len(prefix) == 23
        case _:
            return isinstance(tree, All | Tag)


def _holds(tree: Selector, facts: Facts) -> bool | None:
    """Kleene's logic: None is "not known"."""
    match tree:
        case And(terms):
            held = [_holds(term, facts) for term in terms]
            return False if False in held else None if None in held else True
        case Or(terms):
            held = [_holds(term, facts) for term in terms]
            return True if True in held else None if None in held else False
        case Not(term):
            inner = _holds(term, facts)
            return None if inner is None else not inner
        case _:
            return _term_holds(tree, facts)


def _term_holds(term: Selector, facts: Facts) -> bool | None:
    match term:
        case All():
            return True
        case Tag(tag):
            return None if facts.tags is None else tag in facts.tags
        case Id(prefix):
            return facts.id.startswith(prefix)
        case Online():
            return facts.online
        case Provisional():
            return facts.provisional
        case Os(name):
            return name in facts.os if facts.os else None
        case Host(pattern):
            return None if facts.hostname is None else _fits(pattern.lower(), facts.hostname.lower())
        case Finding(code):
            return None if facts.findings is None else code in facts.findings
        case Ram(order, size):
            return None if facts.ram_bytes is None else _ordered(order, facts.ram_bytes - size)
        case SlotsFree(comparison, count):
            return None if facts.slots_free is None else _ordered(comparison, facts.slots_free - count)
        case Software(name, comparison, version):
            return None if facts.software is None else _installed(facts.software.get(name), comparison, version)
        case _:
            raise TypeError(f"{type(term).__name__} is no term")


def _installed(installed: str | None, comparison: str, version: str) -> bool | None:
    """A program of an unknown version ("") is installed, and neither older nor newer than any."""
    if installed is None or not comparison:
        return installed is not None
    if not installed:
        return None
    return _ordered(comparison, compare(installed, version))


def _ordered(comparison: str, difference: int) -> bool:
    match comparison:
        case "<":
            return difference < 0
        case "<=":
            return difference <= 0
        case ">":
            return difference > 0
        case ">=":
            return difference >= 0
        case "=":
            return difference == 0
        case _:
            return difference != 0


def _fits(pattern: str, text: str) -> bool:
    """Glob by going back to the last star alone: at most len(pattern) * len(text) steps, never exponential."""
    p = t = 0
    star, resume = -1, 0
    while t < len(text):
        if p < len(pattern) and pattern[p] == "*":
            star, resume = p, t
            p += 1
        elif p < len(pattern) and pattern[p] in ("?", text[t]):
            p += 1
            t += 1
        elif star >= 0:
            resume += 1
            p, t = star + 1, resume
        else:
            return False
    return all(character == "*" for character in pattern[p:])


# -- writing ----------------------------------------------------------------------------------------------------

BARE = re.compile(r"[A-Za-z0-9._@+*?/~:,%#&\[\]{}^$|;-]+\Z")

UNITS = {
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "B": 1,
}


def to_text(tree: Selector) -> str:
    """The canonical text: `parse(to_text(tree)) == tree` for every tree that `parse` made."""
    match tree:
        case Or(terms):
            return " or ".join(to_text(term) for term in terms)
        case And(terms):
            return " ".join(f"({to_text(term)})" if isinstance(term, Or) else to_text(term) for term in terms)
        case Not(term):
            return f"not ({to_text(term)})" if isinstance(term, And | Or) else f"not {to_text(term)}"
        case Tag(value) | Id(value) | Os(value) | Host(value) | Finding(value):
            bare = isinstance(tree, Tag)
            return f"{type(tree).__name__.lower()}:{value if bare else _quoted(value)}"
        case Ram(order, size):
            return f"ram{order}{_size_text(size)}"
        case SlotsFree(comparison, count):
            return f"slots-free{comparison}{count}"
        case Software(name, comparison, version):
            return f"software:{_quoted(name)}" + (f"{comparison}{_quoted(version)}" if comparison else "")
        case _:
            return type(tree).__name__.lower()


def _quoted(value: str) -> str:
    if BARE.match(value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _size_text(size: int) -> str:
    units = sorted(UNITS.items(), key=lambda unit: -unit[1])
    name, unit = next((name, unit) for name, unit in units if size % unit == 0 and (size or unit == 1))
    return f"{size // unit}{name}"
