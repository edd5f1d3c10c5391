"""What a device's sections look like to a person. Every value is the device's own word, escaped by render.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from console.render import print_pairs, print_table, size, when
from protocol.report import (
    Battery,
    Cpu,
    Memory,
    Network,
    Section,
    Software,
    Storage,
    System,
)


def print_section(section: Section) -> None:
    """Print one section, and what the device could not find out."""
    view = VIEWS.get(type(section))
    if view is None:
        print("this release does not know the section; --json shows it")
    else:
        view(section)
    for source, reason in section.unavailable.items():
        print_pairs([("not available", f"{source}: {reason}")])


def _system(system: System) -> None:
    print_pairs(
        _filled(
            ("host name", system.hostname),
            ("system", system.os_name or f"{system.os_id} {system.os_version}".strip()),
            ("kernel", f"{system.kernel} {system.architecture}".strip()),
            ("machine", f"{system.vendor} {system.model}".strip()),
            ("virtual", system.virtual),
            ("time zone", system.timezone),
            ("booted", when(system.booted_at) if system.booted_at else ""),
            ("agent", system.agent),
        )
    )


def _cpu(cpu: Cpu) -> None:
    load = f"{cpu.load_15m:g} over 15 min" if cpu.load_15m is not None else ""
    print_pairs(
        _filled(
            ("model", cpu.model),
            ("cores", f"{_number(cpu.cores)}, {_number(cpu.threads)} threads"),
            ("frequency", f"{cpu.max_mhz / 1000:.2f} GHz" if cpu.max_mhz else ""),
            ("load", load),
        )
    )


def _memory(memory: Memory) -> None:
    print_pairs(
        [
            ("total", size(memory.total)),
            ("available", f"{size(memory.available)}{_percent(memory.available, memory.total)}"),
            ("swap", f"{size(memory.swap_used)} used of {size(memory.swap_total)}" if memory.swap_total else "none"),
        ]
    )


def _storage(storage: Storage) -> None:
    kinds = {True: "hard disk", False: "solid state", None: "-"}
    print_table(
        ("disk", "model", "size", "kind"),
        [
            (d.name, d.model, size(d.size), kinds[d.rotational] + (", removable" if d.removable else ""))
            for d in storage.disks
        ],
    )
    print()
    print_table(
        ("mounted at", "device", "type", "size", "free", ""),
        [
            (
                f.mount,
                f.device,
                f.type,
                size(f.size),
                f"{size(f.available)}{_percent(f.available, f.size)}",
                _filesystem_note(f.read_only, f.inodes_used_percent),
            )
            for f in storage.filesystems
        ],
    )


def _filesystem_note(read_only: bool, inodes_percent: int | None) -> str:
    notes = ["read-only"] if read_only else []
    if inodes_percent is not None and inodes_percent >= 90:
        notes.append(f"{inodes_percent} % of inodes used")
    return ", ".join(notes)


def _network(network: Network) -> None:
    print_table(
        ("interface", "kind", "state", "addresses", "MAC", "speed"),
        [
            (
                i.name,
                i.kind,
                "up" if i.up else "down",
                " ".join(i.addresses),
                i.mac,
                f"{i.speed_mbps} Mbit/s" if i.speed_mbps else "-",
            )
            for i in network.interfaces
        ],
    )
    print_pairs(
        [
            *((f"default IPv{r.family}", f"{r.gateway or 'direct'} by {r.interface}") for r in network.default_routes),
            ("DNS", " ".join(network.dns_servers) or "-"),
            *_filled(("search", " ".join(network.search_domains))),
        ]
    )


def _software(software: Software) -> None:
    print_table(
        ("package", "version", "architecture", "size"),
        [(p.name, p.version, p.architecture, size(p.size_kib * 1024)) for p in software.packages],
    )
    systems = ", ".join(software.systems) or "no packaging system"
    print_pairs([("packages", f"{len(software.packages)} ({systems})")])


def _battery(battery: Battery) -> None:
    if not battery.present:
        print("no battery")
    for cell in battery.cells:
        print_pairs(
            _filled(
                ("battery", f"{cell.name} {cell.model}".strip()),
                ("charge", f"{_number(cell.percent)} % {cell.state}".strip()),
                ("health", f"{cell.health_percent} % of new" if cell.health_percent is not None else ""),
                ("cycles", str(cell.cycles) if cell.cycles is not None else ""),
            )
        )
    if battery.mains is not None:
        print_pairs([("mains", "plugged in" if battery.mains else "not plugged in")])


VIEWS: Mapping[type[Section], Callable[[Any], None]] = {
    System: _system,
    Cpu: _cpu,
    Memory: _memory,
    Storage: _storage,
    Network: _network,
    Software: _software,
    Battery: _battery,
}


def _filled(*pairs: tuple[str, str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in pairs if value]


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _percent(part: int | None, whole: int | None) -> str:
    return f" ({100 * part // whole} %)" if part is not None and whole else ""
