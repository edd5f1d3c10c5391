"""Versions as apk orders them: number{.number}{letter}{_suffix{number}}{~commit}{-rN}.

Source: apk-package(5), "Package metadata"; the order of suffixes is Gentoo's. A number after the first that begins
with a zero is a fraction: 1.06 is older than 1.1. Text that is no version is ordered as far as it is one, then as text.
"""

from __future__ import annotations

import re

from protocol.version_rules.rpm import compare_digits

BEFORE = ("alpha", "beta", "pre", "rc")
AFTER = ("cvs", "svn", "git", "hg", "p")

_TOKEN = re.compile(
    r"(?P<number>\.?[0-9]+)"
    r"|(?P<letter>[a-z](?![a-z]))"
    r"|_(?P<suffix>alpha|beta|pre|rc|cvs|svn|git|hg|p)(?P<count>[0-9]*)"
    r"|~(?P<commit>[0-9a-f]+)"
    r"|-r(?P<revision>[0-9]+)"
)

# What a version goes on with: a number is newer than a letter, a letter than a suffix, and so on down to the end;
# only what comes before a release is older than the end.
_BEFORE, _END, _REVISION, _COMMIT, _AFTER, _LETTER, _NUMBER, _OTHER = range(8)

_Token = tuple[int, str, str]
"""Kind, word, digits."""


def compare(left: str, right: str) -> int:
    """-1, 0 or 1. Never raises."""
    lefts, rights = _tokens(left), _tokens(right)
    for position in range(max(len(lefts), len(rights))):
        one = lefts[position] if position < len(lefts) else (_END, "", "")
        other = rights[position] if position < len(rights) else (_END, "", "")
        if one != other and (difference := _compare_tokens(one, other, first=position == 0)):
            return difference
    return 0


def _tokens(version: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while match := _TOKEN.match(version, at):
        at = match.end()
        match match.lastgroup:
            case "number":
                found.append((_NUMBER, "", match["number"].lstrip(".")))
            case "letter":
                found.append((_LETTER, match["letter"], ""))
            case "suffix" | "count":
                found.append((_BEFORE if match["suffix"] in BEFORE else _AFTER, match["suffix"], match["count"]))
            case "commit":
                found.append((_COMMIT, match["commit"], ""))
            case _:
                found.append((_REVISION, "", match["revision"]))
    return [*found, (_OTHER, version[at:], "")] if at < len(version) else found


def _compare_tokens(left: _Token, right: _Token, *, first: bool) -> int:
    (kind, word, digits), (other_kind, other_word, other_digits) = left, right
    if kind != other_kind:
        return 1 if kind > other_kind else -1
    if word != other_word:
        order = [*BEFORE, *AFTER]
        if word in order and other_word in order:
            return 1 if order.index(word) > order.index(other_word) else -1
        return 1 if word > other_word else -1
    if kind == _NUMBER and not first and (digits[:1] == "0" or other_digits[:1] == "0"):
        return (digits > other_digits) - (digits < other_digits)
    return compare_digits(digits, other_digits)
