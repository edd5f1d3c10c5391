"""The section on memory."""

from __future__ import annotations

from protocol.sections.base import Count, Section


class Memory(Section, frozen=True, kw_only=True):
    """Bytes. total and swap_total are exact, available and swap_used coarse.

    available: what programs may still take without swapping.
    """

    total: Count | None = None
    available: Count | None = None
    swap_total: Count | None = None
    swap_used: Count | None = None

    @property
    def used(self) -> int | None:
        """Bytes, as free(1) counts them: total without available."""
        if self.total is None or self.available is None:
            return None
        return max(0, self.total - self.available)
