"""`auxilio-relay`: the good and bad days of every command, with their exit statuses; one line and a hint each."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.errors import EXIT_CONFIG, EXIT_UNAVAILABLE, EXIT_USAGE
from relay.certificate import make_self_signed
from tests.support.relay_process import ROOT, RelayProcess

LOOPBACK = ("--name", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
FINGERPRINT = "a" * 52


def relay(*words: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "relay.main", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def failed(done: subprocess.CompletedProcess[str], status: int) -> str:
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert lines[0].startswith("auxilio-relay: ") and len(lines) <= 2, done.stderr
    assert all(line.startswith("hint: ") for line in lines[1:]), done.stderr
    return done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = relay("init", "--dir", str(tmp_path / "relay"), *LOOPBACK)
    assert made.returncode == 0, made.stderr
    return tmp_path / "relay"


def test_init_makes_a_relay_that_its_owner_alone_can_read(folder: Path) -> None:
    for path in (folder, *folder.iterdir()):
        others = stat.S_IMODE(path.stat().st_mode) & 0o077
        assert others == 0 or path.name == "certificate.pem", path
    checked = relay("check", "--dir", str(folder))
    assert checked.returncode == 0, checked.stdout


def test_a_second_init_changes_nothing_whatever_its_arguments(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for words in ((), ("--name", "other.example:443"), ("--listen", "0.0.0.0:1")):
        assert "already" in failed(relay("init", "--dir", str(folder), *words), EXIT_CONFIG)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_an_init_that_was_interrupted_can_be_finished_and_keeps_the_key(folder: Path) -> None:
    (folder / "relay.toml").unlink()
    key = (folder / "key.pem").read_bytes()
    assert relay("init", "--dir", str(folder), *LOOPBACK).returncode == 0
    assert (folder / "key.pem").read_bytes() == key


def test_a_given_certificate_is_taken_and_a_wrong_pair_is_not(tmp_path: Path) -> None:
    pem, key = make_self_signed(["relay.example"], 1_800_000_000.0)
    _, other = make_self_signed(["relay.example"], 1_800_000_000.0)
    for name, data in (("c.pem", pem), ("k.pem", key), ("other.pem", other), ("junk.pem", b"junk")):
        (tmp_path / name).write_bytes(data)
    to = str(tmp_path / "relay")
    given = ("init", "--dir", to, *LOOPBACK, "--certificate", str(tmp_path / "c.pem"))
    failed(relay(*given), EXIT_USAGE)
    failed(relay(*given, "--key", str(tmp_path / "other.pem")), EXIT_CONFIG)
    failed(relay(*given, "--key", str(tmp_path / "junk.pem")), EXIT_CONFIG)
    failed(relay(*given, "--key", str(tmp_path / "none.pem")), EXIT_CONFIG)
    assert not (tmp_path / "relay" / "relay.toml").exists()
    assert relay(*given, "--key", str(tmp_path / "k.pem")).returncode == 0
    assert (tmp_path / "relay" / "key.pem").read_bytes() == key


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ((), EXIT_USAGE),
        (("fly",), EXIT_USAGE),
        (("init", "--listen", "8443"), EXIT_CONFIG),
        (("init", "--name", "relay example:1"), EXIT_CONFIG),
        (("organisation",), EXIT_USAGE),
        (("run", "--dir", "/nonexistent/relay"), EXIT_CONFIG),
        (("check", "--dir", "/nonexistent/relay"), EXIT_CONFIG),
        (("organisation", "list", "--dir", "/nonexistent/relay"), EXIT_CONFIG),
        (("init", "--dir", "/proc/relay"), EXIT_CONFIG),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_a_wrong_argument_has_a_documented_status_and_no_traceback(tmp_path: Path, words, status: int) -> None:
    environment = {**os.environ, "AUXILIO_RELAY_DIR": str(tmp_path / "never")}
    done = relay(*words, env=environment)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("words", [(), ("init",), ("run",), ("check",), ("organisation",), ("organisation", "add")])
def test_every_command_explains_itself(words) -> None:
    done = relay(*words, "--help")
    assert done.returncode == 0 and "usage:" in done.stdout


def test_organisations_are_added_once_and_listed(folder: Path) -> None:
    at = ("--dir", str(folder))
    assert "added" in relay("organisation", "add", FINGERPRINT, *at).stdout
    assert "already" in relay("organisation", "add", FINGERPRINT.upper(), *at).stdout
    assert FINGERPRINT in relay("organisation", "list", *at).stdout
    listed = [json.loads(line) for line in relay("organisation", "list", "--json", *at).stdout.splitlines()]
    assert [entry["organisation"] for entry in listed] == [FINGERPRINT]
    failed(relay("organisation", "add", "not-a-fingerprint", *at), EXIT_USAGE)


@pytest.mark.parametrize(
    ("spoil", "status"),
    [
        (lambda d: (d / "relay.toml").write_text("[server"), EXIT_CONFIG),
        (lambda d: (d / "relay.toml").write_bytes(b"\xff" * 100), EXIT_CONFIG),
        (lambda d: (d / "key.pem").write_text("no key"), EXIT_CONFIG),
        (lambda d: (d / "certificate.pem").unlink(), EXIT_CONFIG),
        (lambda d: (d / "relay.sqlite").write_bytes(b"no database at all, only some text" * 100), EXIT_CONFIG),
        (lambda d: ((d / "relay.sqlite").unlink(), (d / "relay.sqlite").mkdir()), EXIT_CONFIG),
    ],
    ids=["no toml", "no text", "no key", "no certificate", "no database", "a folder"],
)
def test_what_is_damaged_is_named_and_left_alone(folder: Path, spoil, status: int) -> None:
    spoil(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for command in ("run", "check"):
        done = relay(command, "--dir", str(folder))
        assert done.returncode == status, (command, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
    kept = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert {name: data for name, data in kept.items() if name in before} == before


async def test_a_second_copy_is_refused_and_check_sees_the_first_one_running(tmp_path: Path) -> None:
    async with RelayProcess() as first:
        done = await asyncio.to_thread(relay, "run", "--dir", str(first.folder))
        assert "another relay is running" in failed(done, EXIT_CONFIG)
        checked = await asyncio.to_thread(relay, "check", "--dir", str(first.folder), "--json")
        assert checked.returncode == 0, checked.stdout
        states = {entry["what"]: entry["state"] for entry in map(json.loads, checked.stdout.splitlines())}
        assert states["port"] == "ok" and "fail" not in states.values()
        assert await first.stop() == 0


async def test_a_port_that_is_taken_is_said_by_run_and_check(folder: Path) -> None:
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    done = await asyncio.to_thread(relay, "run", "--dir", str(folder), "--listen", f"127.0.0.1:{port}")
    assert "cannot listen" in failed(done, EXIT_UNAVAILABLE)
    text = (folder / "relay.toml").read_text()
    (folder / "relay.toml").write_text(text.replace('listen = "127.0.0.1:0"', f'listen = "127.0.0.1:{port}"', 1))
    checked = await asyncio.to_thread(relay, "check", "--dir", str(folder))
    assert checked.returncode == EXIT_UNAVAILABLE and "cannot listen" in checked.stdout
    server.close()


async def test_ctrl_c_and_sigterm_end_it_cleanly() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        async with RelayProcess() as process:
            assert await process._end(number) == 0
            assert '"event":"stopped"' in process.log
            assert '"level":"error"' not in process.log


async def test_health_readiness_and_metrics_are_on_a_port_of_their_own() -> None:
    import aiohttp

    async with RelayProcess() as process, aiohttp.ClientSession() as http:
        for path, said in (("/healthz", "ok"), ("/readyz", "ready"), ("/metrics", "auxilio_links 0.0")):
            async with http.get(process.admin_url + path) as answer:
                assert answer.status == 200 and said in await answer.text()
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            async with http.get(process.url + path, ssl=context) as answer:
                assert answer.status == 404


def test_a_full_disk_at_init_leaves_no_half_relay(tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands for the disk: no file may grow beyond 20 KiB, which the database must."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20480, 20480));"
        "from relay.main import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["init", "--dir", str(tmp_path / "relay"), *LOOPBACK]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode in (EXIT_UNAVAILABLE, EXIT_CONFIG), done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "relay" / "relay.toml").exists()
    assert relay(*words).returncode == 0


# -- check, where something is not as it should be --------------------------------------------------------------------


def checked(folder: Path, **changes: str) -> dict[str, list[tuple[str, str]]]:
    """What `check` says of each thing, after lines of the configuration were changed."""
    path = folder / "relay.toml"
    text = path.read_text()
    for name, value in changes.items():
        text = re.sub(rf"(?m)^#? ?{name} = .*$", f"{name} = {value}", text, count=1)
    path.write_text(text)
    said: dict[str, list[tuple[str, str]]] = {}
    for line in relay("check", "--dir", str(folder), "--json").stdout.splitlines():
        entry = json.loads(line)
        assert entry["state"] == "ok" or entry["hint"]
        said.setdefault(entry["what"], []).append((entry["state"], entry["message"]))
    return said


def test_check_names_what_an_operator_would_miss(folder: Path) -> None:
    said = checked(folder)
    assert said["database"][-1] == ("warning", "no organisation is served")
    assert said["exposure"][0][0] == "ok"
    relay("organisation", "add", "--dir", str(folder), "a" * 52)
    assert ("warning", "no organisation is served") not in checked(folder)["database"]
    said = checked(folder, names='["relay.invalid:443"]')
    assert said["names"][0][0] == "warning" and "relay.invalid has no address" in said["names"][0][1]
    admin = folder / "relay.toml"
    head, _, tail = admin.read_text().partition("[admin]")
    admin.write_text(head + "[admin]" + tail.replace("127.0.0.1", "10.0.0.1", 1))
    assert checked(folder)["exposure"][0][0] == "warning"
    folder.chmod(0o755)
    assert any("open to others" in message for _, message in checked(folder)["exposure"])


def test_check_says_how_many_connections_there_may_be(folder: Path) -> None:
    words = [sys.executable, "-m", "relay.main", "check", "--dir", str(folder), "--json"]
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 512; exec "$@"', "sh", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    [limits] = [entry for entry in map(json.loads, done.stdout.splitlines()) if entry["what"] == "open files"]
    assert limits["state"] == "warning" and limits["message"].startswith("512 at most")
