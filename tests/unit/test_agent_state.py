"""State files, the journal, the customer's messages, and who may ask the agent what."""

from __future__ import annotations

import json
import os
import re
import string
from pathlib import Path

import pytest

from agent import journal as journal_module
from agent.control import ControlRequest, Peer, check_peer
from agent.journal import FileJournal, read_journal
from agent.membership import Membership, load_keys, load_membership, load_or_make_keys
from agent.messages import CATALOGUES, ENGLISH, language
from agent.show import show_entry
from agent.state import AlreadyRunning, CorruptState, NotJoined, StateDir
from protocol.errors import AuxilioError
from protocol.ids import DeviceId, OrganisationId, TokenId
from protocol.policy import Relay

ROOT = Path(__file__).resolve().parents[2]


def membership(device: str, sealing_key: str = "age1q") -> Membership:
    return Membership(
        organisation=OrganisationId("o" * 52),
        device=DeviceId(device),
        sealing_key=sealing_key,
        token=TokenId("t" * 26),
        relays=(Relay(url="https://relay.example:443"),),
        machine="",
        joined_at=1,
    )


def test_the_state_directory_and_its_files_are_private(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o755)
    state = StateDir(folder, make=True)
    state.write("secret", b"x")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "secret").stat().st_mode & 0o777 == 0o600


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = StateDir(tmp_path / "s", make=True)
    state.write("file", b"old")

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(AuxilioError) as caught:
        state.write("file", b"new")
    assert caught.value.reason == "disk_full" and caught.value.hint
    assert state.read("file") == b"old" and state.names(".") == ["file"]


def test_keys_are_made_once_and_a_damaged_one_is_named_and_kept(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "s", make=True)
    keys = load_or_make_keys(state, os.urandom)
    assert load_or_make_keys(state, os.urandom).device == keys.device
    assert load_keys(state, membership(keys.device, keys.sealing_key)).device == keys.device
    with pytest.raises(CorruptState, match=r"sealing_key.*joined with"):
        load_keys(state, membership(keys.device))
    assert keys.sealing_key.startswith("age1")
    (tmp_path / "s" / "device_key").write_bytes(b"garbage")
    with pytest.raises(CorruptState, match="device_key"):
        load_or_make_keys(state, os.urandom)
    assert (tmp_path / "s" / "device_key").read_bytes() == b"garbage"


def test_a_key_that_is_missing_or_anothers_is_damage_and_not_a_reason_to_join_again(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "s", make=True)
    keys = load_or_make_keys(state, os.urandom)
    with pytest.raises(CorruptState, match="not the key of"):
        load_keys(state, membership("a2345-b2345-c2345-d2345"))
    state.remove("sealing_key")
    with pytest.raises(CorruptState, match=r"sealing_key.*missing"):
        load_keys(state, membership(keys.device))


def test_a_folder_of_others_is_not_closed_to_them_for_being_named_by_mistake(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o777)
    shared.chmod(0o777)
    (shared / "anything").touch()
    with pytest.raises(AuxilioError) as caught:
        StateDir(shared, make=True)
    assert caught.value.reason == "not_a_state" and caught.value.hint
    StateDir(shared)
    assert shared.stat().st_mode & 0o777 == 0o777


def test_a_command_that_only_looks_makes_no_directory(tmp_path: Path) -> None:
    with pytest.raises(NotJoined):
        StateDir(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "s", make=True)
    with state.locked(), pytest.raises(AlreadyRunning):
        state.lock(within_s=0.0)
    with state.locked(within_s=0.0):
        pass


def test_a_damaged_file_is_put_aside_beside_the_earlier_ones(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "s", make=True)
    for number in (1, 2):
        state.write("reports.json", b"x%d" % number)
        assert state.move_aside("reports.json").read_bytes() == b"x%d" % number
    assert state.read("reports.json") is None


