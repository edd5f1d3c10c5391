"""The section on memory."""

from __future__ import annotations

from protocol.sections.base import Count, Percent, Section
from protocol.sections.memory_slots import NOT_MEMORY, SLOTS, SOLDERED, MemoryErrors, MemorySlot


class Memory(Section, frozen=True, kw_only=True):
    """Bytes. total and swap_total are exact, available and swap_used coarse.

    available: what programs may still take without swapping.
    stalled_percent, stuck_percent: of the last five minutes, coarse: in which some program, or all of them, waited for
    memory (the kernel's pressure stall information).

    board: how it takes its memory, of memory_slots.  portable: by its chassis it is a laptop or a tablet.
    slots: as the firmware lists them; of a virtual machine only the filled ones.  slots_said: how many the firmware
    counts, where that is another number than it lists.  capacity: bytes that it says the board takes.
    ecc: how the controller guards, "none", "parity", "single-bit ECC", "multi-bit ECC", "CRC" or "".
    empty_sockets: of processors; the memory slots beside them do not work.
    errors: None where nobody counts.
    """

    total: Count | None = None
    available: Count | None = None
    swap_total: Count | None = None
    swap_used: Count | None = None
    stalled_percent: Percent | None = None
    stuck_percent: Percent | None = None
    board: str = ""
    portable: bool = False
    slots: tuple[MemorySlot, ...] = ()
    slots_said: Count | None = None
    capacity: Count | None = None
    ecc: str = ""
    empty_sockets: Count = 0
    errors: tuple[MemoryErrors, ...] | None = None

    @property
    def used(self) -> int | None:
        """Bytes, as free(1) counts them: total without available."""
        if self.total is None or self.available is None:
            return None
        return max(0, self.total - self.available)

    @property
    def modules(self) -> tuple[MemorySlot, ...]:
        """What is filled with memory."""
        return tuple(slot for slot in self.slots if slot.filled and slot.kind not in NOT_MEMORY)

    @property
    def installed(self) -> int | None:
        """Bytes in the machine, of which the system sees less; None where not every module's size is known."""
        sizes = [module.size for module in self.modules]
        known = [size for size in sizes if size is not None]
        return sum(known) if known and len(known) == len(sizes) else None

    @property
    def slots_free(self) -> int | None:
        """Empty slots; None where nobody knows: on a virtual machine, and where the firmware hides some, or lists all
        of them as empty, which cannot be."""
        if self.board == SOLDERED:
            return 0
        if self.board != SLOTS or not self.modules:
            return None
        free = sum(not slot.filled for slot in self.slots)
        return None if self.slots_said is not None and self.slots_said > len(self.slots) and not free else free
