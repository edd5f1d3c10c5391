"""A technician, as their certificate describes them: name, accounts, rights and scope."""

from __future__ import annotations

import msgspec

from protocol.certificate import Certificate, extension_text
from protocol.errors import BadMessage, Untrusted
from protocol.selector import Selector, parse, tags_only

RIGHTS = frozenset({"view", "shell", "files", "forward", "screen", "run", "approve"})
MAY_EXTENSION = "may@auxilio"
SCOPE_EXTENSION = "scope@auxilio"


class Technician(msgspec.Struct, frozen=True):
    """name: the certificate's key id.  rights: of RIGHTS.  scope: over signed tags and ids.

    principals: the accounts that may be asked for: "admin", "user", or literal ones.
    """

    name: str
    rights: frozenset[str]
    scope: Selector
    principals: tuple[str, ...]
    certificate: Certificate


def parse_rights(text: str) -> frozenset[str]:
    """ "shell,files" to a set. Raises BadMessage for a right that does not exist."""
    rights = frozenset(filter(None, (part.strip() for part in text.split(","))))
    unknown = rights - RIGHTS
    if unknown:
        raise BadMessage(
            f"there is no right {sorted(unknown)[0][:40]!r}",
            code="unknown_right",
            hint=f"The rights are: {' '.join(sorted(RIGHTS))}.",
        )
    return rights


def parse_scope(text: str) -> Selector:
    """A selector over what is signed about a device. Raises BadMessage."""
    scope = parse(text)
    if not tags_only(scope):
        raise BadMessage(
            "a scope selects by signed tags and ids alone",
            code="bad_scope",
            hint="Use tag:..., id:... or `all`; the rest is only what a device says about itself.",
        )
    return scope


def read_technician(certificate: Certificate) -> Technician:
    """What a verified certificate says of its holder. No scope is no device; no rights is nothing allowed.

    A right of tomorrow is ignored: it grants nothing here. Raises Untrusted (no_scope, bad_extension).
    """
    may = extension_text(certificate, MAY_EXTENSION) or ""
    scope = extension_text(certificate, SCOPE_EXTENSION)
    if scope is None:
        raise Untrusted("the certificate has no scope, so it reaches no device", code="no_scope")
    try:
        selector = parse_scope(scope)
    except BadMessage as exc:
        raise Untrusted(f"the certificate's scope cannot be read: {exc.message}", code="bad_extension") from exc
    return Technician(
        name=certificate.key_id,
        rights=frozenset(may.split(",")) & RIGHTS,
        scope=selector,
        principals=certificate.principals,
        certificate=certificate,
    )
