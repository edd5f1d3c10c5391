"""Findings on what runs and what went wrong lately: heat, services, the kernel's log, crashes, printers, the clock."""

from __future__ import annotations

from collections.abc import Iterator

from agent.findings.known import Known
from protocol.sections.devices import Devices, Printer
from protocol.sections.events import Event, Events
from protocol.sections.findings import Finding, Severity
from protocol.sections.machine import System
from protocol.sections.memory import Memory
from protocol.sections.services import Services
from protocol.sections.startup import Startup
from protocol.sections.temperatures import Temperatures

DAY_S, HOUR_S = 86_400, 3600
MIB = 1024 * 1024

PROCESSOR_CHIPS = frozenset(
    {"acpitz", "bigcore0_thermal", "coretemp", "cpu-thermal", "cpu_thermal", "k10temp", "soc_thermal", "x86_pkg_temp"}
    | {"zenpower"}
)
"""Whose sensors are in the processor, or beside it. Those of a board's other places are named by nobody."""

IMPORTANT_SERVICES = frozenset(
    {"NetworkManager", "accounts-daemon", "bluetooth", "connman", "cups", "dbus", "dbus-broker", "display-manager"}
    | {"gdm", "gdm3", "iwd", "lightdm", "ModemManager", "networking", "nginx", "apache2", "postgresql", "mariadb"}
    | {"polkit", "sddm", "ssh", "sshd", "systemd-logind", "systemd-networkd", "systemd-resolved", "systemd-timesyncd"}
    | {"systemd-udevd", "udisks2", "wpa_supplicant", "pipewire", "winmgmt", "Spooler", "Dnscache", "Dhcp", "wuauserv"}
)
"""Without them something stops working that people notice: network, login, desktop, printing, what is served."""

RATE_FROM_S = HOUR_S
"""A rate is none before the machine has run for an hour."""


# -- heat and power ---------------------------------------------------------------------------------------------------


def too_hot(known: Known) -> Iterator[Finding]:
    limits = known.thresholds
    for sensor in known.of(Temperatures).sensors:
        if sensor.chip not in PROCESSOR_CHIPS:
            continue
        critical = sensor.critical_c
        limit = critical - limits.too_hot_margin_c if critical is not None else limits.too_hot_c
        if sensor.celsius >= limit:
            yield Finding(
                code="too-hot",
                severity="warning",
                subject=sensor.label or sensor.chip,
                evidence={"celsius": sensor.celsius},
            )


def slowed_down(known: Known) -> Iterator[Finding]:
    throttled, booted_at = known.of(Temperatures).throttled, known.of(System).booted_at
    if not throttled or booted_at is None or known.now - booted_at < RATE_FROM_S:
        return
    hours = (known.now - booted_at) / HOUR_S
    if throttled / hours >= known.thresholds.throttled_per_hour:
        yield Finding(
            code="throttled", severity="warning", evidence={"count": throttled, "per_hour": round(throttled / hours)}
        )


def broken_fans(known: Known) -> Iterator[Finding]:
    for fan in known.of(Temperatures).fans:
        if fan.fault:
            yield Finding(code="fan-broken", severity="error", subject=fan.label or fan.chip)


def weak_power(known: Known) -> Iterator[Finding]:
    if known.of(Temperatures).under_voltage or any(_recent(known, "under-voltage")):
        yield Finding(code="under-voltage", severity="warning")


# -- services ---------------------------------------------------------------------------------------------------------


def failed_services(known: Known) -> Iterator[Finding]:
    others = []
    for service in known.of(Services).failed:
        if _plain(service.name) in IMPORTANT_SERVICES:
            yield Finding(
                code="service-failed",
                severity="warning",
                subject=service.name,
                evidence={"title": service.title or service.name, "result": service.result or "failed"},
            )
        else:
            others.append(service.name)
    if others:
        yield Finding(code="services-failed", severity="info", evidence={"count": len(others), "first": others[0]})


def _plain(name: str) -> str:
    """The name without type and instance: "ssh" of "ssh.service", and of "ssh@1.service"."""
    return name.removesuffix(".service").partition("@")[0]


def restarted_services(known: Known) -> Iterator[Finding]:
    services = known.of(Services)
    for service in (*services.restarting, *services.failed):
        if service.restarts is not None and service.restarts >= known.thresholds.service_restarts:
            yield Finding(
                code="service-restarting",
                severity="warning",
                subject=service.name,
                evidence={"title": service.title or service.name, "count": service.restarts},
            )


def clock_left_alone(known: Known) -> Iterator[Finding]:
    """A virtual machine may have its host's clock; then nobody synchronises it, and it is right."""
    if known.of(Services).clock_synchronised is False and not known.of(System).virtual and known.of(System).family:
        yield Finding(code="clock-unsynchronised", severity="info")


# -- what went wrong lately -------------------------------------------------------------------------------------------


def _recent(known: Known, kind: str) -> Iterator[Event]:
    since = known.now - known.thresholds.events_days * DAY_S
    return (event for event in known.of(Events).events if event.kind == kind and event.last_at >= since)


def memory_ran_out(known: Known) -> Iterator[Finding]:
    for event in _recent(known, "oom"):
        yield Finding(code="memory-ran-out", severity="warning", subject=event.subject, evidence={"count": event.count})
    for event in _recent(known, "oom-limit"):
        yield Finding(code="memory-limit", severity="info", subject=event.subject, evidence={"count": event.count})


