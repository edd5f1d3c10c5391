"""This console's release, as its package says; "unknown" in a source tree that is not installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def release() -> str:
    try:
        return version("auxilio")
    except PackageNotFoundError:
        return "unknown"
