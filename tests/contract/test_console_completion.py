"""Completion in real shells, and what is offered: commands, options, and the devices that this console remembers."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from console.completion import FILE, candidates, load_table
from console.home import Home
from console.known_devices import FILE as KNOWN_FILE
from console.known_devices import KnownDevice
from console.remembered_names import RememberedNames
from protocol.ids import DeviceId, device_id, sha256
from protocol.signing import public_blob
from tests.support.console_process import ROOT, WITHIN_S, ConsoleProcess

HOSTILE = ["$(touch pwned)", "`touch pwned`", "a b", "x;touch pwned", "\x1b[2J", "-rf", "a'b", 'a"b', "a\\b", "*", "~"]


def _device() -> DeviceId:
    return device_id(public_blob(Ed25519PrivateKey.generate()))


def _known(device: DeviceId, hostname: str) -> KnownDevice:
    return KnownDevice(device=device, number=1, sha256=sha256(b""), tags=(), issued_at=1, hostname=hostname)


@pytest.fixture
def console(tmp_path: Path) -> ConsoleProcess:
    """It has used dana-laptop, seen eva-laptop, and its files hold what nobody could type."""
    console = ConsoleProcess(tmp_path / "home")
    console.home.mkdir(mode=0o700)
    home = Home(console.home)
    RememberedNames(home).remember("dana-laptop", _device())
    for name in HOSTILE:
        (console.home / "names" / f"@{name}").write_text("x")
    home.write_record(KNOWN_FILE, [_known(_device(), name) for name in ("eva-laptop", *HOSTILE)])
    return console


def offered(console: ConsoleProcess, *words: str) -> list[str]:
    home = Home(console.home)
    return candidates(home, load_table(home), list(words))


def printed(console: ConsoleProcess, *words: str) -> list[str]:
    return console.out("completion", "--words", "--", *words).splitlines()


def test_commands_options_and_devices_are_offered_where_they_are_due(console: ConsoleProcess) -> None:
    assert {"ssh", "ssh-config", "show", "software"} == set(offered(console, "s"))
    assert "approve" in offered(console, "device", "")
    assert "--purpose" in offered(console, "ssh", "--pu")
    assert offered(console, "ssh", "") == ["dana-laptop", "eva-laptop"]
    assert offered(console, "ssh", "-a", "admin", "--purpose", "x", "-t", "DANA") == ["dana-laptop"]
    assert offered(console, "device", "forget", "") == ["dana-laptop"]
    assert offered(console, "software", "diff", "eva-laptop", "") == ["dana-laptop", "eva-laptop"]
    assert offered(console, "completion", "") == ["bash", "fish", "zsh"]
    assert offered(console, "ssh", "-a", "d") == [], "the value of an option is no device"
    assert offered(console, "ssh", "dana-laptop", "--", "d") == [], "nor is the command on it"
    assert offered(console, "nonsense", "more", "") == offered(console, "authority", "show", "x") == []


def test_an_id_is_offered_once_it_is_begun(console: ConsoleProcess) -> None:
    known = json.loads((console.home / KNOWN_FILE).read_bytes())[0]["device"]
    assert known in offered(console, "show", known[:3])


def test_another_home_is_looked_into_where_the_line_names_it(console: ConsoleProcess, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir(mode=0o700)
    RememberedNames(Home(tmp_path / "other")).remember("other-laptop", _device())
    assert printed(console, "--home", str(tmp_path / "other"), "ssh", "") == ["other-laptop"]
    assert printed(console, "--home", "") == []


def test_it_is_made_without_the_slow_half_of_the_program(console: ConsoleProcess) -> None:
    assert "demo" in printed(console, "")  # the table is made
    code = (
        "import sys; from console.main import main; main(['completion', '--words', '--', 'ssh', '']);"
        "print([m for m in ('click', 'asyncio', 'asyncssh', 'picows', 'ssl', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=console.environment, capture_output=True, check=True)
    assert done.stdout.decode().splitlines() == ["dana-laptop", "eva-laptop", "[]"]


@pytest.mark.parametrize("damage", [b"", b"\xff", b'{"stamp": 7}', b"[" * 100_000])
def test_damaged_files_offer_less(console: ConsoleProcess, damage: bytes) -> None:
    for name in (FILE, KNOWN_FILE):
        (console.home / name).write_bytes(damage)
    assert offered(console, "ssh", "") == ["dana-laptop"]


def test_a_table_that_somebody_wrote_into_offers_plain_words_alone(console: ConsoleProcess) -> None:
    load_table(Home(console.home))
    path = console.home / FILE
    kept = json.loads(path.read_bytes())
    kept["table"][""]["commands"] += HOSTILE
    path.write_text(json.dumps(kept))
    assert not set(offered(console, "")) & set(HOSTILE)


# -- in shells --------------------------------------------------------------------------------------------------


def _script(console: ConsoleProcess, shell: str, folder: Path) -> Path:
    path = folder / f"completion.{shell}"
    path.write_text(console.out("completion", shell))
    return path


def test_bash_completes_a_line_that_is_typed(console: ConsoleProcess, tmp_path: Path) -> None:
    script = _script(console, "bash", tmp_path)
    rc = tmp_path / "rc"
    # The command itself says what it would have been given.
    rc.write_text(f"PS1='ready> '\nsource {script}\nauxilio() {{ printf '<%s>' \"$@\"; echo; exit 7; }}\n")
    master, slave = pty.openpty()
    environment = {**console.environment, "TERM": "dumb", "INPUTRC": "/dev/null", "HOME": str(tmp_path)}
    bash = subprocess.Popen(
        ["bash", "--noprofile", "--rcfile", str(rc), "-i"],
        stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=tmp_path, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    try:
        seen = _read_until(master, b"ready> ")
        os.write(master, b"auxilio ssh dan\t--purp\thelp -T\n")
        seen += _read_until(master, b"<-T>")
        assert b"<ssh><dana-laptop><--purpose><help><-T>" in seen, seen
        assert bash.wait(WITHIN_S) == 7
    finally:
        bash.kill()
        bash.wait(WITHIN_S)
        os.close(master)
    assert not (tmp_path / "pwned").exists()


def _read_until(master: int, mark: bytes) -> bytes:
    seen = b""
    while mark not in seen:
        seen += os.read(master, 4096)  # bash's end closes it: an OSError that shows what was missing
    return seen


ASK = {
    "bash": 'source "$0"; COMP_WORDS=(auxilio ssh "$1"); COMP_CWORD=2; _auxilio; printf "%s\\n" "${COMPREPLY[@]}"',
    "zsh": "compdef() {}; compadd() { shift; print -rl -- $@ }; _files() { print files }; source $0;"
    ' words=(auxilio ssh "$1"); CURRENT=3; _auxilio',
    "fish": 'source $argv[1]; complete -C "auxilio ssh $argv[2]"',
}


@pytest.mark.parametrize("shell", list(ASK))
def test_each_shell_gets_the_devices_and_runs_nothing(console: ConsoleProcess, shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    script = _script(console, shell, tmp_path)
    options = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    environment = {**console.environment, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}

    def ask(word: str) -> list[str]:
        done = subprocess.run(
            [shell, *options, "-c", ASK[shell], str(script), word],
            env=environment, cwd=tmp_path, capture_output=True, timeout=WITHIN_S, check=True,
        )  # fmt: skip
        return done.stdout.decode().split()

    found = ask("")
    assert {"dana-laptop", "eva-laptop"} <= set(found)
    assert not set(found) & set(HOSTILE)
    assert ask("$(touch${IFS}pwned)") in ([], ["files"])
    assert not (tmp_path / "pwned").exists()
