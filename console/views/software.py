"""What is installed, to a person."""

from __future__ import annotations

from console.render import print_pairs, print_table, size
from protocol.sections.software import Software


def software_view(software: Software) -> None:
    print_table(
        ("package", "version", "architecture", "size"),
        [(p.name, p.version, p.architecture, size(p.size_kib * 1024)) for p in software.packages],
    )
    systems = ", ".join(software.systems) or "no packaging system"
    print_pairs([("packages", f"{len(software.packages)} ({systems})")])
