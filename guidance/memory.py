"""What can be done about a machine's memory, in words: one line that answers, and what of it is not certain. Pure.

    8 GB in one of two slots; takes up to 32 GB; add DDR4 SO-DIMM 2666, non-ECC, up to 16 GB

Everything is the firmware's word, copied from a template more often than not. So its words are held against each
other and against what can be bought, and where they do not fit, that is said.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from guidance.language import DECIMAL_POINT, text_in
from guidance.texts import memory_answer as say
from protocol.sections.memory import Memory
from protocol.sections.memory_slots import SLOTS, SOLDERED, VIRTUAL, MemorySlot

GIB, TIB = 1 << 30, 1 << 40

LARGEST = {"SDRAM": GIB // 2, "DDR": GIB, "DDR2": 4 * GIB, "DDR3": 16 * GIB, "DDR4": 32 * GIB, "DDR5": 64 * GIB}
"""The largest module that people's machines take, by kind: unbuffered DIMM or SO-DIMM."""

LARGEST_OF_SERVERS = {
    "SDRAM": GIB,
    "DDR": 4 * GIB,
    "DDR2": 16 * GIB,
    "DDR3": 64 * GIB,
    "DDR4": 256 * GIB,
    "DDR5": 512 * GIB,
}
"""Registered, load-reduced, fully buffered."""

FASTEST = {"SDRAM": 166, "DDR": 433, "DDR2": 1200}
"""Megatransfers a second, of the old kinds: firmware that says more of one, says the name of another."""

NO_KIND = frozenset({"DRAM", "RAM"})
"""True of all of them, and nothing that a shop sells."""

ROUNDED = {1067: 1066, 1334: 1333, 1867: 1866, 2134: 2133, 2667: 2666, 2934: 2933, 4267: 4266}
"""Megatransfers a second as measured, and as sold."""

MANY_SLOTS = 2
"""More than a laptop has, but for a few workstations."""


class MemoryAnswer(msgspec.Struct, frozen=True):
    """line: what is in it; what it takes; what to add.  doubts: sentences on what of that is not certain."""

    line: str
    doubts: tuple[str, ...] = ()


class Wanted(msgspec.Struct, frozen=True):
    """The module that would fit: "" and None for what is not known, or contradicts itself."""

    kind: str = ""
    form: str = ""
    mts: int | None = None
    ecc: bool | None = None
    registered: bool = False


def memory_answer(memory: Memory, language: str = "en") -> MemoryAnswer | None:
    """None where nothing at all is known. language: of guidance.language.LANGUAGES."""
    speech = _Speech(memory, language)
    parts = speech.parts()
    return MemoryAnswer("; ".join(parts), tuple(speech.doubts())) if parts else None


def wanted_module(memory: Memory) -> Wanted:
    """What the modules that can be taken out have in common."""
    modules = [module for module in memory.modules if not module.soldered] or list(memory.modules)
    kinds, forms = {m.kind for m in modules}, {m.form for m in modules if m.form}
    speeds = [speed for m in modules if (speed := max(m.rated_mts or 0, m.configured_mts or 0))]
    kind = kinds.pop() if len(kinds) == 1 else ""
    if kind in NO_KIND or min(speeds, default=0) > FASTEST.get(kind, 10**6):
        kind = ""
    ecc = {m.ecc for m in modules if m.ecc is not None}
    form = forms.pop() if len(forms) == 1 else ""
    if form == "chips":  # nothing is in the slots; an empty one may name its form
        free = {slot.form for slot in memory.slots if not slot.filled and slot.form}
        form = free.pop() if len(free) == 1 else ""
    return Wanted(
        kind=kind,
        form="" if form == "DIMM" and memory.portable else form,
        mts=ROUNDED.get(min(speeds), min(speeds)) if speeds else None,
        ecc=_agreed(ecc, memory.ecc),
        registered=any(m.registered for m in modules) or form == "FB-DIMM",
    )


def _agreed(modules: set[bool], controller: str) -> bool | None:
    """Whether modules have check bits; None where they differ, or the controller says otherwise."""
    guards = None if not controller else "ECC" in controller
    if not modules:
        return False if guards is False else None
    if len(modules) > 1:
        return None
    has = next(iter(modules))
    return None if guards is not None and guards != has else has


