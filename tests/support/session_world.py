"""A device with an authority over it, a technician, and a relay that joins legs: everything around a session.

The test's process is the agent's supervisor; the session child, the processes it starts, TLS, legs and SSH are real.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import asyncssh
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.admission import DeviceView
from agent.session.desk import SessionDesk
from agent.session.overview import PendingConsent
from protocol.authority import Authority
from protocol.charter import Charter, charter_payload
from protocol.codec import encode
from protocol.device_record import DeviceRecord
from protocol.ids import DeviceId, SessionId, device_id, organisation_id, random_id
from protocol.keys import parse_public_key, public_line
from protocol.link import Nonces, PolicyNumber, SessionAccepted, SessionEnded, SessionOffer, SessionRefused, ToRelay
from protocol.policy import ConsentRule, Policy, Relay, policy_payload
from protocol.session import SessionRequest
from protocol.signing import KeyRawSigner, KeySigner, issue_certificate, private_key_pem
from protocol.statement import CHARTER, POLICY, SESSION, Signed, seal_statement
from protocol.system_clock import SystemClock
from tests.support.splice import Tamper, add_legs
from tests.support.tls_relay import HttpRelay
from transport.leg import Leg, open_leg

WITHIN_S = 60.0
DAY_S = 86_400
PERMITS = {"permit-pty": "", "permit-port-forwarding": ""}
UNATTENDED = ConsentRule(where="all", mode="unattended")

T = TypeVar("T")
Client = asyncssh.SSHClientConnection


def new_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


RESUME_FOR_S = 2.0
"""Nobody asks for a session again here: its end is waited for."""


class Log:
    """A journal that tests read."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, dict[str, object]]] = []

    def record(self, event: str, **fields: object) -> None:
        json.dumps(fields)  # what cannot be written would be lost
        self.entries.append((event, fields))

    def of(self, event: str) -> list[dict[str, object]]:
        return [fields for name, fields in self.entries if name == event]


class Technician:
    """A person with a key and a certificate. key_pem: for stock ssh."""

    def __init__(self, world: SessionWorld, name: str = "ana", **changes: Any) -> None:
        self.key = new_key()
        now = int(world.clock.now())
        fields: dict[str, Any] = {
            "serial": secrets.randbelow(2**32) + 1,
            "key_id": name,
            "principals": ("admin",),
            "valid_after": now - 60,
            "valid_before": now + 7 * DAY_S,
        }
        may, scope = changes.pop("may", "shell"), changes.pop("scope", "all")
        extensions = changes.pop("extensions", {"may@auxilio": may, "scope@auxilio": scope, **PERMITS})
        fields.update(changes)
        ca = changes.pop("ca", world.ca)
        fields.pop("ca", None)
        certificate = issue_certificate(
            KeyRawSigner(ca),
            parse_public_key(KeyRawSigner(self.key).public),
            entropy=secrets.token_bytes(32),
            extensions=dict(sorted(extensions.items())),
            **fields,
        )
        self.serial: int = fields["serial"]
        self.signer = KeySigner(self.key, certificate)
        self.public = KeyRawSigner(self.key).public

    @property
    def key_pem(self) -> bytes:
        return private_key_pem(self.key)