def logged_disk_errors(known: Known) -> Iterator[Finding]:
    for event in _recent(known, "disk"):
        yield Finding(code="disk-errors", severity="warning", subject=event.subject, evidence={"count": event.count})
    for event in _recent(known, "filesystem"):
        yield Finding(
            code="filesystem-errors", severity="error", subject=event.subject, evidence={"count": event.count}
        )


def hardware_faults(known: Known) -> Iterator[Finding]:
    if count := sum(event.count for event in _recent(known, "machine-check")):
        yield Finding(code="machine-check", severity="warning", evidence={"count": count})
    for event in _recent(known, "graphics"):
        yield Finding(code="graphics-fault", severity="warning", subject=event.subject, evidence={"count": event.count})
    for event in _recent(known, "wifi"):
        yield Finding(code="wifi-firmware", severity="warning", subject=event.subject, evidence={"count": event.count})
    for event in _recent(known, "usb"):
        if event.count >= known.thresholds.usb_errors:
            yield Finding(code="usb-faulty", severity="info", subject=event.subject, evidence={"count": event.count})


def overloaded_ports(known: Known) -> Iterator[Finding]:
    ports = {*known.of(Devices).over_current, *(event.subject for event in _recent(known, "usb-power"))}
    for port in sorted(ports):
        yield Finding(code="usb-overload", severity="warning", subject=port)


def kernel_faults(known: Known) -> Iterator[Finding]:
    if count := sum(event.count for event in _recent(known, "kernel")):
        yield Finding(code="kernel-fault", severity="warning", evidence={"count": count})
    if count := sum(event.count for event in _recent(known, "hang")):
        yield Finding(code="system-stalls", severity="warning", evidence={"count": count})
    events = known.of(Events)
    since = known.now - known.thresholds.events_days * DAY_S
    if events.kernel_dumps and events.kernel_dump_at is not None and events.kernel_dump_at >= since:
        yield Finding(code="kernel-crashed", severity="error", evidence={"count": events.kernel_dumps})


def crashing_programs(known: Known) -> Iterator[Finding]:
    for event in _recent(known, "crash"):
        if event.count >= known.thresholds.crashes:
            yield Finding(
                code="program-crashes", severity="warning", subject=event.subject, evidence={"count": event.count}
            )


def unclean_starts(known: Known) -> Iterator[Finding]:
    count = known.of(Events).unclean_starts
    if count is not None and count >= known.thresholds.unclean_starts:
        yield Finding(code="starts-unclean", severity="warning", evidence={"count": count})


# -- what people use --------------------------------------------------------------------------------------------------

_PRINTER_REASONS = {
    "media-empty": "paper",
    "media-needed": "paper",
    "media-jam": "jam",
    "toner-empty": "ink",
    "toner-low": "ink",
    "marker-supply-empty": "ink",
    "marker-supply-low": "ink",
    "door-open": "open",
    "cover-open": "open",
    "interlock-open": "open",
    "offline": "away",
    "timed-out": "away",
}
"""RFC 8011, 5.4.12, and PWG 5100.9; without -error, -warning and -report."""

_ENDS = ("-error", "-warning", "-report")


def printers(known: Known) -> Iterator[Finding]:
    for printer in known.of(Devices).printers:
        ails = _ails(printer)
        if "jam" in ails:
            yield Finding(code="printer-jam", severity="warning", subject=printer.name)
        elif "paper" in ails:
            yield Finding(code="printer-paper", severity="warning", subject=printer.name)
        elif "open" in ails:
            yield Finding(code="printer-open", severity="warning", subject=printer.name)
        elif "away" in ails:
            yield Finding(code="printer-away", severity="warning", subject=printer.name)
        elif printer.state == "stopped" or printer.accepting is False:
            yield Finding(
                code="printer-stopped",
                severity="warning",
                subject=printer.name,
                evidence={"reasons": ", ".join(printer.reasons) or "paused", "waiting": printer.waiting},
            )
        if "ink" in ails:
            yield Finding(code="printer-ink", severity=_ink_severity(printer), subject=printer.name)


def _ails(printer: Printer) -> set[str]:
    plain = (reason.rsplit("-", 1)[0] if reason.endswith(_ENDS) else reason for reason in printer.reasons)
    return {_PRINTER_REASONS[reason] for reason in plain if reason in _PRINTER_REASONS}


def _ink_severity(printer: Printer) -> Severity:
    return "warning" if any("empty" in reason for reason in printer.reasons) else "info"


def waiting_jobs(known: Known) -> Iterator[Finding]:
    for printer in known.of(Devices).printers:
        if printer.waiting >= known.thresholds.printer_waiting:
            yield Finding(
                code="printer-queue", severity="info", subject=printer.name, evidence={"count": printer.waiting}
            )


def no_swap(known: Known) -> Iterator[Finding]:
    memory = known.of(Memory)
    small = memory.total is not None and memory.total < known.thresholds.swap_wanted_mib * MIB
    if small and memory.swap_total == 0 and not known.of(System).virtual and known.of(System).family == "linux":
        yield Finding(code="swap-missing", severity="info")


def much_at_startup(known: Known) -> Iterator[Finding]:
    programs = [one for one in known.of(Startup).programs if one.enabled and one.how in ("autostart", "run")]
    if len(programs) >= known.thresholds.startup_programs:
        yield Finding(code="startup-many", severity="info", evidence={"count": len(programs)})


RULES = (
    too_hot,
    slowed_down,
    broken_fans,
    weak_power,
    failed_services,
    restarted_services,
    clock_left_alone,
    memory_ran_out,
    logged_disk_errors,
    hardware_faults,
    overloaded_ports,
    kernel_faults,
    crashing_programs,
    unclean_starts,
    printers,
    waiting_jobs,
    no_swap,
    much_at_startup,
)
