"""What must not become a session: refused with a reason that both sides can read, and without an SSH process."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol.api import SessionNonce, SessionStarted, StartSession
from protocol.certificate import parse_certificate
from protocol.codec import encode
from protocol.errors import AuxilioError
from protocol.ids import SessionId, random_id
from protocol.keys import line_blob, public_line
from protocol.session import SessionRequest
from protocol.signing import KeyRawSigner, KeySigner, load_private_key
from protocol.statement import SESSION, Signed, seal_statement
from tests.support.agent_process import WITHIN_S, wait_until
from tests.support.world import World
from transport.http import RelayClient
from transport.leg import open_leg
from transport.relay_address import parse_address


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World.begin("lab", "site=madrid")
    yield world
    world.end()


class Watch:
    """That no child of the agent appeared while something was refused."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.before = len(world.agent.journal("session_started"))

    def __enter__(self) -> Watch:
        wait_until(lambda: not self.world.session_children(), "no session runs")
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            assert not self.world.session_children()
            assert len(self.world.agent.journal("session_started")) == self.before, "an SSH process was started"


def last_refusal(world: World) -> dict[str, Any]:
    entry: dict[str, Any] = world.agent.journal("session_refused")[-1]
    return entry


def certified(world: World, name: str) -> KeySigner:
    key = load_private_key((world.folder / name).read_bytes())
    return KeySigner(key, line_blob((world.folder / f"{name}-cert.pub").read_text()))


@pytest.mark.parametrize(
    ("name", "options"), [("viewer", {"may": "view"}), ("elsewhere", {"scope": "tag:site=lisbon"})]
)
def test_without_the_right_or_the_scope_there_is_no_shell(world: World, name: str, options: dict[str, str]) -> None:
    world.technician(name, **options)
    other = world.login(name)
    with Watch(world):
        done = other.run(other.auxilio("ssh", world.device, "--", "id"))
        assert done.returncode == 255 and b"uid=" not in done.stdout
        said = done.stderr.decode()
        assert "hint:" in said and "Traceback" not in said
        stock = other.run(other.stock_ssh(world.host, "id"))
        assert stock.returncode == 255 and b"uid=" not in stock.stdout


def test_who_may_do_files_alone_has_stock_ssh_for_files_and_no_program(world: World) -> None:
    world.technician("filer", may="view,files")
    filer = world.login("filer")
    stock = filer.run(filer.stock_ssh(world.host, "id"))
    assert stock.returncode == 254 and b"uid=" not in stock.stdout
    assert b"filer has the rights: files, view" in stock.stderr
    with Watch(world):
        done = filer.run(filer.auxilio("ssh", world.device, "--", "id"))
        assert done.returncode == 255 and b"uid=" not in done.stdout


def test_another_account_than_the_certificates_is_refused(world: World) -> None:
    with Watch(world):
        said = world.console("ssh", "--account", "nobody", world.device, "--", "id", status=255)
        assert "nobody" in said and "hint:" in said


async def ask(world: World, signed: Signed, device: str, session: str) -> None:
    """Offer a request to the device through the relay as a technician's console would, and open the leg."""
    token = world.bearer()
    async with RelayClient(parse_address(world.relay.url, world.relay.pin), bearer=token) as client:
        body = StartSession(request=signed)
        started = await client.request("POST", f"/v1/devices/{device}/sessions", SessionStarted, body=body)
        address = parse_address(started.leg_url, world.relay.pin)
        leg = await open_leg(address, SessionId(session), started.ticket)
        leg.close()


async def nonce(world: World) -> str:
    async with RelayClient(parse_address(world.relay.url, world.relay.pin), bearer=world.bearer()) as client:
        path = f"/v1/devices/{world.device}/sessions/nonce"
        return (await client.request("POST", path, SessionNonce)).nonce


