"""Which machine state belongs to, and a put-aside that a crash may interrupt anywhere."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from pathlib import Path

import pytest

from agent.identity import NothingAside, forget_identity, same_machine, settle
from agent.machine import Machine
from agent.membership import Membership
from agent.platform.posix_machine import APPLICATION, hardware_id, machine_id
from agent.state import StateDir
from protocol.system_clock import SystemClock
from tests.support.agent_state import join_offline
from tests.support.organisation import Organisation

A, B = Machine(id="a" * 32), Machine(id="b" * 32)
CLOCK = SystemClock()


@pytest.mark.parametrize(
    ("here", "kept", "another"),
    [
        (A, A, False),
        (A, B, True),
        (Machine(), A, False),  # nobody knows
        (A, Machine(), False),
        (Machine(id="a", hardware="x"), Machine(id="a", hardware="y"), True),  # a cloned disk that was not reset
        (Machine(id="b", hardware="x"), Machine(id="a", hardware="x"), True),  # one whose firmware has no id of its own
        (Machine(id="a", hardware="x"), Machine(id="a"), False),  # joined without root
    ],
)
def test_a_machine_is_another_where_anything_known_of_both_differs(here: Machine, kept: Machine, another: bool) -> None:
    assert here.is_another(kept) is another


def _root(tmp_path: Path, machine: str | None = None, product: str | None = None) -> Path:
    for name, text in (("etc/machine-id", machine), ("sys/class/dmi/id/product_uuid", product)):
        if text is not None:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
    return tmp_path


def test_the_machines_id_is_shown_as_systemd_would_show_it_to_this_application(tmp_path: Path) -> None:
    root = _root(tmp_path, "3d1219c7c4c5404aaa1f6d2a48adfda4\n")
    assert machine_id(root) == "6b82cce299a8463a8dcee285d63bdb0e"  # systemd 252's systemd-id128 machine-id -a
    if shutil.which("systemd-id128") and Path("/etc/machine-id").exists():
        command = ["systemd-id128", "machine-id", "-a", APPLICATION.hex]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode != 0 or done.stdout.strip() == machine_id()


@pytest.mark.parametrize("text", ["", "uninitialized\n", "0" * 32, "x" * 32, "\x1b[2J", "3d12" * 100])
def test_what_is_no_machine_id_counts_as_none(tmp_path: Path, text: str) -> None:
    assert machine_id(_root(tmp_path, text, text)) == hardware_id(tmp_path) == ""


def test_the_firmwares_id_counts_on_a_machine_and_not_in_a_container(tmp_path: Path) -> None:
    root = _root(tmp_path, product=str(uuid.uuid4()).upper() + "\n")
    assert len(hardware_id(root)) == 32
    (root / ".dockerenv").touch()
    assert hardware_id(root) == ""


# -- putting aside ----------------------------------------------------------------------------------------------


def _state(tmp_path: Path) -> StateDir:
    state = join_offline(tmp_path / "state", Organisation())
    membership = state.read_as("membership.json", Membership)
    assert membership is not None
    fields = {name: getattr(membership, name) for name in membership.__struct_fields__}
    state.write_as("membership.json", Membership(**{**fields, "machine": A.id}))
    state.write("journal.jsonl", b'{"at": 1, "event": "started"}\n')
    state.write("join_token", b"a token")
    return state


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_state_stays_where_it_is_on_its_own_machine_and_where_nobody_can_tell(tmp_path: Path) -> None:
    state = _state(tmp_path)
    before = _files(state.path)
    for here in (A, Machine()):
        settle(state, here, CLOCK)
    assert _files(state.path) == before
    with pytest.raises(NothingAside):
        same_machine(state, A, CLOCK)


class Crash(Exception):
    pass


def _crashing(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """From the move numbered `after` on, nothing reaches the disk."""
    left = [after]
    move = StateDir.move

    def counted(self: StateDir, name: str, target: str) -> None:
        if left[0] == 0:
            raise Crash
        left[0] -= 1
        move(self, name, target)

    monkeypatch.setattr(StateDir, "move", counted)


@pytest.mark.parametrize("after", range(12))
def test_a_crash_while_putting_aside_and_taking_back_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    state = _state(tmp_path)
    before = _files(state.path)
    token = before.pop("join_token")
    with monkeypatch.context() as patch:
        _crashing(patch, after)
        try:
            settle(state, B, CLOCK)
        except Crash:
            pass
    settle(state, B, CLOCK)
    assert _files(state.path / "aside-1") == before
    assert set(_files(state.path)) - {f"aside-1/{name}" for name in before} <= {"join_token", "journal.jsonl", "lock"}

    with monkeypatch.context() as patch:
        _crashing(patch, after)
        try:
            same_machine(state, B, CLOCK)
        except Crash:
            pass
    settle(state, B, CLOCK)
    if state.read("membership.json") is None:  # it had not begun
        same_machine(state, B, CLOCK)
    settle(state, B, CLOCK)
    after_all = _files(state.path)
    bound = state.read_as("membership.json", Membership)
    assert bound is not None and bound.bound_to == B
    for name, data in before.items():
        if name not in ("membership.json", "journal.jsonl"):
            assert after_all[name] == data
    assert after_all["join_token"] == token
    assert after_all["journal.jsonl"].startswith(before["journal.jsonl"])


def test_an_image_keeps_the_token_alone_also_of_what_was_put_aside(tmp_path: Path) -> None:
    state = _state(tmp_path)
    (state.path / "later").mkdir()
    (state.path / "later" / "secret").write_text("of a release to come")
    settle(state, B, CLOCK)
    forget_identity(state)
    assert set(_files(state.path)) == {"join_token"}
