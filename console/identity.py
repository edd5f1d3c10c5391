"""Who the person at this console is: a key and the certificate that the organisation issued for it.

The certificate lies beside the key (NAME-cert.pub, as ssh-keygen writes it) or in the home, where `login` puts what
the mailbox held. Of several, the best is the one that is good for longest.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from console.home import Home, read_file
from console.keys import MAX_KEY_FILE_BYTES, KeySource, default_key, find_key
from console.settings import Settings
from protocol.certificate import Certificate, check_certificate, parse_certificate
from protocol.errors import AuxilioError, BadMessage, ConfigInvalid, Untrusted
from protocol.keys import line_blob, public_line
from protocol.statement import CertificateRules
from protocol.technician import Technician, read_technician

CERTIFICATE_FILE = "certificate.pub"

WARN_BEFORE_S = 48 * 3600
"""Two working days: enough for an admin to renew, and not a nagging every day of a week."""


class Identity(msgspec.Struct, frozen=True):
    """expired: the certificate is good in all but its date; it opens the mailbox alone."""

    key: KeySource
    certificate: Certificate
    technician: Technician
    expired: bool

    @property
    def name(self) -> str:
        return self.technician.name

    def warning(self, now: float) -> str | None:
        left_s = self.certificate.valid_before - now
        if left_s >= WARN_BEFORE_S:
            return None
        when = "has expired" if left_s <= 0 else f"expires in {int(left_s // 3600)} h"
        return f"your certificate {when}: ask an admin to run `auxilio technician renew --expiring`"


def load_identity(home: Home, settings: Settings, rules: CertificateRules, now: float) -> Identity:
    """now: Unix seconds.  Raises ConfigInvalid (no_key, no_certificate), or Untrusted: why the best one is no good."""
    name = settings.key or default_key()
    if name is None:
        raise ConfigInvalid(
            "no key is named", code="no_key", hint="`ssh-keygen -t ed25519`, then `auxilio login --key FILE`."
        )
    key = find_key(name)
    candidates = [c for c in _certificates(home, name) if c.key.blob == key.public.blob]
    if not candidates:
        raise ConfigInvalid(
            f"no certificate for {name}",
            code="no_certificate",
            hint=f"An admin issues one from its .pub: `auxilio technician add`; it belongs beside it: {name}-cert.pub",
        )
    return _best(key, candidates, rules, now)


def successor(line: str, identity: Identity, rules: CertificateRules, now: float) -> Certificate | None:
    """The certificate that a relay's mailbox holds, if it takes the place of `identity`'s; None where it does not.

    The relay is believed in nothing: it is the organisation's word, now, for this key and this name, issued no earlier
    than what we have, and good for longer.  Raises Untrusted, BadMessage for what no honest relay hands out.
    """
    certificate = parse_certificate(line_blob(line))
    if certificate.key.blob != identity.key.public.blob:
        raise Untrusted("the mailbox holds a certificate for another key", code="wrong_key")
    held = identity.certificate
    if certificate.valid_before <= held.valid_before or certificate.valid_after < held.valid_after:
        return None
    check_certificate(certificate, rules, now)
    if read_technician(certificate).name != identity.name:
        raise Untrusted(
            "the mailbox holds a certificate under another name",
            code="wrong_name",
            hint="If it is yours, an admin hands it over as a file.",
        )
    return certificate


def keep_certificate(home: Home, certificate: Certificate) -> None:
    """The one to be used from now on."""
    home.write(CERTIFICATE_FILE, f"{public_line(certificate.blob)} {certificate.key_id}\n".encode())


def _best(key: KeySource, candidates: list[Certificate], rules: CertificateRules, now: float) -> Identity:
    failures: list[AuxilioError] = []
    for certificate in sorted(candidates, key=lambda c: c.valid_before, reverse=True):
        try:
            expired = _judge(certificate, rules, now)
            return Identity(key, certificate, read_technician(certificate), expired)
        except (Untrusted, BadMessage) as exc:
            failures.append(exc)
    raise failures[0]


def _judge(certificate: Certificate, rules: CertificateRules, now: float) -> bool:
    """True where it would be good had it not expired. Raises Untrusted for everything else."""
    try:
        check_certificate(certificate, rules, now)
    except Untrusted as exc:
        if exc.reason != "expired":
            raise
        check_certificate(certificate, rules, certificate.valid_before - 1)
        return True
    return False


def _certificates(home: Home, key: str) -> list[Certificate]:
    """Those of the home and of the key's folder; a file that is no certificate is none."""
    paths = [home.file(CERTIFICATE_FILE)]
    if not key.startswith("SHA256:"):
        base = key.removesuffix(".pub")
        paths.append(Path(f"{base}-cert.pub").expanduser())
    found = []
    for path in paths:
        data = read_file(path, MAX_KEY_FILE_BYTES)
        if data is None:
            continue
        try:
            found.append(parse_certificate(line_blob(data.decode("utf-8", "replace").strip())))
        except BadMessage:
            continue
    return found
