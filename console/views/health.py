"""What the health of disks and memory, heat, services and events look like to a person."""

from __future__ import annotations

from console.render import print_pairs, print_table, size, when
from console.views.cells import filled
from protocol.sections.events import Events
from protocol.sections.health import DiskHealth, Health
from protocol.sections.services import FailedService, Services
from protocol.sections.temperatures import Temperatures

YEAR_H = 8766


def health_view(health: Health) -> None:
    if health.disks:
        print_table(
            ("disk", "model", "size", "says", "worn", "runs for", "heat", "faults"), [_disk(d) for d in health.disks]
        )


def _disk(disk: DiskHealth) -> tuple[str, ...]:
    says = {True: "well", False: "FAILING", None: "asleep" if disk.asleep else "-"}[disk.passed]
    worn = f"{disk.wear_percent} %" if disk.wear_percent is not None else "-"
    hours = f"{disk.power_on_hours / YEAR_H:.1f} years" if disk.power_on_hours is not None else "-"
    heat = f"{disk.temperature_c} °C" if disk.temperature_c is not None else "-"
    return disk.name, disk.model, size(disk.size), says, worn, hours, heat, ", ".join(_faults(disk))


def _faults(disk: DiskHealth) -> list[str]:
    """What is not as it was when the disk was new."""
    counts = (
        (disk.reallocated, "sectors replaced"),
        (disk.pending, "sectors unreadable"),
        (disk.uncorrectable, "errors for good"),
        (disk.media_errors, "media errors"),
        (disk.crc_errors, "errors of the cable"),
    )
    faults = [f"{count} {words}" for count, words in counts if count]
    if disk.critical_warning:
        faults.append(f"critical warning {disk.critical_warning:#04x}")
    if disk.spare_percent is not None and disk.spare_percent < 100:
        faults.append(f"{disk.spare_percent} % of the reserve left")
    if disk.self_test == "failed":
        faults.append("self-test failed")
    return faults + [f"{name} failing" for name in disk.failing]


def temperatures_view(section: Temperatures) -> None:
    if section.sensors:
        print_table(
            ("sensor", "place", "heat", "hot from", "critical"),
            [
                (s.chip, s.label, _celsius(s.celsius), _celsius(s.high_c), _celsius(s.critical_c))
                for s in section.sensors
            ],
        )
    for fan in section.fans:
        state = "BROKEN" if fan.fault else {True: "turns", False: "stands still", None: "-"}[fan.turns]
        print_pairs([("fan", f"{fan.chip} {fan.label}: {state}")])
    throttled, weak = section.throttled, section.under_voltage
    print_pairs(
        filled(
            ("slowed down", f"{throttled} times since the start" if throttled is not None else ""),
            ("voltage", {True: "too low", False: "enough", None: ""}[weak]),
        )
    )


def _celsius(value: int | None) -> str:
    return f"{value} °C" if value is not None else "-"


def services_view(section: Services) -> None:
    services = [(service, "failed") for service in section.failed]
    services += [(service, "starts again and again") for service in section.restarting]
    if services:
        print_table(("service", "state", "why", "since", "what it is"), [_service(*one) for one in services])
    elif section.manager:
        print("no service has failed")
    clock = {True: "kept right by a time server", False: "not synchronised", None: ""}[section.clock_synchronised]
    print_pairs(filled(("manager", f"{section.manager} {section.state}".strip()), ("clock", clock)))


def _service(service: FailedService, state: str) -> tuple[str, ...]:
    why = " ".join(filter(None, (service.result, str(service.status) if service.status else "")))
    return service.name, state, why or "-", when(service.since_at), service.title


def events_view(section: Events) -> None:
    if section.events:
        print_table(
            ("event", "about", "times", "last"),
            [(e.kind, e.subject, str(e.count), when(e.last_at)) for e in section.events],
        )
    else:
        print("nothing went wrong since the start, as far as it can tell")
    starts, dumps = section.unclean_starts, section.kernel_dumps
    print_pairs(
        filled(
            ("without shutdown", f"{starts}, last {when(section.unclean_start_at)}" if starts else ""),
            ("kernel crashes", f"{dumps}, last {when(section.kernel_dump_at)}" if dumps else ""),
        )
    )