def request(world: World, given: str, **changes: Any) -> tuple[str, bytes]:
    session = random_id(os.urandom(16))
    now = int(time.time())
    key = load_private_key((world.folder / "ana").read_bytes())
    fields: dict[str, Any] = {
        "organisation": world.organisation,
        "device": world.device,
        "session": session,
        "purpose": "a test",
        "case": None,
        "capabilities": ("shell",),
        "account": "admin",
        "ssh_key": public_line(KeyRawSigner(key).public),
        "policy": (0, 1),
        "nonce": given,
        "issued_at": now,
        "expires_at": now + 60,
    }
    from protocol.link import PolicyNumber

    merged = {**fields, **changes}
    epoch, number = merged["policy"]
    merged["policy"] = PolicyNumber(epoch=epoch, number=number)
    return merged["session"], encode(SessionRequest(**merged))


def test_a_replayed_request_is_refused_by_the_device(world: World) -> None:
    given = asyncio.run(nonce(world))
    session, payload = request(world, given)
    signed = seal_statement(certified(world, "ana"), SESSION, payload)
    asyncio.run(ask(world, signed, world.device, session))
    wait_until(lambda: not world.session_children(), "the first session is over")
    again, replayed = request(world, given)
    with Watch(world), pytest.raises(AuxilioError) as caught:
        asyncio.run(ask(world, seal_statement(certified(world, "ana"), SESSION, replayed), world.device, again))
    assert caught.value.reason in ("nonce_unknown", "wrong_nonce", "nonce_used")


def test_an_edited_request_is_refused(world: World) -> None:
    session, payload = request(world, asyncio.run(nonce(world)))
    signed = seal_statement(certified(world, "ana"), SESSION, payload)
    edited = Signed(payload=signed.payload.replace(b"a test", b"a tesT"), signature=signed.signature)
    with Watch(world), pytest.raises(AuxilioError) as caught:
        asyncio.run(ask(world, edited, world.device, session))
    assert caught.value.reason == "bad_signature"


