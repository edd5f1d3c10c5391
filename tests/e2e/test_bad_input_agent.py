"""Whatever is wrong with its input, `auxilio-agent` says so in one line and a hint, ends with the status that
docs/agent.md names, shows no traceback, and loses nothing.

Most cases call the commands in this process, where they take milliseconds; what concerns the process itself (its
standard streams, its account, its disk) is tried with real ones.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.cli import run
from protocol.codec import encode
from protocol.errors import EXIT_CONFIG, EXIT_OK, EXIT_PEER, EXIT_PIPE, EXIT_UNAVAILABLE, EXIT_USAGE
from protocol.policy import PolicyBundle, Relay
from tests.support.agent_state import NO_RELAY, contents, join_offline
from tests.support.organisation import DAY_S, UNATTENDED, Organisation

Capture = pytest.CaptureFixture[str]

ORGANISATION = Organisation(NO_RELAY, consent=UNATTENDED)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Of a device that has joined and does not run."""
    path = tmp_path / "state"
    join_offline(path, ORGANISATION)
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A policy that is newer than the device's, as `auxilio policy export` writes it."""
    path = tmp_path / "bundle.json"
    newer = Organisation.__new__(Organisation)
    newer.__dict__.update(ORGANISATION.__dict__, policies=list(ORGANISATION.policies))
    newer.publish_policy()
    path.write_bytes(encode(PolicyBundle(charters=tuple(newer.charters), policy=newer.policies[-1])))
    return path


def complaint(text: str) -> str:
    """Check the form of what was written to standard error: one line, one hint."""
    lines = text.splitlines()
    assert len(lines) == 2 and lines[0].startswith("auxilio-agent: ") and lines[1].startswith("hint: "), text
    assert "Traceback" not in text and "internal error" not in text
    assert all(len(line) < 600 and line.isprintable() for line in lines), text
    return text


def refused(capfd: Capture, status: int, *arguments: str) -> str:
    """Run a command that fails with `status`; return its complaint."""
    code = run(list(arguments))
    out, err = capfd.readouterr()
    assert code == status, (code, err)
    assert out == ""
    return complaint(err)


# -- the command line -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["frobnicate"],
        ["status", "extra"],
        ["status", "--bogus"],
        ["run", "--state"],
        ["run", "--state", ""],
        ["run", "--look-every", "0"],
        ["run", "--look-every", "nan"],
        ["run", "--look-every", "soon"],
        ["log", "-n", "-1"],
        ["log", "-n", "x"],
        ["log", "-n", "9" * 5000],
        ["policy"],
        ["policy", "import"],
        ["policy", "export", "file"],
        ["join", "one", "two"],
        ["join", "auxilio-join-x", "--file", "file"],
        ["st\x1b[31matus"],
    ],
    ids=lambda arguments: " ".join(arguments)[:30].replace("\x1b", "ESC") or "nothing",
)
def test_a_command_line_that_means_nothing_is_a_usage_error(arguments: list[str], capfd: Capture) -> None:
    said = refused(capfd, EXIT_USAGE, *arguments)
    assert "\x1b" not in said


def test_help_and_version_are_no_errors(capfd: Capture) -> None:
    for arguments in (["--help"], ["join", "--help"], ["--version"]):
        assert run(arguments) == 0
        out, err = capfd.readouterr()
        assert "auxilio-agent" in out and err == ""


# -- directories that are no state ------------------------------------------------------------------------------------

COMMANDS = {
    "run": ("run",),
    "status": ("status",),
    "log": ("log",),
    "allow": ("allow",),
    "deny": ("deny",),
    "revoke": ("revoke",),
    "leave": ("leave",),
}
ASK_THE_AGENT = {"allow", "deny", "revoke"}


@pytest.mark.parametrize("command", [*COMMANDS, "policy"])
@pytest.mark.parametrize("place", ["missing", "empty", "another's", "a file"])
def test_where_no_device_has_joined_that_is_said_and_nothing_is_made(
    command: str, place: str, tmp_path: Path, bundle: Path, capfd: Capture
) -> None:
    folder = tmp_path / "place"
    if place == "a file":
        folder.write_text("precious")
    elif place != "missing":
        folder.mkdir(mode=0o755)
    if place == "another's":
        (folder / "precious").write_text("precious")
    before = contents(tmp_path)
    arguments = COMMANDS.get(command, ("policy", "import", str(bundle)))
    status = EXIT_UNAVAILABLE if command in ASK_THE_AGENT else EXIT_CONFIG
    if command == "log" and place in ("empty", "another's"):
        assert run([*arguments, "--state", str(folder)]) == 0  # the log outlives the membership: it is only empty
    else:
        refused(capfd, status, *arguments, "--state", str(folder))
    assert contents(tmp_path) == before


