"""The console against a real relay and real agents: logins, devices, records, policies, mailbox, sessions' ends."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.certificate import parse_certificate
from protocol.keys import line_blob
from tests.support.agent_process import AgentProcess, wait_until
from tests.support.console_process import ConsoleProcess, make_key
from tests.support.console_world import ConsoleWorld

WITHIN_S = 60.0
GRANT = ("--may", "shell", "--scope", "all", "--as", "admin")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleWorld]:
    with ConsoleWorld(tmp_path_factory.mktemp("console")) as world:
        yield world


@pytest.fixture(scope="module")
def device(world: ConsoleWorld) -> tuple[AgentProcess, str]:
    """Approved, and nobody is asked."""
    return world.agent("free", name="agent-free")


# -- logging in -------------------------------------------------------------------------------------------------


def test_a_relay_with_another_key_than_the_pin_is_told_nothing(world: ConsoleWorld, tmp_path: Path) -> None:
    console = ConsoleProcess(tmp_path / "home")
    pin = "sha256:" + "1" * 64
    line, _ = console.fails("login", world.relay.url, "--pin", pin, "--organisation", world.organisation, status=5)
    assert "key" in line or "pin" in line
    assert not (tmp_path / "home" / "settings.json").exists()


def test_a_relay_of_another_organisation_is_not_believed(world: ConsoleWorld, tmp_path: Path) -> None:
    console = ConsoleProcess(tmp_path / "home")
    line, hint = console.fails(
        *("login", world.relay.url, "--pin", world.relay.pin, "--organisation", "a" * 52), status=3
    )
    assert "knows nothing of organisation" in line
    assert "organisation add" in hint


def test_a_key_without_a_certificate_is_told_what_to_do(world: ConsoleWorld, tmp_path: Path) -> None:
    console = ConsoleProcess(tmp_path / "home")
    make_key(tmp_path / "key")
    line, hint = console.fails(
        *("login", world.relay.url, "--pin", world.relay.pin, "--organisation", world.organisation),
        *("--key", str(tmp_path / "key")),
        status=6,
    )
    assert "no certificate" in line
    assert "technician add" in hint


def test_a_login_is_kept_and_renewed_when_the_relay_forgets_it(world: ConsoleWorld) -> None:
    console = world.technician("forgetful")
    tokens = list((console.home / "logins").iterdir())
    assert len(tokens) == 1
    before = json.loads(tokens[0].read_bytes())
    console.run("devices")
    assert json.loads(tokens[0].read_bytes()) == before, "no second login"
    tokens[0].write_text(json.dumps({**before, "bearer": "x" * 43}))
    console.run("devices")
    assert json.loads(tokens[0].read_bytes())["bearer"] != "x" * 43


def test_an_encrypted_key_logs_in_by_a_passphrase_file(world: ConsoleWorld, tmp_path: Path) -> None:
    console = world.technician("careful")
    key = world.folder / "key-careful"
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "word", "-f", str(key)], check=True, capture_output=True)
    line, hint = console.fails("login", status=6)
    assert "passphrase" in line
    assert "ssh-add" in hint
    (tmp_path / "word").write_text("word")
    console.run("login", "--passphrase-file", str(tmp_path / "word"))


# -- devices ----------------------------------------------------------------------------------------------------


def test_devices_are_listed_as_table_json_and_csv(world: ConsoleWorld, device: tuple[AgentProcess, str]) -> None:
    listed = world.admin.json("devices", "tag:free", "online")
    assert [(d["id"], d["state"], d["tags"], d["online"]) for d in listed] == [(device[1], "approved", ["free"], True)]
    rows = list(csv.DictReader(io.StringIO(world.admin.out("devices", "--csv", "tag:free"))))
    assert [(row["id"], row["tags"]) for row in rows] == [(device[1], "free")]
    assert device[1] in world.admin.out("devices")
    assert world.admin.json("devices", "tag:nothing") == []
    assert world.admin.out("devices", "--csv", "tag:nothing").count("\n") == 1


def test_show_prints_what_the_device_signed_of_itself(world: ConsoleWorld, device: tuple[AgentProcess, str]) -> None:
    device[0].wait_reported()
    shown = world.admin.json("show", device[1])
    meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    assert shown["sections"]["memory"]["total"] == int(meminfo["MemTotal"].split()[0]) * 1024
    assert shown["report_fault"] is None
    text = world.admin.out("show", device[1])
    assert os.uname().nodename in text
    assert "package" not in text.split("also:")[0]
    assert "package" in world.admin.out("show", device[1], "software")
    line, hint = world.admin.fails("show", device[1], "horoscope", status=3)
    assert "horoscope" in line
    assert "memory" in hint


def test_who_has_a_package_of_this_machine_is_found_as_dpkg_orders_it(
    world: ConsoleWorld, device: tuple[AgentProcess, str]
) -> None:
    query = ["dpkg-query", "-W", "-f=${Version}", "dpkg"]
    version = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    device[0].wait_reported()
    rows = world.until(lambda: world.admin.json("software", f"dpkg={version}", "--verify"), "the software is searched")
    assert [(row["device"], row["version"], row["said_by"]) for row in rows] == [(device[1], version, "device")]
    assert world.admin.json("software", f"dpkg<{version}") == []
    assert [one["id"] for one in world.admin.json("devices", f"software:dpkg>={version}")] == [device[1]]


def test_a_beginning_of_an_id_means_an_approved_device_alone(
    world: ConsoleWorld, device: tuple[AgentProcess, str]
) -> None:
    fresh = world.technician("prefix")
    assert fresh.out("ssh", device[1][:5], "--", "echo", "here") == "here\n"
    assert fresh.out("ssh", device[1].replace("-", "").upper()[:12], "--", "echo", "here") == "here\n"
    _, provisional = world.agent()
    line, hint = fresh.fails("ssh", provisional[:11], "--", "true", status=255)
    assert "no approved device" in line
    assert "full id" in hint
    line, _ = fresh.fails("ssh", "zzzzz-zzzzz-zzzzz-zzzzz", "--", "true", status=255)
    assert line


def test_a_provisional_device_is_reached_only_when_it_is_named_as_such(world: ConsoleWorld) -> None:
    agent, provisional = world.agent(name="agent-provisional")
    line, hint = world.admin.fails("ssh", provisional, "--", "true", status=255)
    assert "provisional" in line
    assert "--provisional" in hint
    assert agent.journal("session_requested") == []
    with _answering(agent, "allow"):
        done = world.admin.run("ssh", "--provisional", provisional, "--", "echo", "in")
    assert done.stdout == b"in\n"


def test_approving_shows_the_id_and_takes_the_tags_that_the_enrolment_ca_suggested(world: ConsoleWorld) -> None:
    agent, device = world.agent(name="agent-approve")
    line, hint = world.admin.fails("device", "approve", device, status=2)
    assert "yes" in line + hint
    assert device in world.admin.out("device", "approve", device, "--tag", "kiosk", "--yes")
    assert world.listed(device)["tags"] == ["kiosk"]
    assert world.admin.fails("device", "approve", device, "--yes", status=3)[0].endswith("approved already")
    world.admin.run("device", "tag", device[:11], "--", "+site=lugo", "-kiosk")
    assert world.listed(device)["tags"] == ["site=lugo"]
    agent.wait_status(lambda status: status["tags"] == ["site=lugo"], "the agent has the second record")


def test_a_technician_without_the_right_approves_nothing(world: ConsoleWorld) -> None:
    helper = world.technician("helper")
    _, device = world.agent(name="agent-unapproved")
    line, _ = helper.fails("device", "approve", device, "--yes", status=3)
    assert "no right to approve" in line


def test_a_removed_device_is_gone_for_good(world: ConsoleWorld) -> None:
    agent, device = world.agent("free", name="agent-removed")
    world.admin.run("device", "remove", device, "--yes")
    world.until(lambda: not world.listed(device)["online"], "its link ends")
    assert world.listed(device).get("state", "removed") == "removed"
    line, _ = world.admin.fails("ssh", device, "--", "true", status=255)
    assert line
    agent.kill()


# -- sessions ---------------------------------------------------------------------------------------------------


class _answering:
    """Answers the next consent question of `agent`."""

    def __init__(self, agent: AgentProcess, answer: str) -> None:
        command = (
            f"for i in $(seq 600); do {shlex.quote(sys.executable)} -m agent.main {answer} "
            f"--state {agent.state} >/dev/null 2>&1 && exit 0; sleep 0.1; done; exit 1"
        )
        self._process = subprocess.Popen(["sh", "-c", command], env=agent.environment)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        assert self._process.wait(WITHIN_S) == 0, "nothing was asked"


def test_the_customers_no_and_yes_are_told_and_the_seconds_left_are_shown(world: ConsoleWorld) -> None:
    agent, device = world.agent("desk", name="agent-attended")
    with _answering(agent, "deny"):
        done = world.admin.run("ssh", device, "--purpose", "printer", "--", "true", status=255)
    assert b"waiting for the customer's consent: " in done.stderr
    assert b" s left" in done.stderr
    assert b"hint: " in done.stderr or b"auxilio: " in done.stderr
    with _answering(agent, "allow"):
        done = world.admin.run("ssh", device, "--purpose", "printer", "--", "echo", "thanks")
    assert done.stdout == b"thanks\n"


def test_what_a_certificate_does_not_allow_is_refused_in_words(
    world: ConsoleWorld, device: tuple[AgentProcess, str]
) -> None:
    for name, grant, word in (
        ("viewer", {"may": "view"}, "right"),
        ("stranger", {"scope": "tag:elsewhere"}, "no such device"),
    ):
        line, _ = world.technician(name, **grant).fails("ssh", device[1], "--", "true", status=255)
        assert word in line
    line, hint = world.admin.fails("ssh", "--account", "daemon", device[1], "--", "true", status=255)
    assert "daemon" in line
    assert "admin" in hint


def test_a_revoked_technicians_live_session_ends_with_the_reason(
    world: ConsoleWorld, device: tuple[AgentProcess, str]
) -> None:
    leaver = world.technician("leaver")
    command = [*leaver.command, "ssh", device[1], "--", "echo up; sleep 600"]
    with subprocess.Popen(
        command, env=leaver.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as session:
        assert session.stdout is not None and session.stderr is not None
        assert session.stdout.readline() == b"up\n"
        world.admin.run("technician", "revoke", "leaver")
        revoked_at = time.monotonic()
        assert session.wait(WITHIN_S) == 255
        assert time.monotonic() - revoked_at < 5
        said = session.stderr.read().decode()
    assert "revoked" in said
    assert "Traceback" not in said
    leaver.run("ssh", device[1], "--", "true", status=255)
    states = {each["name"]: each["state"] for each in world.admin.json("technician", "list")}
    assert states["leaver"] == "revoked"


class Terminal:
    """`auxilio ...` on a terminal of its own."""

    def __init__(self, console: ConsoleProcess, *arguments: str) -> None:
        self.output = b""
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.execvpe(console.command[0], [*console.command, *arguments], console.environment)

    def expect(self, text: bytes) -> None:
        deadline = time.monotonic() + WITHIN_S
        while text not in self.output:
            assert time.monotonic() < deadline, self.output.decode("utf-8", "replace")
            if select.select([self.descriptor], [], [], 0.1)[0]:
                try:
                    self.output += os.read(self.descriptor, 65536)
                except OSError:
                    break
        assert text in self.output, self.output.decode("utf-8", "replace")
        self.output = self.output.split(text, 1)[1]

    def type(self, data: bytes) -> None:
        os.write(self.descriptor, data)

    def wait(self) -> int:
        deadline = time.monotonic() + WITHIN_S
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.descriptor)
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < deadline, "it did not end"
            if select.select([self.descriptor], [], [], 0.05)[0]:
                try:
                    self.output += os.read(self.descriptor, 65536)
                except OSError:
                    time.sleep(0.05)


def test_tilde_dot_ends_a_session_whose_process_does_not_listen(
    world: ConsoleWorld, device: tuple[AgentProcess, str]
) -> None:
    terminal = Terminal(world.admin, "ssh", "-t", device[1], "--", "trap '' INT HUP; echo stuck; sleep 600")
    terminal.expect(b"stuck")
    terminal.type(b"\x03\r~?")
    terminal.expect(b"end the session")
    terminal.type(b"\r~.")
    assert terminal.wait() == 255


def test_the_terminal_is_put_back_after_a_session(world: ConsoleWorld, device: tuple[AgentProcess, str]) -> None:
    session = shlex.join([*world.admin.command, "ssh", "-t", device[1], "--", "exit 4"])
    shell = f"stty -a; {session}; echo $?; stty -a"
    pid, descriptor = pty.fork()
    if pid == 0:
        os.execvpe("sh", ["sh", "-c", shell], world.admin.environment)
    output = b""
    try:
        while data := os.read(descriptor, 65536):
            output += data
    except OSError:
        pass
    os.waitpid(pid, 0)
    text = output.decode().replace("\r", "")
    before, _, after = text.partition("\n4\n")
    assert before.strip().splitlines()[-3:] == after.strip().splitlines()[-3:]


def test_a_provisional_device_is_warned_of_at_a_terminal(world: ConsoleWorld) -> None:
    agent, device = world.agent(name="agent-warned")
    terminal = Terminal(world.admin, "ssh", device, "--", "true")
    terminal.expect(b"PROVISIONAL")
    terminal.type(b"n\r")
    assert terminal.wait() == 130
    assert agent.journal("session_requested") == []
    with _answering(agent, "allow"):
        terminal = Terminal(world.admin, "ssh", device, "--", "echo reached")
        terminal.expect(b"PROVISIONAL")
        terminal.type(b"y\r")
        terminal.expect(b" s left")
        terminal.expect(b"reached")
        assert terminal.wait() == 0


def test_a_terminated_client_ends_its_session(world: ConsoleWorld, device: tuple[AgentProcess, str]) -> None:
    command = [*world.admin.command, "ssh", device[1], "--", "echo up; exec sleep 600"]
    with subprocess.Popen(
        command, env=world.admin.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as session:
        assert session.stdout is not None
        assert session.stdout.readline() == b"up\n"
        session.send_signal(signal.SIGINT)
        assert session.wait(WITHIN_S) == 128 + signal.SIGINT


def test_stock_ssh_needs_no_question_and_no_known_hosts(world: ConsoleWorld, device: tuple[AgentProcess, str]) -> None:
    world.admin.run("ssh-config")
    include = world.admin.home / "ssh_config"
    command = ["ssh", "-F", str(include), f"{device[1]}.auxilio", "cat; exit 5"]
    done = subprocess.run(command, input=b"through", capture_output=True, timeout=WITHIN_S, check=False)
    assert (done.returncode, done.stdout) == (5, b"through"), done.stderr


def test_stock_ssh_is_told_why_it_was_refused(world: ConsoleWorld, device: tuple[AgentProcess, str]) -> None:
    world.admin.run("ssh-config")
    include = world.admin.home / "ssh_config"
    command = ["ssh", "-F", str(include), f"daemon@{device[1]}.auxilio", "true"]
    done = subprocess.run(command, capture_output=True, timeout=WITHIN_S, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 255
    assert b"may not be" in done.stderr
    assert b"Traceback" not in done.stderr


def test_stock_ssh_uses_a_key_that_only_ssh_agent_has(
    world: ConsoleWorld, device: tuple[AgentProcess, str], tmp_path: Path
) -> None:
    path = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    try:
        while not path.exists():
            assert agent.poll() is None
        console = world.technician("agented")
        console.environment["SSH_AUTH_SOCK"] = str(path)
        key = world.folder / "key-agented"
        subprocess.run(["ssh-add", "-q", str(key)], env=console.environment, check=True, capture_output=True)
        listed = subprocess.run(["ssh-keygen", "-lf", f"{key}.pub"], capture_output=True, text=True, check=True)
        certificate = Path(f"{key}-cert.pub").read_bytes()
        for each in (key, Path(f"{key}.pub"), Path(f"{key}-cert.pub")):
            each.unlink()
        (console.home / "certificate.pub").write_bytes(certificate)
        console.run("login", "--key", listed.stdout.split()[1])
        console.run("ssh-config")
        command = ["ssh", "-F", str(console.home / "ssh_config"), f"{device[1]}.auxilio", "echo", "agented; ssh-add -l"]
        done = subprocess.run(
            command,
            env=console.environment,
            capture_output=True,
            timeout=WITHIN_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.stdout.startswith(b"agented\n"), done.stderr
        assert b"SHA256" not in done.stdout, "the device sees nothing of our ssh-agent"
    finally:
        agent.terminate()
        agent.wait(30)


# -- people and policies ----------------------------------------------------------------------------------------


def in_a_later_second() -> None:
    """Certificates have no finer dates, and one that is good for no longer takes nobody's place."""
    now = int(time.time())
    wait_until(lambda: int(time.time()) > now, "the second is over")


