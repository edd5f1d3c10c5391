"""User certificates: issued, read back, judged. The forgeries have a table of their own in tests/hostile."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.certificate import (
    FOREVER,
    MAX_CERTIFICATE_BYTES,
    MAX_EXTENSION_BYTES,
    Certificate,
    CertificateRules,
    certificate_to_sign,
    check_certificate,
    extension_text,
    is_certificate,
    parse_certificate,
)
from protocol.errors import AuxilioError, BadMessage, Untrusted
from protocol.keys import SK_ECDSA, SK_ED25519, line_blob, parse_public_key, public_line
from protocol.revocation import Revocations, RevokedKeyId
from protocol.signing import RawSigner, issue_certificate
from protocol.sshwire import string
from tests.support.forgery import CA, DAY, GOOD, NOW, OTHER, TECHNICIAN, Recipe, Swapped, p256, rules
from tests.support.sk_authenticator import SkAuthenticator

KEYS = (TECHNICIAN, p256(1), SkAuthenticator(SK_ED25519), SkAuthenticator(SK_ECDSA))
ARGUMENTS: dict[str, Any] = {
    "entropy": bytes(range(32)),
    "serial": 17,
    "key_id": "ana",
    "principals": ("admin", "user"),
    "valid_after": NOW - 60,
    "valid_before": NOW + DAY,
    "extensions": {"scope@auxilio": "tag:clinic", "permit-pty": "", "may@auxilio": "shell"},
}


def issued(key: RawSigner = TECHNICIAN, ca: RawSigner = CA, **changes: Any) -> bytes:
    return issue_certificate(ca, parse_public_key(key.public), **{**ARGUMENTS, **changes})


@pytest.mark.parametrize("ca", KEYS, ids=lambda key: parse_public_key(key.public).algorithm)
@pytest.mark.parametrize("key", KEYS, ids=lambda key: parse_public_key(key.public).algorithm)
def test_what_was_issued_is_read_back(key: RawSigner, ca: RawSigner) -> None:
    certificate = parse_certificate(issued(key, ca))
    assert certificate.key == parse_public_key(key.public)
    assert certificate.ca == parse_public_key(ca.public)
    assert (certificate.serial, certificate.key_id, certificate.principals) == (17, "ana", ("admin", "user"))
    assert (certificate.valid_after, certificate.valid_before) == (NOW - 60, NOW + DAY)
    assert list(certificate.extensions) == ["may@auxilio", "permit-pty", "scope@auxilio"]
    assert extension_text(certificate, "scope@auxilio") == "tag:clinic"
    assert not certificate.critical_options


def test_the_table_of_recipes_makes_the_certificates_that_we_issue() -> None:
    """So the forgeries differ from the real thing in their fault alone."""
    fields = {"entropy": bytes(32), "principals": ("admin",), "valid_before": NOW + 7 * DAY}
    assert issued(**fields, extensions={"may@auxilio": "shell", "permit-pty": "", "scope@auxilio": "all"}) == (
        GOOD.certificate()
    )


def judged(certificate: Certificate, now: float = NOW, **options: Any) -> str:
    try:
        check_certificate(certificate, rules(), now, **options)
    except Untrusted as exc:
        return exc.reason
    return "good"


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        (NOW - 60.001, "not_yet_valid"),
        (NOW - 60, "good"),
        (NOW + DAY - 0.001, "good"),
        (NOW + DAY, "expired"),
        (0, "not_yet_valid"),
        (-1, "not_yet_valid"),
        (2.0**70, "expired"),
        (float("nan"), "not_yet_valid"),
        (float("-inf"), "not_yet_valid"),
    ],
)
def test_a_certificate_is_good_from_its_first_second_and_not_in_its_last(now: float, verdict: str) -> None:
    assert judged(parse_certificate(issued()), now) == verdict


@pytest.mark.parametrize(("life_s", "verdict"), [(30 * DAY, "good"), (30 * DAY + 1, "too_long_lived")])
def test_the_policys_longest_life_is_allowed_and_no_second_more(life_s: int, verdict: str) -> None:
    assert judged(parse_certificate(issued(valid_before=NOW - 60 + life_s))) == verdict


def test_forever_is_too_long_whatever_the_policy_says() -> None:
    certificate = parse_certificate(Recipe(valid_before=FOREVER).certificate())
    lax = CertificateRules(
        cas=frozenset({CA.public}), revocations=Revocations(), max_validity_s=2**64, purpose="technician"
    )
    with pytest.raises(Untrusted) as caught:
        check_certificate(certificate, lax, NOW)
    assert caught.value.reason == "too_long_lived"


def test_the_largest_numbers_are_numbers() -> None:
    certificate = parse_certificate(
        Recipe(serial=2**64 - 1, valid_after=FOREVER - 1, valid_before=FOREVER, kind=2**32 - 1).certificate()
    )
    assert (certificate.serial, certificate.valid_before, certificate.kind) == (2**64 - 1, 2**64 - 1, 2**32 - 1)


def test_a_name_that_was_not_verified_is_not_repeated() -> None:
    """A stranger's certificate says what it likes; the refusal quotes none of it."""
    certificate = parse_certificate(Recipe(ca=OTHER, key_id="\x1b[2Jroot", principals=("\x1b[2J",)).certificate())
    with pytest.raises(Untrusted) as caught:
        check_certificate(certificate, rules(), NOW)
    assert "\x1b" not in caught.value.message