def test_join_takes_over_no_folder_that_holds_other_things(tmp_path: Path, capfd: Capture) -> None:
    for mode in (0o755, 0o700):
        folder = tmp_path / f"home-{mode:o}"
        folder.mkdir(mode=mode)
        (folder / "precious").write_text("precious")
        before = contents(tmp_path)
        token = ORGANISATION.join_token().text()
        assert "other things" in refused(capfd, EXIT_CONFIG, "join", token, "--state", str(folder))
        assert contents(tmp_path) == before


@pytest.mark.parametrize("command", sorted(ASK_THE_AGENT))
def test_what_only_a_running_agent_can_do_needs_one(command: str, state: Path, capfd: Capture) -> None:
    before = contents(state)
    assert "not running" in refused(capfd, EXIT_UNAVAILABLE, command, "--state", str(state))
    assert contents(state) == before


# -- damaged state ----------------------------------------------------------------------------------------------------

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "garbage": lambda data: bytes(range(256)) * 8,
    "another shape": lambda data: b"[{}]",
    "deep": lambda data: b"[" * 100_000,
    "huge": lambda data: b" " * (5 * 1024 * 1024),
}
FILES = (
    "device_key",
    "sealing_key",
    "membership.json",
    "charters/000000000001.json",
    "policy.json",
    "record.json",
    "floor.json",
)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_with_what_to_do_and_left_as_it_is(
    name: str, damage: str, state: Path, capfd: Capture
) -> None:
    path = state / name
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    before = contents(state)
    said = refused(capfd, EXIT_CONFIG, "run", "--state", str(state))
    assert Path(name).name in said or "charters" in said
    assert contents(state) == before


@pytest.mark.parametrize("name", FILES)
def test_a_directory_in_the_place_of_a_file_is_named(name: str, state: Path, capfd: Capture) -> None:
    (state / name).unlink()
    (state / name).mkdir()
    before = contents(state)
    assert Path(name).name in refused(capfd, EXIT_CONFIG, "run", "--state", str(state))
    assert contents(state) == before


def test_a_key_that_is_another_devices_is_refused(state: Path, tmp_path: Path, capfd: Capture) -> None:
    other = tmp_path / "other"
    join_offline(other, ORGANISATION)
    (state / "device_key").write_bytes((other / "device_key").read_bytes())
    assert "device_key" in refused(capfd, EXIT_CONFIG, "run", "--state", str(state))


def test_documents_of_another_organisation_are_refused(state: Path, tmp_path: Path, capfd: Capture) -> None:
    other = tmp_path / "other"
    join_offline(other, Organisation(NO_RELAY))
    for name in ("charters/000000000001.json", "policy.json", "record.json"):
        mine = (state / name).read_bytes()
        (state / name).write_bytes((other / name).read_bytes())
        refused(capfd, EXIT_CONFIG, "run", "--state", str(state))
        (state / name).write_bytes(mine)


@pytest.mark.parametrize("floor_at", [-1, 1e18, 1e300])
def test_a_time_floor_that_cannot_be_is_damage(floor_at: float, state: Path, capfd: Capture) -> None:
    (state / "floor.json").write_text(json.dumps({"floor_at": floor_at}))
    assert "floor.json" in refused(capfd, EXIT_CONFIG, "status", "--state", str(state))


@pytest.mark.parametrize("name", FILES)
def test_leaving_works_whatever_is_damaged_but_the_membership(name: str, state: Path, capfd: Capture) -> None:
    """Whoever wants to be rid of it need not repair it first."""
    (state / name).write_bytes(b"{")
    if name == "membership.json":
        refused(capfd, EXIT_CONFIG, "leave", "--state", str(state))
        return
    assert run(["leave", "--state", str(state)]) == 0
    assert not (state / "device_key").exists() and not (state / "membership.json").exists()


def test_a_leave_that_was_interrupted_can_be_finished(state: Path, capfd: Capture) -> None:
    (state / "membership.json").unlink()  # what `leave` does first
    assert run(["leave", "--state", str(state)]) == 0
    assert {path.name for path in state.iterdir() if path.is_file()} <= {"lock", "journal.jsonl"}
    capfd.readouterr()
    refused(capfd, EXIT_CONFIG, "leave", "--state", str(state))


def test_a_log_with_lines_that_are_none_is_shown_without_them(state: Path, capfd: Capture) -> None:
    lines = b'{"at":1,"event":"whole"}\n{"at":2,"event":"cu\n\xff\xfe\x00\n[1]\n{"at":"x","event":7}\n{}\n'
    (state / "journal.jsonl").write_bytes(lines + b"[" * 99_999)
    for form in ([], ["--json"]):
        assert run(["log", "--state", str(state), *form]) == 0
        out, err = capfd.readouterr()
        assert "whole" in out and err == ""


