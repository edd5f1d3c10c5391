"""Join tokens, enrolments, device records and session requests: what verifies, and each way in which it does not."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import decode, encode
from protocol.device_record import ACCEPT_WITHIN_S, HeldRecord, check_fresh, may_replace, open_record
from protocol.enrolment import PREFIX, EnrolStatement, JoinToken, parse_join_token, verify_enrolment
from protocol.errors import AuxilioError, BadMessage, ConfigInvalid
from protocol.ids import DeviceId, SessionId, device_id, random_id
from protocol.link import PolicyNumber
from protocol.policy import Relay
from protocol.revocation import Revocations, RevokedKeyId, RevokedToken
from protocol.session import VerifiedRequest, verify_request
from protocol.signing import KeyRawSigner, KeySigner
from protocol.statement import ENROL, LOGIN, SESSION, Signed, seal_statement
from tests.support.organisation import DAY_S, Organisation, TechnicianKey, new_key

NOW = 1_800_000_000
RELAY = Relay(url="https://relay.example:443", pin="sha256:" + "0" * 64)
DEVICE_KEY = Ed25519PrivateKey.from_private_bytes(b"d" * 32)
DEVICE: DeviceId = device_id(KeyRawSigner(DEVICE_KEY).public)
OTHER_DEVICE: DeviceId = device_id(b"another")


@pytest.fixture(scope="module")
def organisation() -> Organisation:
    return Organisation(RELAY, now=NOW)


def reason(error: pytest.ExceptionInfo[AuxilioError]) -> str:
    return error.value.reason


# -- join tokens ------------------------------------------------------------------------------------------------------


def test_a_join_token_survives_its_text_however_it_was_pasted(organisation: Organisation) -> None:
    token = organisation.join_token(tags=("clinic", "site=madrid"))
    text = token.text()
    assert text.startswith(PREFIX) and text.isascii()
    assert parse_join_token(text) == token
    wrapped = "\n  ".join(text[i : i + 60] for i in range(0, len(text), 60)) + "\r\n"
    assert parse_join_token(wrapped) == token


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text.removeprefix(PREFIX),
        lambda text: text[:-8] + "!!!!!!!!",
        lambda text: text + "A" * 20_000,
        lambda text: PREFIX + base64.urlsafe_b64encode(b'{"version":1}').decode(),
        lambda text: PREFIX + "ñ",
    ],
)
def test_a_spoilt_join_token_is_one_line_and_a_hint(organisation: Organisation, spoil: Any) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        parse_join_token(spoil(organisation.join_token().text()))
    assert caught.value.reason == "bad_token" and caught.value.hint


@given(st.text(max_size=200))
def test_any_text_is_a_token_or_config_invalid(text: str) -> None:
    for candidate in (text, PREFIX + text):
        with pytest.raises(ConfigInvalid):
            parse_join_token(candidate)


# -- enrolment --------------------------------------------------------------------------------------------------------


def enrol(organisation: Organisation, signed: Signed, **rules: Any) -> Any:
    authority = organisation.authority()
    return verify_enrolment(
        signed, rules=rules.pop("rules", authority.enrolment_rules()), organisation=organisation.id, now=NOW
    )


def test_a_device_enrols_with_its_token_and_its_own_key(organisation: Organisation) -> None:
    token = organisation.join_token(tags=("clinic",), uses=3)
    verified = enrol(organisation, organisation.enrolment(token, DEVICE_KEY))
    assert verified.device == DEVICE
    assert verified.grant.tags == ("clinic",) and verified.grant.uses == 3


def test_an_enrolment_needs_the_devices_own_proof(organisation: Organisation) -> None:
    token = organisation.join_token()
    stolen = organisation.enrolment(token, new_key(), device_key=organisation.line(DEVICE_KEY))
    with pytest.raises(AuxilioError) as caught:
        enrol(organisation, stolen)
    assert reason(caught) == "unknown_signer"


def test_a_proof_for_another_token_is_refused(organisation: Organisation) -> None:
    token = organisation.join_token()
    other = decode(organisation.enrolment(token, DEVICE_KEY).payload, EnrolStatement)
    proof = msgspec.structs.replace(other.proven(), token="another")
    signed = organisation.enrolment(
        token, DEVICE_KEY, proof=seal_statement(KeySigner(DEVICE_KEY), ENROL, encode(proof))
    )
    with pytest.raises(AuxilioError) as caught:
        enrol(organisation, signed)
    assert reason(caught) == "wrong_proof"


@pytest.mark.parametrize("field", ["sealing_key", "machine", "hostname", "issued_at"])
def test_a_devices_proof_is_good_for_what_it_said_and_nothing_else(organisation: Organisation, field: str) -> None:
    """Whoever has a copy of the token, a relay too, cannot enrol the device anew with a sealing key of their own."""
    token = organisation.join_token()
    genuine = decode(organisation.enrolment(token, DEVICE_KEY).payload, EnrolStatement)
    changed = NOW - 1 if field == "issued_at" else "age1" + "z" * 28
    again = organisation.enrolment(token, DEVICE_KEY, **{field: changed, "proof": genuine.proof})
    with pytest.raises(AuxilioError) as caught:
        enrol(organisation, again)
    assert reason(caught) == "wrong_proof"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"organisation": "a" * 52}, "wrong_organisation"),
        ({"token": "another"}, "wrong_token"),
        ({"hostname": "x" * 256}, "bad_message"),
        ({"sealing_key": "x" * 101}, "bad_message"),
        ({"device_key": "ssh-rsa AAAAB3NzaC1yc2E="}, "unknown_algorithm"),
    ],
)
def test_an_enrolment_that_says_something_else_is_refused(
    organisation: Organisation, changes: dict[str, Any], code: str
) -> None:
    with pytest.raises(AuxilioError) as caught:
        enrol(organisation, organisation.enrolment(organisation.join_token(), DEVICE_KEY, **changes))
    assert reason(caught) == code


def test_an_expired_revoked_or_foreign_token_enrols_nobody(organisation: Organisation) -> None:
    expired = organisation.join_token(since_s=1000, valid_s=500)
    with pytest.raises(AuxilioError) as caught:
        enrol(organisation, organisation.enrolment(expired, DEVICE_KEY))
    assert reason(caught) == "expired"
    foreign = organisation.join_token(ca=organisation.ca)
    with pytest.raises(AuxilioError) as caught:
        enrol(organisation, organisation.enrolment(foreign, DEVICE_KEY))
    assert reason(caught) == "wrong_ca"
    token = organisation.join_token()
    signed = organisation.enrolment(token, DEVICE_KEY)
    grant = enrol(organisation, signed).grant
    other = Organisation(RELAY, now=NOW)
    other.charters, other.id, other.policy_key = organisation.charters, organisation.id, organisation.policy_key
    other.publish_policy(revocations=Revocations(tokens=(RevokedToken(token=grant.token),)))
    with pytest.raises(AuxilioError) as caught:
        enrol(organisation, signed, rules=other.authority().enrolment_rules())
    assert reason(caught) == "token_revoked"


# -- device records ---------------------------------------------------------------------------------------------------


def opened(organisation: Organisation, signed: Signed, device: DeviceId = DEVICE) -> HeldRecord:
    return open_record(
        signed,
        rules=organisation.authority().technician_rules(),
        organisation=organisation.id,
        device=device,
    )


def test_an_approver_tags_a_device(organisation: Organisation) -> None:
    held = opened(organisation, organisation.record(DEVICE, "clinic", "site=madrid"))
    assert held.record.tags == ("clinic", "site=madrid") and held.signer.name == "ana"


@pytest.mark.parametrize(
    ("technician", "tags", "code"),
    [
        ({"may": "shell,run"}, ("clinic",), "no_right"),
        ({"scope": "tag:school"}, ("clinic",), "out_of_scope"),
        ({"since_s": 100, "valid_s": 50}, ("clinic",), "expired"),
    ],
)
def test_who_may_not_approve_does_not(
    organisation: Organisation, technician: dict[str, Any], tags: tuple[str, ...], code: str
) -> None:
    signed = organisation.record(DEVICE, *tags, by=organisation.technician(**technician))
    with pytest.raises(AuxilioError) as caught:
        opened(organisation, signed)
    assert reason(caught) == code


def test_a_record_of_another_device_or_organisation_is_refused(organisation: Organisation) -> None:
    with pytest.raises(AuxilioError) as caught:
        opened(organisation, organisation.record(OTHER_DEVICE), DEVICE)
    assert reason(caught) == "wrong_device"
    with pytest.raises(AuxilioError) as caught:
        opened(organisation, organisation.record(DEVICE, organisation="b" * 52))
    assert reason(caught) == "wrong_organisation"


def test_a_record_outlives_its_signers_certificate(organisation: Organisation) -> None:
    signer = organisation.technician(since_s=60, valid_s=120)
    signed = organisation.record(DEVICE, "clinic", by=signer)
    assert opened(organisation, signed).record.tags == ("clinic",)  # judged at issued_at, whenever it is read


@pytest.mark.parametrize(("since", "good"), [(NOW + 1, True), (NOW, False), (None, False)])
def test_a_leavers_records_stay_and_a_thiefs_do_not(since: int | None, good: bool) -> None:
    organisation = Organisation(RELAY, now=NOW)
    signed = organisation.record(DEVICE, "clinic")
    organisation.publish_policy(revocations=Revocations(key_ids=(RevokedKeyId(key_id="ana", since=since),)))
    if good:
        assert opened(organisation, signed)
    else:
        with pytest.raises(AuxilioError) as caught:
            opened(organisation, signed)
        assert reason(caught) == "revoked"


def test_a_higher_record_replaces_only_by_somebody_whose_scope_covers_the_old_tags(organisation: Organisation) -> None:
    held = opened(organisation, organisation.record(DEVICE, "clinic", number=3))
    assert may_replace(None, held)
    higher = opened(organisation, organisation.record(DEVICE, "school", number=4))
    assert may_replace(held, higher)
    assert not may_replace(held, opened(organisation, organisation.record(DEVICE, "school", number=3)))
    thief = organisation.technician("eve", scope="tag:school")
    taken = opened(organisation, organisation.record(DEVICE, "school", number=5, by=thief))
    assert not may_replace(held, taken), "a technician of the school must not take the clinic's device over"


@pytest.mark.parametrize(
    "changes",
    [
        {"number": 0},
        {"tags": ("a", "a")},
        {"tags": ("A B",)},
        {"sealing_key": "ssh-ed25519"},
        {"version": 2},
        {"continues": DEVICE},
    ],
)
def test_a_record_that_no_device_would_accept_is_not_made(organisation: Organisation, changes: dict[str, Any]) -> None:
    with pytest.raises(BadMessage):
        organisation.record(DEVICE, **changes)


# -- session requests -------------------------------------------------------------------------------------------------


def verify(organisation: Organisation, session: SessionId, signed: Signed, **changes: Any) -> VerifiedRequest:
    arguments: dict[str, Any] = {
        "rules": organisation.authority().technician_rules(),
        "organisation": organisation.id,
        "device": DEVICE,
        "session": session,
        "now": NOW,
    }
    return verify_request(signed, **{**arguments, **changes})


def test_a_good_request_verifies(organisation: Organisation) -> None:
    ana = organisation.technician()
    session, signed = organisation.session_request(ana, DEVICE, "nonce")
    verified = verify(organisation, session, signed)
    assert verified.technician.name == "ana" and verified.ssh_key.line == ana.public_line


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"organisation": "c" * 52}, "wrong_organisation"),
        ({"device": OTHER_DEVICE}, "wrong_device"),
        ({"session": random_id(b"0" * 16)}, "wrong_session"),
        ({"issued_at": NOW - 400, "expires_at": NOW - 100}, "request_expired"),
        ({"expires_at": NOW + 301}, "bad_request"),
        ({"expires_at": NOW - 1, "issued_at": NOW}, "bad_request"),
        ({"purpose": " "}, "bad_request"),
        ({"purpose": "x" * 501}, "bad_request"),
        ({"case": "x" * 65}, "bad_request"),
        ({"capabilities": ()}, "bad_request"),
        ({"capabilities": ("shell", "shell")}, "bad_request"),
        ({"capabilities": ("run",)}, "bad_request"),
        ({"capabilities": ("everything",)}, "bad_request"),
        ({"capabilities": ("shell", "files")}, "no_right"),
        ({"account": "root"}, "wrong_principal"),
        ({"account": "admin,user"}, "wrong_principal"),
        ({"ssh_key": "ssh-dss AAAAB3NzaC1kc3M="}, "unknown_algorithm"),
    ],
)
def test_a_request_for_anything_else_is_refused(organisation: Organisation, changes: dict[str, Any], code: str) -> None:
    technician = organisation.technician(may="shell")
    session = SessionId(random_id(b"s" * 16))
    _, signed = organisation.session_request(technician, DEVICE, "nonce", **{"session": session, **changes})
    with pytest.raises(AuxilioError) as caught:
        verify(organisation, session, signed)
    assert reason(caught) == code


def test_an_unknown_field_in_a_request_is_refused(organisation: Organisation) -> None:
    ana: TechnicianKey = organisation.technician()
    session, signed = organisation.session_request(ana, DEVICE, "nonce")
    payload = signed.payload[:-1] + b',"tomorrow":1}'
    with pytest.raises(BadMessage):
        verify(organisation, session, seal_statement(ana.signer, SESSION, payload))


def test_an_edited_request_and_a_login_in_its_place_are_refused(organisation: Organisation) -> None:
    ana = organisation.technician()
    session, signed = organisation.session_request(ana, DEVICE, "nonce")
    edited = Signed(payload=signed.payload.replace(b"a test", b"a tesT"), signature=signed.signature)
    with pytest.raises(AuxilioError) as caught:
        verify(organisation, session, edited)
    assert reason(caught) == "bad_signature"
    with pytest.raises(AuxilioError) as caught:
        verify(organisation, session, seal_statement(ana.signer, LOGIN, signed.payload))
    assert reason(caught) == "wrong_namespace"


def test_an_enrolment_key_signs_no_session(organisation: Organisation) -> None:
    ana = organisation.technician(ca=organisation.enrolment_ca)
    session, signed = organisation.session_request(ana, DEVICE, "nonce")
    with pytest.raises(AuxilioError) as caught:
        verify(organisation, session, signed)
    assert reason(caught) == "wrong_ca"


def test_policies_are_ordered_by_epoch_then_number() -> None:
    assert encode(PolicyNumber(epoch=2, number=3)) == b"[2,3]"


def test_a_tokens_text_holds_no_more_than_it_must(organisation: Organisation) -> None:
    token: JoinToken = organisation.join_token()
    assert len(token.text()) < 1500, "it is pasted into chats and installers"


def test_a_former_technician_cannot_back_date_a_record_past_its_acceptance(organisation: Organisation) -> None:
    former = organisation.technician(since_s=40 * DAY_S, valid_s=7 * DAY_S)
    back_dated = organisation.record(DEVICE, "clinic", by=former, issued_at=NOW - 35 * DAY_S, number=9)
    held = opened(organisation, back_dated)  # good at its own date: whoever holds it already may keep it
    with pytest.raises(AuxilioError) as caught:
        check_fresh(held.record, NOW, ACCEPT_WITHIN_S)
    assert reason(caught) == "record_stale"
    check_fresh(opened(organisation, organisation.record(DEVICE, "clinic")).record, NOW, ACCEPT_WITHIN_S)
    with pytest.raises(AuxilioError):
        check_fresh(opened(organisation, organisation.record(DEVICE, issued_at=NOW + 7200)).record, NOW, 3600)