def test_a_revocation_names_only_whom_the_ca_named() -> None:
    revoked = rules(Revocations(key_ids=(RevokedKeyId(key_id="ana"),)))
    with pytest.raises(Untrusted, match="ana") as caught:
        check_certificate(parse_certificate(issued()), revoked, NOW)
    assert caught.value.reason == "revoked"


@pytest.mark.parametrize(("data", "text"), [(string("all"), "all"), (b"", ""), (string(""), ""), (string("ñ"), "ñ")])
def test_an_extension_is_a_text_inside_its_data_and_a_flag_is_the_empty_one(data: bytes, text: str) -> None:
    certificate = parse_certificate(Recipe(extensions=(("x@auxilio", data),)).certificate())
    assert extension_text(certificate, "x@auxilio") == text
    assert extension_text(certificate, "y@auxilio") is None


@pytest.mark.parametrize(
    "data",
    [b"all", b"\0", string("all") + b"\0", string(b"\xff"), string(b"a\0"), string(b"x" * 4097), b"\0\0\0\x03al"],
)
def test_an_extension_that_is_no_text_is_refused(data: bytes) -> None:
    certificate = parse_certificate(Recipe(extensions=(("x@auxilio", data),)).certificate())
    with pytest.raises(Untrusted) as caught:
        extension_text(certificate, "x@auxilio")
    assert caught.value.reason == "bad_extension"


@pytest.mark.parametrize(
    "spoil",
    [
        {"serial": 0},
        {"serial": 2**64},
        {"serial": -1},
        {"entropy": b"short"},
        {"principals": ()},
        {"principals": ("deploy,root",)},
        {"principals": ("",)},
        {"principals": ("admin\n",)},
        {"principals": tuple(f"p{n}" for n in range(65))},
        {"key_id": ""},
        {"key_id": "a b"},
        {"valid_before": FOREVER},
        {"valid_before": NOW - 60},
        {"valid_after": -1},
        {"extensions": {"scope@auxilio": "x" * (MAX_EXTENSION_BYTES + 1)}},
        {"extensions": {"scope@auxilio": "all\0"}},
        {"extensions": {"": ""}},
        {"extensions": {"x" * 129: ""}},
        {"extensions": {f"x{n}": "" for n in range(65)}},
        {"extensions": {f"x{n}": "x" * 4000 for n in range(3)}},
    ],
)
def test_what_would_be_refused_is_not_issued(spoil: dict[str, Any]) -> None:
    asked: list[bytes] = []
    unwilling = Swapped(CA, CA)
    unwilling.sign_raw = lambda data: asked.append(data) or b""  # type: ignore[func-returns-value]  # a CA that counts
    with pytest.raises(BadMessage):
        issued(ca=unwilling, **spoil)
    assert not asked, "nobody is asked to touch a key for a certificate that is good for nothing"


def test_a_ca_that_signs_with_another_key_than_it_shows_issues_nothing() -> None:
    with pytest.raises(Untrusted) as caught:
        issued(ca=Swapped(CA, OTHER))
    assert caught.value.reason == "bad_signature"


def test_the_longest_certificate_that_is_issued_can_be_read_as_a_line() -> None:
    extensions = {f"x{n}": "x" * 4000 for n in range(2)} | {"y": "x" * 2700}
    blob = issued(extensions=extensions)
    assert len(blob) > MAX_CERTIFICATE_BYTES - 1500
    assert line_blob(public_line(blob) + " ana") == blob
    assert parse_certificate(blob)


def test_a_certificate_is_told_from_a_key_by_its_type_alone() -> None:
    assert is_certificate(issued()) and not is_certificate(TECHNICIAN.public)
    assert not is_certificate(b"") and not is_certificate(b"\xff" * 40)
    assert is_certificate(string("ssh-dss-cert-v01@openssh.com")), "whether it is a good one is another question"


@settings(max_examples=40, deadline=None)
@given(
    principals=st.lists(st.text("AZaz09._@+-", min_size=1, max_size=64), min_size=1, max_size=8).map(tuple),
    serial=st.integers(1, 2**64 - 1),
    extensions=st.dictionaries(
        st.text("abc@-", min_size=1, max_size=20),
        st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=80),
        max_size=8,
    ),
)
def test_whatever_is_issued_is_good(principals: tuple[str, ...], serial: int, extensions: dict[str, str]) -> None:
    certificate = parse_certificate(issued(principals=principals, serial=serial, extensions=extensions))
    check_certificate(certificate, rules(), NOW)
    assert {name: extension_text(certificate, name) for name in certificate.extensions} == extensions


def test_what_is_signed_is_all_of_the_certificate_but_the_signature() -> None:
    key, ca = parse_public_key(TECHNICIAN.public), parse_public_key(CA.public)
    certificate = parse_certificate(issued())
    assert certificate.tbs == certificate_to_sign(key, ca, **ARGUMENTS)
    assert certificate.blob == certificate.tbs + string(certificate.signature)


def test_every_reason_is_an_error_of_ours() -> None:
    with pytest.raises(AuxilioError):
        parse_certificate(b"")
