"""The table of forgeries before our verifier: each is refused, and for its own reason.

A case that the verifier accepted would be a shell on a customer's machine. The first test shows that the recipe
without a fault is accepted, so that no case passes for another reason than its own.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.certificate import FOREVER, certificate_to_sign
from protocol.errors import AuxilioError
from protocol.keys import SK_ECDSA, parse_public_key
from protocol.revocation import Revocations, RevokedKeyId
from protocol.signing import RawSigner, issue_certificate
from protocol.sshwire import string
from protocol.statement import JOB, SESSION, open_by_certificate, open_by_key
from protocol.technician import read_technician
from tests.support.forgeries import CASES
from tests.support.forgery import CA, GOOD, NOW, OTHER, PAYLOAD, SK_GOOD, TECHNICIAN, Case, Recipe, p256, rules
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
