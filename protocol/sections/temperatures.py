"""The section on heat: sensors, fans, and whether the processor was slowed down to stay cool."""

from __future__ import annotations

from protocol.codec import Record
from protocol.sections.base import Count, Section
from protocol.sections.health import Celsius


class Sensor(Record, frozen=True, kw_only=True):
    """chip: its driver, "coretemp".  label: of the place, "Package id 0", or "".  celsius: coarse.

    high_c, critical_c: from where on its maker calls it hot, and where it switches off; None where it does not say.
    """

    chip: str
    label: str = ""
    celsius: Celsius
    high_c: Celsius | None = None
    critical_c: Celsius | None = None


class Fan(Record, frozen=True, kw_only=True):
    """turns: whether it does or has done; many stand still while it is cool.  fault: its chip says that it is broken
    or stuck."""

    chip: str
    label: str = ""
    turns: bool | None = None
    fault: bool = False


class Temperatures(Section, frozen=True, kw_only=True):
    """throttled: how often the processor was slowed down for its heat since the start, coarse.

    under_voltage: the power supply is too weak, now or since the start; None where nothing watches it.
    """

    sensors: tuple[Sensor, ...] = ()
    fans: tuple[Fan, ...] = ()
    throttled: Count | None = None
    under_voltage: bool | None = None
