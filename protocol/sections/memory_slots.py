"""What memory a machine holds, slot by slot: the part of the section on memory that firmware tells."""

from __future__ import annotations

from protocol.codec import Record
from protocol.sections.base import Count

SLOTS, SOLDERED, VIRTUAL = "slots", "soldered", "virtual"
"""How a board takes its memory; "" where nothing says. virtual: a hypervisor gives it, and its slots are drawn."""

NOT_MEMORY = frozenset({"NVDIMM"})
"""Sits in a slot, and keeps what it holds without power: no memory that programs get."""


class MemorySlot(Record, frozen=True, kw_only=True):
    """A slot, or chips on the board. slot, bank: as the firmware calls the place; the slot's name is often printed
    beside it.

    size: bytes; 0 for an empty slot, None where the firmware does not know.  kind: "DDR4", "LPDDR5", "NVDIMM" or "".
    form: "DIMM", "SO-DIMM", "FB-DIMM", "chips" or "".  soldered: it cannot be taken out.
    rated_mts, configured_mts: megatransfers a second, which shops call MHz: what it is sold as, what it runs at.
    ecc: whether it stores check bits.  registered: buffered, as servers' are.
    """

    slot: str = ""
    bank: str = ""
    size: Count | None = None
    kind: str = ""
    form: str = ""
    soldered: bool = False
    rated_mts: Count | None = None
    configured_mts: Count | None = None
    maker: str = ""
    part: str = ""
    ecc: bool | None = None
    registered: bool | None = None
    ranks: Count | None = None

    @property
    def filled(self) -> bool:
        return self.size is None or self.size > 0

    @property
    def silent(self) -> bool:
        """Said to be empty, with a maker and a part number all the same: what sits there did not come up."""
        return self.size == 0 and bool(self.maker and self.part)


class MemoryErrors(Record, frozen=True, kw_only=True):
    """Errors that the memory controller counted since the start. slot: its own name for the place; "" for all."""

    slot: str = ""
    corrected: Count = 0
    uncorrected: Count = 0
