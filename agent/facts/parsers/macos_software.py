"""What is installed on macOS: applications as system_profiler(8) lists them, and installers' receipts, pkgutil(1)."""

from __future__ import annotations

import plistlib
import re
from collections.abc import Iterator
from typing import Any

from agent.facts.parsers.installed import Installed, listed, value, vendor
from agent.facts.parsers.instants import moment
from protocol.sections.software import Package

INTERNAL = "/System/Library/"
"""Hundreds of programs that people never start; they are the system, and have its version."""

ARCHITECTURES = {
    "arch_arm_i64": "universal",
    "arch_i32_i64": "universal",
    "universal": "universal",
    "arch_arm": "arm64",
    "apple silicon": "arm64",
    "arch_i64": "x86_64",
    "intel": "x86_64",
    "arch_i32": "i386",
}
_SIGNER = re.compile(r"[^:]+: (.+?)(?: \([A-Z0-9]{10}\))?\Z")
_NAME = re.compile(r"    (\S.*):\Z")
_FIELD = re.compile(r"      (\S[^:]*): (.*)\Z")
_RECEIPT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


def parse_applications(data: bytes) -> Installed:
    """`system_profiler -xml SPApplicationsDataType`, or its text, which has no dates that are the same everywhere."""
    if b"<plist" in data[:1024] or data[:8] == b"bplist00":
        return listed(_applications(_plist(data)))
    return listed(_text_applications(data.decode("utf-8", "replace")))


def _plist(data: bytes) -> Any:
    try:
        return plistlib.loads(data)
    except Exception:  # plistlib raises a dozen kinds on what is no property list
        return None


def _applications(tree: object) -> Iterator[Package | None]:
    for part in tree if isinstance(tree, list) else []:
        items = part.get("_items") if isinstance(part, dict) else None
        for item in items if isinstance(items, list) else []:
            if isinstance(item, dict):
                yield _application(item)


def _application(item: dict[str, Any]) -> Package | None:
    if value(item.get("path")).startswith(INTERNAL):
        return None
    origin = value(item.get("obtained_from"))
    signers = item.get("signed_by")
    match = _SIGNER.match(value(signers[0])) if isinstance(signers, list) and signers else None
    return Package(
        name=value(item.get("_name")),
        version=value(item.get("version")),
        architecture=ARCHITECTURES.get(value(item.get("arch_kind")), ""),
        source=origin,
        vendor="Apple" if origin == "apple" else vendor(match[1] if match else ""),
        system="macos",
        installed_at=moment(item.get("lastModified")),
    )


def _text_applications(text: str) -> Iterator[Package | None]:
    name = ""
    fields: dict[str, str] = {}
    for line in [*text.splitlines(), "    end:"]:
        if match := _NAME.match(line):
            if name and not fields.get("location", "").startswith(INTERNAL):
                kind = fields.get("kind", "").lower()
                source = fields.get("obtained from", "").lower().replace(" ", "_")
                yield Package(
                    name=name,
                    version=fields.get("version", ""),
                    architecture=ARCHITECTURES.get(kind, ""),
                    source=source,
                    vendor="Apple" if source == "apple" else "",
                    system="macos",
                )
            name, fields = value(match[1]), {}
        elif match := _FIELD.match(line):
            fields.setdefault(match[1].lower(), value(match[2]))


def parse_receipt(data: bytes) -> Package | None:
    """A property list of /var/db/receipts: what an installer put there."""
    tree = _plist(data)
    if not isinstance(tree, dict):
        return None
    name = value(tree.get("PackageIdentifier"))
    if not _RECEIPT_NAME.match(name):
        return None
    return Package(
        name=name,
        version=value(tree.get("PackageVersion")),
        source=value(tree.get("InstallProcessName")),
        system="pkgutil",
        installed_at=moment(tree.get("InstallDate")),
    )
