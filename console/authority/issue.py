"""Issuing technicians' certificates: what may be in one, how long it lives, and the same again for a renewal."""

from __future__ import annotations

import secrets

import msgspec

from console.authority.ledger import IssuedCertificate, Ledger
from console.authority.store import Store
from protocol.certificate import KEY_ID, PRINCIPAL, parse_certificate
from protocol.errors import Refused, UsageInvalid
from protocol.keys import PublicKey, fingerprint, line_blob, public_line
from protocol.policy import DAY_S
from protocol.selector import to_text
from protocol.signing import RawSigner, issue_certificate
from protocol.technician import MAY_EXTENSION, SCOPE_EXTENSION, parse_rights, parse_scope

DEFAULT_LIFE_S = 7 * DAY_S
LONGEST_LIFE_S = 30 * DAY_S

BACKDATED_S = 300
"""A device whose clock is a little behind takes a certificate that was issued a moment ago."""

SERIAL_BITS = 48
"""Drawn, not counted, so that two admins who share a CA do not meet; any JSON reader keeps it exact."""


class Grant(msgspec.Struct, frozen=True):
    """What a technician may: all fields canonical. life_s: seconds.  principals: accounts."""

    name: str
    may: str
    scope: str
    principals: tuple[str, ...]
    life_s: int


def parse_grant(name: str, may: str, scope: str, accounts: tuple[str, ...], life_s: int) -> Grant:
    """Raises UsageInvalid, or BadMessage with a position in the scope."""
    if not KEY_ID.match(name):
        raise UsageInvalid("a name is of letters, digits and . _ @ + -, at most 64", hint="For example: ana.garcia")
    principals = tuple(part for account in accounts for part in account.split(",") if part)
    if not principals or not all(PRINCIPAL.match(principal) for principal in principals):
        raise UsageInvalid(
            "an account is of letters, digits and . _ @ + -",
            hint="--as admin, --as user, or the name of an account on the devices.",
        )
    if not 60 <= life_s <= LONGEST_LIFE_S:
        raise UsageInvalid("a certificate lives between a minute and 30 days", hint="--valid 7d")
    rights = parse_rights(may)
    if not rights:
        raise UsageInvalid("a technician without a right can do nothing", hint="--may shell,files")
    return Grant(name, ",".join(sorted(rights)), to_text(parse_scope(scope)), principals, life_s)


def issue_technician(store: Store, ca: RawSigner, grant: Grant, key: PublicKey, now: int) -> IssuedCertificate:
    """Issue, and enter into the ledger. now: Unix seconds.

    Raises Refused (revoked, too_long_lived) where no device would accept the result.
    """
    ca_name = fingerprint(ca.public)
    policy = store.policy.policy
    if grant.life_s > policy.max_certificate_s:
        raise Refused(
            f"the policy allows certificates of {policy.max_certificate_s // 3600} h at most",
            code="too_long_lived",
            hint="--valid, or `auxilio policy edit --set max_certificate_s=...`",
        )
    after = now - BACKDATED_S
    before = min(now + grant.life_s, after + policy.max_certificate_s)
    serial = secrets.randbits(SERIAL_BITS) or 1
    if policy.revocations.certificate_revoked(ca=ca_name, serial=serial, key=fingerprint(key.blob), key_id=grant.name):
        raise Refused(
            f"{grant.name}, or this key, was revoked",
            code="revoked",
            hint="Take a new key, and another name if the name itself was revoked; `auxilio policy show` lists both.",
        )
    certificate = issue_certificate(
        ca,
        key,
        entropy=secrets.token_bytes(32),
        serial=serial,
        key_id=grant.name,
        principals=grant.principals,
        valid_after=after,
        valid_before=before,
        extensions=_extensions(grant),
    )
    issued = IssuedCertificate(
        serial=serial,
        name=grant.name,
        key=fingerprint(key.blob),
        ca=ca_name,
        may=grant.may,
        scope=grant.scope,
        principals=",".join(grant.principals),
        valid_after=after,
        valid_before=before,
        certificate=public_line(certificate),
    )
    Ledger(store.folder).add_certificate(issued)
    return issued


def _extensions(grant: Grant) -> dict[str, str]:
    extensions = {MAY_EXTENSION: grant.may, SCOPE_EXTENSION: grant.scope}
    rights = grant.may.split(",")
    if "shell" in rights:
        extensions["permit-pty"] = ""
    if "forward" in rights:
        extensions["permit-port-forwarding"] = ""
    return extensions


def certified_key(issued: IssuedCertificate) -> PublicKey:
    """The technician's plain key inside a certificate of the ledger."""
    return parse_certificate(line_blob(issued.certificate)).key


def grant_again(issued: IssuedCertificate, longest_s: int = LONGEST_LIFE_S) -> Grant:
    """The grant of an issued certificate, for its renewal. longest_s: what the policy allows by now."""
    life_s = min(issued.valid_before - issued.valid_after - BACKDATED_S, longest_s)
    return parse_grant(issued.name, issued.may, issued.scope, (issued.principals,), max(life_s, 60))


def renew_all(store: Store, ca: RawSigner, due: list[IssuedCertificate], now: int) -> list[IssuedCertificate]:
    """The same again for each: key, rights, scope and accounts, under a new serial. Raises as issue_technician."""
    longest_s = store.policy.policy.max_certificate_s
    return [issue_technician(store, ca, grant_again(each, longest_s), certified_key(each), now) for each in due]


def to_renew(
    issued: list[IssuedCertificate], store: Store, *, now: float, within_s: float | None, names: frozenset[str]
) -> list[IssuedCertificate]:
    """The latest certificate of each name and key that is due. within_s: expiring by then; None: whatever its date.

    names: empty means all. The revoked are not renewed, nor is one that expired longer ago than it had lived.
    """
    latest = {(each.name, each.key): each for each in issued}
    revocations = store.policy.policy.revocations
    due = []
    for each in latest.values():
        if names and each.name not in names:
            continue
        if within_s is not None and each.valid_before > now + within_s:
            continue
        if not names and each.valid_before + (each.valid_before - each.valid_after) < now:
            continue  # somebody who left without a word
        if revocations.certificate_revoked(ca=each.ca, serial=each.serial, key=each.key, key_id=each.name):
            continue
        due.append(each)
    return due