def test_a_revoked_technicians_live_session_ends_within_seconds(world: World) -> None:
    world.technician("mallory")
    other = world.login("mallory")
    process = subprocess.Popen(
        other.auxilio("ssh", world.device, "--", "echo up; sleep 4321"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=other.environment,
    )
    assert process.stdout is not None and process.stdout.readline() == b"up\n"
    started = time.monotonic()
    world.console("technician", "revoke", "mallory")
    _, said = process.communicate(timeout=WITHIN_S)
    took_s = time.monotonic() - started
    assert process.returncode == 255
    assert "revoked" in said.decode()
    # Whoever is faster ends it: the relay, which has read the policy too, or the device, which needs no relay for it.
    ended = world.agent.journal("session_ended")[-1]
    assert ended["reason"] in ("revoked", "withdrawn") and "revoked" in f"{ended}"
    print(f"revocation, from the command to the end of the session: {took_s:.2f} s")
    with Watch(world):
        refused = other.run(other.auxilio("ssh", world.device, "--", "id"))
        assert refused.returncode == 255 and b"uid=" not in refused.stdout


def test_an_expired_certificate_reaches_nothing(world: World) -> None:
    world.technician("brief", valid="10m")
    certificate = parse_certificate(line_blob((world.folder / "brief-cert.pub").read_text()))
    assert certificate.valid_before - certificate.valid_after < 3600
    session, payload = request(world, asyncio.run(nonce(world)))
    # What a relay that does not check would pass on: a good signature under a certificate that is over.
    key = load_private_key((world.folder / "ana").read_bytes())
    over = expired_certificate(world, key)
    with Watch(world), pytest.raises(AuxilioError) as caught:
        signed = seal_statement(KeySigner(key, over), SESSION, payload)
        asyncio.run(ask(world, signed, world.device, session))
    assert caught.value.reason == "expired"


def expired_certificate(world: World, key: Any) -> bytes:
    from protocol.keys import parse_public_key
    from protocol.signing import issue_certificate

    ca = KeyRawSigner(load_private_key(authority_key(world, "technician_ca")))
    now = int(time.time())
    return issue_certificate(
        ca,
        parse_public_key(KeyRawSigner(key).public),
        entropy=os.urandom(32),
        serial=99,
        key_id="ana",
        principals=("admin",),
        valid_after=now - 7200,
        valid_before=now - 3600,
        extensions={"may@auxilio": "shell", "scope@auxilio": "all"},
    )


def authority_key(world: World, role: str) -> bytes:
    """The private key file of a role in the console's home."""
    for path in (world.folder / "home" / "authority").rglob("*"):
        if path.is_file() and path.name.replace("-", "_") == role and b"PRIVATE KEY" in path.read_bytes():
            return path.read_bytes()
    raise AssertionError(sorted(str(p) for p in (world.folder / "home" / "authority").rglob("*")))


# -- consent ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def attended() -> Iterator[World]:
    """A device whose tag no unattended rule covers."""
    world = World.begin("office")
    rule = [{"where": "tag:office", "mode": "attended", "wait_s": 8}]
    world.console("policy", "edit", "--set", f"consent={json.dumps(rule)}", "--publish")
    world.agent.wait_status(lambda s: s["policy"]["number"] == 2, "the device has policy 2")
    yield world
    world.end()


def begin(world: World) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        world.auxilio("ssh", "--purpose", "the printer \x1b[31mis red", world.device, "--", "echo in"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=world.environment,
    )


def waiting(world: World) -> dict[str, Any]:
    status = world.agent.wait_status(lambda s: s["waiting"], "the customer is asked")
    question: dict[str, Any] = status["waiting"][0]
    return question


def test_attended_without_an_answer_is_a_no_that_both_sides_read(attended: World) -> None:
    with Watch(attended):
        process = begin(attended)
        question = waiting(attended)
        assert question["technician"] == "ana" and "printer" in question["purpose"]
        shown = attended.agent.command("status").stdout
        assert "ana" in shown and "auxilio-agent allow" in shown and "\x1b" not in shown
        out, said = process.communicate(timeout=WITHIN_S)
        assert process.returncode == 255 and out == b""
        assert b"waiting" in said.lower() or b"asked" in said.lower()
    assert last_refusal(attended)["code"] == "consent_timeout"


def test_the_customer_refuses(attended: World) -> None:
    with Watch(attended):
        process = begin(attended)
        waiting(attended)
        spanish = attended.agent.command("deny")
        assert spanish.returncode == 0, spanish.stderr
        out, said = process.communicate(timeout=WITHIN_S)
        assert process.returncode == 255 and out == b"" and said
    assert last_refusal(attended)["code"] == "consent_denied"


def test_the_customer_allows(attended: World) -> None:
    process = begin(attended)
    waiting(attended)
    allowed = attended.agent.command("allow")
    assert allowed.returncode == 0 and "ana" in allowed.stdout
    out, said = process.communicate(timeout=WITHIN_S)
    assert (process.returncode, out) == (0, b"in\n"), said


def test_an_answer_to_nobody_is_one_line_and_a_hint(attended: World) -> None:
    done = attended.agent.command("allow")
    assert done.returncode == 3 and "Traceback" not in done.stderr and done.stderr


# -- whoever owns the relay -------------------------------------------------------------------------------------------


def test_the_relays_database_and_keys_open_no_session(world: World) -> None:
    """With everything that the relay stores, and its TLS key, a thief signs what they can: the device takes none."""
    database = sqlite3.connect(f"file:{world.relay.database}?mode=ro", uri=True)
    tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    stored = b" ".join(
        value if isinstance(value, bytes) else str(value).encode()
        for table in tables
        for row in database.execute(f'SELECT * FROM "{table}"')
        for value in row
    )
    database.close()
    for path in world.relay.folder.rglob("*"):
        if path.is_file() and path.name != "relay.sqlite":
            stored += path.read_bytes()
    assert b"session_request" in stored or tables, "the thief has read it all"
    assert stored.count(b"PRIVATE KEY-----") <= 2, "only the relay's own TLS key"
    assert world.bearer().encode() not in stored, "tokens are kept hashed"
    assert load_private_key((world.folder / "ana").read_bytes()) and b"OPENSSH PRIVATE" not in stored
    thief = KeyRawSigner(load_private_key(_ed25519_key()))
    for signer in (KeySigner(load_private_key(_ed25519_key())), _self_certified(world)):
        session, payload = request(world, asyncio.run(nonce(world)), ssh_key=public_line(thief.public))
        with Watch(world), pytest.raises(AuxilioError) as caught:
            asyncio.run(ask(world, seal_statement(signer, SESSION, payload), world.device, session))
        assert caught.value.reason in ("certificate_due", "wrong_ca")


def _ed25519_key() -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from protocol.signing import private_key_pem

    return private_key_pem(Ed25519PrivateKey.from_private_bytes(b"t" * 32))


def _self_certified(world: World) -> KeySigner:
    """A technician by a CA of the thief's own."""
    from protocol.keys import parse_public_key
    from protocol.signing import issue_certificate

    key = load_private_key(_ed25519_key())
    now = int(time.time())
    raw = KeyRawSigner(key)
    certificate = issue_certificate(
        raw,
        parse_public_key(raw.public),
        entropy=os.urandom(32),
        serial=1,
        key_id="ana",
        principals=("admin",),
        valid_after=now - 60,
        valid_before=now + 3600,
        extensions={"may@auxilio": "shell", "scope@auxilio": "all", "permit-pty": ""},
    )
    return KeySigner(key, certificate)


def test_a_device_that_asks_for_the_technicians_ssh_agent_gets_nothing(world: World) -> None:
    socket = world.folder / "ssh-agent.sock"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        wait_until(socket.exists, "the technician's ssh-agent runs")
        environment = {**world.environment, "SSH_AUTH_SOCK": str(socket)}
        for command in (
            world.stock_ssh("-A", world.host, "echo <$SSH_AUTH_SOCK>; ssh-add -l"),
            world.auxilio("ssh", world.device, "--", "echo '<'$SSH_AUTH_SOCK'>'; ssh-add -l"),
        ):
            quoted = [word.replace("echo <$", "echo '<'$").replace("K>;", "K'>';") for word in command]
            done = subprocess.run(
                quoted, stdin=subprocess.DEVNULL, capture_output=True, env=environment, timeout=WITHIN_S, check=False
            )
            assert b"<>" in done.stdout, done
            assert done.returncode != 0, "ssh-add finds no ssh-agent"
    finally:
        agent.terminate()
        agent.wait(WITHIN_S)


def test_remote_forwarding_and_x11_are_refused(world: World) -> None:
    done = world.run(world.stock_ssh("-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:9", world.host, "true"))
    assert done.returncode == 255 and b"forwarding" in done.stderr.lower()
    done = world.run([*world.stock_ssh("-X", world.host, "echo '<'$DISPLAY'>'")])
    assert b"<>" in done.stdout


def test_who_is_connected_is_shown_while_they_are(world: World) -> None:
    process = subprocess.Popen(
        world.auxilio("ssh", "--purpose", "updating the printer", world.device, "--", "echo up; cat"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=world.environment,
    )
    assert process.stdout is not None and process.stdout.readline() == b"up\n"
    sessions = world.agent.status()["sessions"]
    assert [(s["technician"], s["purpose"]) for s in sessions] == [("ana", "updating the printer")]
    assert "updating the printer" in world.agent.command("status").stdout
    process.communicate(timeout=WITHIN_S)
    world.agent.wait_status(lambda s: not s["sessions"], "nobody is connected")
    commands = [entry["command"] for entry in world.agent.journal("channel_open")]
    assert "echo up; cat" in commands


def test_every_file_of_the_console_and_the_agent_is_private(world: World) -> None:
    for folder in (world.folder / "home", world.folder / "agent"):
        for path in folder.rglob("*"):
            if path.is_file() and (b"PRIVATE KEY" in path.read_bytes() or "token" in path.name):
                assert path.stat().st_mode & 0o077 == 0, path
    assert Path(world.folder / "agent").stat().st_mode & 0o077 == 0
