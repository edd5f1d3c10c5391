"""Requests that must not become sessions: each is refused with its reason, in the log too, and starts no child."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from agent.session import live
from protocol.codec import encode
from protocol.ids import SessionId, random_id
from protocol.keys import public_line
from protocol.link import PolicyNumber
from protocol.policy import ConsentRule
from protocol.revocation import Revocations, RevokedDevice, RevokedKeyId
from protocol.session import SessionRequest
from protocol.signing import KeySigner
from protocol.statement import LOGIN, SESSION, Signed, seal_statement
from tests.support.session_world import DAY_S, SessionWorld, Technician, new_key

Offer = Callable[[SessionWorld], SessionId]


def by(**technician: Any) -> Offer:
    def offer(world: SessionWorld) -> SessionId:
        world.technician = Technician(world, **technician)
        return world.offer(world.request())

    return offer


def asking(**request: Any) -> Offer:
    return lambda world: world.offer(world.request(**request))


def edited(world: SessionWorld) -> SessionId:
    request = world.request()
    signed = world.sign(request)
    other = msgspec.structs.replace(request, account="root")
    return world.offer(request, Signed(payload=encode(other), signature=signed.signature))


def replayed(world: SessionWorld) -> SessionId:
    request = world.request(account="admin")
    world.offer(request, ticket="one")
    # The device forgets the first; what remembers the nonce has to be the pool alone.
    world.desk._live._brokers.clear()
    world.sent.clear()
    return world.offer(request)


def other_session(world: SessionWorld) -> SessionId:
    request = world.request()
    return world.offer(request, session=random_id(b"0" * 16))


def for_another(field: str, value: str) -> Offer:
    return lambda world: world.offer(world.request(**{field: value}))


def in_another_namespace(world: SessionWorld) -> SessionId:
    request = world.request()
    return world.offer(request, seal_statement(world.technician.signer, LOGIN, encode(request)))


def by_a_plain_key(world: SessionWorld) -> SessionId:
    request = world.request()
    return world.offer(request, seal_statement(KeySigner(world.technician.key), SESSION, encode(request)))


def with_a_field_of_tomorrow(world: SessionWorld) -> SessionId:
    request = world.request()
    payload = encode(request).removesuffix(b"}") + b',"tomorrow":1}'
    return world.offer(request, seal_statement(world.technician.signer, SESSION, payload))


def through_another_relay(world: SessionWorld) -> SessionId:
    return world.offer(world.request(), leg_url="https://169.254.169.254:443")


def with_a_policy(**changes: Any) -> Offer:
    def offer(world: SessionWorld) -> SessionId:
        world.publish(**changes)
        return world.offer(world.request())

    return offer


def removed_device(world: SessionWorld) -> SessionId:
    world.publish(revocations=Revocations(devices=(RevokedDevice(device=world.device),)))
    return world.offer(world.request())


def behind(world: SessionWorld) -> SessionId:
    return world.offer(world.request(policy=PolicyNumber(epoch=0, number=99)))


def revoked(world: SessionWorld) -> SessionId:
    world.publish(revocations=Revocations(key_ids=(RevokedKeyId(key_id="ana"),)))
    return world.offer(world.request())


def expired_policy(world: SessionWorld) -> SessionId:
    now = int(world.clock.now())
    world.publish(issued_at=now - 100, expires_at=now - 1)
    return world.offer(world.request())


CASES: dict[str, tuple[Offer, str]] = {
    "without the right": (by(may="view,files"), "no_right"),
    "without any right": (by(extensions={"scope@auxilio": "all"}), "no_right"),
    "out of scope": (by(scope="tag:clinic"), "out_of_scope"),
    "without a scope": (by(extensions={"may@auxilio": "shell"}), "no_scope"),
    "expired": (by(valid_after=1, valid_before=DAY_S), "expired"),
    "not yet valid": (by(valid_after=2**33, valid_before=2**33 + DAY_S), "not_yet_valid"),
    "valid for too long": (by(valid_before=2**34), "too_long_lived"),
    "revoked": (revoked, "revoked"),
    "by another CA": (by(ca=new_key()), "wrong_ca"),
    "another account than the certificate's": (asking(account="root"), "wrong_principal"),
    "edited after it was signed": (edited, "bad_signature"),
    "replayed": (replayed, "nonce_unknown"),
    "with a nonce of its own making": (asking(nonce="AAAAAAAAAAAAAAAAAAAAAA"), "nonce_unknown"),
    "offered under another session's id": (other_session, "wrong_session"),
    "for another device": (for_another("device", "aaaaa-aaaaa-aaaaa-aaaaa"), "wrong_device"),
    "for another organisation": (for_another("organisation", "a" * 52), "wrong_organisation"),
    "a login's signature": (in_another_namespace, "wrong_namespace"),
    "signed without a certificate": (by_a_plain_key, "certificate_due"),
    "with a field of tomorrow": (with_a_field_of_tomorrow, "bad_message"),
    "long expired": (asking(issued_at=1, expires_at=200), "request_expired"),
    "that lives for too long": (asking(expires_at=2**33), "bad_request"),
    "without a purpose": (asking(purpose="  "), "bad_request"),
    "for a capability that does not exist": (asking(capabilities=("shell", "root")), "bad_request"),
    "through a relay that is not in the policy": (through_another_relay, "unknown_relay"),
    "under a policy that the device lacks": (behind, "policy_behind"),
    "under an expired policy, with nobody there": (expired_policy, "policy_expired"),
    "with nobody there where the policy then says no": (
        with_a_policy(consent=(ConsentRule(where="all", nobody_present="refuse"),)),
        "nobody_present",
    ),
    "on a removed device": (removed_device, "device_removed"),
}


@pytest.mark.parametrize(("offer", "code"), CASES.values(), ids=CASES.keys())
async def test_a_request_is_refused_with_its_reason_and_starts_no_child(
    offer: Offer, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []

    class NoBroker:
        def __init__(self, *args: object, **more: object) -> None:
            started.append(self)

        async def run(self) -> object:
            raise AssertionError("a child would have been started")

    async with SessionWorld() as world:
        monkeypatch.setattr(live, "SessionBroker", NoBroker)
        monkeypatch.setattr("agent.platform.posix_accounts.present_users", lambda: ())
        if offer is replayed:
            monkeypatch.setattr(live.LiveSessions, "_serve", _nothing)
        session = offer(world)
        refused = await world.refused(session)
        assert refused.code == code, refused
        assert refused.message.isprintable()
        assert world.log.of("session_refused")[-1]["code"] == code
        assert len(started) == (1 if offer is replayed else 0)
        assert world.children() == []


async def _nothing(self: object, session: object, broker: object) -> None:
    pass


async def test_a_request_is_good_for_one_session() -> None:
    async with SessionWorld() as world:
        request = world.request()
        session = world.offer(request)
        client = await world.connect(session)
        world.offer(request)  # while it lives: nothing happens
        assert world.log.of("offer_repeated") != []
        client.close()
        await world.ended(session)
        world.offer(request)
        assert (await world.refused(session)).code == "nonce_unknown"


async def test_the_newer_policy_is_fetched_and_the_request_judged_by_it() -> None:
    async with SessionWorld() as world:
        coming = PolicyNumber(epoch=0, number=2)
        world.on_fetch = lambda number: world.publish(revocations=Revocations(key_ids=(RevokedKeyId(key_id="ana"),)))
        session = world.offer(world.request(policy=coming))
        assert (await world.refused(session)).code == "revoked"
        assert world.fetched == [coming]


async def test_the_log_of_a_refusal_says_who_it_claimed_to_be_by() -> None:
    async with SessionWorld() as world:
        world.technician = Technician(world, "eve", scope="tag:clinic")
        await world.refused(world.offer(world.request()))
        request = world.request()
        await world.refused(world.offer(request, Signed(payload=b"{}", signature=b"\x00")))
        assert [entry["claimed_by"] for entry in world.log.of("session_refused")] == ["eve", ""]


async def test_a_refusal_that_quotes_a_stranger_is_fit_for_a_terminal() -> None:
    async with SessionWorld() as world:
        request = world.request(account="\x1b[2Jadmin\u202e")
        refused = await world.refused(world.offer(request))
        assert refused.message.isprintable()
        assert "\u202e" not in refused.message


async def test_a_relay_that_floods_with_offers_is_refused_by_count() -> None:
    rule = ConsentRule(where="all", wait_s=600)
    async with SessionWorld(consent=(rule,)) as world:
        codes = []
        for number in range(8):
            session = world.offer(world.request(case=f"C-{number}"))
            found = [m for m in world.sent if getattr(m, "session", "") == session]
            codes.append(getattr(found[-1], "code", "asked"))
        assert codes[:4] == ["asked"] * 4
        assert set(codes[4:]) == {"too_many_questions"}


async def test_an_ephemeral_key_of_the_console_s_is_admitted_instead_of_the_signer_s() -> None:
    async with SessionWorld() as world:
        ephemeral = Technician(world)
        request: SessionRequest = world.request(ssh_key=public_line(ephemeral.public))
        session = world.offer(request)
        world.technician = ephemeral
        client = await world.connect(session)
        assert (await client.run("echo in")).stdout == "in\n"
        client.close()
