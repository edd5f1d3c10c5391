"""What every packaging system's list comes to: bounded, in one order, each package once."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from protocol.sections.software import MAX_PACKAGES, Package
from protocol.sections.updates import Broken, Update

MAX_VALUE_CHARS = 256
"""No name or version of a package is near it."""

MAX_UPDATES = 10_000
TITLED = frozenset({"windows-update", "macos"})
MAX_SIZE_KIB = 2**32
"""4 TiB. What says that it is larger does not know."""

EARLIEST = 631_152_000
"""1990. A package that says that it was installed before tells the time of a clock without a battery."""

LATEST = 4_102_444_800
"""2100."""

UNITS = {"": 1, "B": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


class Installed(msgspec.Struct, frozen=True):
    """packages: sorted by name, architecture, version and system.  truncated: there are more, which are left out.

    broken: neither wholly there nor gone, and not among the packages.  held: not to be upgraded.
    """

    packages: tuple[Package, ...] = ()
    truncated: bool = False
    broken: tuple[Broken, ...] = ()
    held: tuple[str, ...] = ()


class Pending(msgspec.Struct, frozen=True):
    """updates: sorted by name, system and architecture, each once."""

    updates: tuple[Update, ...] = ()


def listed(
    packages: Iterable[Package | None],
    broken: Iterable[Broken] = (),
    held: Iterable[str] = (),
    *,
    truncated: bool = False,
) -> Installed:
    """What is there of `packages`, bounded before it is sorted: an endless list takes no endless memory.

    truncated: whether there was more than `packages`.
    """
    kept: dict[Package, None] = {}
    for package in packages:
        if package is None or not package.name:
            continue
        if len(kept) == MAX_PACKAGES:
            truncated = True
            break
        kept[package] = None
    return Installed(
        packages=tuple(sorted(kept, key=_order)),
        truncated=truncated,
        broken=tuple(sorted(set(broken), key=lambda one: (one.name, one.state))[:MAX_UPDATES]),
        held=tuple(sorted(set(held))[:MAX_UPDATES]),
    )


def pending(updates: Iterable[Update | None]) -> Pending:
    """The first of each name, system and architecture counts, unless a later one is for security; on Windows and macOS,
    where names are titles that may be cut, of each name and version."""
    kept: dict[tuple[str, str, str, str], Update] = {}
    for update in updates:
        if update is None or not update.name or not update.version:
            continue
        version = update.version if update.system in TITLED else ""
        key = (update.name, update.system, update.architecture, version)
        if len(kept) == MAX_UPDATES and key not in kept:
            break
        before = kept.get(key)
        if before is None or (update.security and not before.security):
            kept[key] = update
    return Pending(tuple(kept[key] for key in sorted(kept)))


def _order(package: Package) -> tuple[str, ...]:
    return (package.name, package.architecture, package.version, package.system, package.source)


def value(text: object) -> str:
    """One line of text, bounded, that UTF-8 can carry; "" for anything that is no text."""
    if not isinstance(text, str):
        return ""
    return " ".join(text[: 4 * MAX_VALUE_CHARS].split())[:MAX_VALUE_CHARS].encode("utf-8", "replace").decode("utf-8")


def vendor(text: object) -> str:
    """A name without its address: "Debian X Strike Force <debian-x@...>"; "" for what stands for nobody."""
    name = value(text).split("<", 1)[0].strip().strip('"')
    return "" if name.lower() in ("(none)", "unknown", "none", "-") else name


def count(text: object, most: int) -> int:
    """A whole number that is not negative, from digits or a number; 0 for anything else and beyond `most`."""
    if isinstance(text, str):
        text = text.strip()
        text = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
    if not isinstance(text, int) or isinstance(text, bool):
        return 0
    return text if 0 <= text <= most else 0


def kib_of_bytes(text: object) -> int:
    """Bytes, as text or number, in KiB, rounded up; 0 for unknown."""
    number = count(text, MAX_SIZE_KIB * 1024)
    return -(-number // 1024)


def instant(text: object) -> int | None:
    """Unix seconds, as text or number; None for what cannot be when a package was installed."""
    number = count(text, LATEST)
    return number if number >= EARLIEST else None


def kib_of_text(text: str) -> int:
    """ "479,7 MB", "1.2 GiB", "224942K", "12 bytes" in KiB, by units of 1024 (a fifth too much at most); 0 for anything
    else. A comma may stand for the point, and any space between."""
    text = value(text).replace(",", ".").replace("bytes", "B")
    number = text.rstrip("BbiKkMmGgTt ").strip()
    unit = text[len(number) :].strip().upper()[:1]
    if not number or len(number) > 16 or not number.isascii() or number.strip("0123456789.") or number.count(".") > 1:
        return 0
    if number == "." or unit not in UNITS:
        return 0
    size = float(number) * UNITS[unit] / 1024
    return round(size) if size <= MAX_SIZE_KIB else 0
