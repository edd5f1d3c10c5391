"""Whom the console believes: what a relay hands out is judged, and what was judged is remembered."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from console.fleet import judge, require_usable
from console.home import Home
from console.known_devices import KnownDevices
from console.trust import Trust, load_trust
from protocol.api import Device, Presence
from protocol.errors import AuxilioError, ConfigInvalid, PeerFault, Refused, Untrusted
from protocol.ids import device_id, sha256
from protocol.keys import public_line
from protocol.policy import Relay, policy_payload
from protocol.signing import KeySigner, public_blob
from protocol.statement import POLICY, Signed, seal_statement
from tests.support.organisation import Organisation

RELAY = Relay(url="https://relay.example:443")


@pytest.fixture
def organisation() -> Organisation:
    return Organisation(RELAY)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def _trust(home: Home, organisation: Organisation) -> Trust:
    trust = load_trust(home, organisation.id)
    trust.accept(organisation.charters, organisation.policies[-1])
    return trust


def test_what_verified_is_there_after_a_restart(home: Home, organisation: Organisation) -> None:
    _trust(home, organisation)
    again = load_trust(home, organisation.id)
    assert again.charter.charter.number == 1
    assert again.policy.order == organisation.policy_number


def test_another_organisations_charter_is_refused_and_nothing_is_kept(home: Home, organisation: Organisation) -> None:
    with pytest.raises(Untrusted):
        _ = load_trust(home, Organisation(RELAY).id).accept(organisation.charters, None)
    assert not home.path.exists()


def test_an_older_policy_is_not_taken_and_the_person_is_told(home: Home, organisation: Organisation) -> None:
    old = organisation.policies[-1]
    organisation.publish_policy()
    trust = _trust(home, organisation)
    assert not trust.accept(organisation.charters, old)
    assert trust.policy.order == organisation.policy_number
    assert "older policy" in trust.warnings[0]


def test_a_policy_signed_by_a_stranger_is_refused_and_the_held_one_stands(
    home: Home, organisation: Organisation
) -> None:
    trust = _trust(home, organisation)
    held = trust.authority
    stranger = Organisation(RELAY)
    stranger.publish_policy()
    with pytest.raises(Untrusted):
        trust.accept(organisation.charters, stranger.policies[-1])
    assert trust.authority == held == load_trust(home, organisation.id).authority


def test_a_damaged_trust_is_named_and_not_replaced(home: Home, organisation: Organisation) -> None:
    _trust(home, organisation)
    path = home.file("trust/policy.json")
    path.write_bytes(path.read_bytes().replace(b"payload", b"pay1oad"))
    with pytest.raises(ConfigInvalid) as caught:
        load_trust(home, organisation.id)
    assert caught.value.reason == "corrupt_file"
    assert b"pay1oad" in path.read_bytes()


def test_the_end_of_a_policy_is_announced_a_month_ahead(home: Home, organisation: Organisation) -> None:
    trust = _trust(home, organisation)
    expires = trust.policy.policy.expires_at
    assert trust.expiry_warning(expires - 31 * 86_400) is None
    assert "29 days" in (trust.expiry_warning(expires - 29.5 * 86_400) or "")
    assert "has expired" in (trust.expiry_warning(expires + 1) or "")


# -- devices ----------------------------------------------------------------------------------------------------


def _told(organisation: Organisation, key: Ed25519PrivateKey, *tags: str, record: Signed | None = None) -> Device:
    blob = public_blob(key)
    token = organisation.join_token(RELAY)
    return Device(
        id=device_id(blob),
        device_key=public_line(blob),
        enrolment=organisation.enrolment(token, key),
        enrolled_at=organisation.now,
        suggested_tags=(),
        record=record,
        report=None,
        sections=(),
        presence=Presence(online=True, since_at=1, last_seen_at=1),
    )


def test_a_key_that_is_not_the_ids_is_a_fault_of_the_relay(home: Home, organisation: Organisation) -> None:
    trust = _trust(home, organisation)
    told = _told(organisation, Ed25519PrivateKey.generate())
    other = public_line(public_blob(Ed25519PrivateKey.generate()))
    with pytest.raises(PeerFault) as caught:
        judge(
            Device(**{f: getattr(told, f) for f in told.__struct_fields__} | {"device_key": other}),
            trust,
            KnownDevices(home),
        )
    assert caught.value.reason == "wrong_key"


def test_a_device_is_what_its_record_says_and_provisional_without_one(home: Home, organisation: Organisation) -> None:
    trust, key, known = _trust(home, organisation), Ed25519PrivateKey.generate(), KnownDevices(home)
    device = device_id(public_blob(key))
    provisional = judge(_told(organisation, key), trust, known)
    approved = judge(_told(organisation, key, record=organisation.record(device, "clinic")), trust, known)
    assert (provisional.state, provisional.tags) == ("provisional", ())
    assert (approved.state, approved.tags) == ("approved", ("clinic",))


def test_a_record_of_another_device_gives_no_tags(home: Home, organisation: Organisation) -> None:
    trust, key = _trust(home, organisation), Ed25519PrivateKey.generate()
    other = device_id(public_blob(Ed25519PrivateKey.generate()))
    judged = judge(_told(organisation, key, record=organisation.record(other, "clinic")), trust, KnownDevices(home))
    assert (judged.state, judged.tags) == ("unverified", ())
    with pytest.raises(Untrusted):
        require_usable(judged, provisional_allowed=False)


def test_a_relay_cannot_go_back_to_an_older_record(home: Home, organisation: Organisation) -> None:
    trust, key = _trust(home, organisation), Ed25519PrivateKey.generate()
    device = device_id(public_blob(key))
    old, new = organisation.record(device, "vip"), organisation.record(device, "clinic", number=2)
    known = KnownDevices(home)
    judge(_told(organisation, key, record=new), trust, known)
    known.save()
    judged = judge(_told(organisation, key, record=old), trust, KnownDevices(home))
    assert judged.record is None
    assert "record 2 was seen" in (judged.record_fault or "")


def test_a_record_is_not_taken_over_by_somebody_without_a_say_nor_back_dated(
    home: Home, organisation: Organisation
) -> None:
    """The device would refuse it; a hostile relay would have the console show it, and sign by it."""
    trust, key, known = _trust(home, organisation), Ed25519PrivateKey.generate(), KnownDevices(home)
    device = device_id(public_blob(key))
    judge(_told(organisation, key, record=organisation.record(device, "vip")), trust, known)
    other_site = organisation.technician("eve", may="approve", scope="tag:clinic")
    for taken in (
        organisation.record(device, "clinic", number=2, by=other_site),
        organisation.record(device, "vip", number=2, issued_at=organisation.now - 60),
    ):
        judged = judge(_told(organisation, key, record=taken), trust, known)
        assert judged.record is None and "no say over it" in (judged.record_fault or "")
    assert judge(_told(organisation, key, record=organisation.record(device, number=2)), trust, known).tags == ()


def test_a_record_with_a_sealing_key_that_the_device_did_not_sign_is_not_believed(
    home: Home, organisation: Organisation
) -> None:
    trust, key = _trust(home, organisation), Ed25519PrivateKey.generate()
    record = organisation.record(device_id(public_blob(key)), "vip", sealing_key="age1" + "z" * 58)
    judged = judge(_told(organisation, key, record=record), trust, KnownDevices(home))
    assert judged.record is None and "sealing key" in (judged.record_fault or "")


@pytest.mark.parametrize("allowed", [True, False])
def test_a_removed_device_is_not_used_even_where_provisional_ones_are(
    home: Home, organisation: Organisation, allowed: bool
) -> None:
    from protocol.revocation import Revocations, RevokedDevice

    key = Ed25519PrivateKey.generate()
    device = device_id(public_blob(key))
    organisation.publish_policy(revocations=Revocations(devices=(RevokedDevice(device=device),)))
    judged = judge(_told(organisation, key), _trust(home, organisation), KnownDevices(home))
    with pytest.raises(Refused) as caught:
        require_usable(judged, provisional_allowed=allowed)
    assert caught.value.reason == "device_removed"


def test_a_provisional_device_needs_to_be_named_as_such(home: Home, organisation: Organisation) -> None:
    judged = judge(_told(organisation, Ed25519PrivateKey.generate()), _trust(home, organisation), KnownDevices(home))
    with pytest.raises(AuxilioError) as caught:
        require_usable(judged, provisional_allowed=False)
    assert caught.value.reason == "provisional"
    require_usable(judged, provisional_allowed=True)


def test_a_fork_is_remembered_by_the_next_command(home: Home, organisation: Organisation) -> None:
    trust = _trust(home, organisation)
    held = trust.policy.policy
    other = seal_statement(
        KeySigner(organisation.policy_key), POLICY, policy_payload(msgspec.structs.replace(held, max_session_s=77))
    )
    trust.accept((), other)
    [fork] = load_trust(home, organisation.id).authority.forks
    assert fork == sha256(other.payload)
