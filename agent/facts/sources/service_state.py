"""Sources on services and the clock."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import msgspec

from agent.facts.parsers.service_lists import (
    SERVICE_STATES,
    Unit,
    failed_service,
    parse_plain_units,
    parse_sc_query,
    parse_show,
    parse_units,
)
from agent.facts.source import LINUX, Missing, Source
from agent.facts.sources.command import run
from protocol.sections.services import FailedService

BOOTED = Path("/run/systemd/system")
"""There while systemd is the system's manager. sd_booted(3)."""

ASK_S = 8.0
PROPERTIES = "Id,Description,Result,ExecMainStatus,StateChangeTimestamp,NRestarts"
SYNCHRONISED_BELOW_US = 16_000_000
"""Of the kernel's estimate of its clock's error: as systemd-timedated says "synchronized"."""

_TIMEX = "@Illlli"
_TIMEX_BYTES = 256
"""struct timex is 208 bytes on 64-bit Linux."""


class ServiceState(msgspec.Struct, frozen=True):
    state: str = ""
    failed: tuple[FailedService, ...] = ()
    restarting: tuple[FailedService, ...] = ()


def _systemd() -> ServiceState:
    if not BOOTED.exists():
        raise Missing("systemd does not run here")
    return read_systemd()


def read_systemd() -> ServiceState:
    """Two programs; three where something has failed. Raises Missing."""
    told = run("systemctl", "show", "-p", "SystemState", deadline_s=ASK_S)
    if told.status != 0:
        raise Missing(told.fault or "systemd does not answer")
    state = told.text.partition("SystemState=")[2].strip()
    units = _units()
    details: dict[str, dict[str, str]] = {}
    if units:
        names = [unit.name for unit in units]
        show = run("systemctl", "show", "--timestamp=unix", "-p", PROPERTIES, "--", *names, deadline_s=ASK_S)
        details = parse_show(show.text)
    services = [(unit.waits, failed_service(unit, details.get(unit.name, {}))) for unit in units]
    return ServiceState(
        state=state if state in SERVICE_STATES else "",
        failed=tuple(service for waits, service in services if not waits),
        restarting=tuple(service for waits, service in services if waits),
    )


def _units() -> tuple[Unit, ...]:
    """Those that failed, and those that wait for being started again."""
    words = ("list-units", "--all", "--state=failed,auto-restart", "--no-pager")
    listed = run("systemctl", *words, "--output=json", deadline_s=ASK_S)
    units = parse_units(listed.output)
    if units is None:
        units = parse_plain_units(run("systemctl", *words, "--plain", "--no-legend", deadline_s=ASK_S).text)
    return units


def _windows() -> ServiceState:
    listed = run("sc", "queryex", "type=", "service", "state=", "inactive", deadline_s=ASK_S)
    return ServiceState(failed=parse_sc_query(listed.output.decode("mbcs" if os.name == "nt" else "utf-8", "replace")))


def _clock_synchronised() -> bool:
    """adjtimex(2), asking only: what `timedatectl` shows as "System clock synchronized", without D-Bus."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    if libc.adjtimex(timex) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    _, _, _, max_error_us, _, _ = struct.unpack_from(_TIMEX, timex.raw)
    return bool(0 <= max_error_us < SYNCHRONISED_BELOW_US)


SYSTEMD = Source(name="systemd", ask=_systemd, platforms=LINUX, program="systemctl", deadline_s=3 * ASK_S)
WINDOWS = Source(name="services", ask=_windows, platforms=frozenset({"win32"}), program="sc", deadline_s=ASK_S + 2)
CLOCK = Source(name="adjtimex", ask=_clock_synchronised, platforms=LINUX)
