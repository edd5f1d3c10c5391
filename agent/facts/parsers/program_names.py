"""What the names of programs tell that nothing manages: AppImages, folders of /opt, casks. AppImage, "Naming"."""

from __future__ import annotations

import re

from agent.facts.parsers.installed import MAX_SIZE_KIB, count, instant, value
from protocol.sections.software import Package

APPIMAGE = ".appimage"

_ARCHITECTURES = {
    "x86_64": "x86_64",
    "x86-64": "x86_64",
    "amd64": "x86_64",
    "x64": "x86_64",
    "i386": "i686",
    "i686": "i686",
    "aarch64": "aarch64",
    "arm64": "aarch64",
    "armhf": "armhf",
    "armv7l": "armhf",
}
_VERSION = re.compile(
    r"[-_ ]v?([0-9]+(?:\.[0-9A-Za-z]+)*(?:[-+~](?:alpha|beta|rc|pre|build)?[.-]?[0-9]+)?)(?=[-_ .]|\Z)", re.I
)


def program(file_name: str, folder: str, *, size_kib: int = 0, installed_at: int | None = None) -> Package | None:
    """ "Krita-5.2.2-x86_64.AppImage" is Krita 5.2.2 for x86_64; a name without a number has no version."""
    stem = value(file_name)
    if stem.lower().endswith(APPIMAGE):
        stem = stem[: -len(APPIMAGE)]
    stem, architecture = _without_architecture(stem)
    version = ""
    if match := _VERSION.search(stem):
        version, stem = match[1], stem[: match.start()]
    name = stem.strip("-_. ")
    if not name:
        return None
    return Package(
        name=name,
        version=version,
        architecture=architecture,
        source=value(folder),
        size_kib=count(size_kib, MAX_SIZE_KIB),
        system="files",
        installed_at=instant(installed_at),
    )


def _without_architecture(stem: str) -> tuple[str, str]:
    lowered = stem.lower()
    for written, architecture in _ARCHITECTURES.items():
        for separator in "-_. ":
            if lowered.endswith(separator + written):
                return stem[: -len(written) - 1].removesuffix("-linux").removesuffix("_linux"), architecture
    return stem, ""
