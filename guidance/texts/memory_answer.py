"""What is said of a machine's memory: what is in it, what it takes, what to add, and what of that is not certain."""

from __future__ import annotations

from guidance.guidance import N_

NUMBERS = (
    N_("no"),
    N_("one"),
    N_("two"),
    N_("three"),
    N_("four"),
    N_("five"),
    N_("six"),
    N_("seven"),
    N_("eight"),
    N_("nine"),
    N_("ten"),
    N_("eleven"),
    N_("twelve"),
)
"""Of slots. Beyond them, digits."""

IN_SOME = N_("{size} in {filled} of {slots} slots")
IN_ALL = N_("{size} in all {slots} slots")
IN_BOTH = N_("{size} in both slots")
IN_ONLY = N_("{size} in the only slot")
ON_BOARD = N_("{size} soldered to the board")
ON_BOARD_AND_EMPTY = N_("{size} soldered to the board, and nothing in the slots ({slots})")
ON_BOARD_AND = N_("{size} soldered to the board, and {rest}")
OF_KIND = N_("{size} of {kind}, soldered to the board")
VIRTUAL = N_("{size}, given to a virtual machine")
ONLY_TOTAL = N_("{size} that the system sees")

TAKES = N_("takes up to {capacity}")
ADD = N_("add {module}")
ADD_UP_TO = N_("add {module}, up to {each}")
ADD_UP_TO_EACH = N_("add {module}, up to {each} in each free slot")
ADD_IF_FREE = N_("if another slot is free, add {module}")
REPLACE = N_("no slot is free: for more, replace modules by larger ones of {module}")
REPLACE_ALIKE = N_("no slot is free: for more, replace modules by larger ones of the same kind")
FULL = N_("that is all that it takes")
NOTHING_ADDED = N_("nothing can be added")
SET_ELSEWHERE = N_("more is set where the virtual machine is run")
NOT_KNOWN = N_("what its slots hold is not known")

SOME_MODULE = N_("a module of the kind that is in it")
NON_ECC = N_("non-ECC")
REGISTERED_ECC = N_("registered ECC")

CAPACITY_IS_IN = N_(
    "Its firmware says that it takes {capacity} at most, which it has, although a slot is free. That is often wrong: "
    "look the model up before you buy."
)
CAPACITY_TOO_SMALL = N_("Its firmware says that it takes {capacity} at most, which is less than it has: that is wrong.")
CAPACITY_ABSURD = N_(
    "Its firmware says that it takes up to {capacity}; there are no modules so large, and what fits may be far less: "
    "look the model up before you buy."
)
CAPACITY_NOT_SAID = N_("Its firmware does not say how much it takes: look the model up before you buy.")
CAPACITY_ITS_WORD = N_("How much it takes is its firmware's word; the maker of the machine may know better.")
KIND_NOT_SAID = N_("Its firmware does not name the kind of memory, or not rightly: look at a module that is in it.")
FORM_OF_A_LAPTOP = N_("Its firmware calls the slots DIMM; laptops take SO-DIMM: look at a module that is in it.")
ECC_NOT_CERTAIN = N_("Whether it takes ECC modules or others is not certain: look at a module that is in it.")
SLOTS_SEEM_MANY = N_("Its firmware lists {slots} slots, and laptops seldom have more than two: look before you buy.")
SLOTS_NOT_LISTED = N_("Its firmware speaks of {said} slots and describes {slots}: the others may be free.")
SOCKETS_EMPTY = N_("A processor socket is empty, and the slots beside it do not work: count only those of the others.")
ALL_EMPTY = N_("Its firmware lists all slots as empty, which cannot be.")
SOLDERED_BY_KIND = N_("Boards of this kind have their memory soldered; the firmware itself says nothing of it.")
