"""The next policy: what an edit may change, and how revocations add up."""

from __future__ import annotations

import msgspec
import pytest

from console.authority.policies import editable, from_text, next_policy, revoke, to_text, with_settings
from protocol.errors import ConfigInvalid, UsageInvalid
from protocol.policy import ConsentRule, Relay
from protocol.revocation import Revocations, RevokedKey, RevokedKeyId
from tests.support.organisation import Organisation

RELAY = Relay(url="https://relay.example:443", pin="sha256:" + "0" * 64)


@pytest.fixture(scope="module")
def organisation() -> Organisation:
    return Organisation(RELAY, consent=(ConsentRule(where="tag:server", mode="unattended"),))


def test_a_policy_survives_the_editor_unchanged(organisation: Organisation) -> None:
    assert organisation.last_policy is not None
    fields = editable(organisation.last_policy)
    assert from_text(to_text(fields)) == fields
    assert '"max_certificate_s": "30d"' in to_text(fields)


def test_the_next_policy_follows_the_one_in_force(organisation: Organisation) -> None:
    authority = organisation.authority()
    assert authority.policy is not None
    fields = with_settings(editable(authority.policy.policy), ["max_certificate_s=14d", "wave_limit=7"])
    new = next_policy(authority, now=2_000, life_s=100, fields=fields)
    assert (new.number, new.previous) == (authority.policy.policy.number + 1, authority.policy.sha256)
    assert (new.issued_at, new.expires_at) == (2_000, 2_100)
    assert (new.max_certificate_s, new.wave_limit) == (14 * 86_400, 7)
    assert new.relays == authority.policy.policy.relays


@pytest.mark.parametrize(
    "setting",
    [
        "number=7",
        "revocations={}",
        "max_certificate_s=soon",
        "max_certificate_s=-5",
        "wave_limit=many",
        'relays=["https://x"]',
        'relays=[{"url":"http://relay.example"}]',
        'relays=[{"url":"https://relay.example","pin":"sha256:12"}]',
        'consent=[{"where":"ram<4GiB"}]',
        'consent=[{"where":"all","wait_s":100000}]',
        'consent=[{"where":"all","mode":"whatever"}]',
        "nonsense",
        "\x1b[2J=1",
    ],
)
def test_settings_that_no_device_would_take_are_refused_before_anything_is_signed(
    organisation: Organisation, setting: str
) -> None:
    authority = organisation.authority()
    assert authority.policy is not None
    with pytest.raises(ConfigInvalid) as caught:
        fields = with_settings(editable(authority.policy.policy), [setting])
        next_policy(authority, now=2_000, fields=fields)
    assert "\x1b" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"relays": []}', '{"surprise": 1}', "[" * 100_000])
def test_a_text_that_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(UsageInvalid):
        from_text(text)


def test_a_field_that_was_left_out_in_the_editor_is_named(organisation: Organisation) -> None:
    assert organisation.last_policy is not None
    values = msgspec.json.decode(to_text(editable(organisation.last_policy)))
    del values["wave_limit"]
    with pytest.raises(UsageInvalid, match="wave_limit"):
        from_text(msgspec.json.encode(values).decode())


# -- revocations ------------------------------------------------------------------------------------------------


def test_revocations_add_up_and_each_subject_is_listed_once() -> None:
    first = revoke(Revocations(), since=100, names=["ana"], keys=["SHA256:a"])
    second = revoke(first, since=100, names=["ana", "eva"])
    assert second.key_ids == (RevokedKeyId(key_id="ana", since=100), RevokedKeyId(key_id="eva", since=100))
    assert second.keys == first.keys


def test_a_revocation_is_only_ever_made_stricter() -> None:
    left = revoke(Revocations(), since=100, keys=["SHA256:a"])
    earlier = revoke(left, since=50, keys=["SHA256:a"])
    stolen = revoke(earlier, since=None, keys=["SHA256:a"])
    again = revoke(stolen, since=200, keys=["SHA256:a"])
    assert earlier.keys == (RevokedKey(key="SHA256:a", since=50),)
    assert stolen.keys == again.keys == (RevokedKey(key="SHA256:a", since=None),)
    assert revoke(left, since=300, keys=["SHA256:a"]).keys == left.keys
