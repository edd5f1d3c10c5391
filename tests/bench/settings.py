"""How much is measured, from the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024
GIB = 1024 * MIB
PARTS = (
    "idle",
    "reports",
    "opening",
    "keys",
    "bulk",
    "copies",
    "devices",
    "storm",
    "inventory",
    "asked",
    "survival",
    "meshcentral",
)


@dataclass(frozen=True)
class Settings:
    """rounds: of each transfer.  opens: of sessions.  mib: of each transfer.

    keys: sent one by one.  links: of devices at our relay.  peer_links: at sshd's, where each is processes.
    storm: devices that come back at once.  stalled_mib: sent to somebody who does not read.
    inventory_devices, inventory_packages: devices that report what they have installed, and how much that is.
    asked_devices, asked_packages: of a fleet that questions are asked of.
    idle_s: how long the CPU of an idle device is watched.  quiet_s: the same, for what an hour of it costs.
    only: which parts.
    output: the rows; what the machine was goes beside it.
    """

    rounds: int = 3
    opens: int = 9
    mib: int = 512
    keys: int = 1000
    links: int = 2000
    peer_links: int = 50
    storm: int = 5000
    inventory_devices: int = 10_000
    inventory_packages: int = 1500
    asked_devices: int = 10_000
    asked_packages: int = 2000
    stalled_mib: int = 1024
    idle_s: int = 30
    quiet_s: int = 180
    only: tuple[str, ...] = PARTS
    output: Path = Path("var/bench.json")

    @property
    def machine(self) -> Path:
        return self.output.with_name(f"{self.output.stem}-machine.json")

    @property
    def size(self) -> int:
        return self.mib * MIB

    @classmethod
    def of_environment(cls) -> Settings:
        """Each is AUXILIO_BENCH_ and its name in capitals; ONLY is words. Raises ValueError."""
        given = {name: os.environ.get(f"AUXILIO_BENCH_{name.upper()}") for name in cls.__dataclass_fields__}
        numbers = {name: int(value) for name, value in given.items() if value and name not in ("output", "only")}
        only = tuple((given["only"] or "").split()) or PARTS
        settings = cls(**numbers, only=only, output=Path(given["output"] or cls.output))
        if min(numbers.values(), default=1) < 1 or not set(only) <= set(PARTS):
            raise ValueError(f"AUXILIO_BENCH_...: at least 1 of everything; ONLY some of: {' '.join(PARTS)}")
        return settings