def test_a_log_that_is_a_directory_is_named(state: Path, capfd: Capture) -> None:
    (state / "journal.jsonl").mkdir()
    assert "journal.jsonl" in refused(capfd, EXIT_CONFIG, "log", "--state", str(state))


# -- join tokens and policies -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: "auxilio-join-",
        lambda text: text[:-40],
        lambda text: text[20:],
        lambda text: text.replace("auxilio-join-", "auxilio-join-!"),
        lambda text: text + "ñ",
        lambda text: text * 100,
        lambda text: "\x1b[2J" + text,
        lambda text: "auxilio-join-" + "W" * 3000,
    ],
)
@pytest.mark.parametrize("way", ["argument", "file"])
def test_a_spoilt_token_makes_nothing(spoil: Callable[[str], str], way: str, tmp_path: Path, capfd: Capture) -> None:
    text = spoil(ORGANISATION.join_token().text())
    file = tmp_path / "token"
    file.write_text(text, encoding="utf-8")
    given = ["--file", str(file)] if way == "file" or not text else ["--", text]
    folder = tmp_path / "state"
    assert "token" in refused(capfd, EXIT_CONFIG, "join", "--state", str(folder), *given)
    assert not folder.exists()


def test_an_expired_token_and_one_that_names_a_bad_relay_are_refused(tmp_path: Path, capfd: Capture) -> None:
    expired = ORGANISATION.join_token(since_s=8 * DAY_S, valid_s=DAY_S).text()
    assert "date" in refused(capfd, EXIT_CONFIG, "join", expired, "--state", str(tmp_path / "a"))
    for url in ("http://127.0.0.1:9", "https://", "ftp://x:1", "https://x:99999", "https://a b:1", ""):
        token = ORGANISATION.join_token(Relay(url=url, pin=None)).text()
        refused(capfd, EXIT_CONFIG, "join", token, "--state", str(tmp_path / "b"))


@pytest.mark.parametrize("command", [("join", "--file"), ("policy", "import")])
@pytest.mark.parametrize("kind", ["missing", "a directory", "no text", "unreadable name"])
def test_a_file_that_cannot_be_read_is_named(
    command: tuple[str, ...], kind: str, state: Path, tmp_path: Path, capfd: Capture
) -> None:
    path = tmp_path / ("fi\x1b[31mle" if kind == "unreadable name" else "file")
    if kind == "a directory":
        path.mkdir()
    elif kind == "no text":
        path.write_bytes(b"\xff\xfe" * 100)
    before = contents(state)
    where = tmp_path / "new" if command[0] == "join" else state
    said = refused(capfd, EXIT_CONFIG, *command, str(path), "--state", str(where))
    assert "\x1b" not in said
    assert contents(state) == before


@pytest.mark.parametrize(
    ("spoil", "status"),
    [
        (lambda data: b"", EXIT_CONFIG),
        (lambda data: b"{}", EXIT_CONFIG),
        (lambda data: data[:-10], EXIT_CONFIG),
        (lambda data: data + b" " * (9 * 1024 * 1024), EXIT_CONFIG),
        (lambda data: b"[" * 50_000, EXIT_CONFIG),
        (lambda data: b'"signature":"AAAA'.join(data.rsplit(b'"signature":"', 1)), EXIT_PEER),
    ],
    ids=["empty", "another shape", "cut", "too large", "deep", "forged"],
)
def test_a_policy_file_that_is_none_changes_nothing(
    spoil: Callable[[bytes], bytes], status: int, state: Path, bundle: Path, capfd: Capture
) -> None:
    bundle.write_bytes(spoil(bundle.read_bytes()))
    before = contents(state)
    refused(capfd, status, "policy", "import", str(bundle), "--state", str(state))
    assert contents(state) == before


def test_the_policy_that_these_cases_spoil_would_have_been_taken(state: Path, bundle: Path, capfd: Capture) -> None:
    assert run(["policy", "import", str(bundle), "--state", str(state)]) == 0
    assert "number 2" in capfd.readouterr().out


# -- relays that are none ---------------------------------------------------------------------------------------------


