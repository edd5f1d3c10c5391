"""Where sessions write what happened, for the device's own append-only log."""

from __future__ import annotations

from typing import Protocol


class Journal(Protocol):
    def record(self, event: str, **fields: object) -> None:
        """Append an entry. Never raises: a full disk is what a session may be there to repair."""
