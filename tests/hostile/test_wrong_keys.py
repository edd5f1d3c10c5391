"""Every key of the organisation, in every namespace, with every kind of certificate: a verifier takes what is due.

The payload is always the right one, so nothing but who signed it, as what, and by whose word, can be the reason. What a
CA's own word makes of a key is rightful: a device key with a technician's certificate is a technician's key.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from protocol.authority import Authority, Outcome
from protocol.charter import open_first_charter, open_next_charter
from protocol.codec import encode
from protocol.device_record import open_record
from protocol.enrolment import EnrolStatement, open_proof, verify_enrolment
from protocol.errors import BadMessage, Refused, Untrusted
from protocol.policy import open_policy
from protocol.report import Report, open_report
from protocol.samples import SampleBatch, open_samples
from protocol.session import verify_request
from protocol.statement import (
    CHARTER,
    DEVICE,
    ENROL,
    JOB,
    LINK,
    LOGIN,
    POLICY,
    RELEASE,
    REPORT,
    SESSION,
    WAVE,
    Signed,
    open_by_certificate,
    open_by_key,
)
from tests.support.forgery import NOW
from tests.support.organisation import TechnicianKey
from tests.support.wrong_keys import ACCOUNT, NAMESPACES, SHAPES, Attempt, Holders

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Door:
    """One verifier. opens: raises where it does not.  keys: whose plain signature is due, or issuer: whose word is."""

    payload: bytes
    namespace: str
    opens: Callable[[Signed], object]
    keys: frozenset[str] = frozenset()
    issuer: str = ""

    def is_due(self, attempt: Attempt) -> bool:
        if attempt.namespace != self.namespace:
            return False
        if attempt.certificate is None:
            return attempt.key in self.keys
        return (attempt.certificate.shape, attempt.certificate.issuer) == ("user", self.issuer)


@pytest.fixture(scope="module")
def holders() -> Holders:
    return Holders()


def doors(holders: Holders) -> dict[str, Door]:
    organisation, device = holders.organisation, holders.device
    first, second = organisation.charters
    policy = organisation.policies[-1]
    held = Authority(organisation=organisation.id).accept_charter(first)[0]
    authority = held.accept_charter(second)[0]
    assert held.charter is not None
    charter = held.charter
    rules, tokens = authority.technician_rules(), authority.enrolment_rules()
    enrolment = holders.enrolment()
    line = enrolment.device_key
    report = Report(organisation=organisation.id, device=device, number=1, collected_at=NOW, sections={})
    samples = SampleBatch(organisation=organisation.id, device=device, number=1, at=(NOW,), values={})
    asking = TechnicianKey("ana", holders.technician, b"")
    session, request = organisation.session_request(asking, device, "nonce", account=ACCOUNT)

    def prove(proof: Signed) -> object:
        changed = {name: getattr(enrolment, name) for name in EnrolStatement.__struct_fields__} | {"proof": proof}
        return open_proof(EnrolStatement(**changed))

    def take_policy(signed: Signed) -> object:
        assert authority.accept_policy(signed)[1] is Outcome.ACCEPTED
        return open_policy(signed, charter)

    def take_charter(signed: Signed) -> object:
        assert held.accept_charter(signed)[1] is Outcome.ACCEPTED
        return open_next_charter(signed, charter)

    roots = frozenset({"root", "spare root"})
    id_ = organisation.id
    return {
        "open_first_charter": Door(first.payload, CHARTER, lambda s: open_first_charter(s, id_), roots),
        "open_next_charter": Door(second.payload, CHARTER, take_charter, roots),
        "open_policy": Door(policy.payload, POLICY, take_policy, frozenset({"policy key"})),
        "open_proof": Door(enrolment.proof.payload, ENROL, prove, frozenset({"device"})),
        "open_report": Door(
            encode(report),
            REPORT,
            lambda s: open_report(s, organisation=id_, device=device, device_key=line),
            frozenset({"device"}),
        ),
        "open_samples": Door(
            encode(samples),
            REPORT,
            lambda s: open_samples(s, organisation=id_, device=device, device_key=line),
            frozenset({"device"}),
        ),
        "verify_enrolment": Door(
            encode(enrolment),
            ENROL,
            lambda s: verify_enrolment(s, rules=tokens, organisation=id_, now=NOW),
            issuer="enrolment CA",
        ),
        "open_record": Door(
            organisation.record(device, "clinic").payload,
            DEVICE,
            lambda s: open_record(s, rules=rules, organisation=id_, device=device),
            issuer="technician CA",
        ),
        "verify_request": Door(
            request.payload,
            SESSION,
            lambda s: verify_request(s, rules=rules, organisation=id_, device=device, session=session, now=NOW),
            issuer="technician CA",
        ),
    }


AT_THE_RELAY = {"_identify", "_open_login"}
"""Those need a relay: test_wrong_keys_at_the_relay.py."""


@pytest.mark.parametrize("name", ["open_first_charter", "open_next_charter", "open_policy", "open_proof", "open_report",
                                  "open_samples", "verify_enrolment", "open_record", "verify_request"])  # fmt: skip
def test_a_verifier_opens_to_what_is_due_and_to_nothing_else(holders: Holders, name: str) -> None:
    opens_to_what_is_due_alone(holders, doors(holders)[name])


def opens_to_what_is_due_alone(holders: Holders, door: Door) -> None:
    opened, refused = set(), 0
    for attempt in holders.attempts(door.payload):
        try:
            door.opens(attempt.signed)
        except (Untrusted, Refused, BadMessage) as exc:
            assert exc.message.isprintable() and exc.reason, attempt
            assert not door.is_due(attempt), f"refused though it is due: {attempt}: {exc}"
            refused += 1
        else:
            assert door.is_due(attempt), f"taken though it is not due: {attempt}"
            opened.add(attempt.key)
    # With the CA's word any key is good, for it alone says whose word counts; else those of the role.
    assert opened == (door.keys or set(holders.keys))
    assert refused > len(holders.keys) * len(NAMESPACES) * len(SHAPES)


@pytest.mark.parametrize("namespace", [JOB, WAVE, RELEASE])
def test_what_has_no_reader_of_its_own_yet_opens_to_what_is_due_and_to_nothing_else(
    holders: Holders, namespace: str
) -> None:
    rules = holders.organisation.authority().technician_rules()
    released = {holders.keys["release key"].public}
    door = Door(b"{}", namespace, lambda s: open_by_certificate(s, namespace=namespace, rules=rules, now=NOW),
                issuer="technician CA")  # fmt: skip
    if namespace == RELEASE:
        door = Door(b"{}", namespace, lambda s: open_by_key(s, namespace=namespace, keys=released),
                    frozenset({"release key"}))  # fmt: skip
    opens_to_what_is_due_alone(holders, door)


def test_every_namespace_is_somebodys(holders: Holders) -> None:
    read = {door.namespace for door in doors(holders).values()}
    assert read | {JOB, WAVE, RELEASE} | {LINK, LOGIN} == set(NAMESPACES)


def test_every_verifier_there_is_has_its_door(holders: Holders) -> None:
    """A function that opens statements and is not tried with every wrong key fails here."""
    found = set()
    for package in ("protocol", "agent", "relay", "console"):
        for path in (ROOT / package).rglob("*.py"):
            for function in ast.walk(ast.parse(path.read_text())):
                if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                    called = {node.func.id for node in ast.walk(function)
                              if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}  # fmt: skip
                    if called & {"open_by_key", "open_by_certificate"}:
                        found.add(function.name)
    # `_open` of a charter is what both of its doors lead to.
    assert found - {"_open"} | {"open_first_charter", "open_next_charter"} == set(doors(holders)) | AT_THE_RELAY
