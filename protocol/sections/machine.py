"""The sections on the machine itself and its system."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from protocol.sections.base import Count, Instant, Section


class System(Section, frozen=True, kw_only=True):
    """The machine and its system. booted_at: Unix seconds, to the minute; uptime is the time since.

    os_id, os_version: of os-release ("debian", "12"); os_name: for people.  family: linux, windows, macos.
    vendor, model: of the machine, from its firmware.  virtual: the container or hypervisor as systemd-detect-virt(1)
    names it, "unknown" where there is one without a name, "" where there is no sign of any.
    timezone: as in the tz database, "Europe/Madrid".  agent: its version.
    """

    hostname: str = ""
    family: str = ""
    os_id: str = ""
    os_version: str = ""
    os_name: str = ""
    os_like: tuple[str, ...] = ()
    kernel: str = ""
    architecture: str = ""
    vendor: str = ""
    model: str = ""
    virtual: str = ""
    timezone: str = ""
    booted_at: Instant | None = None
    agent: str = ""


class Cpu(Section, frozen=True, kw_only=True):
    """cores: physical.  threads: logical.  max_mhz: megahertz, the most that the system allows, else as it is rated.
    load_15m: runnable threads over 15 minutes, coarse."""

    model: str = ""
    cores: Count | None = None
    threads: Count | None = None
    max_mhz: Count | None = None
    load_15m: Annotated[float, Meta(ge=0, le=1e6)] | None = None
