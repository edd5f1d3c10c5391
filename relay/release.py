"""The release this is, as the package's metadata says."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def _release() -> str:
    try:
        return version("auxilio")
    except PackageNotFoundError:
        return "0+source"  # run from a source folder that nobody installed


RELEASE = _release()
