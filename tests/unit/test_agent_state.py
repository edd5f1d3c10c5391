"""State files, the journal, the customer's messages, and who may ask the agent what."""

from __future__ import annotations

import json
import os
import string
from pathlib import Path

import pytest

from agent import journal as journal_module
from agent.control import ControlRequest, Peer, check_peer
from agent.journal import FileJournal, read_journal
from agent.membership import NotJoined, load_keys, load_membership, load_or_make_keys
from agent.messages import CATALOGUES, ENGLISH, language
from agent.show import show_entry
from agent.state import CorruptState, StateDir
from protocol.errors import AuxilioError


def test_the_state_directory_and_its_files_are_private(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o755)
    state = StateDir(folder)
    state.write("secret", b"x")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "secret").stat().st_mode & 0o777 == 0o600


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = StateDir(tmp_path / "s")
    state.write("file", b"old")

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(AuxilioError) as caught:
        state.write("file", b"new")
    assert caught.value.reason == "disk_full" and caught.value.hint
    assert state.read("file") == b"old" and state.names(".") == ["charters", "file"]


def test_keys_are_made_once_and_a_damaged_one_is_named_and_kept(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "s")
    keys = load_or_make_keys(state, os.urandom)
    assert load_or_make_keys(state, os.urandom).device == keys.device == load_keys(state).device
    assert keys.sealing_key.startswith("age1")
    (tmp_path / "s" / "device_key").write_bytes(b"garbage")
    with pytest.raises(CorruptState, match="device_key"):
        load_or_make_keys(state, os.urandom)
    assert (tmp_path / "s" / "device_key").read_bytes() == b"garbage"


def test_without_a_membership_the_hint_is_to_join(tmp_path: Path) -> None:
    with pytest.raises(NotJoined) as caught:
        load_membership(StateDir(tmp_path / "s"))
    assert "join" in caught.value.hint
    (tmp_path / "s" / "membership.json").write_bytes(b"{")
    with pytest.raises(CorruptState):
        load_membership(StateDir(tmp_path / "s"))


def test_the_journal_keeps_order_and_survives_a_line_that_a_crash_cut(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = FileJournal(path, lambda: 1000.0)
    journal.record("request", technician="ana", command="echo 'a\nb'", tags=["x"], nothing=None)
    with open(path, "a", encoding="ascii") as file:
        file.write('{"at":1001,"event":"cu')
    journal.close()
    entries = read_journal(path, 10)
    assert [entry["event"] for entry in entries] == ["request"]
    assert entries[0]["command"] == "echo 'a\nb'"


def test_the_journal_rotates_and_keeps_a_few_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "MAX_BYTES", 400)
    path = tmp_path / "journal.jsonl"
    journal = FileJournal(path, lambda: 1.0)
    for number in range(60):
        journal.record("event", number=number)
    numbers = [entry["number"] for entry in read_journal(path, 0)]
    assert numbers == sorted(numbers) and numbers[-1] == 59 and len(numbers) < 60
    assert len(list(tmp_path.iterdir())) == journal_module.KEPT + 1


def test_a_journal_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    FileJournal(tmp_path / "missing" / "journal", lambda: 1.0).record("event")


def test_an_entry_is_one_line_without_escapes() -> None:
    line = show_entry({"at": 1000, "event": "channel_open", "command": "\x1b[2Jrm\n-rf\u202e", "none": None})
    assert "\x1b" not in line and "\n" not in line and "\u202e" not in line and "none" not in line
    assert json.dumps(line)


@pytest.mark.parametrize("name", sorted(CATALOGUES))
def test_every_language_says_everything_with_the_same_fields(name: str) -> None:
    def fields(text: str) -> set[str | None]:
        return {field for _, field, _, _ in string.Formatter().parse(text) if field}

    catalogue = CATALOGUES[name]
    assert catalogue.keys() == ENGLISH.keys()
    for key, text in catalogue.items():
        assert fields(text) == fields(ENGLISH[key]), key
        assert text.strip()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "en"),
        ({"LANG": "es_ES.UTF-8"}, "es"),
        ({"LANG": "es_MX.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LC_MESSAGES": "es", "LANG": "de_DE"}, "es"),
    ],
)
def test_the_customers_language_is_the_locales(environment: dict[str, str], expected: str) -> None:
    assert language(environment) == expected


OWN, PRESENT, STRANGER = 1000, 1001, 1002


@pytest.mark.parametrize(
    ("command", "uid", "inside", "code"),
    [
        ("leave", OWN, False, None),
        ("leave", 0, False, None),
        ("leave", PRESENT, False, "not_admin"),
        ("import_policy", STRANGER, False, "not_admin"),
        ("allow", PRESENT, False, None),
        ("allow", STRANGER, False, "not_present"),
        ("status", STRANGER, False, "not_present"),
        ("status", OWN, True, None),
        ("allow", OWN, True, "inside_session"),
        ("allow", 0, True, "inside_session"),
        ("deny", PRESENT, True, "inside_session"),
        ("leave", 0, True, "inside_session"),
    ],
)
def test_who_may_ask_the_agent_what(command: str, uid: int, inside: bool, code: str | None) -> None:
    request = ControlRequest(command=command)  # type: ignore[arg-type]

    def check() -> None:
        check_peer(request, Peer(1, uid), own_uid=OWN, present_uids=frozenset({PRESENT}), inside=inside)

    if code is None:
        check()
    else:
        with pytest.raises(AuxilioError) as caught:
            check()
        assert caught.value.reason == code
