"""Which charter and policy hold, whoever hands what over in which order."""

from __future__ import annotations

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.authority import NO_POLICY, Authority, Outcome, restore
from protocol.charter import Charter, PolicyBase, charter_payload
from protocol.errors import AuxilioError, BadMessage, Refused, Untrusted
from protocol.ids import organisation_id, sha256
from protocol.keys import public_line
from protocol.link import PolicyNumber
from protocol.policy import ConsentRule, Policy, Relay, policy_payload
from protocol.revocation import Revocations, RevokedKeyId
from protocol.selector import Facts, matches
from protocol.signing import KeySigner
from protocol.statement import CHARTER, POLICY, Signed, seal_statement

NOW = 1_800_000_000


def signer(seed: int) -> KeySigner:
    return KeySigner(Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


ROOT, SPARE, NEW_ROOT, POLICY_KEY, NEW_POLICY_KEY, CA, ENROLMENT_CA, STRANGER = (signer(n) for n in range(1, 9))


def line(key: KeySigner) -> str:
    return public_line(key.public)


def charter(number: int = 1, by: KeySigner = ROOT, **changes: object) -> Signed:
    fields: dict[str, object] = {
        "number": number,
        "issued_at": NOW,
        "previous": None if number == 1 else "0" * 64,
        "roots": (line(ROOT), line(SPARE)),
        "policy_keys": (line(POLICY_KEY),),
        "technician_cas": (line(CA),),
        "enrolment_cas": (line(ENROLMENT_CA),),
    }
    return seal_statement(by, CHARTER, charter_payload(Charter(**{**fields, **changes})))  # type: ignore[arg-type]


def policy(number: int = 1, by: KeySigner = POLICY_KEY, **changes: object) -> Signed:
    fields: dict[str, object] = {
        "number": number,
        "issued_at": NOW,
        "expires_at": NOW + 1000,
        "relays": (Relay(url="https://relay.example:443"),),
    }
    return seal_statement(by, POLICY, policy_payload(Policy(**{**fields, **changes})))  # type: ignore[arg-type]


FIRST = charter()


def begun() -> Authority:
    authority, outcome = Authority(organisation=organisation_id(FIRST.payload)).accept_charter(FIRST)
    assert outcome is Outcome.ACCEPTED
    return authority


def after(authority: Authority, *documents: Signed) -> tuple[Authority, Outcome]:
    outcome = Outcome.KNOWN
    for document in documents:
        is_charter = b'"roots"' in document.payload
        accept = authority.accept_charter if is_charter else authority.accept_policy
        authority, outcome = accept(document)
    return authority, outcome


def test_the_first_charter_is_known_by_its_hash_alone() -> None:
    assert begun().charter_number == 1
    other = Authority(organisation=organisation_id(b"another"))
    with pytest.raises(Untrusted) as caught:
        other.accept_charter(FIRST)
    assert caught.value.reason == "wrong_organisation"


def test_the_first_charter_must_be_signed_by_one_of_its_own_roots() -> None:
    forged = charter(by=STRANGER)
    with pytest.raises(Untrusted):
        Authority(organisation=organisation_id(forged.payload)).accept_charter(forged)


def test_a_charter_signed_as_a_policy_is_refused() -> None:
    swapped = Signed(payload=FIRST.payload, signature=ROOT.sign(POLICY, FIRST.payload))
    with pytest.raises(Untrusted) as caught:
        Authority(organisation=organisation_id(FIRST.payload)).accept_charter(swapped)
    assert caught.value.reason == "wrong_namespace"


def test_a_root_is_rotated_in_two_steps_and_not_in_one() -> None:
    both = charter(2, previous=sha256(FIRST.payload), roots=(line(ROOT), line(NEW_ROOT)))
    alone = charter(3, by=NEW_ROOT, previous=sha256(both.payload), roots=(line(NEW_ROOT),))
    with pytest.raises(Untrusted) as caught:
        begun().accept_charter(alone)
    assert caught.value.reason == "chain_broken"
    rotated, _ = after(begun(), both, alone)
    with pytest.raises(Untrusted):
        rotated.accept_charter(charter(4, by=ROOT))


def test_the_offline_spare_can_sign_the_next_charter() -> None:
    held, outcome = after(begun(), charter(2, by=SPARE, previous=sha256(FIRST.payload), roots=(line(SPARE),)))
    assert (held.charter_number, outcome) == (2, Outcome.ACCEPTED)


def test_the_highest_charter_wins_with_gaps_and_a_lower_one_is_ignored() -> None:
    held, outcome = after(begun(), charter(7))
    assert (held.charter_number, outcome) == (7, Outcome.ACCEPTED)
    again, outcome = after(held, charter(5))
    assert (again, outcome) == (held, Outcome.LOWER)
    again, outcome = after(held, charter(7))
    assert (again, outcome) == (held, Outcome.KNOWN)


def test_a_charter_fork_is_kept_out_and_reported() -> None:
    two = charter(2, previous=sha256(FIRST.payload))
    other = charter(2, previous=sha256(FIRST.payload), issued_at=NOW + 1)
    held, _ = after(begun(), two)
    forked, outcome = after(held, other)
    assert outcome is Outcome.FORK
    assert forked.charter == held.charter
    assert forked.forks == (sha256(other.payload),)
    again, _ = after(forked, other)
    assert again.forks == forked.forks


def test_the_next_charter_with_another_past_is_a_fork() -> None:
    held, outcome = after(begun(), charter(2, previous="f" * 64))
    assert (held.charter_number, outcome) == (1, Outcome.FORK)


def test_a_policy_before_its_charter_is_not_judged() -> None:
    with pytest.raises(Refused) as caught:
        Authority(organisation=organisation_id(b"x")).accept_policy(policy())
    assert caught.value.reason == "no_charter"


@pytest.mark.parametrize("by", [ROOT, CA, ENROLMENT_CA, STRANGER])
def test_only_a_policy_key_signs_policies(by: KeySigner) -> None:
    with pytest.raises(Untrusted) as caught:
        begun().accept_policy(policy(by=by))
    assert caught.value.reason == "unknown_signer"


def test_the_highest_policy_wins_and_forks_are_reported() -> None:
    held, outcome = after(begun(), policy(5))
    assert (held.policy_order, outcome) == (PolicyNumber(epoch=0, number=5), Outcome.ACCEPTED)
    assert after(held, policy(4))[1] is Outcome.LOWER
    assert after(held, policy(5))[1] is Outcome.KNOWN
    forked, outcome = after(held, policy(5, issued_at=NOW + 1))
    assert outcome is Outcome.FORK and len(forked.forks) == 1 and forked.policy == held.policy
    assert after(forked, policy(9))[0].policy_order.number == 9


def test_a_policy_base_undoes_a_stolen_keys_jump_to_the_maximum() -> None:
    good, stolen = policy(3), policy(2**53 - 1, relays=())
    held, _ = after(begun(), good, stolen)
    assert held.policy_order.number == 2**53 - 1
    repair = charter(
        2,
        previous=sha256(FIRST.payload),
        policy_keys=(line(NEW_POLICY_KEY),),
        policy_base=PolicyBase(number=3, sha256=sha256(good.payload)),
    )
    repaired, outcome = after(held, repair)
    assert outcome is Outcome.ACCEPTED
    assert repaired.policy_order == NO_POLICY, "the base has to be fetched"
    with pytest.raises(Untrusted):
        repaired.accept_policy(stolen)  # its key is no longer chartered
    resigned = seal_statement(NEW_POLICY_KEY, POLICY, good.payload)
    based, outcome = after(repaired, resigned)
    assert (based.policy_order, outcome) == (PolicyNumber(epoch=2, number=3), Outcome.ACCEPTED)
    following, outcome = after(based, policy(4, by=NEW_POLICY_KEY, epoch=2))
    assert (following.policy_order, outcome) == (PolicyNumber(epoch=2, number=4), Outcome.ACCEPTED)


def test_after_a_policy_base_an_old_epochs_policy_is_ignored_even_under_a_chartered_key() -> None:
    good, jump = policy(3), policy(900)
    repair = charter(2, previous=sha256(FIRST.payload), policy_base=PolicyBase(number=3, sha256=sha256(good.payload)))
    held, _ = after(begun(), good, jump, repair, good)
    assert held.policy_order == PolicyNumber(epoch=2, number=3)
    assert after(held, jump) == (held, Outcome.LOWER)


def test_a_policy_base_that_is_held_stays_in_force() -> None:
    good = policy(3)
    repair = charter(2, previous=sha256(FIRST.payload), policy_base=PolicyBase(number=3, sha256=sha256(good.payload)))
    held, _ = after(begun(), good, repair)
    assert held.policy is not None and held.policy_order == PolicyNumber(epoch=2, number=3)


def test_revocations_hold_on_while_a_policy_base_is_fetched() -> None:
    revocations = Revocations(key_ids=(RevokedKeyId(key_id="eve"),))
    held, _ = after(begun(), policy(4, revocations=revocations))
    repair = charter(2, previous=sha256(FIRST.payload), policy_base=PolicyBase(number=3, sha256=sha256(b"base")))
    repaired, _ = after(held, repair)
    assert repaired.policy is None and repaired.revocations == revocations
    assert repaired.policy_expired(NOW)


def test_a_policy_of_an_epoch_that_is_not_known_needs_its_charter_first() -> None:
    with pytest.raises(Untrusted) as caught:
        begun().accept_policy(policy(4, epoch=2))
    assert caught.value.reason == "chain_broken"


def with_field(signed: Signed, by: KeySigner, namespace: str, **fields: object) -> Signed:
    tree = {**msgspec.json.decode(signed.payload), **fields}
    return seal_statement(by, namespace, msgspec.json.encode(tree))


def test_an_unknown_field_is_ignored_and_an_unknown_critical_one_restricts() -> None:
    loose = with_field(policy(2), POLICY_KEY, POLICY, tomorrow=1)
    held, outcome = after(begun(), loose)
    assert outcome is Outcome.ACCEPTED and not held.restricted
    revocations = {"key_ids": [{"key_id": "eve"}]}
    critical = with_field(policy(3), POLICY_KEY, POLICY, tomorrow=1, critical=["tomorrow"], revocations=revocations)
    held, outcome = after(held, critical)
    assert outcome is Outcome.ACCEPTED and held.restricted == {"tomorrow"}
    assert held.revocations.key_ids[0].key_id == "eve", "tomorrow's policy must not cut us off from revocation"
    lifted, _ = after(held, policy(4))
    assert not lifted.restricted


def test_a_critical_field_that_we_know_restricts_nothing() -> None:
    held, _ = after(begun(), policy(2, critical=("consent", "relays")))
    assert not held.restricted


def test_an_unknown_critical_field_in_a_charter_restricts_and_its_keys_still_apply() -> None:
    critical = with_field(charter(2, previous=sha256(FIRST.payload)), ROOT, CHARTER, tomorrow=1, critical=["tomorrow"])
    held, _ = after(begun(), critical, policy(1))
    assert held.restricted == {"tomorrow"} and held.policy is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"roots": ()},
        {"technician_cas": (line(CA),), "enrolment_cas": (line(CA),)},
        {"policy_keys": (line(ROOT),)},
        {"version": 2},
        {"number": 2**53},
        {"roots": tuple(line(signer(n)) for n in range(100, 133))},
        {"technician_cas": ("ssh-rsa AAAAB3NzaC1yc2E=",)},
    ],
)
def test_a_charter_that_no_device_would_accept_is_not_made(changes: dict[str, object]) -> None:
    with pytest.raises(BadMessage):
        charter(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 0},
        {"expires_at": NOW},
        {"consent": (ConsentRule(where="online"),)},
        {"consent": (ConsentRule(where="all", wait_s=0),)},
        {"max_certificate_s": 0},
        {"relays": tuple(Relay(url=f"https://r{n}:1") for n in range(17))},
    ],
)
def test_a_policy_that_no_device_would_accept_is_not_made(changes: dict[str, object]) -> None:
    with pytest.raises(BadMessage):
        policy(**changes)  # type: ignore[arg-type]


