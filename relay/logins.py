"""Who is at the other end of a request: technicians by the token of their login, devices by that of their link.

A technician logs in with a statement signed by their certificate; what they get is a random token, kept here as a hash.
Each time it is used, the certificate is judged anew under the policy then in force: a revocation needs no logout.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Literal

import msgspec
from sqlalchemy import Connection

from protocol.api import LoginAnswer, LoginNonce, Mail
from protocol.certificate import Certificate, check_certificate, parse_certificate
from protocol.codec import decode
from protocol.errors import AuxilioError, Refused, Untrusted
from protocol.ids import OrganisationId
from protocol.keys import line_blob
from protocol.login import MAX_STATEMENT_AGE_S, LoginStatement, check_audience
from protocol.sshsig import parse_sshsig
from protocol.statement import LOGIN, CertificateRules, Signed, open_by_certificate
from protocol.system_clock import Clock
from protocol.technician import Technician, read_technician
from relay import logs
from relay.authorities import Authorities, Organisation
from relay.failures import Conflict, NotFound, Unauthorized
from relay.nonces import LoginNonces
from relay.store import people
from relay.store.store import Store

LOGIN_LIFE_S = 12 * 3600
"""A working day. The next login is one command, and a touch where the key is on hardware."""

MAILBOX_LIFE_S = 600
MAX_EXPIRED_S = 90 * 86_400
"""How long after its end a certificate still opens the mailbox for its successor."""

MAX_AHEAD_S = 30 * 86_400
"""A renewed certificate may begin when the old one ends."""

MAX_LOGIN_BYTES = 4 * 1024
TOKEN_BYTES = 32
MAX_TOKEN_CHARS = 128
MAX_CACHED = 4_096
MAX_MAIL_CHARS = 16 * 1024


class Login(msgspec.Struct, frozen=True):
    """A technician who is logged in. fingerprint: SHA-256 of their key, hexadecimal.  relay: our name, as dialled."""

    organisation: OrganisationId
    technician: Technician
    fingerprint: str
    scope: Literal["full", "mailbox"]
    relay: str
    expires_at: int

    @property
    def owner(self) -> str:
        """As an owner of blobs."""
        return f"technician:{self.fingerprint}"


class _Checked(msgspec.Struct, frozen=True):
    """A login that was good under `under`, and is until something changes."""

    login: Login
    under: Organisation


def token_hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def make_token(entropy: bytes) -> str:
    return base64.urlsafe_b64encode(entropy).decode("ascii").rstrip("=")


def key_fingerprint(certificate: Certificate) -> str:
    return hashlib.sha256(certificate.key.blob).hexdigest()


class Logins:
    """names: "host:port" by which this relay is dialled.  entropy: n random bytes."""

    def __init__(
        self,
        store: Store,
        authorities: Authorities,
        clock: Clock,
        *,
        names: frozenset[str],
        nonces: LoginNonces,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._authorities = authorities
        self._clock = clock
        self._names = names
        self._nonces = nonces
        self._entropy = entropy
        self._cache: dict[str, _Checked] = {}

    async def nonce(self, organisation: OrganisationId) -> LoginNonce:
        await self._authorities.get(organisation)
        now = self._clock.now()
        return LoginNonce(nonce=self._nonces.make(organisation, now, self._entropy(8)), time=now)

    async def login(self, organisation: OrganisationId, signed: Signed) -> LoginAnswer:
        """Raises Untrusted, BadMessage, NotFound; Refused with code wrong_organisation, wrong_relay, wrong_nonce,
        clock_differs."""
        held = await self._authorities.get(organisation)
        now = self._clock.now()
        rules = held.authority.technician_rules()
        payload, certificate, scope = _open_login(signed, rules, now)
        statement = decode(payload, LoginStatement, limit=MAX_LOGIN_BYTES)
        check_audience(statement, organisation=organisation, names=self._names, nonce=statement.nonce)
        if not self._nonces.is_good(statement.nonce, organisation, now):
            raise Refused("the signature answers a challenge that is old, used or not ours", code="wrong_nonce")
        if abs(statement.issued_at - now) > MAX_STATEMENT_AGE_S:
            raise Refused(
                "the clocks of console and relay differ by more than five minutes",
                code="clock_differs",
                hint="Set the clock that is wrong.",
            )
        self._nonces.use(statement.nonce, now)
        technician = read_technician(certificate)
        token = make_token(self._entropy(TOKEN_BYTES))
        expires_at = int(now) + (LOGIN_LIFE_S if scope == "full" else MAILBOX_LIFE_S)
        if scope == "full":
            expires_at = min(expires_at, certificate.valid_before)
        row = people.LoginRow(organisation, technician.name, certificate.blob, scope, statement.relay, expires_at)
        fingerprint = key_fingerprint(certificate)

        def job(connection: Connection) -> tuple[str, int] | None:
            people.add_login(connection, token_hash(token), row, now)
            return people.find_mail(connection, organisation, fingerprint)

        mail = await self._store.write(job)
        newer = mail[0] if mail is not None and _is_successor(mail[0], certificate, rules, now) else None
        logs.info("login", organisation=organisation, technician=technician.name, scope=scope)
        return LoginAnswer(token=token, expires_at=expires_at, scope=scope, certificate=newer)

    async def check(self, token: str) -> Login:
        """The technician whose token this is. Raises Unauthorized, in the same words for every reason."""
        hashed = token_hash(token[:MAX_TOKEN_CHARS])
        now = self._clock.now()
        cached = self._cache.get(hashed)
        if cached is not None:
            if cached.under is self._authorities.held(cached.login.organisation) and now < cached.login.expires_at:
                return cached.login
            del self._cache[hashed]
        row = await self._store.read(lambda connection: people.find_login(connection, hashed))
        if row is None or now >= row.expires_at:
            raise _unauthorized()
        checked = await self._check_row(row, now)
        while len(self._cache) >= MAX_CACHED:
            self._cache.pop(next(iter(self._cache)))
        self._cache[hashed] = checked
        return checked.login

    def is_known(self, token: str) -> bool:
        """Whether the token was good a moment ago: its bearer is no stranger."""
        return token_hash(token[:MAX_TOKEN_CHARS]) in self._cache

    async def _check_row(self, row: people.LoginRow, now: float) -> _Checked:
        try:
            held = await self._authorities.get(row.organisation)
            certificate = parse_certificate(row.certificate)
            at = now if row.scope == "full" else min(now, certificate.valid_before - 1)
            check_certificate(certificate, held.authority.technician_rules(), at)
            technician = read_technician(certificate)
        except AuxilioError as exc:
            raise _unauthorized() from exc
        scope: Literal["full", "mailbox"] = "full" if row.scope == "full" else "mailbox"
        fingerprint = key_fingerprint(certificate)
        login = Login(row.organisation, technician, fingerprint, scope, row.relay, row.expires_at)
        return _Checked(login, held)

    # -- the mailbox ----------------------------------------------------------------------------------------------

    async def leave_mail(self, login: Login, fingerprint: str, mail: Mail) -> None:
        """Keep a renewed certificate for whoever holds its key. Anybody may bring it: it is the CA's word.

        Of several, the one that was issued last stays: it may grant less than the one before, or end sooner.
        Raises BadMessage, Untrusted; Refused (wrong_key); Conflict (mail_older).
        """
        held = await self._authorities.get(login.organisation)
        certificate = parse_certificate(line_blob(mail.certificate[:MAX_MAIL_CHARS]))
        at = max(self._clock.now(), min(certificate.valid_after, self._clock.now() + MAX_AHEAD_S))
        check_certificate(certificate, held.authority.technician_rules(), at)
        if key_fingerprint(certificate) != fingerprint:
            raise Refused("the certificate is for another key than the address says", code="wrong_key")
        line = " ".join(mail.certificate.split()[:2])

        def job(connection: Connection) -> bool:
            waiting = people.find_mail(connection, login.organisation, fingerprint)
            if waiting is not None and _order(parse_certificate(line_blob(waiting[0]))) > _order(certificate):
                return False
            people.put_mail(connection, login.organisation, fingerprint, line, certificate.valid_before)
            return True

        if not await self._store.write(job):
            raise Conflict("a certificate that was issued later waits there already", code="mail_older")

    async def fetch_mail(self, login: Login) -> Mail:
        mail = await self._store.read(lambda c: people.find_mail(c, login.organisation, login.fingerprint))
        if mail is None:
            raise NotFound("nothing waits for your key", hint="Ask an admin: `auxilio technician renew`.")
        return Mail(certificate=mail[0])


def _open_login(
    signed: Signed, rules: CertificateRules, now: float
) -> tuple[bytes, Certificate, Literal["full", "mailbox"]]:
    """The payload and certificate; scope mailbox where the certificate is good in every way but past its end."""
    try:
        opened = open_by_certificate(signed, namespace=LOGIN, rules=rules, now=now, limit=MAX_LOGIN_BYTES)
        return opened.payload, opened.certificate, "full"
    except Untrusted as exc:
        if exc.reason != "expired":
            raise
        certificate = parse_certificate(parse_sshsig(signed.signature).signer)
        last = certificate.valid_before - 1
        if now - last > MAX_EXPIRED_S:
            raise
        opened = open_by_certificate(signed, namespace=LOGIN, rules=rules, now=last, limit=MAX_LOGIN_BYTES)
        return opened.payload, opened.certificate, "mailbox"


def _order(certificate: Certificate) -> tuple[int, int]:
    return certificate.valid_after, certificate.valid_before


def _is_successor(line: str, held: Certificate, rules: CertificateRules, now: float) -> bool:
    """Whether what waits is of use to whoever shows `held`. Their console judges it once more."""
    mail = parse_certificate(line_blob(line))
    if mail.valid_before <= held.valid_before or mail.valid_after < held.valid_after:
        return False
    try:
        check_certificate(mail, rules, now)
    except Untrusted:
        return False  # it was revoked, its CA was replaced, or it has ended while it waited
    return True


def _unauthorized() -> Unauthorized:
    return Unauthorized("this needs a login, and the one that was shown is not good (any more)")
