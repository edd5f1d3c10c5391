"""What the machine and its system look like to a person."""

from __future__ import annotations

from console.render import print_pairs, when
from console.views.cells import filled, number
from protocol.sections.machine import Cpu, System


def system_view(system: System) -> None:
    print_pairs(
        filled(
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


def cpu_view(cpu: Cpu) -> None:
    load = f"{cpu.load_15m:g} over 15 min" if cpu.load_15m is not None else ""
    print_pairs(
        filled(
            ("model", cpu.model),
            ("cores", f"{number(cpu.cores)}, {number(cpu.threads)} threads"),
            ("frequency", f"{cpu.max_mhz / 1000:.2f} GHz" if cpu.max_mhz else ""),
            ("load", load),
        )
    )
