"""Two lists of software, compared."""

from __future__ import annotations

from typing import Any

from console.software_diff import Difference, differences
from protocol.sections.software import Package, Software


def deb(name: str, version: str, **more: Any) -> Package:
    return Package(name=name, version=version, **more)


def test_differences_are_told_by_the_rules_of_each_system() -> None:
    left = Software(
        packages=(deb("a", "1"), deb("b", "2"), deb("k", "1"), deb("k", "2"), deb("v", "1.0", system="rpm"))
    )
    right = Software(
        packages=(deb("b", "2"), deb("c", "1"), deb("k", "2"), deb("k", "3"), deb("v", "1.0^1", system="rpm"))
    )
    assert differences(left, right) == [
        Difference("a", "dpkg", "", ("1",), (), "only left"),
        Difference("c", "dpkg", "", (), ("1",), "only right"),
        Difference("k", "dpkg", "", ("1", "2"), ("2", "3"), "other"),
        Difference("v", "rpm", "", ("1.0",), ("1.0^1",), "newer right"),
    ]
    assert differences(left, left) == []