def sold_size(size: int, language: str = "en") -> str:
    """Bytes as memory is sold: GB, meaning what others call GiB."""
    for unit, name in ((TIB, "TB"), (GIB, "GB"), (1 << 20, "MB")):
        if size >= unit or name == "MB":
            text = f"{size / unit:.1f}".removesuffix(".0")
            return f"{text} {name}".replace(".", DECIMAL_POINT.get(language, "."))
    raise AssertionError("unreachable: MB takes the rest")


class _Speech:
    """One answer in the making."""

    def __init__(self, memory: Memory, language: str) -> None:
        self._memory, self._language = memory, language
        self._real = [slot for slot in memory.slots if not slot.soldered]
        self._filled = [slot for slot in self._real if slot.filled]
        self._free = len(self._real) - len(self._filled)
        said = memory.slots_said or 0
        self._hidden = max(0, said - len(memory.slots)) if not self._free else 0
        self._soldered = [module for module in memory.modules if module.soldered]
        self._installed = memory.installed
        self._wanted = wanted_module(memory)

    def _say(self, text: str, **values: str) -> str:
        return text_in(text, self._language).format(**values)

    def _size(self, size: int) -> str:
        return sold_size(size, self._language)

    def _number(self, count: int) -> str:
        return text_in(say.NUMBERS[count], self._language) if count < len(say.NUMBERS) else str(count)

    # -- the line -----------------------------------------------------------------------------------------------------

    def parts(self) -> list[str]:
        memory = self._memory
        size = self._installed if self._installed is not None else memory.total
        if size is None:
            return []
        if memory.board == VIRTUAL:
            return [self._say(say.VIRTUAL, size=self._size(size)), self._say(say.SET_ELSEWHERE)]
        if memory.board == SOLDERED:
            return [self._on_board(size), self._say(say.NOTHING_ADDED)]
        if memory.board != SLOTS or not memory.modules:
            return [self._say(say.ONLY_TOTAL, size=self._size(size)), self._say(say.NOT_KNOWN)]
        return [self._has(size), *self._takes(), *self._adds()]

    def _on_board(self, size: int) -> str:
        kinds = {module.kind for module in self._soldered}
        if len(kinds) == 1 and kinds != {""}:
            return self._say(say.OF_KIND, size=self._size(size), kind=kinds.pop())
        return self._say(say.ON_BOARD, size=self._size(size))

    def _has(self, size: int) -> str:
        if not self._soldered:
            return self._in_slots(size)
        soldered = sum(module.size or 0 for module in self._soldered)
        if not self._filled:
            return self._say(say.ON_BOARD_AND_EMPTY, size=self._size(size), slots=self._number(len(self._real)))
        rest = self._in_slots(max(0, size - soldered))
        return self._say(say.ON_BOARD_AND, size=self._size(soldered), rest=rest)

    def _in_slots(self, size: int) -> str:
        slots, filled = len(self._real) + self._hidden, len(self._filled)
        text = say.IN_SOME if filled < slots else {1: say.IN_ONLY, 2: say.IN_BOTH}.get(slots, say.IN_ALL)
        return self._say(text, size=self._size(size), filled=self._number(filled), slots=self._number(slots))

    def _takes(self) -> Iterator[str]:
        capacity = self._capacity()
        if capacity is not None and self._installed is not None and capacity > self._installed:
            yield self._say(say.TAKES, capacity=self._size(capacity))

    def _adds(self) -> Iterator[str]:
        capacity, module = self._capacity(), self._module()
        if self._free:
            each = self._each()
            if each is None:
                yield self._say(say.ADD, module=module)
            elif self._free == 1:
                yield self._say(say.ADD_UP_TO, module=module, each=self._size(each))
            else:
                yield self._say(say.ADD_UP_TO_EACH, module=module, each=self._size(each))
        elif capacity is not None and capacity == self._installed:
            yield self._say(say.FULL)
        elif self._hidden:
            yield self._say(say.ADD_IF_FREE, module=module)
        else:
            yield self._say(say.REPLACE if self._wanted.kind else say.REPLACE_ALIKE, module=module)

    def _capacity(self) -> int | None:
        """What the firmware says, where it can be so."""
        capacity = self._memory.capacity
        if capacity is None or self._is_absurd(capacity) or capacity < (self._installed or 0):
            return None
        return capacity

    def _largest(self) -> int | None:
        """The largest module of the kind. Servers' where their modules are registered, or may be."""
        wanted = self._wanted
        of_people = wanted.form == "SO-DIMM" or self._memory.portable or (wanted.ecc is False and not wanted.registered)
        return (LARGEST if of_people else LARGEST_OF_SERVERS).get(wanted.kind)

    def _is_absurd(self, capacity: int) -> bool:
        largest = self._largest()
        soldered = sum(module.size or 0 for module in self._soldered)
        return largest is not None and capacity > soldered + largest * (len(self._real) + self._hidden)

    def _each(self) -> int | None:
        """The largest module for a free slot: the capacity shared out among the slots, a power of two."""
        capacity = self._capacity()
        if capacity is None or self._installed is None or capacity <= self._installed:
            return None
        soldered = sum(module.size or 0 for module in self._soldered)
        share = min((capacity - soldered) // len(self._real), (capacity - self._installed) // self._free)
        largest = self._largest()
        share = min(share, largest) if largest is not None else share
        return 1 << share.bit_length() - 1 if share > 0 else None

    def _module(self) -> str:
        """ "DDR4 SO-DIMM 2666, non-ECC"."""
        wanted = self._wanted
        if not wanted.kind:
            return text_in(say.SOME_MODULE, self._language)
        words = " ".join(word for word in (wanted.kind, wanted.form, str(wanted.mts or "")) if word)
        if wanted.ecc is None:
            return words
        if not wanted.ecc:
            return f"{words}, {text_in(say.NON_ECC, self._language)}"
        return f"{words}, {text_in(say.REGISTERED_ECC, self._language) if wanted.registered else 'ECC'}"

    # -- what is not certain ------------------------------------------------------------------------------------------

    def doubts(self) -> Iterator[str]:
        memory = self._memory
        if memory.board == SOLDERED and not memory.slots:
            yield self._say(say.SOLDERED_BY_KIND)
        if memory.board != SLOTS:
            return
        if not memory.modules:
            yield self._say(say.ALL_EMPTY)
            return
        yield from self._doubts_of_capacity()
        yield from self._doubts_of_module()
        slots = self._number(len(memory.slots))
        if memory.portable and len(self._real) > MANY_SLOTS and self._free:
            yield self._say(say.SLOTS_SEEM_MANY, slots=self._number(len(self._real)))
        if memory.slots_said is not None and memory.slots_said > len(memory.slots):
            yield self._say(say.SLOTS_NOT_LISTED, said=self._number(memory.slots_said), slots=slots)
        if memory.empty_sockets and self._free:
            yield self._say(say.SOCKETS_EMPTY)

    def _doubts_of_capacity(self) -> Iterator[str]:
        capacity, installed = self._memory.capacity, self._installed
        if capacity is None:
            yield self._say(say.CAPACITY_NOT_SAID)
            return
        size = self._size(capacity)
        if installed is not None and capacity < installed:
            yield self._say(say.CAPACITY_TOO_SMALL, capacity=size)
        elif self._is_absurd(capacity):
            yield self._say(say.CAPACITY_ABSURD, capacity=size)
        elif installed == capacity and self._free:
            yield self._say(say.CAPACITY_IS_IN, capacity=size)
        else:
            yield self._say(say.CAPACITY_ITS_WORD)

    def _doubts_of_module(self) -> Iterator[str]:
        if not self._wanted.kind:
            yield self._say(say.KIND_NOT_SAID)
        if self._memory.portable and any(_is_dimm(slot) for slot in self._memory.modules):
            yield self._say(say.FORM_OF_A_LAPTOP)
        if self._wanted.ecc is None:
            yield self._say(say.ECC_NOT_CERTAIN)


def _is_dimm(slot: MemorySlot) -> bool:
    return slot.form == "DIMM" and not slot.soldered
