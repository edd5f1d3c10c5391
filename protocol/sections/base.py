"""What every section of a report is made of: the root, and the bounds of its numbers."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from protocol.codec import Record

MAX_SECTION_BYTES = 4 * 1024 * 1024
"""2,000 packages are 250 KiB; ten times the largest machine that we have seen."""

MAX_COUNT = 2**63 - 1
"""Every database holds it, and no device has more of anything."""

Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
"""What is counted or measured: bytes, milliseconds, packages."""

Percent = Annotated[int, Meta(ge=0, le=100)]
Instant = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
"""Unix seconds."""


class Section(Record, frozen=True, kw_only=True):
    """unavailable: what could not be found out, source to reason."""

    unavailable: dict[str, str] = {}