def test_a_console_whose_certificate_ends_soon_looks_into_its_mailbox_by_itself(world: ConsoleWorld) -> None:
    console = world.technician("hourly", valid="1h")
    assert b"out of the mailbox" not in console.run("devices").stderr
    in_a_later_second()
    world.admin.run("technician", "renew", "hourly")
    assert b"a renewed certificate of hourly came out of the mailbox" in console.run("devices").stderr
    assert b"out of the mailbox" not in console.run("devices").stderr, "there is none after it"
    serials = [each["serial"] for each in world.admin.json("technician", "list") if each["name"] == "hourly"]
    first, second = (
        parse_certificate(line_blob(path.read_text().strip())).serial
        for path in (world.folder / "key-hourly-cert.pub", console.home / "certificate.pub")
    )
    assert {first, second} == set(serials) and first != second


def test_a_renewed_certificate_comes_out_of_the_mailbox_at_the_next_login(world: ConsoleWorld) -> None:
    console = world.technician("weekly", valid="1h")
    said = console.run("login").stderr.decode()
    assert "expires in" in said
    assert "technician renew" in said
    in_a_later_second()
    world.admin.run("technician", "renew", "--expiring")
    done = console.run("login")
    assert b"out of the mailbox" in done.stderr
    assert (console.home / "certificate.pub").exists()
    serials = [each["serial"] for each in world.admin.json("technician", "list") if each["name"] == "weekly"]
    assert len(serials) == 2
    console.run("devices")


