"""An organisation with real keys, in memory: charters, policies, technicians, join tokens, records, requests.

Everything is made by the same code with which consoles make it, and signed for real. It publishes to a relay by HTTP.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.api import LoginAnswer, LoginNonce, Published, PublishPolicy
from protocol.authority import Authority
from protocol.certificate import parse_certificate
from protocol.charter import Charter, charter_payload
from protocol.codec import encode
from protocol.device_record import DeviceRecord, record_payload
from protocol.enrolment import PRINCIPAL, TAGS_EXTENSION, USES_EXTENSION, EnrolProof, EnrolStatement, JoinToken
from protocol.ids import DeviceId, OrganisationId, SessionId, TokenId, organisation_id, random_id, sha256
from protocol.keys import line_blob, parse_public_key, public_line
from protocol.link import PolicyNumber
from protocol.login import LoginStatement
from protocol.policy import ConsentRule, Policy, Relay, policy_payload
from protocol.session import SessionRequest
from protocol.signing import KeyRawSigner, KeySigner, SshsigSigner, issue_certificate
from protocol.statement import CHARTER, DEVICE, ENROL, LOGIN, POLICY, SESSION, Signed, seal_statement
from transport.http import RelayClient

DAY_S = 86_400
UNATTENDED = (ConsentRule(where="all", mode="unattended"),)
SEALING_KEY = "age1" + "q" * 58


def new_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@dataclass
class TechnicianKey:
    """A technician's key with its certificate."""

    name: str
    key: Ed25519PrivateKey
    certificate: bytes

    @property
    def signer(self) -> SshsigSigner:
        return KeySigner(self.key, self.certificate)

    @property
    def public_line(self) -> str:
        return public_line(KeyRawSigner(self.key).public)