class SessionWorld:
    """tags: of the device; without any it is provisional.  policy: changes to its fields.  tamper: see splice.py."""

    def __init__(self, *, tamper: Tamper | None = None, tags: tuple[str, ...] = ("lab",), **policy: Any) -> None:
        self.clock = SystemClock()
        self.root, self.policy_key, self.ca, self.device_key = (new_key() for _ in range(4))
        self.relay = HttpRelay()
        add_legs(self.relay, tamper=tamper)
        self._policy_changes: dict[str, Any] = {"consent": (UNATTENDED,), **policy}
        self._tags = tags
        self.log = Log()
        self.sent: list[ToRelay] = []
        self.asked: list[PendingConsent] = []
        self.heard: list[Exception | None] = []  # why each client's connection ended
        self.fetched: list[PolicyNumber] = []
        self.on_fetch: Callable[[PolicyNumber], None] = lambda number: None
        self.folder = Path(tempfile.mkdtemp(prefix="auxilio-test-"))
        self._bridges: list[asyncio.Server] = []
        self._accounts: dict[str, str] = {}  # by session: as which SSH logs in

    async def __aenter__(self) -> Self:
        await self.relay.__aenter__()
        self._found_authority()
        self.device: DeviceId = device_id(KeyRawSigner(self.device_key).public)
        self.record: DeviceRecord | None = None
        if self._tags:
            self.record = DeviceRecord(
                organisation=self.authority.organisation,
                device=self.device,
                tags=self._tags,
                sealing_key="age1test",
                number=1,
                issued_at=int(self.clock.now()),
            )
        self.technician = Technician(self)
        self.desk = SessionDesk(
            view=self.view,
            now=self.clock.now,
            clock=self.clock,
            device_key=KeyRawSigner(self.device_key),
            journal=self.log,
            send=self._send,
            fetch_policy=self._fetch,
            ask=self.asked.append,
            resume_for_s=RESUME_FOR_S,
        )
        self.desk.link_up()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for bridge in self._bridges:
            bridge.close()
        await self.desk.close()
        await self.relay.__aexit__(kind, error, trace)
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- the authority ----------------------------------------------------------------------------------------------

    def _found_authority(self) -> None:
        now = int(self.clock.now())
        lines = {
            name: (public_line(KeyRawSigner(key).public),)
            for name, key in {
                "roots": self.root,
                "policy_keys": self.policy_key,
                "technician_cas": self.ca,
                "enrolment_cas": new_key(),
            }.items()
        }
        charter = Charter(number=1, issued_at=now, **lines)  # type: ignore[arg-type]  # names of fields
        signed = seal_statement(KeySigner(self.root), CHARTER, charter_payload(charter))
        self.authority, _ = Authority(organisation=organisation_id(signed.payload)).accept_charter(signed)
        self._number = 0
        self.publish(review=False)

    def publish(self, *, review: bool = True, **changes: Any) -> None:
        """Make the device accept a policy with `changes` over the one before."""
        self._number += 1
        self._policy_changes.update(changes)
        now = int(self.clock.now())
        relay = Relay(url=self.relay.address.url, pin=self.relay.certificate.pin)
        fields: dict[str, Any] = {
            "number": self._number,
            "issued_at": now - 100,
            "expires_at": now + 90 * DAY_S,
            "relays": (relay,),
            **self._policy_changes,
        }
        signed = seal_statement(KeySigner(self.policy_key), POLICY, policy_payload(Policy(**fields)))
        self.authority, _ = self.authority.accept_policy(signed)
        if review:
            self.desk.review()

    def view(self) -> DeviceView:
        return DeviceView(
            organisation=self.authority.organisation, device=self.device, authority=self.authority, record=self.record
        )

    async def _fetch(self, wanted: PolicyNumber) -> None:
        self.fetched.append(wanted)
        self.on_fetch(wanted)

    # -- the relay's side -------------------------------------------------------------------------------------------

    def _send(self, message: ToRelay) -> None:
        self.sent.append(message)

    def nonce(self) -> str:
        """One of the device's nonces, as a relay hands it out; each once."""
        for message in self.sent:
            if isinstance(message, Nonces):
                unused = [n for n in message.nonces if n not in self._used_nonces]
                if unused:
                    self._used_nonces.add(unused[0])
                    return unused[0]
        raise AssertionError("the device issued no nonce")

    _used_nonces: set[str] = set()  # of all worlds: nonces are unique

    def request(self, **changes: Any) -> SessionRequest:
        now = int(self.clock.now())
        fields: dict[str, Any] = {
            "organisation": self.authority.organisation,
            "device": self.device,
            "session": random_id(secrets.token_bytes(16)),
            "purpose": "the printer is deaf",
            "case": None,
            "capabilities": ("shell",),
            "account": "admin",
            "ssh_key": public_line(self.technician.public),
            "policy": self.authority.policy_order,
            "nonce": "",
            "issued_at": now,
            "expires_at": now + 300,
            **changes,
        }
        fields["nonce"] = fields["nonce"] or self.nonce()
        return SessionRequest(**fields)

    def sign(self, request: SessionRequest, by: Technician | None = None) -> Signed:
        return seal_statement((by or self.technician).signer, SESSION, encode(request))

    def offer(self, request: SessionRequest, signed: Signed | None = None, **changes: Any) -> SessionId:
        fields: dict[str, Any] = {
            "session": request.session,
            "request": signed or self.sign(request),
            "ticket": "ticket",
            "leg_url": self.relay.address.url,
            **changes,
        }
        self._accounts[fields["session"]] = request.account
        self.desk.offer(SessionOffer(**fields))
        return SessionId(fields["session"])

    async def said(self, kind: type[T], session: str) -> T:
        """The device's message of `kind` about `session`, once it is there."""
        return await until(lambda: next((m for m in self.sent if isinstance(m, kind) and _about(m) == session), None))

    async def refused(self, session: str) -> SessionRefused:
        return await self.said(SessionRefused, session)

    async def ended(self, session: str) -> SessionEnded:
        return await self.said(SessionEnded, session)

    # -- the technician's side --------------------------------------------------------------------------------------

    async def start(self, **changes: Any) -> SessionId:
        """Ask for a session and see it accepted."""
        session = self.offer(self.request(**changes))
        await self.said(SessionAccepted, session)
        return session

    async def leg(self, session: SessionId) -> Leg:
        return await open_leg(self.relay.address, session, "console")

    async def connect(self, session: SessionId, **options: Any) -> Client:
        """asyncssh's client on the session, which trusts the device's key alone."""
        known = asyncssh.import_public_key(public_line(KeyRawSigner(self.device_key).public))
        fields: dict[str, Any] = {
            "tunnel": await self.leg(session),
            "client_factory": lambda: _Ears(self.heard),
            "username": self._accounts[session],
            "client_keys": [asyncssh.import_private_key(self.technician.key_pem)],
            "known_hosts": ([known], [], []),
            "config": None,
            "agent_path": None,
            "rekey_bytes": 1 << 40,
            "rekey_seconds": 0,
            **options,
        }
        return await asyncssh.connect("device", **fields)

    @contextlib.asynccontextmanager
    async def client(self, **changes: Any) -> AsyncIterator[Client]:
        """A session from request to authenticated client."""
        connection = await self.connect(await self.start(**changes))
        try:
            yield connection
        finally:
            connection.close()
            await connection.wait_closed()

    async def stock_ssh(self, *arguments: str, **changes: Any) -> list[str]:
        """The command line of stock ssh on a new session, whose host key is pinned."""
        session = await self.start(**changes)
        port = await self._bridge(session)
        key = self.folder / f"key-{session}"
        key.touch(mode=0o600)
        key.write_bytes(self.technician.key_pem)
        known = self.folder / f"known-{session}"
        known.write_text(f"device {public_line(KeyRawSigner(self.device_key).public)}\n")
        options = {
            "User": self._accounts[session],
            "HostKeyAlias": "device",
            "UserKnownHostsFile": str(known),
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "LogLevel": "ERROR",
        }
        listed = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        return [
            "ssh",
            "-F",
            "none",
            *listed,
            "-i",
            str(key),
            "-p",
            str(port),
            *arguments[:-1],
            "127.0.0.1",
            *arguments[-1:],
        ]

    async def _bridge(self, session: SessionId) -> int:
        """A TCP port whose one connection becomes the console's leg, as `auxilio proxy` does it with its streams."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            leg = await self.leg(session)
            await leg.create_connection(lambda: _Bridge(writer))
            try:
                while data := await reader.read(65536):
                    await leg.writable()
                    leg.write(data)
                leg.finish()
                await leg.wait_closed()
            finally:
                leg.close()
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self._bridges.append(server)
        return int(server.sockets[0].getsockname()[1])

    # -- what the kernel says ---------------------------------------------------------------------------------------

    def children(self) -> list[int]:
        """Pids of live session children of this process's nurseries."""
        return session_children(os.getpid())


