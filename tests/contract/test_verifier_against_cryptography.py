"""cryptography's own reader of certificates as an oracle: the same fields out of the same bytes.

It reads no `sk-` certificates, and is laxer in places; what we take it must take, with every field the same.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificate,
    load_ssh_public_identity,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.certificate import Certificate, check_certificate, parse_certificate
from protocol.errors import AuxilioError
from protocol.keys import public_line
from protocol.sshwire import string
from tests.support.forgeries import CASES
from tests.support.forgery import NOW, TECHNICIAN, Recipe, p256, rules
from tests.support.ssh_keygen import Workshop, new_key

PLAIN_KEYS = (TECHNICIAN, p256(1))


def theirs_of(blob: bytes) -> SSHCertificate:
    identity = load_ssh_public_identity(public_line(blob).encode())
    assert isinstance(identity, SSHCertificate)
    return identity


def assert_same(ours: Certificate, theirs: SSHCertificate) -> None:
    assert ours.serial == theirs.serial
    assert ours.kind == theirs.type.value
    assert ours.key_id.encode() == theirs.key_id
    assert [principal.encode() for principal in ours.principals] == theirs.valid_principals
    assert (ours.valid_after, ours.valid_before) == (theirs.valid_after, theirs.valid_before)
    # It unwraps the string inside an option's data, where there is one.
    for mine, other in ((ours.critical_options, theirs.critical_options), (ours.extensions, theirs.extensions)):
        assert {name.encode(): data for name, data in mine.items()} == {
            name: string(text) if text else b"" for name, text in other.items()
        }
    for key, other_key in ((ours.key, theirs.public_key()), (ours.ca, theirs.signature_key())):
        assert key.line.encode() == other_key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
@pytest.mark.parametrize("ca_kind", ["ed25519", "ecdsa"])
def test_both_read_the_same_in_what_ssh_keygen_issues(tmp_path: Path, ca_kind: str, kind: str) -> None:
    workshop = Workshop(tmp_path, ca_kind)
    blob = workshop.issue(new_key(kind), "-O", "force-command=true", principals="admin,user")
    theirs_of(blob).verify_cert_signature()
    assert_same(parse_certificate(blob), theirs_of(blob))


RECIPES = st.builds(
    Recipe,
    key=st.sampled_from(PLAIN_KEYS),
    serial=st.integers(0, 2**64 - 1),
    kind=st.sampled_from((1, 2)),
    key_id=st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=60),
    principals=st.lists(st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1), max_size=5).map(
        tuple
    ),
    valid_after=st.integers(0, 2**64 - 1),
    valid_before=st.integers(0, 2**64 - 1),
    critical=st.dictionaries(st.text("abc", min_size=1), st.binary(min_size=1, max_size=40).map(string)).map(
        lambda options: tuple(sorted(options.items()))
    ),
    extensions=st.dictionaries(st.text("xyz@-", min_size=1), st.just(b"")).map(lambda o: tuple(sorted(o.items()))),
)


@settings(max_examples=200, deadline=None)
@given(recipe=RECIPES)
def test_both_read_the_same_in_any_certificate(recipe: Recipe) -> None:
    blob = recipe.certificate()
    ours = parse_certificate(blob)
    if ours.valid_after <= ours.valid_before:  # it refuses to read others; ours are judged later
        theirs = theirs_of(blob)
        theirs.verify_cert_signature()
        assert_same(ours, theirs)


@pytest.mark.parametrize("name", CASES)
def test_a_certificate_of_a_forgery_that_we_take_theirs_takes(name: str) -> None:
    """Some forgeries have a good certificate: the fault is in the signature. Then the oracle must agree."""
    recipe = CASES[name].recipe
    blob = recipe.certificate()
    try:
        ours = parse_certificate(blob)
        check_certificate(ours, rules(), NOW)
    except AuxilioError:
        return
    if ours.key.application:
        return
    theirs = theirs_of(blob)
    theirs.verify_cert_signature()
    assert_same(ours, theirs)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), key=st.sampled_from(PLAIN_KEYS))
def test_where_their_reader_finds_a_fault_we_do_too(data: st.DataObject, key: object) -> None:
    good = Recipe(key=key).certificate()  # type: ignore[arg-type]  # hypothesis hides the type
    spoilt = bytearray(good)
    spoilt[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        certificate = parse_certificate(bytes(spoilt))
        check_certificate(certificate, rules(), NOW)
    except AuxilioError:
        return
    try:
        theirs_of(bytes(spoilt)).verify_cert_signature()
    except (ValueError, InvalidSignature) as exc:
        raise AssertionError("we accepted what cryptography refuses") from exc
    assert bytes(spoilt) == good