class Organisation:
    """now: Unix seconds at which everything is issued; the present, where none is given."""

    def __init__(self, *relays: Relay, now: int | None = None, **policy: Any) -> None:
        self.now = int(time.time()) if now is None else now
        self._is_present = now is None
        self.root, self.spare, self.policy_key, self.ca, self.enrolment_ca = (new_key() for _ in range(5))
        self.serial = 0
        self.charters = [self._charter(1, None)]
        self.id: OrganisationId = organisation_id(self.charters[0].payload)
        self.policies: list[Signed] = []
        self.last_policy: Policy | None = None
        self.publish_policy(relays=relays, **policy)

    def _charter(self, number: int, previous: str | None, **changes: Any) -> Signed:
        fields: dict[str, Any] = {
            "number": number,
            "previous": previous,
            "issued_at": self.now,
            "roots": tuple(self.line(key) for key in (self.root, self.spare)),
            "policy_keys": (self.line(self.policy_key),),
            "technician_cas": (self.line(self.ca),),
            "enrolment_cas": (self.line(self.enrolment_ca),),
        }
        charter = Charter(**{**fields, **changes})
        return seal_statement(KeySigner(self.root), CHARTER, charter_payload(charter))

    @staticmethod
    def line(key: Ed25519PrivateKey) -> str:
        return public_line(KeyRawSigner(key).public)

    def next_charter(self, **changes: Any) -> Signed:
        last = msgspec.json.decode(self.charters[-1].payload)
        signed = self._charter(last["number"] + 1, sha256(self.charters[-1].payload), **changes)
        self.charters.append(signed)
        return signed

    def publish_policy(self, **changes: Any) -> Signed:
        """The next policy: what the last one said, with these changes."""
        last = self.last_policy
        if last is None:
            policy = Policy(number=1, issued_at=self.now, expires_at=self.now + 90 * DAY_S, **changes)
        else:
            previous = sha256(self.policies[-1].payload)
            policy = msgspec.structs.replace(last, number=last.number + 1, previous=previous, **changes)
        self.last_policy = policy
        self.policies.append(seal_statement(KeySigner(self.policy_key), POLICY, policy_payload(policy)))
        return self.policies[-1]

    @property
    def policy_number(self) -> PolicyNumber:
        assert self.last_policy is not None
        return PolicyNumber(epoch=self.last_policy.epoch, number=self.last_policy.number)

    def authority(self) -> Authority:
        authority = Authority(organisation=self.id)
        for charter in self.charters:
            authority, _ = authority.accept_charter(charter)
        authority, _ = authority.accept_policy(self.policies[-1])
        return authority

    # -- people -----------------------------------------------------------------------------------------------------

    def technician(
        self,
        name: str = "ana",
        *,
        may: str = "view,shell,files,forward,run,approve",
        scope: str = "all",
        principals: tuple[str, ...] = ("admin",),
        valid_s: int = 7 * DAY_S,
        since_s: int = 300,
        ca: Ed25519PrivateKey | None = None,
        permits: tuple[str, ...] = ("permit-pty", "permit-port-forwarding"),
        key: Ed25519PrivateKey | None = None,
    ) -> TechnicianKey:
        key = key or new_key()
        self.serial += 1
        certificate = issue_certificate(
            KeyRawSigner(ca or self.ca),
            parse_public_key(KeyRawSigner(key).public),
            entropy=os.urandom(32),
            serial=self.serial,
            key_id=name,
            principals=principals,
            valid_after=self.now - since_s,
            valid_before=self.now - since_s + valid_s,
            extensions={"may@auxilio": may, "scope@auxilio": scope, **dict.fromkeys(permits, "")},
        )
        return TechnicianKey(name, key, certificate)

    # -- devices ----------------------------------------------------------------------------------------------------

    def join_token(
        self,
        *relays: Relay,
        tags: tuple[str, ...] = (),
        uses: int = 100,
        valid_s: int = 7 * DAY_S,
        since_s: int = 300,
        ca: Ed25519PrivateKey | None = None,
    ) -> JoinToken:
        key = new_key()
        self.serial += 1
        certificate = issue_certificate(
            KeyRawSigner(ca or self.enrolment_ca),
            parse_public_key(KeyRawSigner(key).public),
            entropy=os.urandom(32),
            serial=self.serial,
            key_id=random_id(os.urandom(16)),
            principals=(PRINCIPAL,),
            valid_after=self.now - since_s,
            valid_before=self.now - since_s + valid_s,
            extensions={**({TAGS_EXTENSION: ",".join(tags)} if tags else {}), USES_EXTENSION: str(uses)},
        )
        assert self.last_policy is not None
        return JoinToken(
            organisation=self.id,
            relays=relays or self.last_policy.relays,
            key=key.private_bytes_raw(),
            certificate=public_line(certificate),
        )

    def enrolment(self, token: JoinToken, device: Ed25519PrivateKey, /, **changes: Any) -> Signed:
        """What a device with the key `device` sends to enrol."""
        blob = line_blob(token.certificate)
        token_id = TokenId(parse_certificate(blob).key_id)
        fields: dict[str, Any] = {
            "organisation": self.id,
            "token": token_id,
            "device_key": self.line(device),
            "sealing_key": SEALING_KEY,
            "machine": "0" * 32,
            "hostname": "device.example",
            "issued_at": self.now,
            **changes,
        }
        proof = EnrolProof(**{name: fields[name] for name in EnrolProof.__struct_fields__})
        fields.setdefault("proof", seal_statement(KeySigner(device), ENROL, encode(proof)))
        signer = KeySigner(Ed25519PrivateKey.from_private_bytes(token.key), blob)
        return seal_statement(signer, ENROL, encode(EnrolStatement(**fields)))

    def record(
        self, device: DeviceId, *tags: str, number: int = 1, by: TechnicianKey | None = None, **changes: Any
    ) -> Signed:
        fields: dict[str, Any] = {
            "organisation": self.id,
            "device": device,
            "tags": tuple(sorted(tags)),
            "sealing_key": SEALING_KEY,
            "number": number,
            "issued_at": self.now,
        }
        record = DeviceRecord(**{**fields, **changes})
        return seal_statement((by or self.technician()).signer, DEVICE, record_payload(record))

    # -- sessions ---------------------------------------------------------------------------------------------------

    def session_request(
        self, by: TechnicianKey, device: DeviceId, nonce: str, /, session: SessionId | None = None, **changes: Any
    ) -> tuple[SessionId, Signed]:
        session = session or SessionId(random_id(os.urandom(16)))
        # On a slow machine a module's tests take longer than a request lives.
        now = int(time.time()) if self._is_present else self.now
        fields: dict[str, Any] = {
            "organisation": self.id,
            "device": device,
            "session": session,
            "purpose": "a test",
            "case": None,
            "capabilities": ("shell",),
            "account": "admin",
            "ssh_key": by.public_line,
            "policy": self.policy_number,
            "nonce": nonce,
            "issued_at": now,
            "expires_at": now + 60,
        }
        request = SessionRequest(**{**fields, **changes})
        return session, seal_statement(by.signer, SESSION, encode(request))

    # -- at a relay -------------------------------------------------------------------------------------------------

    async def publish(self, client: RelayClient) -> None:
        """Give the relay every charter and the latest policy."""
        base = f"/v1/organisations/{self.id}"
        for charter in self.charters:
            await client.request("POST", f"{base}/charters", Published, body=charter)
        body = PublishPolicy(policy=self.policies[-1], expected=None)
        await client.request("POST", f"{base}/policy", Published, body=body)

    async def login(self, client: RelayClient, technician: TechnicianKey) -> str:
        """Log in and return the bearer."""
        base = f"/v1/organisations/{self.id}/login"
        nonce = await client.request("POST", f"{base}/nonce", LoginNonce)
        statement = LoginStatement(
            organisation=self.id,
            relay=client.address.dialled_name,
            nonce=nonce.nonce,
            issued_at=int(time.time()),
        )
        body = seal_statement(technician.signer, LOGIN, encode(statement))
        answer = await client.request("POST", base, LoginAnswer, body=body)
        return answer.token
