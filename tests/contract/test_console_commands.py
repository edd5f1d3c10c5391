"""The admin's commands as processes, without any relay: what they write is checked by the real ssh-keygen and ssh."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.console_process import ROOT, ConsoleProcess, make_key

RELAY = ("--relay", "https://127.0.0.1:1", "--pin", "sha256:" + "0" * 64)


@pytest.fixture
def console(tmp_path: Path) -> ConsoleProcess:
    return ConsoleProcess(tmp_path / "home")


@pytest.fixture
def admin(console: ConsoleProcess) -> ConsoleProcess:
    console.run("authority", "init", "--no-passphrase", *RELAY)
    return console


def test_charter_and_policy_are_verified_by_ssh_keygen_and_an_edited_one_is_not(admin: ConsoleProcess) -> None:
    folder = admin.home / "authority"
    for who, namespace, path in (
        ("root", "charter@auxilio", folder / "charters" / "1" / "charter.json"),
        ("policy", "policy@auxilio", folder / "policies" / "0.1" / "policy.json"),
    ):
        allowed = ["-f", str(folder / "allowed_signers"), "-I", who]
        command = ["ssh-keygen", "-Y", "verify", *allowed, "-n", namespace, "-s", f"{path}.sig"]
        payload = path.read_bytes()
        assert subprocess.run(command, input=payload, capture_output=True, check=False).returncode == 0
        assert subprocess.run(command, input=payload + b" ", capture_output=True, check=False).returncode != 0
        novalidate = ["ssh-keygen", "-Y", "check-novalidate", "-n", namespace, "-s", f"{path}.sig"]
        assert subprocess.run(novalidate, input=payload, capture_output=True, check=False).returncode == 0


def test_the_policy_key_signs_no_charter_in_the_eyes_of_ssh_keygen(admin: ConsoleProcess) -> None:
    folder = admin.home / "authority"
    path = folder / "charters" / "1" / "charter.json"
    command = ["ssh-keygen", "-Y", "verify", "-f", str(folder / "allowed_signers"), "-I", "policy"]
    command += ["-n", "charter@auxilio", "-s", f"{path}.sig"]
    assert subprocess.run(command, input=path.read_bytes(), capture_output=True, check=False).returncode != 0


def test_ssh_keygen_reads_a_certificate_as_it_was_meant(admin: ConsoleProcess, tmp_path: Path) -> None:
    public = make_key(tmp_path / "ana")
    admin.run(
        *("technician", "add", "ana", "--key", str(public), "--may", "shell,files", "--scope", "tag:clinic"),
        *("--as", "admin", "--as", "operator", "--valid", "12h"),
    )
    command = ["ssh-keygen", "-L", "-f", str(tmp_path / "ana-cert.pub")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "user certificate" in shown
    assert 'Key ID: "ana"' in shown
    assert "Critical Options: (none)" in shown
    words = shown.split()
    assert {"admin", "operator", "may@auxilio", "scope@auxilio", "permit-pty"} <= set(words)
    assert "source-address" not in shown
    assert "Serial: 0" not in shown


def test_keys_are_protected_unless_it_is_said_aloud(console: ConsoleProcess, tmp_path: Path) -> None:
    line, hint = console.fails("authority", "init", *RELAY, status=6)
    assert "passphrase" in line + hint
    assert not (console.home / "authority").exists()
    word = tmp_path / "word"
    word.write_text("correct horse\n")
    console.run("authority", "init", *RELAY, "--passphrase-file", str(word))
    for name in ("root", "spare_root", "policy", "technician_ca", "enrolment_ca"):
        key = console.home / "authority" / name
        assert key.stat().st_mode & 0o777 == 0o600
        opened = ["ssh-keygen", "-y", "-P", "", "-f", str(key)]
        assert subprocess.run(opened, capture_output=True, check=False).returncode != 0
        opened[3] = "correct horse"
        assert subprocess.run(opened, capture_output=True, check=False).returncode == 0
    assert console.fails("join-token", "create", status=6)[0].startswith("a passphrase is needed")
    assert "auxilio-join-" in console.out("join-token", "create", "--passphrase-file", str(word))


def test_no_passphrase_is_said_aloud(console: ConsoleProcess) -> None:
    said = console.run("authority", "init", "--no-passphrase", *RELAY).stderr.decode()
    assert "NO PASSPHRASE" in said
    assert "offline" in said
    assert str(console.home / "authority" / "spare_root") in said


def test_every_role_may_have_its_key_in_ssh_agent(console: ConsoleProcess, tmp_path: Path) -> None:
    path = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    try:
        while not path.exists():
            assert agent.poll() is None
        console.environment["SSH_AUTH_SOCK"] = str(path)
        options: list[str] = []
        for role in ("root", "spare-root", "policy", "technician-ca", "enrolment-ca"):
            public = make_key(tmp_path / role)
            subprocess.run(["ssh-add", "-q", str(tmp_path / role)], env=console.environment, check=True)
            (tmp_path / role).unlink()
            listed = subprocess.run(["ssh-keygen", "-lf", public], capture_output=True, text=True, check=True).stdout
            options += [f"--{role}-agent", listed.split()[1]]
        console.run("authority", "init", *RELAY, *options)
        shown = console.json("authority", "show")
        assert {key["private"] for key in shown["keys"]} == {"ssh-agent"}
        console.run("technician", "add", "ana", "--key", str(make_key(tmp_path / "ana")), *GRANT)
        console.run("policy", "edit", "--set", "wave_limit=9")
        console.run("join-token", "create")
        del console.environment["SSH_AUTH_SOCK"]
        assert console.json("authority", "show")["keys"][0]["private"] == "not here"
        assert "ssh-add" in console.fails("policy", "edit", "--set", "wave_limit=8", status=6)[1]
    finally:
        agent.terminate()
        agent.wait(30)


GRANT = ("--may", "shell", "--scope", "all", "--as", "admin")


def test_a_policy_is_edited_in_the_editor_of_the_person(admin: ConsoleProcess, tmp_path: Path) -> None:
    script = "import sys; p = sys.argv[1]; t = open(p).read(); open(p, 'w').write(t.replace('\"30d\"', '\"14d\"'))"
    _, hint = admin.fails("policy", "edit", status=2)
    assert "--set" in hint  # no terminal, no editor
    driver = (
        "import os, pty, sys\n"
        "pid, fd = pty.fork()\n"
        "if pid == 0:\n"
        "    os.execv(sys.argv[1], sys.argv[1:])\n"
        "try:\n"
        "    while os.read(fd, 4096): pass\n"
        "except OSError: pass\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    admin.environment["EDITOR"] = str(_script(tmp_path / "editor", f"#!{sys.executable}\n{script}\n"))
    command = [sys.executable, "-c", driver, *admin.command, "policy", "edit"]
    subprocess.run(command, env=admin.environment, check=True, capture_output=True, timeout=60)
    shown = admin.json("policy", "show")
    assert (shown["number"], shown["max_certificate_s"]) == (2, 14 * 86_400)


def _script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_a_change_that_cannot_be_published_is_kept_and_said(admin: ConsoleProcess) -> None:
    line, hint = admin.fails("technician", "revoke", "ana", status=4)
    assert "policy 2 is signed, but not at https://127.0.0.1:1" in line
    assert "policy publish" in hint
    assert admin.json("policy", "show")["revocations"]["key_ids"][0]["key_id"] == "ana"
    assert admin.run("technician", "add", "ana", "--key", "/dev/null", *GRANT, status=6)


BAD = {
    "nothing by that name": (("frobnicate",), 2),
    "an option that is none": (("devices", "--frobnicate"), 2),
    "a selector that is none": (("devices", "ram<<4"), 2),
    "a device that is none": (("device", "remove", "printer", "--yes"), 2),
    "no yes": (("device", "remove", "aaaaa-aaaaa-aaaaa-aaaaa"), 2),
    "a relay that is none": (("login", "http://relay.example"), 6),
    "a pin that is none": (("login", "https://relay.example", "--pin", "sha256:1"), 6),
    "no relay yet": (("devices",), 6),
    "no relay yet for ssh": (("ssh", "aaaaa-aaaaa-aaaaa-aaaaa"), 255),
    "no relay yet for proxy": (("proxy", "aaaaa-aaaaa-aaaaa-aaaaa"), 6),
    "no device for proxy": (("proxy",), 2),
    "another organisation": (("login", "https://127.0.0.1:1", "--organisation", "a" * 52), 6),
    "a fingerprint that is none": (("login", "https://127.0.0.1:1", "--organisation", "x"), 6),
    "a key that is none": (("login", "https://127.0.0.1:1", "--key", "/nonexistent"), 6),
    "known-host without a key": (("known-host", "x"), 2),
    "a token that is none": (("join-token", "revoke", "zzz"), 2),
    "a tag that is none": (("join-token", "create", "--tag", "Ä"), 2),
    "uses that are none": (("join-token", "create", "--uses", "many"), 2),
    "a life that is none": (("join-token", "create", "--valid", "long"), 2),
    "pins without relays": (("policy", "edit", "--relay", "https://a", "--pin", "x", "--pin", "y"), 2),
    "a right that is none": (("technician", "add", "ana", "--key", "/dev/null", "--may", "all", *GRANT[2:]), 2),
    "a scope that is none": (
        ("technician", "add", "ana", "--key", "/dev/null", *GRANT[:2], "--scope", "(", *GRANT[4:]),
        2,
    ),
    "an unattended that is none": (("policy", "edit", "--unattended", "tag:"), 2),
    "a field that is none": (("policy", "edit", "--set", "colour=red"), 2),
    "a key for nobody": (("technician", "add", "ana", "--key", "/nonexistent.pub", *GRANT), 6),
    "a finish without a beginning": (("authority", "rotate", "policy", "--finish"), 3),
    "both steps at once": (("authority", "rotate", "policy", "--finish", "--compromised"), 2),
    "a second beginning": (("authority", "init", "--no-passphrase"), 6),
    "nobody to renew": (("technician", "renew", "nobody"), 3),
    "a folder of somebody else": (("demo", "--once", "--dir", "/etc"), 6),
}


@pytest.mark.parametrize(("arguments", "status"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_line_a_hint_and_a_documented_status(
    admin: ConsoleProcess, arguments: tuple[str, ...], status: int
) -> None:
    before = _files(admin.home)
    line, hint = admin.fails(*arguments, status=status)
    assert line
    assert hint
    assert _files(admin.home) == before, "nothing was changed"


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file() and "ledger" not in p.name}


def test_every_command_helps_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    from console.cli import COMMANDS, auxilio
    from console.main import main

    paths: list[tuple[str, ...]] = [()]
    for name in COMMANDS:
        paths.append((name,))
        command = auxilio.get_command(None, name)  # type: ignore[arg-type]  # it looks at no context
        paths += [(name, sub) for sub in getattr(command, "commands", {})]
    assert len(paths) > 25
    for path in paths:
        assert main([*path, "--help"]) == 0
        shown = capsys.readouterr().out
        assert "xample" in shown, path
        assert "usage" in shown.lower(), path


def test_a_full_disk_is_said_and_nothing_is_lost(admin: ConsoleProcess, tmp_path: Path) -> None:
    public = make_key(tmp_path / "ana")
    before = _files(admin.home)
    # As a full disk: no file may grow past its first block.
    command = ["bash", "-c", 'ulimit -f 0; trap "" XFSZ; exec "$@"', "-", *admin.command]
    for arguments in (
        ("policy", "edit", "--set", "wave_limit=3"),
        ("technician", "add", "a", "--key", str(public), *GRANT),
    ):
        done = subprocess.run(
            [*command, *arguments], env=admin.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode in (4, 6), done.stderr
        assert "Traceback" not in done.stderr
        assert done.stderr.count("hint: ") >= 1
    assert _files(admin.home) == before
    assert admin.json("policy", "show")["number"] == 1


@pytest.mark.parametrize(
    "name", ["settings.json", "trust/policy.json", "authority/keys.json", "authority/ledger.sqlite"]
)
def test_a_corrupt_file_is_named_and_left_alone(admin: ConsoleProcess, name: str) -> None:
    path = admin.home / name
    admin.run("join-token", "create")
    path.write_bytes(b"\x00garbage\xff" * 50)
    for arguments in (
        ("devices",),
        ("policy", "show"),
        ("join-token", "list"),
        ("policy", "edit", "--set", "wave_limit=3"),
    ):
        done = subprocess.run(
            [*admin.command, *arguments], env=admin.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode in (0, 6), done.stderr
        assert "Traceback" not in done.stderr
        assert "bug" not in done.stderr
    assert path.read_bytes() == b"\x00garbage\xff" * 50


def test_a_reader_that_leaves_is_no_error_of_ours(admin: ConsoleProcess) -> None:
    command = " ".join([*admin.command, "policy", "show", "--json"])
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{command} | true"], env=admin.environment, capture_output=True, check=False
    )
    assert b"Traceback" not in done.stderr
    assert b"Broken" not in done.stderr


# -- what is imported -------------------------------------------------------------------------------------------

LEAN = """
import sys
from console.main import main
main({arguments!r})
heavy = {{"click", "rich", "asyncssh", "sqlite3", "aiohttp", "sqlalchemy", "console.authority", "psutil"}}
print(",".join(sorted(heavy & sys.modules.keys())))
"""


@pytest.mark.parametrize("command", ["proxy", "known-host"])
def test_what_stock_ssh_starts_imports_no_more_than_it_needs(admin: ConsoleProcess, command: str) -> None:
    arguments = {
        "proxy": ["proxy", "aaaaa-aaaaa-aaaaa-aaaaa"],
        "known-host": ["known-host", "x", "ssh-ed25519", "NONE"],
    }
    settings = admin.home / "settings.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "relays": [{"url": "https://127.0.0.1:1"}]}))
    code = LEAN.format(arguments=arguments[command])
    done = subprocess.run(
        [sys.executable, "-c", code], env=admin.environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


WITHOUT_POSIX = """
import importlib, pkgutil, sys
for name in ("pwd", "grp", "pty", "fcntl", "termios", "resource", "tty"):
    sys.modules[name] = None
