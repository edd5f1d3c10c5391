"""What is installed on Windows, from its registry: programs with an uninstaller, packages of the store, fixes.

Source: Microsoft, "Uninstall Registry Key"; "Package identity" (package full name); Win32_QuickFixEngineering.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from agent.facts.parsers.installed import MAX_SIZE_KIB, Installed, count, listed, value, vendor
from agent.facts.parsers.instants import day_instant, us_day_instant
from agent.facts.parsers.windows_registry import Key
from protocol.sections.software import Package

UNINSTALL = "\\microsoft\\windows\\currentversion\\uninstall\\"

_PATCHES = frozenset({"update", "hotfix", "security update", "service pack"})
_FULL_NAME = re.compile(r"([A-Za-z0-9.-]+)_(\d+(?:\.\d+){1,3})_([a-z0-9]+)_([^_\\]*)_([0-9a-z]{13})\Z")
_BLOCK_FIELD = re.compile(r"\s*([A-Za-z_]+)\s*:\s?(.*)\Z")
_KB = re.compile(r"KB\d{5,8}\Z")


def uninstall_packages(keys: Iterable[Key]) -> Installed:
    """What "Apps and features" lists: not parts of the system, and not patches of something that is listed itself."""
    return listed(_program(key) for key in keys)


def _program(key: Key) -> Package | None:
    path, values = key.path.lower(), key.values
    if UNINSTALL not in path or "\\" in path.split(UNINSTALL, 1)[1]:
        return None
    name = value(values.get("displayname"))
    if not name or values.get("systemcomponent") == 1 or values.get("parentkeyname"):
        return None
    if value(values.get("releasetype")).lower() in _PATCHES:
        return None
    return Package(
        name=name,
        version=value(values.get("displayversion")) or _numbers(values.get("versionmajor"), values.get("versionminor")),
        architecture="x86" if "\\wow6432node\\" in path else "",
        source="msi" if values.get("windowsinstaller") == 1 else "",
        size_kib=count(values.get("estimatedsize"), MAX_SIZE_KIB),
        vendor=vendor(values.get("publisher")),
        system="windows",
        installed_at=day_instant(value(values.get("installdate"))),
    )


def _numbers(major: object, minor: object) -> str:
    return f"{major}.{minor}" if isinstance(major, int) and isinstance(minor, int) else ""


def store_packages(full_names: Iterable[str]) -> Installed:
    """Of Name_Version_Architecture_Resource_Publisher. One with a resource is a language or a resolution of another."""
    return listed(_store_package(name) for name in full_names)


def _store_package(full_name: str) -> Package | None:
    match = _FULL_NAME.match(value(full_name))
    if match is None or match[4] not in ("", "neutral"):
        return None
    architecture = "" if match[3] == "neutral" else match[3]
    return Package(name=match[1], version=match[2], architecture=architecture, source=match[5], system="msix")


def parse_appx_list(text: str) -> Installed:
    """Blocks of "Name : value" lines: `Get-AppxPackage | Format-List`, and what inventories make of it."""
    return listed(_appx(block) for block in blocks(text))


def _appx(fields: dict[str, str]) -> Package | None:
    name, version = fields.get("name", ""), fields.get("version", "")
    if not name or not version:
        return None
    architecture = (fields.get("architecture") or fields.get("arch", "")).lower()
    publisher = fields.get("publisher", "")
    named = re.search(r"(?:\A|, )O=(\"[^\"]+\"|[^,]+)", publisher)  # a certificate's subject: "CN=..., O=..., C=US"
    return Package(
        name=value(name),
        version=value(version),
        architecture="" if architecture == "neutral" else value(architecture),
        source=value(fields.get("publisherid") or fields.get("pubid", "")),
        vendor=vendor(named[1].strip('"') if named else publisher),
        system="msix",
    )


def parse_fixes(text: str) -> Installed:
    """`wmic qfe list /format:list`, `Get-HotFix | Format-List`. XP's files of a fix are lines without its number, which
    then stands beside."""
    return listed(_fix(fields) for fields in blocks(text.replace("=", ":")))


def _fix(fields: dict[str, str]) -> Package | None:
    for name in ("hotfixid", "servicepackineffect"):
        number = value(fields.get(name, ""))
        if _KB.match(number):
            at = us_day_instant(fields.get("installedon", ""))
            return Package(name=number, version="", system="windows-update", installed_at=at)
    return None


def blocks(text: str) -> Iterator[dict[str, str]]:
    """Lines of "name: value" with an empty line after each block, or a name that comes again; names in lower case."""
    fields: dict[str, str] = {}
    for line in text.split("\n"):
        match = _BLOCK_FIELD.match(line)
        if match is None:
            if not line.strip() and fields:
                yield fields
                fields = {}
            continue
        name = match[1].lower()
        if name in fields:
            yield fields
            fields = {}
        fields[name] = value(match[2])
    if fields:
        yield fields
