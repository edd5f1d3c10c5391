"""Our verifier beside OpenSSH's: what ssh-keygen makes we accept, what we make it accepts, and where we part.

Real `ssh-keygen -Y sign`, `-Y verify`, `-s` and `-L`, in both directions. Where we are stricter, the case says so;
nothing is accepted here that ssh-keygen refuses.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import SSHCertificate, load_ssh_public_identity

from protocol.certificate import CertificateRules, extension_text, parse_certificate
from protocol.errors import AuxilioError
from protocol.keys import SK_ECDSA, SK_ED25519, fingerprint, line_blob, parse_public_key, public_line
from protocol.revocation import Revocations
from protocol.signing import (
    KeyRawSigner,
    RawSigner,
    SshsigSigner,
    issue_certificate,
    load_private_key,
    private_key_pem,
)
from protocol.sshsig import armor, dearmor
from protocol.statement import JOB, SESSION, Signed, open_by_certificate, open_by_key
from protocol.technician import read_technician
from tests.support.sk_authenticator import SkAuthenticator

PAYLOAD = b'{"what": "a session"}\n'
KINDS: dict[str, Callable[[], RawSigner]] = {
    "ed25519": lambda: KeyRawSigner(ed25519.Ed25519PrivateKey.generate()),
    "ecdsa": lambda: KeyRawSigner(ec.generate_private_key(ec.SECP256R1())),
    "sk-ed25519": lambda: SkAuthenticator(SK_ED25519),
    "sk-ecdsa": lambda: SkAuthenticator(SK_ECDSA),
}


class Workshop:
    """A folder with a CA, in which ssh-keygen works."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run("-q", "-t", "ed25519", "-N", "", "-C", "ca", "-f", "ca")
        self.ca = KeyRawSigner(load_private_key((folder / "ca").read_bytes()))

    def run(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["ssh-keygen", *arguments], cwd=self.folder, input=stdin, capture_output=True, check=False
        )

    def write(self, name: str, data: bytes | str) -> str:
        (self.folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
        return name

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def verifies(self, sshsig: bytes, payload: bytes = PAYLOAD, who: str = "admin", options: str = "") -> bool:
        """What `ssh-keygen -Y verify` says of a certified signature, or a plain one by the CA's own key."""
        allowed = f'{who} {options or "cert-authority"},namespaces="{SESSION}" {public_line(self.ca.public)}\n'
        self.write("allowed", allowed)
        self.write("message.sig", armor(sshsig))
        result = self.run("-Y", "verify", "-f", "allowed", "-I", who, "-n", SESSION, "-s", "message.sig", stdin=payload)
        return result.returncode == 0

    def rules(self, revocations: Revocations | None = None) -> CertificateRules:
        return CertificateRules(
            cas=frozenset({self.ca.public}),
            revocations=revocations or Revocations(),
            max_validity_s=30 * 86_400,
            purpose="technician",
        )

    def we_accept(self, sshsig: bytes, payload: bytes = PAYLOAD) -> bool:
        try:
            signed = Signed(payload=payload, signature=sshsig)
            open_by_certificate(signed, namespace=SESSION, rules=self.rules(), now=time.time())
        except AuxilioError:
            return False
        return True


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def issued_by_us(workshop: Workshop, key: RawSigner) -> bytes:
    now = int(time.time())
    return issue_certificate(
        workshop.ca,
        parse_public_key(key.public),
        entropy=os.urandom(32),
        serial=17,
        key_id="ana",
        principals=("admin", "user"),
        valid_after=now - 60,
        valid_before=now + 3600,
        extensions={"may@auxilio": "shell,files", "scope@auxilio": "tag:clinic", "permit-pty": ""},
    )


def issued_by_ssh_keygen(workshop: Workshop, key: RawSigner, *options: str, principals: str = "admin") -> bytes:
    workshop.write("key.pub", public_line(key.public) + " comment\n")
    arguments = ["-I", "ana", "-z", "17", "-V", "-5m:+7d", "-O", "clear", "-O", "permit-pty"]
    arguments += ["-O", "extension:may@auxilio=shell,files", "-O", "extension:scope@auxilio=tag:clinic", *options]
    if principals:
        arguments += ["-n", principals]
    result = workshop.run("-q", "-s", "ca", *arguments, "key.pub")
    assert result.returncode == 0, result.stderr
    return line_blob(workshop.read("key-cert.pub").decode())


@pytest.mark.parametrize("kind", KINDS)
def test_ssh_keygen_accepts_the_certificates_and_signatures_we_make(workshop: Workshop, kind: str) -> None:
    key = KINDS[kind]()
    certificate = issued_by_us(workshop, key)
    signature = SshsigSigner(key, certificate).sign(SESSION, PAYLOAD)
    assert workshop.verifies(signature)
    assert workshop.we_accept(signature)
    workshop.write("ours-cert.pub", public_line(certificate) + "\n")
    listed = workshop.run("-L", "-f", "ours-cert.pub").stdout.decode()
    for expected in ('Key ID: "ana"', "Serial: 17", "user certificate", "may@auxilio", fingerprint(workshop.ca.public)):
        assert expected in listed


@pytest.mark.parametrize("kind", KINDS)
def test_we_accept_the_certificates_that_ssh_keygen_issues(workshop: Workshop, kind: str) -> None:
    key = KINDS[kind]()
    certificate = issued_by_ssh_keygen(workshop, key, principals="admin,user")
    signature = SshsigSigner(key, certificate).sign(SESSION, PAYLOAD)
    assert workshop.verifies(signature) and workshop.we_accept(signature)
    technician = read_technician(parse_certificate(certificate))
    assert technician.name == "ana" and technician.principals == ("admin", "user")
    assert technician.rights == {"shell", "files"}


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_we_accept_the_signatures_that_ssh_keygen_makes(workshop: Workshop, kind: str) -> None:
    workshop.run("-q", "-t", kind, "-N", "", "-f", "tech")
    key = KeyRawSigner(load_private_key(workshop.read("tech")))
    workshop.write("tech-cert.pub", public_line(issued_by_us(workshop, key)) + "\n")
    workshop.write("message", PAYLOAD)
    result = workshop.run("-q", "-Y", "sign", "-f", "tech-cert.pub", "-n", SESSION, "message")
    assert result.returncode == 0, result.stderr
    signature = dearmor(workshop.read("message.sig").decode())
    assert workshop.we_accept(signature) and workshop.verifies(signature)
    assert not workshop.we_accept(signature, PAYLOAD + b" ")


@pytest.mark.parametrize("hash_name", ["sha256", "sha512"])
def test_plain_signatures_agree_whatever_hash_ssh_keygen_was_told(workshop: Workshop, hash_name: str) -> None:
    workshop.write("message", PAYLOAD)
    workshop.run("-q", "-Y", "sign", "-f", "ca", "-n", SESSION, "-O", f"hashalg={hash_name}", "message")
    signature = dearmor(workshop.read("message.sig").decode())
    opened = open_by_key(Signed(payload=PAYLOAD, signature=signature), namespace=SESSION, keys={workshop.ca.public})
    assert opened.payload == PAYLOAD
    ours = SshsigSigner(workshop.ca).sign(SESSION, PAYLOAD)
    assert workshop.verifies(ours, options='valid-after="20200101"')
    if hash_name == "sha512":
        assert ours == signature, "Ed25519 is deterministic: the same bytes to the last"


def test_private_keys_are_readable_by_both_with_and_without_a_passphrase(workshop: Workshop) -> None:
    key = load_private_key(workshop.read("ca"))
    workshop.write("plain", private_key_pem(key))
    workshop.write("locked", private_key_pem(key, b"correct horse"))
    for name in ("plain", "locked"):
        os.chmod(workshop.folder / name, 0o600)
    assert workshop.run("-y", "-P", "", "-f", "plain").stdout.split()[1] == workshop.read("ca.pub").split()[1]
    assert workshop.run("-y", "-P", "correct horse", "-f", "locked").returncode == 0
    assert workshop.run("-y", "-P", "wrong", "-f", "locked").returncode != 0
    with pytest.raises(AuxilioError, match="passphrase"):
        load_private_key(workshop.read("locked"))
    with pytest.raises(AuxilioError, match="passphrase"):
        load_private_key(workshop.read("locked"), b"wrong")
    assert load_private_key(workshop.read("locked"), b"correct horse")


STRICTER = {
    "no principals": ((), ""),
    "a critical option": (("-O", "force-command=true"), "admin"),
    "source-address": (("-O", "source-address=10.0.0.0/8"), "admin"),
    "serial 0": (("-z", "0"), "admin"),
    "valid forever": (("-V", "always:forever"), "admin"),
    "valid for a year": (("-V", "-5m:+52w"), "admin"),
}
"""ssh-keygen verifies these as good signatures (it looks at fewer fields). We refuse each, on purpose."""


@pytest.mark.parametrize("case", STRICTER)
def test_where_we_are_stricter_than_ssh_keygen(workshop: Workshop, case: str) -> None:
    options, principals = STRICTER[case]
    key = KINDS["ed25519"]()
    certificate = issued_by_ssh_keygen(workshop, key, *options, principals=principals)
    signature = SshsigSigner(key, certificate).sign(SESSION, PAYLOAD)
    assert not workshop.we_accept(signature)


def _host(workshop: Workshop, key: RawSigner) -> bytes:
    workshop.write("host.pub", public_line(key.public) + "\n")
    workshop.run("-q", "-s", "ca", "-h", "-I", "h", "-n", "admin", "-z", "4", "-V", "-5m:+1d", "host.pub")
    return line_blob(workshop.read("host-cert.pub").decode())


def _expired(workshop: Workshop, key: RawSigner) -> bytes:
    return issued_by_ssh_keygen(workshop, key, "-V", "20200101:20200102")


def _future(workshop: Workshop, key: RawSigner) -> bytes:
    return issued_by_ssh_keygen(workshop, key, "-V", "+1d:+2d")


def _strangers(workshop: Workshop, key: RawSigner) -> bytes:
    workshop.run("-q", "-t", "ed25519", "-N", "", "-f", "stranger")
    workshop.write("key.pub", public_line(key.public) + "\n")
    workshop.run("-q", "-s", "stranger", "-I", "ana", "-n", "admin", "-z", "17", "-V", "-5m:+7d", "key.pub")
    return line_blob(workshop.read("key-cert.pub").decode())


@pytest.mark.parametrize("make", [_host, _expired, _future, _strangers])
def test_what_ssh_keygen_refuses_we_refuse(workshop: Workshop, make: Callable[[Workshop, RawSigner], bytes]) -> None:
    key = KINDS["ed25519"]()
    signature = SshsigSigner(key, make(workshop, key)).sign(SESSION, PAYLOAD)
    assert not workshop.verifies(signature)
    assert not workshop.we_accept(signature)


@pytest.mark.parametrize("kind", KINDS)
def test_altered_signatures_are_refused_by_both(workshop: Workshop, kind: str) -> None:
    key = KINDS[kind]()
    certificate = issued_by_us(workshop, key)
    good = SshsigSigner(key, certificate).sign(SESSION, PAYLOAD)
    altered = {
        "another namespace": SshsigSigner(key, certificate).sign(JOB, PAYLOAD),
        "another key's": SshsigSigner(KINDS[kind.removeprefix("sk-")](), certificate).sign(SESSION, PAYLOAD),
        "another payload's": SshsigSigner(key, certificate).sign(SESSION, PAYLOAD + b" "),
        "cut": good[:-1],
        "a flipped bit at the end": good[:-1] + bytes([good[-1] ^ 1]),
        "bytes after it": good + b"\0",
    }
    for what, signature in altered.items():
        assert not workshop.we_accept(signature), what
        assert not workshop.verifies(signature), what


@pytest.mark.parametrize(("flags", "application"), [(0, "ssh:"), (0x04, "ssh:"), (1, "https://example.com")])
def test_a_security_keys_touch_and_application_are_asked_for(workshop: Workshop, flags: int, application: str) -> None:
    key = SkAuthenticator(SK_ED25519, flags=flags, application=application)
    workshop.write("key.pub", public_line(key.public) + "\n")
    workshop.run("-q", "-s", "ca", "-I", "ana", "-n", "admin", "-z", "17", "-V", "-5m:+7d", "key.pub")
    certificate = line_blob(workshop.read("key-cert.pub").decode())
    signature = SshsigSigner(key, certificate).sign(SESSION, PAYLOAD)
    assert not workshop.we_accept(signature)


def test_a_revoked_certificate_is_refused_by_both(workshop: Workshop) -> None:
    key = KINDS["ed25519"]()
    certificate = issued_by_us(workshop, key)
    signature = SshsigSigner(key, certificate).sign(SESSION, PAYLOAD)
    workshop.write("revoked.spec", "serial: 17\n")
    assert workshop.run("-q", "-k", "-f", "krl", "-s", "ca.pub", "revoked.spec").returncode == 0
    assert workshop.verifies(signature)
    arguments = ("-Y", "verify", "-f", "allowed", "-I", "admin", "-n", SESSION, "-s", "message.sig", "-r", "krl")
    assert workshop.run(*arguments, stdin=PAYLOAD).returncode != 0


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_cryptographys_reader_reads_the_same_certificate(workshop: Workshop, kind: str) -> None:
    blob = issued_by_ssh_keygen(workshop, KINDS[kind](), principals="admin,user")
    ours = parse_certificate(blob)
    theirs = load_ssh_public_identity(public_line(blob).encode())
    assert isinstance(theirs, SSHCertificate)
    theirs.verify_cert_signature()
    assert ours.serial == theirs.serial
    assert ours.key_id.encode() == theirs.key_id
    assert [p.encode() for p in ours.principals] == theirs.valid_principals
    assert (ours.valid_after, ours.valid_before) == (theirs.valid_after, theirs.valid_before)
    texts = {name.encode(): (extension_text(ours, name) or "").encode() for name in ours.extensions if "@" in name}
    assert {**texts, b"permit-pty": b""} == theirs.extensions
