"""The steps from nothing to a shell, one by one, and where each goes wrong. As a whole: test_readme_walk.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.errors import EXIT_CONFIG, EXIT_REFUSED, EXIT_UNAVAILABLE, EXIT_USAGE
from tests.support.agent_process import AgentProcess
from tests.support.console_process import ConsoleProcess
from tests.support.relay_process import RelayProcess

NOWHERE = ("--relay", "https://127.0.0.1:9", "--pin", "sha256:" + "0" * 64)


@pytest.fixture
def console(tmp_path: Path) -> ConsoleProcess:
    return ConsoleProcess(tmp_path / "console", {"HOME": str(tmp_path / "home")})


def begin(console: ConsoleProcess, *relay: str) -> str:
    """Begin an organisation with ana as its first technician; return its fingerprint."""
    words = ("authority", "init", *relay, "--technician", "ana", "--no-passphrase")
    organisation: str = console.json(*words)["organisation"]
    return organisation


async def test_address_prints_what_authority_init_takes(console: ConsoleProcess) -> None:
    async with RelayProcess(settings='[server]\nlisten = "127.0.0.1:0"\nnames = ["relay.example:8443"]\n') as relay:
        words = (await relay.command("address")).split()
        assert words == ["--relay", "https://relay.example:8443", "--pin", relay.pin]
        begin(console, *words)
    assert console.json("authority", "show")["relays"] == [{"url": words[1], "pin": words[3]}]


async def test_address_has_no_pin_where_a_proxy_in_front_has_the_certificate() -> None:
    listen, names = 'listen = "127.0.0.1:0"', 'names = ["relay.example:443"]'
    server = (listen, names, "tls = false", 'trusted_proxies = ["127.0.0.1"]')
    relay = RelayProcess(settings="\n".join(("[server]", *server)))
    await relay.init()
    assert await relay.command("address") == "--relay https://relay.example:443\n"


async def test_a_relay_that_is_told_whom_to_serve_serves_them_and_no_typing_error() -> None:
    relay = RelayProcess()
    await relay.init()
    said = await relay.command("run", "--organisation", "nobody", status=EXIT_USAGE)
    assert "Traceback" not in said and "hint:" in said


def test_a_founder_without_a_key_is_made_one_and_one_with_a_key_keeps_what_lies_beside_it(
    console: ConsoleProcess, tmp_path: Path
) -> None:
    organisation = begin(console, *NOWHERE)
    assert console.out("authority", "show", "--id") == f"{organisation}\n"
    assert (console.home / "id_ed25519").stat().st_mode & 0o777 == 0o600

    ssh = tmp_path / "home" / ".ssh"
    ssh.mkdir(parents=True)
    for name in ("id_ed25519", "id_ed25519.pub"):
        (ssh / name).write_bytes((console.home / name).read_bytes())
        (ssh / name).chmod(0o600)
    (ssh / "id_ed25519-cert.pub").write_text("of another CA\n")
    other = ConsoleProcess(tmp_path / "other", console.environment | {"AUXILIO_HOME": str(tmp_path / "other")})
    assert begin(other, *NOWHERE) != organisation
    assert not (other.home / "id_ed25519").exists()
    assert (ssh / "id_ed25519-cert.pub").read_text() == "of another CA\n"


def test_a_key_without_a_technician_is_a_usage_error_and_nothing_is_made(console: ConsoleProcess) -> None:
    console.fails("authority", "init", *NOWHERE, "--key", "x", "--no-passphrase", status=EXIT_USAGE)
    assert not console.home.exists()


async def test_the_first_login_brings_a_relay_the_rules_and_later_ones_leave_them(console: ConsoleProcess) -> None:
    async with RelayProcess() as relay:
        organisation = begin(console, "--relay", relay.url, "--pin", relay.pin)
        message, hint = console.fails("login", status=EXIT_REFUSED)
        assert "does not serve that organisation" in message and "organisation add" in hint
        await relay.add_organisation(organisation)
        assert b"published charter and policy" in console.run("login").stderr
        assert b"published" not in console.run("login").stderr
        assert console.json("login")["technician"] == "ana"


def test_login_waits_for_a_relay_as_long_as_it_was_told(console: ConsoleProcess) -> None:
    begin(console, *NOWHERE)
    done = console.run("login", "--wait", "1s", status=EXIT_UNAVAILABLE)
    assert done.stderr.count(b"trying again") == 1


def test_an_agent_that_has_not_joined_says_so_and_takes_no_damaged_token(tmp_path: Path) -> None:
    agent = AgentProcess(tmp_path / "agent")
    for words in (("status", "--id"), ("status", "--id", "--wait", "1s")):
        done = agent.command(*words)
        assert done.returncode == EXIT_CONFIG and "not joined" in done.stderr and done.stdout == ""
    done = agent.command("run", "--join", "auxilio-join-nonsense")
    assert done.returncode == EXIT_CONFIG and "join token" in done.stderr
    assert agent.command("status", "--wait", "soon").returncode == EXIT_USAGE


async def test_an_agent_joins_by_itself_once_a_relay_is_there_and_says_its_id(
    console: ConsoleProcess, tmp_path: Path
) -> None:
    async with RelayProcess() as relay:
        organisation = begin(console, "--relay", relay.url, "--pin", relay.pin)
        await relay.add_organisation(organisation)
        console.run("login")
        token = console.json("join-token", "create")["join_token"]
        await relay.stop()
        agent = AgentProcess(tmp_path / "agent")
        agent.run_arguments = ("--join", token)
        agent.start()
        try:
            await relay.start()
            device = agent.command("status", "--id", "--wait", "120s").stdout.strip()
            assert [each["id"] for each in console.json("devices", "all")] == [device]
        finally:
            agent.stop()
