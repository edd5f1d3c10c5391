"""Whom a policy no longer trusts, and since when."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.codec import decode, encode
from protocol.errors import BadMessage
from protocol.ids import DeviceId, TokenId
from protocol.keys import fingerprint
from protocol.revocation import (
    MAX_REVOCATIONS,
    Revocations,
    RevokedDevice,
    RevokedKey,
    RevokedKeyId,
    RevokedSerial,
    RevokedToken,
)
from tests.support.forgery import CA, OTHER, TECHNICIAN

CA_NAME, KEY, OTHER_KEY = (fingerprint(key.public) for key in (CA, TECHNICIAN, OTHER))
CERTIFICATE: dict[str, Any] = {"ca": CA_NAME, "serial": 17, "key": KEY, "key_id": "ana"}


@pytest.mark.parametrize(
    ("revocations", "revoked"),
    [
        (Revocations(), False),
        (Revocations(serials=(RevokedSerial(ca=CA_NAME, serial=17),)), True),
        (Revocations(serials=(RevokedSerial(ca=CA_NAME, serial=18),)), False),
        (Revocations(serials=(RevokedSerial(ca=OTHER_KEY, serial=17),)), False),
        (Revocations(keys=(RevokedKey(key=KEY),)), True),
        (Revocations(keys=(RevokedKey(key=CA_NAME),)), True),
        (Revocations(keys=(RevokedKey(key=OTHER_KEY),)), False),
        (Revocations(key_ids=(RevokedKeyId(key_id="ana"),)), True),
        (Revocations(key_ids=(RevokedKeyId(key_id="Ana"),)), False),
        (Revocations(key_ids=(RevokedKeyId(key_id="an"),)), False),
    ],
)
def test_a_certificate_is_revoked_by_any_of_its_names(revocations: Revocations, revoked: bool) -> None:
    assert revocations.certificate_revoked(**CERTIFICATE) == revoked


@pytest.mark.parametrize(
    ("signed_at", "since", "revoked"),
    [
        (None, 100, True),  # what acts now is refused whatever the date
        (99, 100, False),
        (100, 100, True),
        (101, 100, True),
        (99, None, True),  # a compromise voids everything
    ],
)
def test_what_was_signed_before_a_leaver_left_stays(signed_at: float | None, since: int | None, revoked: bool) -> None:
    revocations = Revocations(key_ids=(RevokedKeyId(key_id="ana", since=since),))
    assert revocations.certificate_revoked(**CERTIFICATE, signed_at=signed_at) == revoked


def test_the_harsher_of_two_entries_counts() -> None:
    """A leaver's key turns out to have been stolen: the second entry is not softened by the first."""
    left = RevokedKey(key=KEY, since=100)
    stolen = RevokedKeyId(key_id="ana")
    revocations = Revocations(keys=(left,), key_ids=(stolen,))
    assert revocations.certificate_revoked(**CERTIFICATE, signed_at=50)


def test_tokens_and_devices_are_revoked_by_name() -> None:
    revocations = Revocations(
        tokens=(RevokedToken(token=TokenId("t" * 26)),), devices=(RevokedDevice(device=DeviceId("k3m9x")),)
    )
    assert revocations.token_revoked(TokenId("t" * 26)) and not revocations.token_revoked(TokenId("u" * 26))
    assert revocations.device_revoked(DeviceId("k3m9x")) and not revocations.device_revoked(DeviceId("k3m9y"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"keys": [{"key": "SHA256:short"}]},
        {"keys": [{"key": KEY + "="}]},
        {"keys": [{"key": KEY + "\n"}]},
        {"keys": [{"key": KEY.replace("SHA256", "sha256")}]},
        {"keys": [{"key": "MD5:" + "00:" * 15 + "00"}]},
        {"serials": [{"ca": "SHA256:", "serial": 1}]},
        {"serials": [{"ca": CA_NAME, "serial": "17"}]},
        {"serials": [{"ca": CA_NAME}]},
    ],
)
def test_an_entry_that_could_match_nothing_is_refused_aloud(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadMessage):
        decode(encode(wrong), Revocations)


def test_the_largest_serial_is_read_as_it_was_written() -> None:
    revocations = Revocations(serials=(RevokedSerial(ca=CA_NAME, serial=2**64 - 1),))
    assert decode(encode(revocations), Revocations) == revocations


def test_an_entry_of_tomorrow_is_read_by_yesterdays_agent() -> None:
    told = {"keys": [{"key": KEY, "why": "lost"}], "phases_of_the_moon": ["full"]}
    assert decode(encode(told), Revocations).certificate_revoked(**CERTIFICATE)


def test_a_full_list_of_one_kind_is_judged_and_fits_into_a_policy() -> None:
    entries = tuple(RevokedKeyId(key_id=f"name-{number}") for number in range(MAX_REVOCATIONS))
    revocations = Revocations(key_ids=entries)
    assert len(encode(revocations)) < 1024 * 1024
    assert not revocations.certificate_revoked(**CERTIFICATE)
