"""The device's documents on its disk: kept before they count, counted where it keeps nothing, never taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.documents import Documents
from agent.fetching import NOTHING, merged
from agent.membership import Membership
from agent.release import BUILT_AT
from agent.state import CorruptState, StateDir
from protocol.authority import Outcome
from protocol.charter import PolicyBase
from protocol.codec import encode
from protocol.errors import AuxilioError, Unavailable
from protocol.ids import DeviceId, Sha256, TokenId, sha256
from protocol.link import MAX_ANNOUNCED
from protocol.link import Documents as Announced
from protocol.policy import PolicyBundle, Relay
from protocol.revocation import Revocations, RevokedKeyId
from tests.support.organisation import DAY_S, SEALING_KEY, Organisation

NOW = BUILT_AT + 86_400
DEVICE = DeviceId("a2345-b2345-c2345-d2345")
RELAY = Relay(url="https://relay.example:443")


class StoppedClock:
    def __init__(self, now: float = NOW) -> None:
        self.wall, self.since = float(now), 1000.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.since


class Device:
    def __init__(self, tmp_path: Path) -> None:
        self.organisation = Organisation(RELAY, now=NOW)
        self.clock = StoppedClock()
        self.state = StateDir(tmp_path / "state", make=True)
        self.documents = self.restarted()
        self.documents.accept_charters(self.organisation.charters)
        self.documents.accept_policy(self.organisation.policies[0])

    def restarted(self) -> Documents:
        membership = Membership(
            organisation=self.organisation.id,
            device=DEVICE,
            sealing_key=SEALING_KEY,
            token=TokenId("t" * 26),
            relays=(Relay(url="https://of-the-token.example:443"),),
            machine="",
            joined_at=NOW,
        )
        return Documents(self.state, membership, self.clock)


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def full_disk(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, data: bytes) -> None:
        raise Unavailable("the disk is full", code="disk_full")

    monkeypatch.setattr(device.state, "write", refuse)


def test_what_was_accepted_is_there_after_a_restart(device: Device) -> None:
    device.documents.accept_charters([device.organisation.next_charter()])
    device.documents.accept_policy(device.organisation.publish_policy())
    admin = device.organisation.technician("admin")
    assert device.documents.accept_record(device.organisation.record(DEVICE, "clinic", by=admin)) is Outcome.ACCEPTED
    again = device.restarted()
    assert again.authority == device.documents.authority
    assert again.record is not None and again.record.record.tags == ("clinic",)
    assert again.relays() == (RELAY,)


def test_before_a_policy_the_join_tokens_relays_are_dialled(device: Device) -> None:
    device.state.remove("policy.json")
    assert device.restarted().relays() == (Relay(url="https://of-the-token.example:443"),)


def test_a_revocation_counts_though_the_disk_is_full_and_is_kept_when_there_is_room(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoked = Revocations(key_ids=(RevokedKeyId(key_id="ana"),))
    with monkeypatch.context() as disk:
        full_disk(device, disk)
        assert (
            device.documents.accept_policy(device.organisation.publish_policy(revocations=revoked)) is Outcome.ACCEPTED
        )
        assert device.documents.authority.revocations == revoked and not device.documents.is_saved
        with pytest.raises(Unavailable):
            device.documents.save()
        assert device.restarted().authority.policy_order.number == 1
    device.documents.save()
    assert device.documents.is_saved and device.restarted().authority.revocations == revoked


def test_a_fork_is_remembered_over_a_restart(device: Device) -> None:
    held = device.organisation.publish_policy(max_session_s=60)
    device.documents.accept_policy(held)
    device.organisation.policies.pop()
    device.organisation.last_policy = None
    device.organisation.publish_policy(relays=(RELAY,))
    other = device.organisation.publish_policy(max_session_s=61)
    assert device.documents.accept_policy(other) is Outcome.FORK
    again = device.restarted()
    assert again.authority.forks == (sha256(other.payload),)
    assert again.authority.policy is not None and again.authority.policy.signed == held


def test_a_thiefs_policy_does_not_come_back_by_a_restart_before_the_base_arrives(device: Device) -> None:
    good = device.organisation.policies[0]
    device.documents.accept_policy(device.organisation.publish_policy(relays=(Relay(url="https://thief.example:1"),)))
    base = PolicyBase(number=1, sha256=sha256(good.payload))
    device.documents.accept_charters([device.organisation.next_charter(policy_base=base)])
    assert device.documents.authority.policy is None
    again = device.restarted()
    assert again.authority.policy is None and again.authority.base == base.sha256
    assert again.accept_policy(good) is Outcome.ACCEPTED


def test_the_floor_rises_with_documents_survives_a_restart_and_a_charter_lowers_it_once(device: Device) -> None:
    device.clock.wall = 0.0  # a dead battery
    assert device.documents.now() == NOW
    later = Organisation.__new__(Organisation)
    later.__dict__.update(device.organisation.__dict__, now=NOW + 10_000)
    device.documents.accept_charters([later.next_charter()])
    assert device.restarted().now() == NOW + 10_000
    assert device.documents.clock_behind_s() == NOW + 10_000
    device.documents.accept_charters([later.next_charter(time_floor_at=NOW + 5)])
    assert device.documents.now() == NOW + 5 == device.restarted().now()
    device.clock.since += 7.0
    device.documents.keep_floor()
    again = device.restarted()
    again.accept_charters(later.charters)
    assert again.now() == NOW + 12, "the charter that lowered it is known, and lowers it no second time"


def test_a_bundle_carries_charters_and_policy_and_a_strangers_changes_nothing(device: Device) -> None:
    device.organisation.next_charter()
    policy = device.organisation.publish_policy()
    bundle = encode(PolicyBundle(charters=tuple(device.organisation.charters), policy=policy))
    assert device.documents.accept_bundle(bundle) is Outcome.ACCEPTED
    assert device.documents.accept_bundle(bundle) is Outcome.KNOWN
    held = device.documents.authority
    stranger = Organisation(RELAY, now=NOW)
    for data in (encode(PolicyBundle(charters=tuple(stranger.charters), policy=stranger.policies[0])), b"{}", b""):
        with pytest.raises(AuxilioError):
            device.documents.accept_bundle(data)
    assert device.documents.authority == held


def test_a_record_whose_signer_was_compromised_is_void_and_that_of_a_leaver_is_not(device: Device) -> None:
    admin = device.organisation.technician("admin")
    device.documents.accept_record(device.organisation.record(DEVICE, "clinic", by=admin))
    left = Revocations(key_ids=(RevokedKeyId(key_id="admin", since=NOW + 1),))
    device.documents.accept_policy(device.organisation.publish_policy(revocations=left))
    assert not device.documents.drop_void_record() and device.restarted().record is not None
    compromised = Revocations(key_ids=(RevokedKeyId(key_id="admin"),))
    device.documents.accept_policy(device.organisation.publish_policy(revocations=compromised))
    assert device.documents.drop_void_record() and device.documents.record is None
    assert device.restarted().record is None


@pytest.mark.parametrize("name", ["policy.json", "record.json", "charters/000000000001.json", "forks.json"])
def test_a_file_that_somebody_edited_is_named(device: Device, name: str) -> None:
    admin = device.organisation.technician("admin")
    device.documents.accept_record(device.organisation.record(DEVICE, by=admin))
    stranger = Organisation(RELAY, now=NOW)
    foreign: dict[str, Any] = {
        "policy.json": stranger.policies[0],
        "record.json": device.organisation.record(DeviceId("b2345-b2345-c2345-d2345"), by=admin),
        "charters/000000000001.json": stranger.charters[0],
        "forks.json": {"sha256s": 1},
    }
    device.state.write_as(name, foreign[name])
    with pytest.raises(CorruptState) as caught:
        device.restarted()
    assert name.partition("/")[0] in caught.value.message and caught.value.hint
    assert device.state.read(name) == encode(foreign[name])


def test_announcements_add_up_and_stay_bounded() -> None:
    first = Announced(charters=(Sha256("a"), Sha256("b")), policy=Sha256("p1"))
    second = Announced(charters=(Sha256("b"), Sha256("c")), policy=Sha256("p2"), record=Sha256("r"))
    assert merged(first, second) == Announced(
        charters=(Sha256("a"), Sha256("b"), Sha256("c")), policy=Sha256("p2"), record=Sha256("r")
    )
    assert merged(first, NOTHING) == first == merged(NOTHING, first)
    many = Announced(charters=tuple(Sha256(str(n)) for n in range(MAX_ANNOUNCED)))
    assert len(merged(many, second).charters) == MAX_ANNOUNCED


def test_a_record_with_another_sealing_key_is_refused(device: Device) -> None:
    admin = device.organisation.technician("admin", may="approve")
    with pytest.raises(AuxilioError) as caught:
        device.documents.accept_record(
            device.organisation.record(DEVICE, "clinic", by=admin, sealing_key="age1" + "z" * 58)
        )
    assert caught.value.reason == "wrong_sealing_key"
    assert device.documents.record is None


def test_after_a_record_turned_out_void_an_older_one_is_not_taken_back(device: Device) -> None:
    admin, thief = device.organisation.technician("admin"), device.organisation.technician("thief")
    genuine = device.organisation.record(DEVICE, "clinic", by=admin)
    device.documents.accept_record(genuine)
    device.documents.accept_record(device.organisation.record(DEVICE, "clinic", number=2, by=thief))
    revocations = Revocations(key_ids=(RevokedKeyId(key_id="thief", since=NOW - 10),))
    device.documents.accept_policy(device.organisation.publish_policy(revocations=revocations))
    assert device.documents.drop_void_record()
    for documents in (device.documents, device.restarted()):
        assert documents.accept_record(genuine) is Outcome.LOWER and documents.record is None
    anew = device.organisation.record(DEVICE, "clinic", number=3, by=admin)
    assert device.documents.accept_record(anew) is Outcome.ACCEPTED


def test_a_policy_that_shortens_certificates_voids_no_record(device: Device) -> None:
    month = device.organisation.technician("admin", valid_s=30 * DAY_S)
    device.documents.accept_record(device.organisation.record(DEVICE, "clinic", by=month))
    device.documents.accept_policy(device.organisation.publish_policy(max_certificate_s=DAY_S))
    assert not device.documents.drop_void_record() and device.documents.record is not None
