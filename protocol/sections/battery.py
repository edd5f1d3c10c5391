"""The section on the battery."""

from __future__ import annotations

from protocol.codec import Record
from protocol.sections.base import Count, Percent, Section


class Cell(Record, frozen=True, kw_only=True):
    """One battery. percent: of what it holds now when full, coarse.  state: charging, discharging, full, idle or "".

    health_percent: what it holds when full, of what it was built for; a new one may have more than 100.
    cycles: None where it does not count them.  condition: the system's own word: good, service (to be replaced), "".
    """

    name: str
    model: str = ""
    percent: Percent | None = None
    state: str = ""
    health_percent: Count | None = None
    cycles: Count | None = None
    condition: str = ""


class Battery(Section, frozen=True, kw_only=True):
    """The machine's own, not its mouse's. present: False on a machine without one.  mains: whether it is plugged in,
    None where unknown, and where there is no battery."""

    present: bool = False
    mains: bool | None = None
    cells: tuple[Cell, ...] = ()
