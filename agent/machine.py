"""Which machine a device's state belongs to. Pure."""

from __future__ import annotations

import msgspec


class Machine(msgspec.Struct, frozen=True):
    """Hashes of ids (platform.this_machine); "" for what is not known.

    id: of the installation, machine-id(5).  hardware: of the machine in its firmware.
    """

    id: str = ""
    hardware: str = ""

    def is_another(self, kept: Machine) -> bool:
        """Whether anything that is known of both differs. What one of them does not know says nothing."""
        pairs = ((self.id, kept.id), (self.hardware, kept.hardware))
        return any(a and b and a != b for a, b in pairs)
