"""What is installed, to a person."""

from __future__ import annotations

from collections import Counter

from console.render import print_pairs, print_table, size, when
from protocol.sections.software import Package, Software


def software_view(software: Software) -> None:
    print_table(
        ("package", "version", "architecture", "from", "by", "installed", "size"),
        [
            (p.name, p.version or "-", p.architecture, _origin(p), p.vendor, _day(p), size(p.size_kib * 1024))
            for p in software.packages
        ],
    )
    counted = Counter(package.system for package in software.packages)
    systems = ", ".join(f"{system} {counted[system]}" for system in software.systems) or "no packaging system"
    print_pairs([("packages", f"{len(software.packages)} ({systems})")])


def _origin(package: Package) -> str:
    """The packaging system, and what it has the package from where that says more."""
    tells = package.system in ("flatpak", "snap", "homebrew", "files", "macos") and package.source
    return f"{package.system} {package.source}" if tells else package.system


def _day(package: Package) -> str:
    return when(package.installed_at)[:10] if package.installed_at else ""