def test_the_first_matching_consent_rule_holds_and_attended_where_none_does() -> None:
    rules = (ConsentRule(where="tag:kiosk", mode="unattended"), ConsentRule(where="tag:lab", wait_s=5))
    held, _ = after(begun(), policy(consent=rules))
    assert held.policy is not None

    def mode(*tags: str) -> tuple[str, int]:
        assert held.policy is not None
        facts = Facts(id="x", tags=frozenset(tags))
        rule = held.policy.consent_for(lambda selector: matches(selector, facts))
        return rule.mode, rule.wait_s

    assert mode("kiosk", "lab") == ("unattended", 60)
    assert mode("lab") == ("attended", 5)
    assert mode() == ("attended", 60)


def test_revocations_that_hold_on_are_restored_too() -> None:
    revoked = policy(2, revocations=Revocations(key_ids=(RevokedKeyId(key_id="eve"),)))
    repair = charter(2, previous=sha256(FIRST.payload), policy_base=PolicyBase(number=3, sha256=sha256(b"base")))
    held, _ = after(begun(), revoked, repair)
    again = restore(held.organisation, (FIRST, repair), revoked)
    assert again.policy is None
    assert again.revocations == held.revocations == Revocations(key_ids=(RevokedKeyId(key_id="eve"),))


def test_what_was_kept_is_restored_even_after_the_policys_key_left_the_charter() -> None:
    two = charter(2, previous=sha256(FIRST.payload), policy_keys=(line(NEW_POLICY_KEY),))
    held, _ = after(begun(), policy(1), two)
    assert restore(held.organisation, (FIRST, two), policy(1)) == held
    with pytest.raises(AuxilioError):
        restore(held.organisation, (FIRST, two), policy(1, by=STRANGER))


def test_a_policy_expires() -> None:
    held, _ = after(begun(), policy())
    assert not held.policy_expired(NOW + 1000) and held.policy_expired(NOW + 1001)
