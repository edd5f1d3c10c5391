"""Homebrew's receipts: INSTALL_RECEIPT.json beside each version in its cellar. Homebrew, Library/Homebrew/tab.rb."""

from __future__ import annotations

from typing import Any

import msgspec

from agent.facts.parsers.installed import instant, value
from protocol.sections.software import Package


def brew_package(name: str, version: str, receipt: bytes) -> Package | None:
    """name, version: of the folders CELLAR/name/version.  receipt: empty where there is none."""
    if not value(name) or value(name).startswith(".") or value(version).startswith("."):
        return None
    try:
        read: Any = msgspec.json.decode(receipt) if receipt else {}
    except (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError):
        read = {}
    read = read if isinstance(read, dict) else {}
    source = read.get("source")
    at = read.get("time")
    return Package(
        name=value(name),
        version=value(version),
        architecture=value(read.get("arch")),
        source=value(source.get("tap")) if isinstance(source, dict) else "",
        system="homebrew",
        installed_at=instant(int(at)) if isinstance(at, int | float) and 0 <= at < 1e12 else None,
    )
