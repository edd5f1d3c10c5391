"""Who may start, go on and open a channel, decided from what the device holds at that moment."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.admission import (
    CAPABILITY,
    MAX_SESSIONS,
    Admission,
    DeviceView,
    Ended,
    Kind,
    PolicyBehind,
    Running,
    admit,
    may_go_on,
    may_open,
)
from agent.nonces import NoncePool
from protocol.authority import Authority
from protocol.certificate import parse_certificate
from protocol.charter import Charter, charter_payload
from protocol.codec import encode
from protocol.device_record import DeviceRecord
from protocol.errors import AuxilioError, Refused
from protocol.ids import DeviceId, SessionId, organisation_id
from protocol.keys import parse_public_key, public_line
from protocol.link import PolicyNumber
from protocol.policy import ConsentRule, Policy, Relay, policy_payload
from protocol.revocation import Revocations, RevokedDevice, RevokedKeyId
from protocol.session import SessionRequest, VerifiedRequest
from protocol.signing import KeyRawSigner, KeySigner, issue_certificate
from protocol.statement import CHARTER, POLICY, SESSION, seal_statement
from protocol.technician import read_technician

NOW = 1_800_000_000
DAY_S = 86_400
DEVICE = DeviceId("aaaaa-bbbbb-ccccc-ddddd")
SESSION_ID = SessionId("a" * 26)
RELAY = "https://relay.example:8443"


def key(seed: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def line(seed: int) -> str:
    return public_line(KeyRawSigner(key(seed)).public)


ROOT, POLICY_KEY, CA, ENROLMENT_CA, ANA = range(1, 6)

_charter = seal_statement(
    KeySigner(key(ROOT)),
    CHARTER,
    charter_payload(
        Charter(
            number=1,
            issued_at=NOW,
            roots=(line(ROOT),),
            policy_keys=(line(POLICY_KEY),),
            technician_cas=(line(CA),),
            enrolment_cas=(line(ENROLMENT_CA),),
        )
    ),
)
ORGANISATION = organisation_id(_charter.payload)
BARE, _ = Authority(organisation=ORGANISATION).accept_charter(_charter)

UNATTENDED = ConsentRule(where="tag:kiosk", mode="unattended")
IF_NOBODY = ConsentRule(where="tag:lab", nobody_present="allow", wait_s=20)
REFUSING = ConsentRule(where="tag:home", nobody_present="refuse", wait_s=30)
RULES = (UNATTENDED, IF_NOBODY, REFUSING)


def view(*tags: str, policy: bool = True, **changes: Any) -> DeviceView:
    authority = BARE
    if policy:
        fields: dict[str, Any] = {
            "number": 5,
            "issued_at": NOW - DAY_S,
            "expires_at": NOW + DAY_S,
            "relays": (Relay(url=RELAY, pin="sha256:" + "0" * 64),),
            "consent": RULES,
            **changes,
        }
        payload = policy_payload(Policy(**fields))
        authority, _ = BARE.accept_policy(seal_statement(KeySigner(key(POLICY_KEY)), POLICY, payload))
    record = DeviceRecord(
        organisation=ORGANISATION, device=DEVICE, tags=tags, sealing_key="age1x", number=1, issued_at=NOW
    )
    return DeviceView(organisation=ORGANISATION, device=DEVICE, authority=authority, record=record if tags else None)


def certificate(may: str = "shell,files", scope: str = "all", **more: str) -> bytes:
    return issue_certificate(
        KeyRawSigner(key(CA)),
        parse_public_key(KeyRawSigner(key(ANA)).public),
        entropy=bytes(32),
        serial=17,
        key_id="ana",
        principals=("admin", "user"),
        valid_after=NOW - DAY_S,
        valid_before=NOW + 6 * DAY_S,
        extensions=dict(sorted({"may@auxilio": may, "scope@auxilio": scope, **more}.items())),
    )


def request(nonce: str = "n", **changes: Any) -> SessionRequest:
    fields: dict[str, Any] = {
        "organisation": ORGANISATION,
        "device": DEVICE,
        "session": SESSION_ID,
        "purpose": "help",
        "case": None,
        "capabilities": ("shell",),
        "account": "admin",
        "ssh_key": line(ANA),
        "policy": PolicyNumber(epoch=0, number=5),
        "nonce": nonce,
        "issued_at": NOW,
        "expires_at": NOW + 300,
        **changes,
    }
    return SessionRequest(**fields)


def ask(
    held: DeviceView,
    *,
    present: bool = False,
    live: int = 0,
    room: int = 1,
    leg_url: str = RELAY,
    cert: bytes | None = None,
    nonces: NoncePool | None = None,
    **changes: Any,
) -> Admission:
    numbers = itertools.count()
    pool = nonces or NoncePool(lambda size: next(numbers).to_bytes(size, "big"))
    nonce = pool.top_up(0.0)[0]
    signer = KeySigner(key(ANA), cert or certificate())
    return admit(
        seal_statement(signer, SESSION, encode(request(nonce, **changes))),
        session=SESSION_ID,
        leg_url=leg_url,
        view=held,
        nonces=pool,
        live=live,
        room=room,
        present=present,
        now=NOW,
        monotonic=1.0,
    )


def code_of(act: object) -> str:
    assert callable(act)
    with pytest.raises(AuxilioError) as caught:
        act()
    return caught.value.reason


# -- may it start, and is the customer asked --------------------------------------------------------------------------

EXPIRED = {"expires_at": NOW - 1}

# tags, policy's changes, somebody present -> seconds to ask for, None for nobody is asked, or the refusal
DECISIONS: list[tuple[tuple[str, ...], dict[str, Any], bool, int | str | None]] = [
    (("kiosk",), {}, False, None),
    (("kiosk",), {}, True, None),
    (("kiosk",), EXPIRED, False, "policy_expired"),
    (("kiosk",), EXPIRED, True, 60),
    (("lab",), {}, False, None),
    (("lab",), {}, True, 20),
    (("lab",), EXPIRED, False, "policy_expired"),
    (("lab",), EXPIRED, True, 20),
    (("home",), {}, False, "nobody_present"),
    (("home",), {}, True, 30),
    (("home",), EXPIRED, True, 30),
    (("other",), {}, False, 60),
    (("other",), {}, True, 60),
    (("other",), EXPIRED, True, 60),
    ((), {}, False, 60),  # provisional: no tags, so no rule by tag is for it
    (("lab", "kiosk"), {}, True, None),  # the first rule that matches wins
]


@pytest.mark.parametrize(("tags", "changes", "present", "expected"), DECISIONS)
def test_who_is_asked(
    tags: tuple[str, ...], changes: dict[str, Any], present: bool, expected: int | str | None
) -> None:
    held = view(*tags, **changes)
    if isinstance(expected, str):
        assert code_of(lambda: ask(held, present=present)) == expected
    else:
        assert ask(held, present=present).ask_s == expected


def test_rules_that_are_not_understood_spare_nobody_the_question() -> None:
    held = view("kiosk")
    policy = held.authority.policy
    assert policy is not None
    restricted = msgspec.structs.replace(policy, unknown=frozenset({"tomorrow"}))
    held = msgspec.structs.replace(held, authority=msgspec.structs.replace(held.authority, policy=restricted))
    assert code_of(lambda: ask(held)) == "policy_restricted"
    assert ask(held, present=True).ask_s == 60


def test_without_a_policy_nobody_comes_in() -> None:
    assert code_of(lambda: ask(view("kiosk", policy=False), present=True)) == "no_policy"


def test_a_removed_device_lets_nobody_in() -> None:
    removed = Revocations(devices=(RevokedDevice(device=DEVICE),))
    assert code_of(lambda: ask(view("kiosk", revocations=removed))) == "device_removed"


def test_a_newer_policy_of_the_console_s_is_named_so_that_it_can_be_fetched() -> None:
    wanted = PolicyNumber(epoch=1, number=2)
    with pytest.raises(PolicyBehind) as caught:
        ask(view("kiosk"), policy=wanted)
    assert caught.value.wanted == wanted
    ask(view("kiosk"), policy=PolicyNumber(epoch=0, number=4))


@pytest.mark.parametrize(
    ("scope", "tags", "allowed"),
    [
        ("tag:kiosk", ("kiosk",), True),
        ("tag:clinic", ("kiosk",), False),
        ("not tag:clinic", ("kiosk",), True),
        (f"id:{DEVICE}", (), True),
        ("tag:kiosk", (), False),
        ("all", (), True),
    ],
)
def test_the_scope_is_over_the_signed_tags(scope: str, tags: tuple[str, ...], allowed: bool) -> None:
    def act() -> Admission:
        return ask(view(*tags), cert=certificate(scope=scope))

    if allowed:
        act()
    else:
        assert code_of(act) == "out_of_scope"


@pytest.mark.parametrize("url", [RELAY, "https://RELAY.example:8443/"])
def test_the_relay_to_dial_comes_with_the_policy_s_pin(url: str) -> None:
    assert ask(view("kiosk"), leg_url=url).relay.pin == "sha256:" + "0" * 64


@pytest.mark.parametrize(
    "url",
    ["https://relay.example", "http://relay.example:8443", "https://evil:8443", "", "https://relay.example:8443@evil"],
)
def test_no_other_address_is_dialled(url: str) -> None:
    assert code_of(lambda: ask(view("kiosk"), leg_url=url)) == "unknown_relay"


def test_sessions_are_counted() -> None:
    ask(view("kiosk"), live=MAX_SESSIONS - 1)
    assert code_of(lambda: ask(view("kiosk"), live=MAX_SESSIONS)) == "too_many_sessions"
    assert code_of(lambda: ask(view("kiosk"), room=0)) == "too_many_sessions"


def test_a_refused_request_does_not_use_its_nonce_up_and_an_admitted_one_does() -> None:
    issued: list[str] = []

    class Watched(NoncePool):
        def top_up(self, now: float) -> tuple[str, ...]:
            issued.extend(super().top_up(now))
            return tuple(issued)

    pool = Watched(lambda size: len(issued).to_bytes(size, "big"))
    assert code_of(lambda: ask(view("kiosk"), nonces=pool, live=MAX_SESSIONS)) == "too_many_sessions"
    assert pool.knows(issued[0], 1.0)
    ask(view("kiosk"), nonces=pool)
    assert not pool.knows(issued[0], 1.0)
    assert code_of(lambda: ask(view("kiosk"), nonces=pool)) == "nonce_unknown"


# -- may it go on, and open -------------------------------------------------------------------------------------------


def running(*, asked: bool = False, cert: bytes | None = None, **changes: Any) -> Running:
    technician = read_technician(parse_certificate(cert or certificate(**{"permit-pty": ""})))
    verified = VerifiedRequest(
        request=request(**changes), technician=technician, ssh_key=parse_public_key(KeyRawSigner(key(ANA)).public)
    )
    return Running(verified=verified, asked=asked, started_at=NOW)


def ending(session: Running, held: DeviceView, now: float = NOW + 1) -> str | None:
    try:
        may_go_on(session, view=held, now=now)
    except Ended as exc:
        return exc.ending
    return None


def test_a_session_goes_on_while_nothing_changes() -> None:
    assert ending(running(), view("kiosk")) is None
    assert ending(running(asked=True), view("other")) is None


@pytest.mark.parametrize(
    ("held", "now", "expected"),
    [
        (view("kiosk", revocations=Revocations(key_ids=(RevokedKeyId(key_id="ana"),))), NOW, "revoked"),
        (view("kiosk", revocations=Revocations(devices=(RevokedDevice(device=DEVICE),))), NOW, "revoked"),
        (view("kiosk"), NOW + 7 * DAY_S, "expired"),
        (view("kiosk", max_certificate_s=3600), NOW, "policy"),
        (view("kiosk", max_session_s=60), NOW + 61, "policy"),
        (view("kiosk", max_session_s=60), NOW + 60, None),
        (view("kiosk", policy=False), NOW, "policy"),
        (view("kiosk", max_session_s=9 * DAY_S), NOW + DAY_S + 1, "expired"),
        (view("other"), NOW, "policy"),
        (view("lab"), NOW, None),
    ],
)
def test_a_session_that_nobody_was_asked_for_ends_by(held: DeviceView, now: float, expected: str | None) -> None:
    assert ending(running(), held, now) == expected


def test_a_session_that_the_customer_allowed_outlives_the_policy() -> None:
    held = view("home")
    assert ending(running(asked=True), held, NOW + DAY_S + 1) == "policy"  # by max_session_s, not by expiry
    later = msgspec.structs.replace(running(asked=True), started_at=float(NOW + DAY_S))
    assert ending(later, held, NOW + DAY_S + 1) is None


def test_a_device_that_leaves_the_scope_takes_its_sessions_along() -> None:
    session = running(cert=certificate(scope="tag:kiosk"))
    assert ending(session, view("kiosk")) is None
    assert ending(session, view("clinic")) == "out_of_scope"


@pytest.mark.parametrize("kind", CAPABILITY)
def test_each_kind_of_channel_needs_its_capability_in_request_and_certificate(kind: Kind) -> None:
    need = CAPABILITY[kind]
    permits = {"permit-pty": "", "permit-port-forwarding": ""}
    held = view("kiosk")
    both = running(cert=certificate(may=need, **permits), capabilities=(need,))
    may_open(both, kind, view=held, now=NOW)
    other = "view" if need != "view" else "files"
    for session in (
        running(cert=certificate(may=f"{need},{other}", **permits), capabilities=(other,)),
        running(cert=certificate(may=other, **permits), capabilities=(need,)),
    ):
        with pytest.raises(Refused) as caught:
            may_open(session, kind, view=held, now=NOW)
        assert caught.value.reason == "no_capability"


LOOKS: dict[str, Any] = {"cert": certificate(may="view,shell"), "capabilities": ("view",)}


@pytest.mark.parametrize(("tag", "present"), [("kiosk", False), ("home", True), ("home", False), ("clinic", False)])
def test_to_look_at_a_device_asks_nobody_whatever_the_rule_on_consent(tag: str, present: bool) -> None:
    assert ask(view(tag), present=present, **LOOKS).ask_s is None
    only = running(cert=certificate(may="view"), capabilities=("view",))
    assert ending(only, view(tag)) is None
    may_open(only, "look", view=view(tag), now=NOW)


def test_to_look_and_to_do_more_asks_as_the_rule_says() -> None:
    assert ask(view("home"), present=True, **{**LOOKS, "capabilities": ("view", "shell")}).ask_s == 30


def test_under_a_policy_that_expired_looking_asks_too_and_a_removed_device_refuses() -> None:
    late = view("kiosk", **EXPIRED)
    assert ask(late, present=True, **LOOKS).ask_s == 60
    assert code_of(lambda: ask(late, **LOOKS)) == "policy_expired"
    removed = view("kiosk", revocations=Revocations(devices=(RevokedDevice(device=DEVICE),)))
    assert code_of(lambda: ask(removed, **LOOKS)) == "device_removed"


@pytest.mark.parametrize("kind", [kind for kind in CAPABILITY if kind != "look"])
def test_a_session_to_look_opens_nothing_else(kind: Kind) -> None:
    only = running(cert=certificate(may="view,shell,files,forward"), capabilities=("view",))
    assert code_of(lambda: may_open(only, kind, view=view("kiosk"), now=NOW)) == "no_capability"


@pytest.mark.parametrize("kind", ["pty", "forward"])
def test_openssh_s_own_permits_are_heeded(kind: Kind) -> None:
    session = running(cert=certificate(may="shell,forward"), capabilities=("shell", "forward"))
    assert code_of(lambda: may_open(session, kind, view=view("kiosk"), now=NOW)) == "not_permitted"
    may_open(session, "exec", view=view("kiosk"), now=NOW)


def test_a_channel_of_a_session_that_is_over_says_so() -> None:
    held = view("kiosk", revocations=Revocations(key_ids=(RevokedKeyId(key_id="ana"),)))
    with pytest.raises(Ended):
        may_open(running(), "exec", view=held, now=NOW)


@pytest.mark.parametrize("scope", ["tag:kiosk", "not tag:kiosk"])
def test_of_a_provisional_device_no_tag_is_known_nor_its_absence(scope: str) -> None:
    """Else a relay that withholds the record would widen scopes."""
    assert code_of(lambda: ask(view(), cert=certificate(scope=scope))) == "out_of_scope"


def test_the_customer_of_a_provisional_device_is_asked_whatever_the_rules_say_of_all() -> None:
    everywhere = view(consent=(ConsentRule(where="tag:bedside"), ConsentRule(where="all", mode="unattended")))
    assert ask(everywhere).ask_s is not None
    approved = view("kiosk", consent=(ConsentRule(where="all", mode="unattended"),))
    assert ask(approved).ask_s is None
