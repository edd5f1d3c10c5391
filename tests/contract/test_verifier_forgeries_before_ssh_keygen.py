"""Every forgery before ssh-keygen too: what it refuses we refuse, and where it does not, this page says why we do.

Then signatures put together at random out of good and bad ingredients: we never accept what ssh-keygen refuses, and
refuse what it accepts only for a reason on the list.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.certificate import FOREVER
from protocol.keys import SK_ECDSA, SK_ED25519
from protocol.revocation import Revocations
from protocol.sshwire import string
from protocol.statement import LOGIN, SESSION
from tests.support.effort import LONG
from tests.support.forgeries import CASES
from tests.support.forgery import (
    CA,
    DAY,
    GOOD,
    NOW,
    OTHER,
    PAYLOAD,
    SK_ABSENT,
    STRANGER_CA,
    TECHNICIAN,
    Recipe,
    flip,
    p256,
)
from tests.support.sk_authenticator import SkAuthenticator
from tests.support.ssh_keygen import Workshop

EXAMPLES = 5_000 if LONG else 150

STRICTER = {
    "too_long": "OpenSSH reads certificates of any length; we bound what a stranger may make us read",
    "weak_key": "under a key of small order one signature fits all bytes; OpenSSH 9.2 looks for none",
    "bad_text": "OpenSSH takes bytes that are no UTF-8, and a NUL at the end of a string",
    "bad_principal": "ssh-keygen looks only at the principal that it was asked for; one bad name spoils the list here",
    "bad_key_id": "the key id is shown to people and written to logs; OpenSSH takes any bytes",
    "serial_zero": "a certificate without a serial cannot be revoked by it",
    "unknown_critical_option": "`ssh-keygen -Y verify` does not look at critical options (sshd does)",
    "bad_options": "OpenSSH's reader asks neither for the order nor for single names that PROTOCOL.certkeys demands",
    "too_long_lived": "OpenSSH has no longest validity",
    "reserved_in_use": "OpenSSH ignores reserved fields; what we do not understand we do not accept",
    "unknown_version": "OpenSSH refuses versions above 1 only, so it takes version 0",
    "no_user_presence": "`ssh-keygen -Y verify` does not look at the touch flag (sshd does)",
    "wrong_application": "`ssh-keygen -Y verify` takes signatures that a security key made for a website",
    "bad_signature": "OpenSSH 9.2 takes Ed25519 signatures whose S is not reduced; newer ones do not",
}
"""Reasons for which we refuse what ssh-keygen may accept. Reasons that are not here bind both."""

ONLY_BAD_SIGNATURE = {"an Ed25519 signature whose S is not reduced"}
"""The forgeries of code bad_signature that are excused: everywhere else, bad is bad for both."""

COMPARABLE = {
    name: case
    for name, case in CASES.items()
    if case.now == NOW and case.purpose == "technician" and case.revocations == Revocations()
}
"""Without those that ssh-keygen cannot be asked about: fractions of seconds, our purposes, our revocations."""


@pytest.fixture(scope="module")
def workshop() -> Iterator[Workshop]:
    with TemporaryDirectory() as folder:
        yield Workshop(Path(folder), ca=CA)


def test_both_accept_what_is_not_forged(workshop: Workshop) -> None:
    signed = GOOD.signed()
    assert workshop.verifies(signed.signature, PAYLOAD, at=NOW)
    assert workshop.refusal(signed.signature, PAYLOAD, at=NOW) is None


@pytest.mark.parametrize("name", COMPARABLE)
def test_a_forgery_that_ssh_keygen_accepts_is_one_where_we_are_stricter_on_purpose(
    workshop: Workshop, name: str
) -> None:
    case = COMPARABLE[name]
    signed = case.recipe.signed()
    if workshop.verifies(signed.signature, signed.payload, at=NOW):
        assert case.code in STRICTER
        assert case.code != "bad_signature" or name in ONLY_BAD_SIGNATURE


def test_the_list_of_reasons_has_no_dead_ones(workshop: Workshop) -> None:
    """Each reason but what depends on OpenSSH's version is one that this ssh-keygen does not share."""
    alive = set()
    for case in COMPARABLE.values():
        signed = case.recipe.signed()
        if case.code in STRICTER and workshop.verifies(signed.signature, signed.payload, at=NOW):
            alive.add(case.code)
    assert STRICTER.keys() - alive <= {"bad_signature", "weak_key", "unknown_version"}


KEYS = st.sampled_from((TECHNICIAN, p256(1), SkAuthenticator(SK_ED25519), SkAuthenticator(SK_ECDSA), SK_ABSENT))
EXTENSIONS = (("may@auxilio", string("shell")), ("permit-pty", b""), ("scope@auxilio", string("all")))


def mostly(usual: object, *others: object) -> st.SearchStrategy[object]:
    """`usual` more often than not, so that many faults do not hide each other."""
    return st.one_of(st.just(usual), st.just(usual), st.just(usual), st.sampled_from(others))


RECIPES = st.builds(
    Recipe,
    key=KEYS,
    signing_key=mostly(None, OTHER),
    certified=mostly(None, OTHER.public),
    ca=mostly(CA, STRANGER_CA),
    serial=mostly(17, 0, 1, 2**63, 2**64 - 1),
    kind=mostly(1, 2, 0, 2**32 - 1),
    key_id=mostly("ana", "", "a b", "ana\n", "-", "a" * 64, "a" * 65),
    principals=mostly(("admin",), (), ("user",), ("admin", "user"), ("admin", "a,b"), ("admin", ""), ("*",)),
    valid_after=mostly(NOW - 60, 0, NOW, NOW + 1, FOREVER),
    valid_before=mostly(NOW + DAY, NOW, NOW + 1, NOW - 1, NOW + 31 * DAY, 2**63, FOREVER, 0),
    critical=mostly((), (("force-command", string("true")),), (("a", b""), ("b", b"")), (("b", b""), ("a", b""))),
    extensions=mostly(EXTENSIONS, (), EXTENSIONS[::-1], EXTENSIONS + EXTENSIONS[-1:], (("", b""),)),
    reserved=mostly(b"", b"x"),
    namespace=mostly(SESSION, LOGIN, SESSION + "x"),
    signed_namespace=mostly(None, LOGIN),
    hash_name=mostly("sha512", "sha256", "sha1", "sha384"),
    signed_payload=mostly(None, PAYLOAD + b" ", b""),
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(recipe=RECIPES, position=st.none() | st.integers(0, 10_000))
def test_whatever_is_put_together_we_accept_nothing_that_ssh_keygen_refuses(
    workshop: Workshop, recipe: Recipe, position: int | None
) -> None:
    if position is not None:
        recipe = replace(recipe, blob=lambda blob: flip(position % len(blob))(blob))
    signed = recipe.signed()
    ours = workshop.refusal(signed.signature, signed.payload, at=NOW)
    who = next((name for name in recipe.principals if isinstance(name, str) and name.isalpha()), "admin")
    theirs = workshop.verifies(signed.signature, signed.payload, who=who, at=NOW)
    if ours is None:
        assert theirs
    if theirs:
        assert ours is None or (ours in STRICTER and ours != "bad_signature")
