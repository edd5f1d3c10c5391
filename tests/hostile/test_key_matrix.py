"""Every key of an organisation, in every namespace, under every kind of certificate, before everyone who reads a
statement: generated, and only what each is for is believed. One CA for everything is how others were taken over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from protocol import statement
from protocol.certificate import HOST
from protocol.errors import AuxilioError
from protocol.signing import KeyRawSigner
from protocol.statement import Signed, open_by_certificate, open_by_key
from tests.support.forgery import CA, DAY, ENROLMENT_CA, ENROLMENT_KEY, NOW, TECHNICIAN, Recipe, ed, rules

KEYS: dict[str, KeyRawSigner] = {
    "root": ed(21),
    "policy key": ed(22),
    "technician CA": CA,
    "enrolment CA": ENROLMENT_CA,
    "technician": TECHNICIAN,
    "token": ENROLMENT_KEY,
    "device": ed(23),
    "release key": ed(24),
    "stranger": ed(25),
}
NAMESPACES = sorted(
    value for value in vars(statement).values() if isinstance(value, str) and value.endswith("@auxilio")
)
PLAIN, BY_ITSELF = "plain", "by itself"
"""A CA that certifies its own key has certified a technician: whoever holds it may name anybody."""

CERTIFICATES: dict[str, Callable[[Recipe], Recipe]] = {
    PLAIN: lambda r: replace(r, plain_key=True),
    "by the technician CA": lambda r: r,
    "by the enrolment CA": lambda r: replace(r, ca=ENROLMENT_CA, principals=("enrol",), key_id="k3m9xk3m9xk3m9xk3m9x"),
    "by the root": lambda r: replace(r, ca=KEYS["root"]),
    "by the policy key": lambda r: replace(r, ca=KEYS["policy key"]),
    "by a technician": lambda r: replace(r, ca=TECHNICIAN),
    BY_ITSELF: lambda r: replace(r, ca=r.key),
    "by a stranger": lambda r: replace(r, ca=KEYS["stranger"]),
    "a host's": lambda r: replace(r, kind=HOST),
    "by a CA that is itself a certificate": lambda r: replace(r, ca_blob=Recipe(key=CA, ca=CA).certificate()),
    "expired": lambda r: replace(r, valid_after=NOW - 9 * DAY, valid_before=NOW - DAY),
    "of tomorrow": lambda r: replace(r, valid_after=NOW + DAY, valid_before=NOW + 2 * DAY),
    "for nobody": lambda r: replace(r, principals=()),
    "without a serial": lambda r: replace(r, serial=0),
    "for a year": lambda r: replace(r, valid_before=NOW + 365 * DAY),
}

Reader = Callable[[Signed], object]


def by_key(namespace: str, key: str) -> Reader:
    return lambda signed: open_by_key(signed, namespace=namespace, keys={KEYS[key].public})


def by_technician(namespace: str) -> Reader:
    return lambda signed: open_by_certificate(signed, namespace=namespace, rules=rules(), now=NOW)


def by_token(signed: Signed) -> object:
    return open_by_certificate(signed, namespace=statement.ENROL, rules=rules(purpose="enrolment"), now=NOW)


CERTIFIED_BY_TECHNICIANS = (statement.LOGIN, statement.SESSION, statement.JOB, statement.WAVE, statement.DEVICE)
READERS: dict[str, tuple[Reader, set[tuple[str, str, str]]]] = {
    # who reads, and the signer, namespace and certificate that it may believe
    "charter": (by_key(statement.CHARTER, "root"), {("root", statement.CHARTER, PLAIN)}),
    "policy": (by_key(statement.POLICY, "policy key"), {("policy key", statement.POLICY, PLAIN)}),
    "link": (by_key(statement.LINK, "device"), {("device", statement.LINK, PLAIN)}),
    "report": (by_key(statement.REPORT, "device"), {("device", statement.REPORT, PLAIN)}),
    "release": (by_key(statement.RELEASE, "release key"), {("release key", statement.RELEASE, PLAIN)}),
    "enrolment": (
        by_token,
        # Whoever the CA certified is a token's key: the certificate makes it one, and its holder.
        {(key, statement.ENROL, "by the enrolment CA") for key in KEYS}
        | {("enrolment CA", statement.ENROL, BY_ITSELF)},
    ),
    **{
        namespace: (
            by_technician(namespace),
            {(key, namespace, "by the technician CA") for key in KEYS} | {("technician CA", namespace, BY_ITSELF)},
        )
        for namespace in CERTIFIED_BY_TECHNICIANS
    },
}


def test_every_namespace_has_its_reader() -> None:
    believed = {namespace for _, rightful in READERS.values() for _, namespace, _ in rightful}
    assert believed == set(NAMESPACES) and len(NAMESPACES) == 11


@pytest.mark.parametrize("kind", CERTIFICATES)
@pytest.mark.parametrize("signer", KEYS)
def test_only_the_rightful_key_in_its_namespace_under_its_certificate_is_believed(signer: str, kind: str) -> None:
    believed, rightful = set(), set()
    for namespace in NAMESPACES:
        recipe = CERTIFICATES[kind](Recipe(key=KEYS[signer], namespace=namespace))
        signed = recipe.signed()
        for reader, (read, good) in READERS.items():
            if (signer, namespace, kind) in good:
                rightful.add((reader, namespace))
            try:
                read(signed)
            except AuxilioError:
                continue
            believed.add((reader, namespace))
    assert believed == rightful