def test_without_a_membership_the_hint_is_to_join(tmp_path: Path) -> None:
    with pytest.raises(NotJoined) as caught:
        load_membership(StateDir(tmp_path / "s", make=True))
    assert "join" in caught.value.hint
    (tmp_path / "s" / "membership.json").write_bytes(b"{")
    with pytest.raises(CorruptState):
        load_membership(StateDir(tmp_path / "s", make=True))


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


def test_an_entry_after_a_line_that_was_cut_short_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"at":1,"event":"first"}\n{"at":2,"ev')
    FileJournal(path, lambda: 3.0).record("third")
    assert [entry["event"] for entry in read_journal(path, 0)] == ["first", "third"]


def test_a_relay_cannot_push_the_log_out_with_what_it_causes_alone(tmp_path: Path) -> None:
    now = [1000.0]
    journal = FileJournal(tmp_path / "journal.jsonl", lambda: now[0])
    journal.record("session_started", session="real")
    for number in range(5000):
        journal.record("session_refused", session=f"fake {number}")
    journal.record("session_ended", session="real")
    now[0] += 3600.0
    journal.record("session_refused", session="later")
    entries = read_journal(tmp_path / "journal.jsonl", 0)
    assert len(entries) == 1 + journal_module.STRANGERS_BURST + 1 + 1
    assert entries[0]["session"] == "real" and entries[-2]["event"] == "session_ended"
    assert entries[-1]["left_out"] == 5000 - journal_module.STRANGERS_BURST


def test_the_log_is_cut_from_its_old_end_to_fit_an_answer(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "journal.jsonl", lambda: 1.0)
    for number in range(100):
        journal.record("event", number=number)
    entries = read_journal(tmp_path / "journal.jsonl", 0, max_bytes=1000)
    assert 10 < len(entries) < 40 and entries[-1]["number"] == 99


@pytest.mark.parametrize("text", ["\U0001f600" * 2000, "\x00" * 2000, "plain" * 500, '"' * 3000])
def test_a_field_is_bounded_by_what_it_takes_on_the_disk(tmp_path: Path, text: str) -> None:
    journal = FileJournal(tmp_path / "journal.jsonl", lambda: 1.0)
    journal.record("channel_open", command=text)
    [entry] = read_journal(tmp_path / "journal.jsonl", 0)
    assert text.startswith(entry["command"]) and len(entry["command"]) > 100
    assert (tmp_path / "journal.jsonl").stat().st_size < 2200


def test_a_journal_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    FileJournal(tmp_path / "missing" / "journal", lambda: 1.0).record("event")


def test_an_entry_is_one_line_without_escapes() -> None:
    line = show_entry({"at": 1000, "event": "channel_open", "command": "\x1b[2Jrm\n-rf\u202e", "none": None})
    assert "\x1b" not in line and "\n" not in line and "\u202e" not in line and "none" not in line
    assert json.dumps(line)


def test_every_event_of_the_log_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events as the agent's source names them; of a name that is put together, every name that it can become."""
    source = "\n".join(path.read_text() for path in (ROOT / "agent").rglob("*.py"))
    events = set(re.findall(r"\.record\(\s*\"([a-z_]+)\"", source))
    assert set(re.findall(r"\.record\(\s*f\"([^\"]+)\"", source)) == {
        "{kind}_refused",
        "{kind}_{outcome.value}",
        "customer_{request.command}",
    }
    kinds = ("charter", "policy", "record")
    events |= {f"{kind}_{end}" for kind in kinds for end in ("refused", "accepted", "fork")}
    events |= {"customer_allow", "customer_deny"}
    assert {f"log_{event}" for event in events} == {key for key in ENGLISH if key.startswith("log_")}
    monkeypatch.setenv("LC_ALL", "es_ES.UTF-8")
    assert "sesión iniciada" in show_entry({"at": 1000, "event": "session_started"})
    assert "of_tomorrow" in show_entry({"at": 1000, "event": "of_tomorrow"})


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
        check_peer(request, Peer(uid, inside), own_uid=OWN, present_uids=frozenset({PRESENT}))

    if code is None:
        check()
    else:
        with pytest.raises(AuxilioError) as caught:
            check()
        assert caught.value.reason == code