def test_a_lost_laptops_key_is_revoked_and_its_owner_goes_on_with_another(
    world: ConsoleWorld, device: tuple[AgentProcess, str]
) -> None:
    lost = world.technician("robbed")
    key = next(each["key"] for each in world.admin.json("technician", "list") if each["name"] == "robbed")
    world.admin.run("technician", "revoke", "robbed", "--key", key, "--compromised")
    lost.run("ssh", device[1], "--", "true", status=255)
    shutil.rmtree(lost.home)
    (world.folder / "key-robbed").unlink()
    again = world.technician("robbed")
    again.run("ssh", device[1], "--", "true")


def test_two_admins_changes_follow_each_other(world: ConsoleWorld) -> None:
    other = world.copy_admin("admin-two")
    world.admin.run("policy", "edit", "--set", "wave_limit=11", "--publish")
    done = other.run("policy", "edit", "--set", "max_session_s=6h", "--publish")
    assert b"adopted policy" in done.stderr
    shown = other.json("policy", "show")
    assert (shown["wave_limit"], shown["max_session_s"]) == (11, 6 * 3600)
    done = world.admin.run("policy", "publish")
    assert b"adopted policy" in done.stderr
    assert world.admin.json("policy", "show") == shown


def test_a_policy_made_beside_another_does_not_overwrite_it(world: ConsoleWorld) -> None:
    other = world.copy_admin("admin-three")
    number = world.admin.json("policy", "show")["number"]
    other.environment["AUXILIO_HOME"] = str(other.home)
    world.admin.run("policy", "edit", "--set", "wave_limit=21")  # signed and not published
    other.run("policy", "edit", "--set", "wave_limit=22", "--publish")
    line, _ = world.admin.fails("policy", "publish", status=3)
    assert "not at" in line
    viewer = world.folder / "home-viewer"
    console = ConsoleProcess(viewer) if viewer.exists() else world.technician("judge", may="view")
    console.run("login")
    shown = console.json("policy", "show")
    assert (shown["number"], shown["wave_limit"]) == (number + 1, 22)
    # The way out: a new epoch, from a policy that the admin vouches for.
    world.admin.run("authority", "rotate", "policy", "--compromised", "--no-passphrase")
    console.run("login")
    assert console.json("policy", "show")["epoch"] > 0


