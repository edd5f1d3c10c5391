"""How much is measured, from the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024
GIB = 1024 * MIB


@dataclass(frozen=True)
class Settings:
    """rounds: of each transfer.  opens: of sessions.  mib: of each transfer.

    keys: sent one by one.  links: of devices at our relay.  peer_links: at sshd's, where each is processes.
    idle_s: how long the CPU of an idle device is watched.  meshcentral: 0 leaves it out.
    output: the rows; what the machine was goes beside it.
    """

    rounds: int = 3
    opens: int = 9
    mib: int = 512
    keys: int = 1000
    links: int = 2000
    peer_links: int = 50
    idle_s: int = 30
    meshcentral: int = 1
    output: Path = Path("var/bench.json")

    @property
    def machine(self) -> Path:
        return self.output.with_name(f"{self.output.stem}-machine.json")

    @property
    def size(self) -> int:
        return self.mib * MIB

    @classmethod
    def of_environment(cls) -> Settings:
        """AUXILIO_BENCH_ROUNDS, _OPENS, _MIB, _KEYS, _LINKS, _PEER_LINKS, _IDLE_S, _MESHCENTRAL and _OUTPUT."""
        given = {name: os.environ.get(f"AUXILIO_BENCH_{name.upper()}") for name in cls.__dataclass_fields__}
        numbers = {name: int(value) for name, value in given.items() if value and name != "output"}
        settings = cls(**numbers, output=Path(given["output"] or cls.output))
        if min((number for name, number in numbers.items() if name != "meshcentral"), default=1) < 1:
            raise ValueError("AUXILIO_BENCH_...: at least 1 of everything but of MESHCENTRAL")
        return settings
