"""The table of forgeries before our verifier: each is refused, and for its own reason.

A case that the verifier accepted would be a shell on a customer's machine. The first test shows that the recipe
without a fault is accepted, so that no case passes for another reason than its own.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.certificate import FOREVER, CertificateRules, certificate_to_sign
from protocol.codec import decode, encode
from protocol.errors import AuxilioError
from protocol.ids import device_id
from protocol.keys import SK_ECDSA, line_blob, parse_public_key
from protocol.login import LoginStatement, check_audience
from protocol.revocation import Revocations, RevokedKeyId
from protocol.session import verify_request
from protocol.signing import KeySigner, RawSigner, issue_certificate
from protocol.sshwire import string
from protocol.statement import (
    DEVICE,
    ENROL,
    JOB,
    LOGIN,
    SESSION,
    WAVE,
    open_by_certificate,
    open_by_key,
    seal_statement,
)
from protocol.technician import read_technician
from tests.support.forgeries import CASES
from tests.support.forgery import CA, GOOD, NOW, OTHER, PAYLOAD, SK_GOOD, TECHNICIAN, Case, Recipe, p256, rules
from tests.support.organisation import Organisation
from tests.support.sk_authenticator import SkAuthenticator


def test_the_recipe_without_a_fault_is_accepted() -> None:
    opened = open_by_certificate(GOOD.signed(), namespace=SESSION, rules=rules(), now=NOW)
    assert opened.payload == PAYLOAD and read_technician(opened.certificate).name == "ana"


@pytest.mark.parametrize("key", [p256(1), SK_GOOD, SkAuthenticator(SK_ECDSA)], ids=["ecdsa", "sk-ed25519", "sk-ecdsa"])
def test_each_kind_of_key_is_accepted(key: RawSigner) -> None:
    assert open_by_certificate(Recipe(key=key).signed(), namespace=SESSION, rules=rules(), now=NOW)


def test_a_long_lived_statement_survives_a_later_revocation_and_not_a_compromise() -> None:
    signed = GOOD.signed()

    def opens(since: int | None) -> bool:
        revoked = Revocations(key_ids=(RevokedKeyId(key_id="ana", since=since),))
        try:
            open_by_certificate(signed, namespace=SESSION, rules=rules(revoked), now=NOW, long_lived=True)
        except AuxilioError:
            return False
        return True

    assert opens(NOW + 1) and not opens(NOW) and not opens(NOW - 1) and not opens(None)


def test_the_table_has_the_cases_that_matter() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_forgery_is_refused_for_its_own_reason(case: Case) -> None:
    signed = case.recipe.signed()
    with pytest.raises(AuxilioError) as caught:
        open_by_certificate(
            signed,
            namespace=SESSION,
            rules=rules(case.revocations, case.purpose),
            now=case.now,
        )
    assert caught.value.reason == case.code, str(caught.value)


@pytest.mark.parametrize(
    ("code", "recipe"),
    [
        ("certificate_not_due", GOOD),
        ("unknown_signer", Recipe(plain_key=True, key=OTHER)),
        ("wrong_namespace", Recipe(plain_key=True, namespace=JOB)),
        ("bad_signature", Recipe(plain_key=True, signing_key=OTHER)),
    ],
)
def test_where_a_plain_key_is_due_nothing_else_will_do(code: str, recipe: Recipe) -> None:
    good = replace(recipe, plain_key=True, key=TECHNICIAN, signing_key=None, namespace=SESSION)
    assert open_by_key(good.signed(), namespace=SESSION, keys={TECHNICIAN.public})
    with pytest.raises(AuxilioError) as caught:
        open_by_key(recipe.signed(), namespace=SESSION, keys={TECHNICIAN.public})
    assert caught.value.reason == code


@pytest.fixture(scope="module")
def organisation() -> Organisation:
    return Organisation(now=NOW)


def technician_rules(organisation: Organisation) -> CertificateRules:
    return organisation.authority().technician_rules()


@pytest.mark.parametrize("namespace", [SESSION, JOB, LOGIN, DEVICE, WAVE])
def test_an_enrolment_key_signs_nothing_that_is_a_technician_s(organisation: Organisation, namespace: str) -> None:
    """Tokens in shared installers are public: whoever takes the key out of one is a stranger all the same."""
    token = organisation.join_token()
    thief = KeySigner(Ed25519PrivateKey.from_private_bytes(token.key), line_blob(token.certificate))
    with pytest.raises(AuxilioError) as caught:
        open_by_certificate(
            seal_statement(thief, namespace, PAYLOAD),
            namespace=namespace,
            rules=technician_rules(organisation),
            now=NOW,
        )
    assert caught.value.reason == "wrong_ca"


def test_a_technician_s_key_enrols_nothing(organisation: Organisation) -> None:
    signed = seal_statement(organisation.technician().signer, ENROL, PAYLOAD)
    enrolment = organisation.authority().enrolment_rules()
    with pytest.raises(AuxilioError) as caught:
        open_by_certificate(signed, namespace=ENROL, rules=enrolment, now=NOW)
    assert caught.value.reason == "wrong_ca"


@pytest.mark.parametrize("may", ["view", "files,forward", "run,approve", ""])
def test_a_technician_without_the_right_gets_no_session(organisation: Organisation, may: str) -> None:
    device = device_id(TECHNICIAN.public)
    session, signed = organisation.session_request(organisation.technician(may=may), device, "nonce")
    with pytest.raises(AuxilioError) as caught:
        verify_request(
            signed,
            rules=technician_rules(organisation),
            organisation=organisation.id,
            device=device,
            session=session,
            now=NOW,
        )
    assert caught.value.reason == "no_right"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"relay": "evil.example:443"}, "wrong_relay"),
        ({"relay": "RELAY.example:443"}, "wrong_relay"),
        ({"relay": "relay.example"}, "wrong_relay"),
        ({"relay": ""}, "wrong_relay"),
        ({"nonce": "of-yesterday"}, "wrong_nonce"),
        ({"nonce": ""}, "wrong_nonce"),
        ({"organisation": "a" * 52}, "wrong_organisation"),
    ],
)
def test_a_login_that_another_relay_passes_on_logs_nobody_in(
    organisation: Organisation, changes: dict[str, str], code: str
) -> None:
    """evil.example asked relay.example for a nonce and passed it on; what the console signed names evil.example."""
    fields = {"organisation": organisation.id, "relay": "relay.example:443", "nonce": "fresh", "issued_at": NOW}
    audience = {"organisation": organisation.id, "names": frozenset({"relay.example:443"}), "nonce": "fresh"}

    def opened(**changed: str) -> LoginStatement:
        statement = LoginStatement(**{**fields, **changed})  # type: ignore[arg-type]
        signed = seal_statement(organisation.technician().signer, LOGIN, encode(statement))
        rules_ = technician_rules(organisation)
        payload = open_by_certificate(signed, namespace=LOGIN, rules=rules_, now=NOW).payload
        return decode(payload, LoginStatement)

    check_audience(opened(), **audience)  # type: ignore[arg-type]
    with pytest.raises(AuxilioError) as caught:
        check_audience(opened(**changes), **audience)  # type: ignore[arg-type]
    assert caught.value.reason == code


@pytest.mark.parametrize(
    ("extensions", "code"),
    [
        ((("may@auxilio", string("shell")),), "no_scope"),
        ((("may@auxilio", b"shell"), ("scope@auxilio", string("all"))), "bad_extension"),
        ((("may@auxilio", string("shell") + b"x"), ("scope@auxilio", string("all"))), "bad_extension"),
        ((("may@auxilio", string("shell")), ("scope@auxilio", string("online"))), "bad_extension"),
        ((("may@auxilio", string("shell")), ("scope@auxilio", string("(("))), "bad_extension"),
    ],
)
def test_rights_and_scope_that_cannot_be_read_are_none(extensions: tuple[tuple[str, bytes], ...], code: str) -> None:
    opened = open_by_certificate(Recipe(extensions=extensions).signed(), namespace=SESSION, rules=rules(), now=NOW)
    with pytest.raises(AuxilioError) as caught:
        read_technician(opened.certificate)
    assert caught.value.reason == code


def test_a_certificate_without_rights_gives_none() -> None:
    recipe = Recipe(extensions=(("scope@auxilio", string("all")),))
    opened = open_by_certificate(recipe.signed(), namespace=SESSION, rules=rules(), now=NOW)
    assert read_technician(opened.certificate).rights == frozenset()


@pytest.mark.parametrize(
    "spoil",
    [
        {"serial": 0},
        {"principals": ()},
        {"principals": ("deploy,root",)},
        {"valid_before": FOREVER},
        {"key_id": "a b"},
        {"entropy": b"short"},
        {"valid_before": NOW - 60},
    ],
)
def test_what_would_be_refused_is_not_issued(spoil: dict[str, object]) -> None:
    arguments: dict[str, object] = {
        "entropy": bytes(32),
        "serial": 1,
        "key_id": "ana",
        "principals": ("admin",),
        "valid_after": NOW - 60,
        "valid_before": NOW + 60,
        "extensions": {},
    }
    key = parse_public_key(TECHNICIAN.public)
    assert certificate_to_sign(key, parse_public_key(CA.public), **arguments)  # type: ignore[arg-type]
    with pytest.raises(AuxilioError):
        issue_certificate(CA, key, **{**arguments, **spoil})  # type: ignore[arg-type]
