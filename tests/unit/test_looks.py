"""A look that a technician asked for: how often, and what a console takes of what a device says."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.session import channels
from agent.session.looks import BURST, EVERY_S, Looks
from console.diagnosing import Hearing
from protocol.codec import encode
from protocol.diagnosis import MAX_LINE_BYTES, MAX_LOOKED_AT, MAX_NAME_CHARS, ToldDiagnosis, health, read_line
from protocol.errors import BadMessage, Refused
from protocol.sections.connectivity import Connectivity, Rung
from protocol.sections.findings import Finding, Findings

BROKEN = Finding(code="dns-dead", severity="error")
WARNING = Finding(code="disk-full", severity="warning", subject="/")


def record(**changes: Any) -> dict[str, Any]:
    return {
        "at": 1_700_000_000,
        "relay": "https://relay.example",
        "verdict": Rung(name="dns", state="fail", code="dns-dead"),
        "status": "broken",
        "findings": (WARNING, BROKEN),
        "sections": {
            "connectivity": Connectivity(rungs=(Rung(name="dns", state="fail", code="dns-dead"),)),
            "findings": Findings(findings=(BROKEN,)),
        },
        **changes,
    }


def said(*lines: object) -> bytes:
    return b"".join(encode(line) + b"\n" for line in lines)


# -- how often -------------------------------------------------------------------------------------------------------


def refusal(looks: Looks, now: float) -> str:
    with pytest.raises(Refused) as refused:
        looks.begin(now)
    return refused.value.reason


def test_one_look_at_a_time() -> None:
    looks = Looks(("look",))
    looks.begin(0.0)
    assert refusal(looks, 1.0) == "look_runs"
    looks.end()
    looks.begin(2.0)


def test_a_few_in_a_row_and_then_one_every_half_a_minute() -> None:
    looks, taken = Looks(("look",)), 0
    for second in range(3600):
        try:
            looks.begin(float(second))
        except Refused as exc:
            assert exc.reason == "too_soon" and exc.hint
            continue
        looks.end()
        taken += 1
    assert 3600 / EVERY_S <= taken <= BURST + 3600 / EVERY_S


def test_a_device_that_serves_none_says_so() -> None:
    assert refusal(Looks(), 0.0) == "not_served"


# -- what a console takes --------------------------------------------------------------------------------------------


def heard(data: bytes, pieces: int = 1) -> tuple[Hearing, list[str]]:
    names: list[str] = []
    hearing = Hearing(names.append)
    luck = random.Random(pieces)
    cuts = sorted(luck.randrange(len(data) + 1) for _ in range(pieces - 1))
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        hearing.feed(data[start:end])
    return hearing, names


@given(st.integers(1, 40))
def test_in_whatever_pieces_it_comes_it_is_heard_as_it_goes_and_whole(pieces: int) -> None:
    data = said({"looked_at": "memory"}, {"looked_at": "gateway"}, {"diagnosis": record()})
    hearing, names = heard(data, pieces)
    assert names == ["memory", "gateway"] and hearing.fault is None and hearing.diagnosis is not None
    told = hearing.diagnosis
    assert told.told.verdict == Rung(name="dns", state="fail", code="dns-dead")
    assert told.exit_status == 9 and health(told.told.findings) == "broken"
    assert isinstance(told.sections["connectivity"], Connectivity)


def test_the_exit_status_is_the_findings_and_not_what_the_device_calls_it() -> None:
    for findings, status in (((), 0), ((WARNING,), 8), ((BROKEN,), 9)):
        told = read_line(encode({"diagnosis": record(status="healthy", findings=findings)}))
        assert isinstance(told, ToldDiagnosis) and told.exit_status == status


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"looked_at": 1}',
        b'{"diagnosis": {}}',
        b'{"diagnosis": []}',
        encode({"diagnosis": record(at=-1)}),
        encode({"diagnosis": record(status="fine")}),
        encode({"diagnosis": record(verdict=Rung(name="moon", state="fail"))}),
        encode({"diagnosis": record(findings=(BROKEN,) * 1000)}),
        encode({"diagnosis": record(sections={f"s{i}": {} for i in range(1000)})}),
    ],
)
def test_what_is_no_diagnosis_is_a_fault(line: bytes) -> None:
    hearing, _ = heard(line + b"\n")
    assert hearing.fault is not None and hearing.diagnosis is None
    assert hearing.fault.reason == "bad_diagnosis"


def test_a_section_that_cannot_be_read_is_left_out_and_the_others_are_shown() -> None:
    told = read_line(encode({"diagnosis": record(sections={"connectivity": {"rungs": 7}, "findings": Findings()})}))
    assert isinstance(told, ToldDiagnosis) and set(told.sections) == {"findings"}


def test_names_are_cut_and_their_number_is_bounded() -> None:
    _, names = heard(said({"looked_at": "x" * 5000}))
    assert names == ["x" * MAX_NAME_CHARS]
    hearing, names = heard(said({"looked_at": "x"}) * (MAX_LOOKED_AT + 1))
    assert hearing.fault is not None and len(names) == MAX_LOOKED_AT


def test_a_line_without_end_is_a_fault_before_it_fills_the_memory() -> None:
    hearing = Hearing(lambda name: None)
    piece, size = b"x" * 65536, 0
    while hearing.fault is None:
        hearing.feed(piece)
        size += len(piece)
        assert size <= MAX_LINE_BYTES + len(piece)


@given(st.binary(max_size=400).filter(lambda data: b"\n" not in data))
def test_whatever_a_device_sends_it_is_read_or_refused(data: bytes) -> None:
    hearing, _ = heard(data + b"\n", 3)
    assert hearing.diagnosis is None
    try:
        read_line(data)
    except BadMessage:
        assert hearing.fault is not None
    else:
        assert hearing.fault is None


def test_what_follows_the_diagnosis_is_passed_over() -> None:
    hearing, names = heard(said({"diagnosis": record()}) + b"garbage\n" + said({"looked_at": "x"}))
    assert hearing.diagnosis is not None and hearing.fault is None and names == []


# -- one that is stuck -----------------------------------------------------------------------------------------------


class Stuck:
    """A process that hangs in the kernel: no signal ends it."""

    def __init__(self) -> None:
        self.signals: list[str] = []

    def signal(self, name: str) -> None:
        self.signals.append(name)

    async def wait(self) -> None:
        await asyncio.Event().wait()


async def test_a_look_that_no_signal_ends_is_given_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "LOOK_WITHIN_S", 0.01)
    monkeypatch.setattr(channels, "STUCK_FOR_S", 0.01)
    stuck = Stuck()
    await channels._await_look(stuck)  # type: ignore[arg-type]  # what is used of a process
    assert stuck.signals == ["KILL"]