@contextmanager
def listener(answer: bytes | None) -> Iterator[Relay]:
    """Something that listens on loopback and is no relay. answer: what it sends to everybody; None: it hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    if answer is not None:
                        connection.sendall(answer)
                        connection.recv(65536)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Relay(url=f"https://127.0.0.1:{server.getsockname()[1]}", pin="sha256:" + "0" * 64)
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "answer", [None, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"SSH-2.0-x\r\n", b"\0" * 99]
)
def test_what_listens_there_and_is_no_relay_is_said_to_be_unreachable(
    answer: bytes | None, tmp_path: Path, capfd: Capture
) -> None:
    with listener(answer) as relay:
        token = ORGANISATION.join_token(relay).text()
        said = refused(capfd, EXIT_UNAVAILABLE, "join", token, "--state", str(tmp_path / "state"))
    assert "127.0.0.1" in said


def test_a_relay_that_nobody_listens_at_is_named_and_joining_can_be_tried_again(tmp_path: Path, capfd: Capture) -> None:
    token = ORGANISATION.join_token(NO_RELAY).text()
    said = refused(capfd, EXIT_UNAVAILABLE, "join", token, "--state", str(tmp_path / "state"))
    assert "127.0.0.1:9" in said
    key = (tmp_path / "state" / "device_key").read_bytes()
    refused(capfd, EXIT_UNAVAILABLE, "join", token, "--state", str(tmp_path / "state"))
    assert (tmp_path / "state" / "device_key").read_bytes() == key


# -- standard streams -------------------------------------------------------------------------------------------------


def shell(script: str, state: Path, **given: object) -> subprocess.CompletedProcess[str]:
    """Run a shell script in which $agent is the program and $state the directory."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "agent": f"{sys.executable} -m agent.main", "state": str(state)}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        capture_output=True, text=True, check=False, env=environment, timeout=60, **given,
    )  # fmt: skip


def test_a_reader_that_has_seen_enough_ends_it_without_a_word(state: Path) -> None:
    line = json.dumps({"at": 1.0, "event": "x" * 200}) + "\n"
    (state / "journal.jsonl").write_text(line * 5000)
    for command, statuses in (
        ("log -n 0 --json", {EXIT_PIPE}),
        ("log -n 0", {EXIT_PIPE}),
        ("status --json", {EXIT_OK, EXIT_PIPE}),  # so short that the pipe took it whole
        ("--help", {EXIT_OK, EXIT_PIPE}),
    ):
        done = shell(f'$agent {command} --state "$state" | head -c 1', state)
        assert done.returncode in statuses and done.stderr == "", command


def test_output_that_cannot_be_written_is_an_error_and_no_traceback(state: Path) -> None:
    for command in ("log -n 0", "status", "status --json"):
        done = shell(f'$agent {command} --state "$state" > /dev/full', state)
        assert done.returncode == EXIT_UNAVAILABLE, (command, done.stderr)
        complaint(done.stderr)


def test_closed_streams_hurt_nothing(state: Path) -> None:
    """A file that is opened where standard error was must not become it: it would be written over."""
    before = contents(state)
    assert shell('$agent status --state "$state" >&-', state).returncode == 0
    assert shell('$agent status --state "$state" <&- >&- 2>&-', state).returncode == 0
    done = shell('$agent join --state "$state/new" <&-', state)
    assert done.returncode == EXIT_USAGE
    complaint(done.stderr)
    done = shell('$agent allow --state "$state" <&- >&- 2>&-', state)
    assert (done.returncode, done.stdout, done.stderr) == (EXIT_UNAVAILABLE, "", "")
    assert shell('$agent policy import - --state "$state" </dev/null', state).returncode == EXIT_CONFIG
    assert contents(state) == before


def test_an_agent_started_without_streams_writes_into_none_of_its_own_files(state: Path) -> None:
    script = """
        $agent run --verbose --state "$state" <&- >&- 2>&- & pid=$!
        until $agent status --json --state "$state" | grep -q '"running": true'; do sleep 0.05; done
        ls -l /proc/$pid/fd | grep -E ' [012] -> '
        kill $pid; wait $pid
    """
    done = shell(script, state)
    assert done.returncode == 0, done.stderr
    assert [line.rpartition(" ")[2] for line in done.stdout.splitlines()] == ["/dev/null"] * 3


def test_text_that_the_terminal_cannot_show_is_no_crash(state: Path) -> None:
    done = shell('LANG=es_ES LC_ALL=es_ES.UTF-8 PYTHONIOENCODING=ascii $agent status --state "$state"', state)
    assert done.returncode == 0, done.stderr
    assert "no est" in done.stdout


# -- the clock --------------------------------------------------------------------------------------------------------


def test_a_clock_that_is_a_day_behind_is_told_and_stops_nothing(state: Path, capfd: Capture) -> None:
    """floor.json says what was certain at the last stop; the clock shows a day less."""
    floor = json.loads((state / "floor.json").read_bytes())["floor_at"]
    (state / "floor.json").write_text(json.dumps({"floor_at": floor + DAY_S}))
    assert run(["status", "--json", "--state", str(state)]) == 0
    assert DAY_S - 600 < json.loads(capfd.readouterr().out)["clock_behind_s"] <= DAY_S
    assert run(["status", "--state", str(state)]) == 0
    assert "behind" in capfd.readouterr().out
