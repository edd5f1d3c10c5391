"""A relay that turned hostile, in front of the console: what it can be made to sign, believe or dial is nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from console.device_records import check_enrolment
from console.fleet import fetch_device
from console.resolving import resolve
from console.sessions import Wish, reach
from console.signed_in import Desk
from console.waiting import WaitingLine
from protocol.api import DevicePage, LoginAnswer, LoginNonce, SessionNonce, SessionStarted
from protocol.errors import AuxilioError, BadMessage, PeerFault, Refused, Untrusted
from protocol.ids import SessionId, device_id
from protocol.keys import public_line
from protocol.login import LoginStatement
from protocol.signing import public_blob
from tests.support.organisation import Organisation
from tests.support.relayed import TIME, Relayed, log_in, with_desk


@pytest.fixture
async def relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Relayed]:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    relayed = Relayed(tmp_path)
    await relayed.start()
    try:
        yield relayed
    finally:
        await relayed.stop()


def _wish(relay: Relayed, **changes: Any) -> Wish:
    fields = {
        "device": relay.device,
        "capabilities": ("shell",),
        "ssh_key": relay.technician.public_line,
        "purpose": "test",
    }
    return Wish(**{**fields, **changes})


async def _reach(relay: Relayed, **changes: Any) -> object:
    return await with_desk(relay, lambda desk: reach(desk, _wish(relay, **changes), WaitingLine(desk.clock.now)))


# -- logging in -------------------------------------------------------------------------------------------------


async def test_a_login_is_signed_for_this_relay_and_organisation_alone(relay: Relayed) -> None:
    await log_in(relay)
    statement = msgspec.json.decode(relay.logins[0].payload, type=LoginStatement)
    assert statement.relay == relay.server.address.dialled_name
    assert statement.organisation == relay.organisation.id


@pytest.mark.parametrize("difference_s", [-3600, 3600, 10**12])
async def test_nothing_is_signed_where_the_clocks_differ(relay: Relayed, difference_s: int) -> None:
    path = ("POST", f"{relay.login_path}/nonce")
    relay.answers[path] = lambda: LoginNonce(nonce="bm9uY2U", time=TIME.now() + difference_s)
    with pytest.raises(Refused) as caught:
        await log_in(relay)
    assert caught.value.reason == "clock_differs"
    assert relay.logins == []


async def test_nothing_is_signed_for_a_relay_that_shows_another_organisation(relay: Relayed) -> None:
    other = Organisation(relay.settings.relays[0])
    relay.answers["GET", f"/v1/organisations/{relay.organisation.id}/charters"] = lambda: {"charters": other.charters}
    with pytest.raises(Untrusted):
        await log_in(relay)
    assert relay.logins == []


async def test_a_certificate_in_the_mailbox_for_another_key_is_not_taken(relay: Relayed) -> None:
    other = relay.organisation.technician("eva", valid_s=20 * 86_400)
    relay.answers["POST", relay.login_path] = lambda: LoginAnswer(
        token="t" * 43, expires_at=2**40, scope="full", certificate=public_line(other.certificate)
    )
    with pytest.raises(Untrusted):
        await log_in(relay)
    assert not relay.home.file("certificate.pub").exists()


async def test_a_certificate_in_the_mailbox_by_another_ca_is_not_taken(relay: Relayed) -> None:
    forged = Organisation().technician(key=relay.technician.key, valid_s=20 * 86_400)
    relay.answers["POST", relay.login_path] = lambda: LoginAnswer(
        token="t" * 43, expires_at=2**40, scope="full", certificate=public_line(forged.certificate)
    )
    with pytest.raises(Untrusted):
        await log_in(relay)
    assert not relay.home.file("certificate.pub").exists()


async def test_a_policy_from_before_a_revocation_does_not_come_back(relay: Relayed) -> None:
    old = relay.organisation.policies[-1]
    relay.organisation.publish_policy(wave_limit=5)
    await log_in(relay)
    relay.answers["GET", f"/v1/organisations/{relay.organisation.id}/policy"] = lambda: old
    said = await log_in(relay)
    assert any("older policy" in text for text in said)
    await with_desk(relay, _check_limit)


async def _check_limit(desk: Desk) -> None:
    assert desk.trust.policy.policy.wave_limit == 5


# -- devices ----------------------------------------------------------------------------------------------------


async def test_another_device_than_the_one_asked_for_is_refused(relay: Relayed) -> None:
    await log_in(relay)
    other = Ed25519PrivateKey.generate()
    relay.answers["GET", f"/v1/devices/{relay.device}"] = lambda: relay.told(
        id=device_id(public_blob(other)), device_key=public_line(public_blob(other))
    )
    with pytest.raises(PeerFault) as caught:
        await _reach(relay)
    assert caught.value.reason == "wrong_device"
    assert relay.requests == []


async def test_no_request_is_signed_for_a_device_without_a_record_that_holds(relay: Relayed) -> None:
    await log_in(relay)
    stranger = Organisation(relay.settings.relays[0])
    for record in (None, stranger.record(relay.device, "clinic")):
        relay.answers["GET", f"/v1/devices/{relay.device}"] = lambda record=record: relay.told(record=record)
        with pytest.raises(AuxilioError) as caught:
            await _reach(relay)
        assert caught.value.reason in ("provisional", "bad_record")
    assert relay.requests == []


async def test_a_prefix_is_never_resolved_to_a_device_that_nobody_approved(relay: Relayed) -> None:
    await log_in(relay)
    relay.answers["GET", "/v1/devices"] = lambda: DevicePage(devices=(relay.told(record=None),), next=None, total=1)
    with pytest.raises(Refused) as caught:
        await with_desk(relay, lambda desk: resolve(desk, relay.device[:5]))
    assert caught.value.reason == "no_such_device"


async def test_a_prefix_is_never_resolved_to_a_device_that_does_not_have_it(relay: Relayed) -> None:
    await log_in(relay)
    relay.answers["GET", "/v1/devices"] = lambda: DevicePage(devices=(relay.told(),), next=None, total=1)
    wrong = "aaaa" if not relay.device.startswith("aaaa") else "bbbb"
    with pytest.raises(Refused):
        await with_desk(relay, lambda desk: resolve(desk, wrong))


async def test_an_enrolment_of_another_device_is_not_approved(relay: Relayed) -> None:
    await log_in(relay)
    other = relay.organisation.enrolment(relay.organisation.join_token(tags=("vip",)), Ed25519PrivateKey.generate())
    relay.answers["GET", f"/v1/devices/{relay.device}"] = lambda: relay.told(record=None, enrolment=other)

    async def approve(desk: Desk) -> None:
        check_enrolment(await fetch_device(desk, relay.device), desk.trust, TIME.now())

    with pytest.raises(Untrusted) as caught:
        await with_desk(relay, approve)
    assert caught.value.reason == "wrong_device"


async def test_suggested_tags_are_the_enrolment_cas_and_not_the_relays(relay: Relayed) -> None:
    await log_in(relay)
    enrolment = relay.organisation.enrolment(relay.organisation.join_token(tags=("clinic",)), relay.device_key)
    relay.answers["GET", f"/v1/devices/{relay.device}"] = lambda: relay.told(record=None, enrolment=enrolment)

    async def suggested(desk: Desk) -> tuple[str, ...]:
        return check_enrolment(await fetch_device(desk, relay.device), desk.trust, TIME.now()).tags

    assert await with_desk(relay, suggested) == ("clinic",)


# -- sessions ---------------------------------------------------------------------------------------------------


async def test_a_session_under_another_id_is_refused(relay: Relayed) -> None:
    await log_in(relay)
    relay.answers["POST", f"/v1/devices/{relay.device}/sessions"] = lambda: SessionStarted(
        session=SessionId("a" * 26), ticket="t", leg_url=relay.server.address.url
    )
    with pytest.raises(Untrusted) as caught:
        await _reach(relay)
    assert caught.value.reason == "wrong_session"


async def test_a_leg_is_dialled_only_where_the_policy_says(relay: Relayed) -> None:
    await log_in(relay)

    def elsewhere() -> SessionStarted:
        request = msgspec.json.decode(relay.requests[-1].payload)
        return SessionStarted(session=request["session"], ticket="t", leg_url="https://evil.example:443")

    relay.answers["POST", f"/v1/devices/{relay.device}/sessions"] = elsewhere
    with pytest.raises(Untrusted) as caught:
        await _reach(relay)
    assert caught.value.reason == "unknown_relay"


async def test_a_ticket_cannot_carry_a_header_of_its_own(relay: Relayed) -> None:
    await log_in(relay)

    def injected() -> SessionStarted:
        request = msgspec.json.decode(relay.requests[-1].payload)
        return SessionStarted(session=request["session"], ticket="t\r\nX: y", leg_url=relay.server.address.url)

    relay.answers["POST", f"/v1/devices/{relay.device}/sessions"] = injected
    with pytest.raises(BadMessage):
        await _reach(relay)


async def test_a_request_names_the_highest_policy_that_is_known_here(relay: Relayed) -> None:
    await log_in(relay)
    relay.organisation.publish_policy()
    number = relay.organisation.policy_number
    relay.answers["POST", f"/v1/devices/{relay.device}/sessions/nonce"] = lambda: SessionNonce(
        nonce="bm9uY2U", policy=number
    )
    with pytest.raises(AuxilioError):
        await _reach(relay)
    request = msgspec.json.decode(relay.requests[-1].payload)
    assert request["policy"] == [number.epoch, number.number]


async def test_what_a_relay_says_is_harmless_in_a_terminal(relay: Relayed) -> None:
    await log_in(relay)
    del relay.answers["GET", f"/v1/devices/{relay.device}"]
    with pytest.raises(Refused) as caught:
        await _reach(relay)
    assert "\x1b" not in caught.value.message
    assert "such" in caught.value.message
