"""Versions of software, each ordered as its own packaging system orders them; as Debian does where none is named.

Source: deb-version(7), "Sorting algorithm"; Debian policy 5.6.12; for the others see protocol/version_rules. Any text
is a version: one that has no digits where an epoch belongs is taken whole, so that `1.2 (build 7)` of another system
still sorts in a total order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from protocol.version_rules import alpine, dotted, pacman, rpm

MAX_VERSION_CHARS = 256
"""Longer versions are compared by their beginning; the longest in Debian has about 60 characters."""

_PART = re.compile(r"([^0-9]*)([0-9]*)")


def compare(left: str, right: str, system: str = "dpkg") -> int:
    """Return -1, 0 or 1 as `left` is older than, equal to or newer than `right`. Never raises.

    system: the packaging system that both come from (`Package.system`); one without rules here orders dotted numbers.
    """
    rule = RULES.get(system, dotted.compare)
    return rule(left.strip()[:MAX_VERSION_CHARS], right.strip()[:MAX_VERSION_CHARS])


def _compare_debian(left: str, right: str) -> int:
    one, other = _split(left), _split(right)
    return (
        _compare_numbers(one[0], other[0]) or _compare_strings(one[1], other[1]) or _compare_strings(one[2], other[2])
    )


def _split(version: str) -> tuple[str, str, str]:
    """Epoch, upstream version and Debian revision; a missing revision equals "0", hence "" (which sorts as "0")."""
    epoch, colon, rest = version.partition(":")
    if not colon or not (epoch.isascii() and epoch.isdigit()):
        epoch, rest = "0", version
    upstream, hyphen, revision = rest.rpartition("-")
    return (epoch, upstream, revision) if hyphen else (epoch, rest, "")


def _compare_numbers(left: str, right: str) -> int:
    # Not int(): Python refuses to convert more than 4,300 digits, and nothing is gained by converting.
    left, right = left.lstrip("0"), right.lstrip("0")
    key_left, key_right = (len(left), left), (len(right), right)
    return (key_left > key_right) - (key_left < key_right)


def _weight(character: str) -> int:
    """A tilde sorts before the end of a part, the end before letters, letters before everything else."""
    if character == "~":
        return -1
    return ord(character) if character.isascii() and character.isalpha() else ord(character) + 0x110000


def _compare_words(left: str, right: str) -> int:
    for position in range(max(len(left), len(right))):
        one = _weight(left[position]) if position < len(left) else 0
        other = _weight(right[position]) if position < len(right) else 0
        if one != other:
            return 1 if one > other else -1
    return 0


def _compare_strings(left: str, right: str) -> int:
    """Non-digits and digits in turn, from the left. Both patterns end in an empty pair, which equals "" and 0."""
    lefts, rights = _PART.findall(left), _PART.findall(right)
    for position in range(max(len(lefts), len(rights))):
        word_l, digits_l = lefts[position] if position < len(lefts) else ("", "")
        word_r, digits_r = rights[position] if position < len(rights) else ("", "")
        difference = _compare_words(word_l, word_r) or _compare_numbers(digits_l, digits_r)
        if difference:
            return difference
    return 0


RULES: Mapping[str, Callable[[str, str], int]] = {
    "dpkg": _compare_debian,
    "rpm": rpm.compare,
    "pacman": pacman.compare,
    "apk": alpine.compare,
}
"""By packaging system. The others (flatpak, snap, windows, msix, macos, homebrew, files) have none of their own."""
