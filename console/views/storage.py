"""What disks and what is mounted look like to a person."""

from __future__ import annotations

from console.render import print_table, size
from console.views.cells import percent_of
from protocol.sections.storage import Storage


def storage_view(storage: Storage) -> None:
    kinds = {True: "hard disk", False: "solid state", None: "-"}
    print_table(
        ("disk", "model", "size", "kind"),
        [
            (d.name, d.model, size(d.size), kinds[d.rotational] + (", removable" if d.removable else ""))
            for d in storage.disks
        ],
    )
    print()
    print_table(
        ("mounted at", "device", "type", "size", "free", ""),
        [
            (
                f.mount,
                f.device,
                f.type,
                size(f.size),
                f"{size(f.available)}{percent_of(f.available, f.size)}",
                _filesystem_note(f.read_only, f.inodes_used_percent),
            )
            for f in storage.filesystems
        ],
    )


def _filesystem_note(read_only: bool, inodes_percent: int | None) -> str:
    notes = ["read-only"] if read_only else []
    if inodes_percent is not None and inodes_percent >= 90:
        notes.append(f"{inodes_percent} % of inodes used")
    return ", ".join(notes)