def test_a_new_technician_ca_takes_over_in_two_steps(world: ConsoleWorld, device: tuple[AgentProcess, str]) -> None:
    old = world.technician("before")
    world.admin.run("authority", "rotate", "technician-ca", "--no-passphrase")
    new = world.technician("after")
    for console in (old, new):
        console.run("ssh", device[1], "--", "true")
    world.admin.run("technician", "renew", "ada", "before")
    for console in (old, world.admin):
        console.run("login")
    line, hint = world.admin.fails("authority", "rotate", "technician-ca", "--finish", status=3)
    assert "rest on the old CA" in line
    assert "device resign" in hint
    world.admin.run("device", "resign")
    world.admin.run("authority", "rotate", "technician-ca", "--finish")
    charter = world.admin.json("authority", "show")["charter"]
    device[0].wait_status(lambda status: status["charter"] == charter, "the agent has the last charter")
    for console in (old, new):
        console.run("ssh", device[1], "--", "true")


def test_a_compromised_approvers_records_are_void_and_the_device_is_approved_anew(world: ConsoleWorld) -> None:
    thief = world.technician("thief", may="shell,approve")
    agent, device = world.agent(name="agent-void")
    thief.run("device", "approve", device, "--tag", "free", "--yes")
    agent.wait_status(lambda status: status["tags"] == ["free"], "the agent has the thief's record")
    world.admin.run("technician", "revoke", "thief", "--compromised")
    agent.wait_status(lambda status: status["provisional"], "the record is void")
    assert world.listed(device)["state"] in ("unverified", "provisional")
    world.admin.run("device", "approve", device, "--tag", "desk", "--yes")
    agent.wait_status(lambda status: status["tags"] == ["desk"], "the agent has the new record")
