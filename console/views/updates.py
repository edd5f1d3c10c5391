"""What waits to be installed, to a person."""

from __future__ import annotations

from console.render import print_pairs, print_table, size, when
from console.views.cells import filled
from protocol.sections.updates import Update, Updates


def updates_view(updates: Updates) -> None:
    """Security updates first: whoever reads ten lines reads those."""
    ordered = sorted(updates.updates, key=lambda update: not update.security)
    print_table(
        ("update", "installed", "new", "for", "origin", "download"),
        [
            (u.name, u.installed or "-", u.version, _for(u), u.origin, size(u.size_kib * 1024) if u.size_kib else "")
            for u in ordered
        ],
    )
    print_pairs(
        filled(
            ("updates", _counted(updates)),
            ("looked for", ", ".join(f"{when(at)} ({system})" for system, at in sorted(updates.refreshed_at.items()))),
            ("restart", _restart(updates)),
            ("held", ", ".join(updates.held)),
            ("half installed", ", ".join(f"{broken.name} ({broken.state})" for broken in updates.broken)),
        )
    )


def _for(update: Update) -> str:
    return ", ".join(word for word, is_so in (("security", update.security), ("restart", update.restart)) if is_so)


def _counted(updates: Updates) -> str:
    if not updates.systems:
        return "not known"
    return f"{len(updates.updates)}, {len(updates.security)} of them for security ({', '.join(updates.systems)})"


def _restart(updates: Updates) -> str:
    if updates.restart is None:
        return ""
    return f"needed: {', '.join(updates.restart_for)}" if updates.restart else "not needed"
