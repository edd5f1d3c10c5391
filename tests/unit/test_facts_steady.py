"""What moves all the time does not change a section all the time, and what matters still does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.facts.coarse import PARTS, coarse, step_of
from agent.facts.steady import MEMORY_STEP, SPACE_STEP, settle
from protocol.sections.battery import Battery, Cell
from protocol.sections.machine import Cpu, System
from protocol.sections.memory import Memory
from protocol.sections.network import Network
from protocol.sections.storage import Filesystem, Storage

GIB = 1024**3
values = st.integers(0, 2**50)


@given(values, st.sampled_from([SPACE_STEP, MEMORY_STEP]))
def test_a_coarse_value_is_never_above_and_at_most_a_step_below(value: int, least: int) -> None:
    result = coarse(None, value, least)
    assert 0 <= result <= value < result + step_of(value, least)
    assert step_of(value, least) <= max(least, value / PARTS)
    assert coarse(None, result, least) == result


@given(values, values)
def test_what_is_held_is_never_far_from_what_is(before: int, value: int) -> None:
    held = coarse(before, value, SPACE_STEP)
    assert abs(held - value) <= 1.5 * max(step_of(held, SPACE_STEP), step_of(value, SPACE_STEP))


@given(st.integers(GIB, 64 * GIB), st.lists(st.floats(-1, 1), min_size=1, max_size=30))
def test_a_value_that_trembles_around_any_point_is_said_at_most_twice(centre: int, tremors: list[float]) -> None:
    said = None
    sayings = []
    for tremor in tremors:
        now = coarse(said, centre + int(tremor * step_of(centre, MEMORY_STEP) / 8), MEMORY_STEP)
        if now != said:
            sayings.append(now)
        said = now
    assert len(sayings) <= 2


def test_nearly_full_is_told_from_half_full_on_any_disk() -> None:
    assert coarse(None, 3_900_000_000, SPACE_STEP) > 3_700_000_000, "3.9 GB left of 256 GB are not 0"
    assert coarse(None, 100 * 1024**2, SPACE_STEP) == 96 * 1024**2
    assert coarse(None, 5 * 1024**2, SPACE_STEP) == 0
    assert coarse(16 * 1024**2, 5 * 1024**2, SPACE_STEP) == 0, "from a little to nothing is news"


def test_memory_in_use_trembles_and_the_section_stays() -> None:
    first = settle(None, Memory(total=8 * GIB, available=3_500_000_000, swap_total=GIB, swap_used=5))
    assert first.total == 8 * GIB and first.swap_used == 0
    assert settle(first, Memory(total=8 * GIB, available=3_450_000_000, swap_total=GIB, swap_used=9)) == first
    assert settle(first, Memory(total=8 * GIB, available=900_000_000, swap_total=GIB, swap_used=0)) != first
    assert settle(first, Memory(total=16 * GIB, available=3_500_000_000)).total == 16 * GIB


def test_pressure_trembles_and_the_section_stays() -> None:
    first = settle(None, Memory(stalled_percent=3, stuck_percent=0))
    assert (first.stalled_percent, first.stuck_percent) == (0, 0)
    assert settle(first, Memory(stalled_percent=6, stuck_percent=1)) == first
    assert settle(first, Memory(stalled_percent=31, stuck_percent=12)).stalled_percent == 30


def test_a_section_of_another_type_or_without_its_value_is_no_guide() -> None:
    assert settle(Cpu(load_15m=1.0), Memory(available=5 * GIB)).available == coarse(None, 5 * GIB, MEMORY_STEP)
    assert settle(Memory(available=5 * GIB), Memory(unavailable={"memory": "x"})).available is None
    assert settle(Memory(), Memory(available=0)).available == 0
    assert settle(None, Network()) == Network()


def test_the_instant_of_boot_does_not_move_when_the_clock_is_set_right_by_a_little() -> None:
    first = settle(None, System(booted_at=1_800_000_059))
    assert first.booted_at == 1_800_000_000 // 60 * 60
    assert settle(first, System(booted_at=1_800_000_061)) == first
    assert settle(first, System(booted_at=1_800_100_000)) != first, "a reboot, or a clock that was far off"
    assert settle(first, System(booted_at=None)).booted_at is None


def test_load_goes_by_halves_and_then_by_more() -> None:
    assert settle(None, Cpu(load_15m=0.2)).load_15m == 0.0
    assert settle(None, Cpu(load_15m=1.7)).load_15m == 1.5
    assert settle(Cpu(load_15m=1.5), Cpu(load_15m=2.1)).load_15m == 1.5
    assert settle(Cpu(load_15m=1.5), Cpu(load_15m=2.3)).load_15m == 2.0
    assert settle(None, Cpu(load_15m=33.9)).load_15m == 32.0


def filesystem(mount: str, available: int, inodes: int | None = None) -> Filesystem:
    return Filesystem(
        mount=mount, device=f"/dev{mount}", type="ext4", size=100 * GIB, available=available, inodes_used_percent=inodes
    )


def test_each_file_system_is_held_by_itself() -> None:
    first = settle(None, Storage(filesystems=(filesystem("/", 50 * GIB, 93), filesystem("/home", 10 * GIB))))
    trembles = Storage(filesystems=(filesystem("/", 50 * GIB + 5, 94), filesystem("/home", 9 * GIB)))
    second = settle(first, trembles)
    assert second.filesystems[0] == first.filesystems[0]
    assert second.filesystems[1].available == 9 * GIB
    grown = settle(first, Storage(filesystems=(filesystem("/", 50 * GIB, 100),)))
    assert grown.filesystems[0].inodes_used_percent == 100, "used up is said at once"


def test_charge_goes_in_steps_and_full_is_full() -> None:
    def battery(percent: int) -> Battery:
        return Battery(present=True, cells=(Cell(name="BAT0", percent=percent),))

    first = settle(None, battery(57))
    assert first.cells[0].percent == 55
    assert settle(first, battery(61)) == first
    assert settle(first, battery(64)).cells[0].percent == 60
    assert settle(battery(95), battery(100)).cells[0].percent == 100
    assert settle(battery(100), battery(99)).cells[0].percent == 95
