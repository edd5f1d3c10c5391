"""A relay in front of a console, in the tester's hands: each of its answers may be replaced by a lie.

relay = Relayed(folder); await relay.start()
relay.answers["GET", "/v1/devices"] = ...; await log_in(relay); await with_desk(relay, action)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from console.home import Home
from console.keys import write_key
from console.passphrase import Passphrases
from console.settings import Settings, save_settings
from console.signed_in import Desk, open_desk, signed_in
from protocol.api import Device, LoginAnswer, LoginNonce, Presence, RelayInfo, SessionNonce
from protocol.codec import encode
from protocol.ids import DeviceId, device_id, sha256
from protocol.keys import public_line
from protocol.link import PolicyNumber
from protocol.policy import Relay
from protocol.report import Report, SectionRef
from protocol.sections.machine import System
from protocol.signing import KeySigner, public_blob
from protocol.statement import REPORT, Signed, seal_statement
from protocol.system_clock import SystemClock
from tests.support.organisation import Organisation, TechnicianKey
from tests.support.tls_relay import HttpRelay

SILENT = Passphrases({}, may_ask=False)
TIME = SystemClock()


class Relayed:
    """A relay whose every answer a test may replace. calls: paths that were asked for, in order.

    logins: what technicians were made to sign.  requests: likewise for sessions.
    """

    def __init__(self, folder: Path) -> None:
        self.server = HttpRelay()
        self.folder = folder
        self.calls: list[str] = []
        self.logins: list[Signed] = []
        self.requests: list[Signed] = []
        self.answers: dict[tuple[str, str], Callable[[], Any]] = {}
        self.server.app.router.add_route("*", "/{path:.*}", self._answer)
        self.device_key = Ed25519PrivateKey.generate()
        self.device: DeviceId = device_id(public_blob(self.device_key))

    async def start(self) -> None:
        await self.server.__aenter__()
        entry = Relay(url=self.server.address.url, pin=self.server.address.pin)
        self.organisation = Organisation(entry)
        self.technician: TechnicianKey = self.organisation.technician()
        self.home = Home(self.folder / "home")
        write_key(self.folder / "key", self.technician.key, self.technician.public_line, "ana", None)
        certificate = f"{public_line(self.technician.certificate)} ana\n"
        (self.folder / "key-cert.pub").write_text(certificate)
        self.settings = Settings(organisation=self.organisation.id, relays=(entry,), key=str(self.folder / "key"))
        save_settings(self.home, self.settings)
        organisation = f"/v1/organisations/{self.organisation.id}"
        self.answers |= {
            ("GET", "/v1/relay"): lambda: RelayInfo(
                time=TIME.now(), versions=(1,), names=("relay.example",), release="0"
            ),
            ("GET", f"{organisation}/charters"): lambda: {"charters": self.organisation.charters},
            ("GET", f"{organisation}/policy"): lambda: self.organisation.policies[-1],
            ("POST", f"{organisation}/login/nonce"): lambda: LoginNonce(nonce="bm9uY2U", time=TIME.now()),
            ("POST", f"{organisation}/login"): lambda: LoginAnswer(
                token="t" * 43, expires_at=int(TIME.now()) + 3600, scope="full"
            ),
            ("GET", f"/v1/devices/{self.device}"): self.told,
            ("POST", f"/v1/devices/{self.device}/sessions/nonce"): lambda: SessionNonce(
                nonce="bm9uY2U", policy=PolicyNumber(epoch=0, number=1)
            ),
            ("DELETE", "*"): lambda: None,
        }
        self.login_path = f"{organisation}/login"

    def told(self, **changes: Any) -> Device:
        token = self.organisation.join_token()
        blob = public_blob(self.device_key)
        fields: dict[str, Any] = {
            "id": self.device,
            "device_key": public_line(blob),
            "enrolment": self.organisation.enrolment(token, self.device_key),
            "enrolled_at": self.organisation.now,
            "suggested_tags": ("vip",),
            "record": self.organisation.record(self.device, "clinic"),
            "report": None,
            "sections": (),
            "presence": Presence(online=True, since_at=1, last_seen_at=1),
        }
        return Device(**{**fields, **changes})

    async def stop(self) -> None:
        await self.server.__aexit__(None, None, None)

    async def _answer(self, request: web.Request) -> web.Response:
        self.calls.append(f"{request.method} {request.path}")
        body = await request.read()
        if request.method == "POST" and request.path == self.login_path:
            self.logins.append(msgspec.json.decode(body, type=Signed))
        if request.method == "POST" and request.path.endswith("/sessions"):
            self.requests.append(
                msgspec.json.decode(msgspec.json.decode(body, type=dict[str, msgspec.Raw])["request"], type=Signed)
            )
        answer = self.answers.get((request.method, request.path)) or self.answers.get((request.method, "*"))
        if answer is None:
            return web.json_response({"code": "not_found", "message": "no \x1b[2J such"}, status=404)
        said = answer()
        if isinstance(said, bytes):
            return web.Response(body=said)
        return web.Response(body=encode(said), content_type="application/json")


class Named:
    """An approved device that calls itself `hostname`, as the relay shows it."""

    def __init__(self, relay: Relayed, says: str, /, **changes: Any) -> None:
        self.relay = relay
        self.key = Ed25519PrivateKey.generate()
        self.id: DeviceId = device_id(public_blob(self.key))
        self.number = 0
        self.report: Signed | None = None
        self.changes = changes
        self.tags: tuple[str, ...] = ("clinic",)
        self.by: TechnicianKey | None = None  # who signs its record, and
        self.continues: DeviceId | None = None  # ... what it says in it
        self.call(says)

    def call(self, hostname: str) -> Signed:
        """Sign the next report, with this name in it."""
        self.number += 1
        data = encode(System(hostname=hostname))
        ref = SectionRef(sha256=sha256(data), size=len(data), collected_at=1)
        report = Report(
            organisation=self.relay.organisation.id,
            device=self.id,
            number=self.number,
            collected_at=1,
            sections={"system": ref},
        )
        self.blob = ("GET", f"/v1/blobs/{ref.sha256}")
        self.relay.answers[self.blob] = lambda: data
        self.report = seal_statement(KeySigner(self.key), REPORT, encode(report))
        return self.report

    def told(self) -> Device:
        organisation = self.relay.organisation
        fields: dict[str, Any] = {
            "id": self.id,
            "device_key": public_line(public_blob(self.key)),
            "enrolment": organisation.enrolment(organisation.join_token(), self.key),
            "record": organisation.record(self.id, *self.tags, by=self.by, continues=self.continues),
            "report": self.report,
            **self.changes,
        }
        return self.relay.told(**fields)


async def log_in(relay: Relayed) -> list[str]:
    """Log in; what was said to the person."""
    said: list[str] = []
    desk = open_desk(relay.home, relay.settings, relay.settings.relays[0], SILENT, said.append)
    async with desk.relay.client:
        await desk.log_in()
    return said


async def with_desk(relay: Relayed, action: Callable[[Desk], Awaitable[object]]) -> object:
    async with signed_in(relay.home, SILENT, lambda text: None) as desk:
        return await action(desk)
