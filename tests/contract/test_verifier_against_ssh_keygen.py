"""Our verifier beside OpenSSH's: what ssh-keygen makes we accept, and what we make it accepts.

Real `ssh-keygen -Y sign`, `-Y verify`, `-s`, `-k` and `-L`. For `sk-` keys ssh-keygen asks an ssh-agent whose keys
are the software authenticator's. Where we part, in test_verifier_forgeries_before_ssh_keygen.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from protocol.certificate import parse_certificate
from protocol.errors import AuxilioError
from protocol.keys import fingerprint, line_blob, parse_public_key, public_line
from protocol.revocation import Revocations, RevokedKey, RevokedKeyId, RevokedSerial
from protocol.signing import (
    KeyRawSigner,
    RawSigner,
    SshsigSigner,
    issue_certificate,
    load_private_key,
    private_key_pem,
)
from protocol.sshsig import armor, dearmor, parse_sshsig
from protocol.statement import JOB, SESSION, Signed, open_by_key
from protocol.technician import read_technician
from tests.support.ssh_keygen import KINDS, PAYLOAD, Workshop, new_key


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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ca_kind", KINDS)
def test_ssh_keygen_accepts_the_certificates_and_signatures_we_make(tmp_path: Path, ca_kind: str, kind: str) -> None:
    workshop, key = Workshop(tmp_path, ca_kind), new_key(kind)
    certificate = issued_by_us(workshop, key)
    signature = SshsigSigner(key, certificate).sign(SESSION, PAYLOAD)
    assert workshop.verifies(signature) and workshop.refusal(signature) is None
    workshop.write("ours-cert.pub", public_line(certificate) + "\n")
    listed = workshop.run("-L", "-f", "ours-cert.pub").stdout.decode()
    for expected in ('Key ID: "ana"', "Serial: 17", "user certificate", "may@auxilio", fingerprint(workshop.ca.public)):
        assert expected in listed


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ca_kind", KINDS)
def test_we_accept_what_ssh_keygen_issues_and_signs(tmp_path: Path, ca_kind: str, kind: str) -> None:
    workshop, key = Workshop(tmp_path, ca_kind), new_key(kind)
    certificate = workshop.issue(key, principals="admin,user")
    signature = workshop.sign(key, certificate)
    assert workshop.refusal(signature) is None and workshop.verifies(signature)
    assert workshop.refusal(signature, PAYLOAD + b" ") == "bad_signature"
    technician = read_technician(parse_certificate(parse_sshsig(signature).signer))
    assert technician.name == "ana" and technician.principals == ("admin", "user")
    assert technician.rights == {"shell", "files"}


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_keys_that_ssh_keygen_made_and_keeps_in_a_file_work(workshop: Workshop, kind: str) -> None:
    workshop.run("-q", "-t", kind, "-N", "", "-f", "tech")
    key = KeyRawSigner(load_private_key(workshop.read("tech")))
    workshop.write("tech-cert.pub", public_line(issued_by_us(workshop, key)) + "\n")
    workshop.write("message", PAYLOAD)
    result = workshop.run("-q", "-Y", "sign", "-f", "tech-cert.pub", "-n", SESSION, "message")
    assert result.returncode == 0, result.stderr
    signature = dearmor(workshop.read("message.sig").decode())
    assert workshop.refusal(signature) is None and workshop.verifies(signature)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hash_name", ["sha256", "sha512"])
def test_plain_signatures_agree_whatever_hash_ssh_keygen_was_told(tmp_path: Path, kind: str, hash_name: str) -> None:
    key = new_key(kind)
    workshop = Workshop(tmp_path, ca=key)
    signature = workshop.sign(key, key.public, PAYLOAD, "-O", f"hashalg={hash_name}")
    assert parse_sshsig(signature).hash == hash_name
    opened = open_by_key(Signed(payload=PAYLOAD, signature=signature), namespace=SESSION, keys={key.public})
    assert opened.payload == PAYLOAD
    ours = SshsigSigner(key).sign(SESSION, PAYLOAD)
    assert workshop.verifies(ours, options='valid-after="20200101"')
    if (kind, hash_name) == ("ed25519", "sha512"):
        assert ours == signature, "Ed25519 is deterministic: the same bytes to the last"
        assert armor(ours).encode() == workshop.read("message.sig"), "and so is the armor"


def test_private_keys_are_readable_by_both_with_and_without_a_passphrase(workshop: Workshop) -> None:
    key = load_private_key(workshop.read("ca"))
    workshop.write("plain", private_key_pem(key))
    workshop.write("locked", private_key_pem(key, b"correct horse"))
    for name in ("plain", "locked"):
        os.chmod(workshop.folder / name, 0o600)
    assert workshop.run("-y", "-P", "", "-f", "plain").stdout.split()[1] == workshop.read("ca.pub").split()[1]
    assert workshop.run("-y", "-P", "correct horse", "-f", "locked").returncode == 0
    assert workshop.run("-y", "-P", "wrong", "-f", "locked").returncode != 0
    workshop.run("-q", "-p", "-P", "", "-N", "battery staple", "-f", "ca")
    assert load_private_key(workshop.read("ca"), b"battery staple")
    with pytest.raises(AuxilioError) as caught:
        load_private_key(workshop.read("ca"))
    assert caught.value.reason == "passphrase_needed"


@pytest.mark.parametrize("kind", KINDS)
def test_altered_signatures_are_refused_by_both(workshop: Workshop, kind: str) -> None:
    key = new_key(kind)
    certificate = issued_by_us(workshop, key)
    good = SshsigSigner(key, certificate).sign(SESSION, PAYLOAD)
    altered = {
        "another namespace": SshsigSigner(key, certificate).sign(JOB, PAYLOAD),
        "another key's": SshsigSigner(new_key(kind.removeprefix("sk-")), certificate).sign(SESSION, PAYLOAD),
        "another payload's": SshsigSigner(key, certificate).sign(SESSION, PAYLOAD + b" "),
        "cut": good[:-1],
        "a flipped bit at the end": good[:-1] + bytes([good[-1] ^ 1]),
        "bytes after it": good + b"\0",
    }
    for what, signature in altered.items():
        assert workshop.refusal(signature), what
        assert not workshop.verifies(signature), what


def _host(workshop: Workshop, key: RawSigner) -> bytes:
    return workshop.issue(key, "-h")


def _expired(workshop: Workshop, key: RawSigner) -> bytes:
    return workshop.issue(key, "-V", "20200101:20200102")


def _future(workshop: Workshop, key: RawSigner) -> bytes:
    return workshop.issue(key, "-V", "+1d:+2d")


def _unprincipled(workshop: Workshop, key: RawSigner) -> bytes:
    return workshop.issue(key, principals="")


def _strangers(workshop: Workshop, key: RawSigner) -> bytes:
    folder = workshop.folder / "stranger"
    folder.mkdir()
    return Workshop(folder).issue(key)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (_host, "host_certificate"),
        (_expired, "expired"),
        (_future, "not_yet_valid"),
        (_unprincipled, "no_principals"),
        (_strangers, "wrong_ca"),
    ],
)
def test_certificates_of_ssh_keygen_that_it_refuses_we_refuse(
    workshop: Workshop, make: Callable[[Workshop, RawSigner], bytes], code: str
) -> None:
    key = new_key("ed25519")
    signature = SshsigSigner(key, make(workshop, key)).sign(SESSION, PAYLOAD)
    assert workshop.refusal(signature) == code
    assert not workshop.verifies(signature)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("-O", "force-command=true"), "unknown_critical_option"),
        (("-O", "source-address=10.0.0.0/8"), "unknown_critical_option"),
        (("-O", "critical:tomorrow@auxilio=1"), "unknown_critical_option"),
        (("-z", "0"), "serial_zero"),
        (("-V", "always:forever"), "too_long_lived"),
        (("-V", "-5m:+52w"), "too_long_lived"),
        (("-I", "ana de la o"), "bad_key_id"),
    ],
)
def test_certificates_of_ssh_keygen_that_it_takes_and_we_do_not(
    workshop: Workshop, options: tuple[str, ...], code: str
) -> None:
    """`ssh-keygen -Y verify` looks at fewer fields; each of these is on purpose."""
    key = new_key("ed25519")
    signature = SshsigSigner(key, workshop.issue(key, *options)).sign(SESSION, PAYLOAD)
    assert workshop.verifies(signature)
    assert workshop.refusal(signature) == code


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["serial", "key", "key id"])
def test_a_revoked_certificate_is_refused_by_both(workshop: Workshop, kind: str, how: str) -> None:
    key = new_key(kind)
    signature = SshsigSigner(key, issued_by_us(workshop, key)).sign(SESSION, PAYLOAD)
    specification, revocations = {
        "serial": ("serial: 17", Revocations(serials=(RevokedSerial(ca=fingerprint(workshop.ca.public), serial=17),))),
        "key": (f"key: {public_line(key.public)}", Revocations(keys=(RevokedKey(key=fingerprint(key.public)),))),
        "key id": ("id: ana", Revocations(key_ids=(RevokedKeyId(key_id="ana"),))),
    }[how]
    workshop.write("specification", specification + "\n")
    assert workshop.run("-q", "-k", "-f", "krl", "-s", "ca.pub", "specification").returncode == 0
    assert workshop.verifies(signature) and workshop.refusal(signature) is None
    assert not workshop.verifies(signature, more=("-r", "krl"))
    assert workshop.refusal(signature, revocations=revocations) == "revoked"


def test_fingerprints_are_those_that_ssh_keygen_prints(workshop: Workshop) -> None:
    printed = workshop.run("-l", "-f", "ca.pub").stdout.decode().split()[1]
    assert fingerprint(line_blob(workshop.read("ca.pub").decode())) == printed