import console
for module in pkgutil.walk_packages(console.__path__, "console."):
    # asyncssh imports what is POSIX's where it finds that it is on POSIX.
    if module.name not in ("console.terminal_posix", "console.ssh_client", "console.forwarding"):
        importlib.import_module(module.name)
"""


def test_everything_but_the_terminal_imports_without_posix(console: ConsoleProcess) -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_POSIX], env=console.environment, check=True, cwd=ROOT)


# -- ssh's configuration ----------------------------------------------------------------------------------------

DEVICE = "aaaaa-bbbbb-ccccc-ddddd"


def _ssh_options(include: Path, host: str) -> dict[str, str]:
    done = subprocess.run(["ssh", "-G", "-F", str(include), host], capture_output=True, text=True, check=True)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


def test_stock_ssh_understands_the_include_and_two_organisations_live_side_by_side(tmp_path: Path) -> None:
    from console.ssh_config import Include, render

    both = tmp_path / "config"
    one = Include(command=["/opt/a b/auxilio", "--home", "/h1"], key="/k1", account="admin")
    two = Include(command=["/usr/bin/auxilio", "--home", "/h2"], key="/k2", account="user", label="clinic")
    both.write_text(render(one) + render(two))
    first, second = _ssh_options(both, f"{DEVICE}.auxilio"), _ssh_options(both, f"{DEVICE}.clinic.auxilio")
    names = "'%n' --account '%r'"
    assert first["proxycommand"] == f'"/opt/a b/auxilio" --home /h1 proxy {names}'
    assert second["proxycommand"] == f"/usr/bin/auxilio --home /h2 proxy {names}"
    assert (first["user"], second["user"]) == ("admin", "user")
    assert (first["identityfile"], second["identityfile"]) == ("/k1", "/k2")
    for options in (first, second):
        assert options["forwardagent"] == "no"
        assert options["stricthostkeychecking"] == "true"
        assert options["identitiesonly"] == "yes"
        assert options["userknownhostsfile"] == "none"
        assert options["hostkeyalgorithms"] == "ssh-ed25519"
        assert "known-host %H %t %K" in options["knownhostscommand"]
    assert "proxycommand" not in _ssh_options(both, "elsewhere.example")