class _Ears(asyncssh.SSHClient):
    def __init__(self, heard: list[Exception | None]) -> None:
        self._heard = heard

    def connection_lost(self, exc: Exception | None) -> None:
        self._heard.append(exc)


class _Bridge(asyncio.Protocol):
    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def data_received(self, data: bytes) -> None:
        self._writer.write(data)

    def eof_received(self) -> bool:
        with contextlib.suppress(OSError):
            self._writer.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._writer.close()


async def until(condition: Callable[[], T | None], within_s: float = WITHIN_S) -> T:
    """Return what `condition` returns as soon as it is neither None nor False. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while not (found := condition()):
            await asyncio.sleep(0.01)
        return found


def free_port() -> int:
    """A port of the loopback that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _about(message: object) -> str:
    return str(getattr(message, "session", ""))


def session_children(supervisor: int) -> list[int]:
    """Pids of the live session children of a supervisor: forked by its nursery."""
    processes = _processes()
    nurseries = {pid for pid, parent, line in processes if parent == supervisor and "agent.session.nursery" in line}
    return [pid for pid, parent, _ in processes if parent in nurseries]


def started_by(supervisor: int) -> list[int]:
    """Pids of the processes that a supervisor started, but for its nursery."""
    return [pid for pid, parent, line in _processes() if parent == supervisor and "agent.session.nursery" not in line]


def _processes() -> list[tuple[int, int, str]]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_bytes().rpartition(b") ")[2].split()
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if stat[0] != b"Z":
                found.append((int(folder.name), int(stat[1]), line))
    return found


async def run(
    command: list[str], *, stdin: bytes | None = None, within_s: float = WITHIN_S
) -> tuple[int, bytes, bytes]:
    """(status, output, errors) of a program, without blocking the loop."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(within_s):
        out, err = await process.communicate(stdin)
    assert process.returncode is not None
    return process.returncode, out, err
