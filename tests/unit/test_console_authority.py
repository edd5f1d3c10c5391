"""The authority on disk: begun once, its keys replaced in steps, its ledger, its certificates and tokens."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from console.authority.documents import numbered, write_document
from console.authority.initialise import Plan, initialise
from console.authority.issue import Grant, certified_key, grant_again, issue_technician, parse_grant, to_renew
from console.authority.ledger import FILE, Ledger
from console.authority.policies import editable, next_policy, revoke
from console.authority.rotate import Rotation, Step, rotate
from console.authority.store import Role, Store
from console.authority.tokens import make_token
from console.home import Home
from console.passphrase import Passphrases
from protocol.authority import Authority, Outcome
from protocol.certificate import check_certificate, parse_certificate
from protocol.enrolment import parse_join_token, read_token_grant
from protocol.errors import AuxilioError, ConfigInvalid, Refused, Untrusted
from protocol.ids import organisation_id
from protocol.keys import PublicKey, line_blob, parse_public_key
from protocol.policy import ConsentRule, Relay
from protocol.signing import public_blob
from protocol.technician import read_technician

NOW = 1_800_000_000
DAY_S = 86_400
RELAY = Relay(url="https://relay.example:443", pin="sha256:" + "0" * 64)
SILENT = Passphrases({}, may_ask=False)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return Home(tmp_path / "home")


@pytest.fixture
def store(home: Home) -> Store:
    return initialise(home, Plan(issued_at=NOW, policy_life_s=90 * DAY_S, relays=(RELAY,)))


def _somebody() -> PublicKey:
    return parse_public_key(public_blob(Ed25519PrivateKey.generate()))


# -- beginning --------------------------------------------------------------------------------------------------


def test_an_organisation_begins_with_charter_1_and_policy_1_that_its_id_vouches_for(store: Store) -> None:
    authority = Authority(organisation=organisation_id(store.charters[0].payload))
    authority, charter = authority.accept_charter(store.charters[0])
    authority, policy = authority.accept_policy(store.policy.signed)
    assert (charter, policy) == (Outcome.ACCEPTED, Outcome.ACCEPTED)
    assert len(store.charter.charter.roots) == 2
    assert len({key.public for key in store.keys}) == 5


def test_a_second_beginning_is_refused_and_changes_nothing(home: Home, store: Store) -> None:
    before = {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}
    with pytest.raises(ConfigInvalid) as caught:
        initialise(home, Plan(issued_at=NOW, policy_life_s=DAY_S, relays=()))
    assert caught.value.reason == "authority_exists"
    assert {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()} == before


def test_a_beginning_that_fails_leaves_no_authority(home: Home) -> None:
    rule = ConsentRule(where="ram<4GiB", mode="unattended")
    with pytest.raises(AuxilioError):
        initialise(home, Plan(issued_at=NOW, policy_life_s=DAY_S, relays=(RELAY,), consent=(rule,)))
    assert list(home.path.iterdir()) == []


def test_private_keys_are_protected_by_the_passphrase(home: Home) -> None:
    store = initialise(home, Plan(issued_at=NOW, policy_life_s=DAY_S, relays=(), passphrase=b"word"))
    with pytest.raises(ConfigInvalid) as caught:
        store.signer("policy", SILENT)
    assert caught.value.reason == "passphrase_needed"
    with pytest.raises(ConfigInvalid) as caught:
        store.signer("policy", Passphrases({"AUXILIO_PASSPHRASE": "wrong"}, may_ask=False))
    assert caught.value.reason == "bad_passphrase"
    store.signer("policy", Passphrases({"AUXILIO_PASSPHRASE": "word"}, may_ask=False))


@pytest.mark.parametrize("damage", ["payload", "signature", "missing", "keys"])
def test_a_damaged_authority_is_said_and_not_used(store: Store, damage: str) -> None:
    policy = store.folder / "policies" / "0.1" / "policy.json"
    if damage == "payload":
        policy.write_bytes(policy.read_bytes() + b" ")
    elif damage == "signature":
        Path(f"{policy}.sig").write_text("nonsense")
    elif damage == "missing":
        shutil.rmtree(store.folder / "charters")
    else:
        (store.folder / "keys.json").write_text('{"keys": 7}')
    with pytest.raises(ConfigInvalid) as caught:
        Store(store.folder)
    assert caught.value.reason == "corrupt_file"


def test_a_document_is_never_replaced(store: Store) -> None:
    folder = store.folder / "policies" / "0.1"
    before = (folder / "policy.json").read_bytes()
    with pytest.raises(Refused) as caught:
        write_document(folder, "policy", store.charters[0])
    assert caught.value.reason == "number_taken"
    assert (folder / "policy.json").read_bytes() == before
    assert [number for number, _ in numbered(folder.parent)] == [(0, 1)]


def test_policies_of_two_digits_come_after_those_of_one(store: Store) -> None:
    signer = store.signer("policy", SILENT)
    for _ in range(10):
        store.add_policy(next_policy(store.authority, now=NOW), signer)
    assert Store(store.folder).policy.policy.number == 11


# -- rotating ---------------------------------------------------------------------------------------------------


def _rotate(store: Store, role: Role, step: Step, root: Path | None = None) -> list[str]:
    return rotate(store, Rotation(role=role, step=step, now=NOW + 10, root_file=root), SILENT)


def _follows(store: Store) -> Authority:
    """A device that held charter 1 and policy 1, after it was handed everything since."""
    authority = Authority(organisation=store.authority.organisation)
    for signed in store.charters:
        authority, outcome = authority.accept_charter(signed)
        assert outcome is Outcome.ACCEPTED
    authority, outcome = authority.accept_policy(store.policy.signed)
    assert outcome is Outcome.ACCEPTED
    return authority


@pytest.mark.parametrize("role", ["root", "spare_root", "policy", "technician_ca", "enrolment_ca"])
def test_a_key_is_replaced_in_two_steps_that_every_device_follows(store: Store, role: Role) -> None:
    old = store.active(role).public
    _rotate(store, role, "begin")
    new = store.active(role).public
    listed = json.loads(store.charters[-1].payload)
    assert old in str(listed)
    assert new in str(listed)
    _rotate(Store(store.folder), role, "finish")
    store = Store(store.folder)
    assert old not in str(json.loads(store.charters[-1].payload))
    assert store.active(role).public == new
    authority = _follows(store)
    assert authority.charter_number == 3
    store.add_policy(next_policy(store.authority, now=NOW), store.signer("policy", SILENT))


def test_a_step_out_of_turn_is_refused(store: Store) -> None:
    with pytest.raises(Refused) as caught:
        _rotate(store, "policy", "finish")
    assert caught.value.reason == "no_rotation"
    _rotate(store, "policy", "begin")
    with pytest.raises(Refused) as caught:
        _rotate(store, "policy", "begin")
    assert caught.value.reason == "rotation_under_way"


def test_a_stolen_policy_key_counts_for_nothing_whatever_number_it_signed(store: Store) -> None:
    thief = store.signer("policy", SILENT)
    device = _follows(store)
    stolen = next_policy(store.authority, now=NOW)
    stolen = type(stolen)(**{f: getattr(stolen, f) for f in stolen.__struct_fields__} | {"number": 2**53 - 1})
    other = Store(store.folder)
    signed = other.add_policy(stolen, thief)
    shutil.rmtree(store.folder / "policies" / f"0.{2**53 - 1}")
    device, outcome = device.accept_policy(signed)
    assert outcome is Outcome.ACCEPTED
    _rotate(store, "policy", "compromised")
    device, outcome = device.accept_charter(store.charters[-1])
    assert (outcome, device.policy) == (Outcome.ACCEPTED, None)
    device, outcome = device.accept_policy(store.policy.signed)
    assert outcome is Outcome.ACCEPTED
    with pytest.raises(Untrusted):
        device.accept_policy(signed)


def test_a_stolen_root_is_dropped_by_the_other_one_and_cannot_drop_itself(store: Store, tmp_path: Path) -> None:
    stolen = store.active("root").public
    with pytest.raises(ConfigInvalid) as caught:
        _rotate(store, "root", "compromised", store.folder / "root")
    assert caught.value.reason == "wrong_root"
    _rotate(store, "root", "compromised", store.folder / "spare_root")
    assert stolen not in store.charter.charter.roots
    assert len(store.charter.charter.roots) == 2
    _follows(store)


def test_without_a_root_at_hand_it_is_said_where_to_get_one(store: Store, tmp_path: Path) -> None:
    vault = tmp_path / "vault"
    vault.mkdir()
    for name in ("root", "root.pub", "spare_root", "spare_root.pub"):
        shutil.move(store.folder / name, vault / name)
    with pytest.raises(ConfigInvalid) as caught:
        _rotate(store, "policy", "begin")
    assert caught.value.reason == "offline_root"
    with pytest.raises(ConfigInvalid) as caught:
        _rotate(store, "policy", "begin", store.folder / "technician_ca")
    assert caught.value.reason == "wrong_root"
    _rotate(store, "policy", "begin", vault / "spare_root")


# -- people -----------------------------------------------------------------------------------------------------


def _grant(**changes: object) -> Grant:
    fields = {"name": "ana", "may": "shell,files", "scope": "tag:clinic", "accounts": ("admin",), "life_s": 7 * DAY_S}
    return parse_grant(**{**fields, **changes})  # type: ignore[arg-type]  # the tests' own values


def test_a_certificate_is_what_every_device_accepts(store: Store) -> None:
    key = _somebody()
    issued = issue_technician(store, store.signer("technician_ca", SILENT), _grant(), key, NOW)
    certificate = parse_certificate(line_blob(issued.certificate))
    check_certificate(certificate, store.authority.technician_rules(), NOW)
    somebody = read_technician(certificate)
    assert (somebody.name, somebody.rights, somebody.principals) == ("ana", {"shell", "files"}, ("admin",))
    assert certificate.key == key
    assert certificate.extensions.keys() == {"may@auxilio", "permit-pty", "scope@auxilio"}
    assert not certificate.critical_options


def test_the_longest_certificate_is_still_one_that_devices_accept(store: Store) -> None:
    issued = issue_technician(store, store.signer("technician_ca", SILENT), _grant(life_s=30 * DAY_S), _somebody(), NOW)
    check_certificate(parse_certificate(line_blob(issued.certificate)), store.authority.technician_rules(), NOW)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "ana garcia"},
        {"name": ""},
        {"name": "a" * 65},
        {"name": "ana\n"},
        {"may": "shell,everything"},
        {"may": ""},
        {"scope": "ram<4GiB"},
        {"scope": "online"},
        {"scope": ""},
        {"scope": "id:k3m9x"},
        {"accounts": ()},
        {"accounts": ("deploy root",)},
        {"accounts": ("",)},
        {"life_s": 31 * DAY_S},
        {"life_s": 5},
    ],
    ids=str,
)
def test_what_no_certificate_may_hold_is_refused_before_a_key_is_used(wrong: dict[str, object]) -> None:
    with pytest.raises(AuxilioError):
        _grant(**wrong)


def test_a_comma_in_an_account_makes_two_accounts_and_never_one_principal() -> None:
    assert _grant(accounts=("deploy,root",)).principals == ("deploy", "root")


def test_serials_are_never_zero_and_never_twice(store: Store) -> None:
    ca = store.signer("technician_ca", SILENT)
    serials = {issue_technician(store, ca, _grant(), _somebody(), NOW).serial for _ in range(20)}
    assert len(serials) == 20
    assert 0 not in serials
    ledger = Ledger(store.folder)
    with pytest.raises(ConfigInvalid) as caught:
        ledger.add_certificate(ledger.certificates()[0])
    assert caught.value.reason == "serial_taken"


def test_the_revoked_get_no_certificate(store: Store) -> None:
    signer, ca = store.signer("policy", SILENT), store.signer("technician_ca", SILENT)
    issued = issue_technician(store, ca, _grant(), _somebody(), NOW)
    revocations = revoke(store.policy.policy.revocations, since=NOW, keys=[issued.key])
    store.add_policy(next_policy(store.authority, now=NOW, revocations=revocations), signer)
    with pytest.raises(Refused) as caught:
        issue_technician(store, ca, _grant(), certified_key(issued), NOW)
    assert caught.value.reason == "revoked"
    issue_technician(store, ca, _grant(), _somebody(), NOW)  # a new key under the same name


def test_a_policy_that_shortens_certificates_is_heeded(store: Store) -> None:
    fields = editable(store.policy.policy)
    fields = type(fields)(**{f: getattr(fields, f) for f in fields.__struct_fields__} | {"max_certificate_s": DAY_S})
    store.add_policy(next_policy(store.authority, now=NOW, fields=fields), store.signer("policy", SILENT))
    ca = store.signer("technician_ca", SILENT)
    with pytest.raises(Refused) as caught:
        issue_technician(store, ca, _grant(), _somebody(), NOW)
    assert caught.value.reason == "too_long_lived"
    issue_technician(store, ca, _grant(life_s=DAY_S), _somebody(), NOW)


def test_renewal_takes_the_latest_of_each_who_is_due_and_not_the_revoked(store: Store) -> None:
    ca = store.signer("technician_ca", SILENT)
    keys = {name: _somebody() for name in ("ana", "eva", "leo")}
    old = {name: issue_technician(store, ca, _grant(name=name), key, NOW) for name, key in keys.items()}
    issue_technician(store, ca, _grant(name="eva"), keys["eva"], NOW + 5 * DAY_S)
    revocations = revoke(store.policy.policy.revocations, since=NOW, names=["leo"])
    policy = next_policy(store.authority, now=NOW, revocations=revocations)
    store.add_policy(policy, store.signer("policy", SILENT))
    issued = Ledger(store.folder).certificates()
    due = to_renew(issued, store, now=NOW + 5 * DAY_S, within_s=3 * DAY_S, names=frozenset())
    assert due == [old["ana"]]
    assert grant_again(old["ana"]) == _grant(name="ana")
    assert to_renew(issued, store, now=NOW + 60 * DAY_S, within_s=3 * DAY_S, names=frozenset()) == []


# -- join tokens ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tags", [(), ("clinic", "site=madrid")])
def test_a_token_says_what_it_was_made_with(store: Store, tags: tuple[str, ...]) -> None:
    ca = store.signer("enrolment_ca", SILENT)
    new = make_token(store, ca, tags=tags, uses=20, life_s=DAY_S, now=NOW)
    token = parse_join_token(new.text)
    certificate = parse_certificate(line_blob(token.certificate))
    check_certificate(certificate, store.authority.enrolment_rules(), NOW)
    grant = read_token_grant(certificate)
    assert (grant.tags, grant.uses, grant.not_after_at) == (tags, 20, NOW + DAY_S)
    assert (token.organisation, token.relays) == (store.authority.organisation, (RELAY,))


def test_a_tokens_private_key_is_kept_nowhere(store: Store) -> None:
    ca = store.signer("enrolment_ca", SILENT)
    new = make_token(store, ca, tags=(), uses=1, life_s=DAY_S, now=NOW)
    secret = parse_join_token(new.text).key
    for path in store.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert secret not in content
            assert new.text.encode() not in content


@pytest.mark.parametrize(
    "wrong", [{"uses": 0}, {"uses": 10**7}, {"life_s": 0}, {"life_s": 800 * DAY_S}, {"tags": ("A,b",)}]
)
def test_a_token_that_no_relay_would_take_is_not_made(store: Store, wrong: dict[str, object]) -> None:
    ca = store.signer("enrolment_ca", SILENT)
    options = {"tags": (), "uses": 1, "life_s": DAY_S, "now": NOW, **wrong}
    with pytest.raises(AuxilioError):
        make_token(store, ca, **options)  # type: ignore[arg-type]  # the tests' own values
    assert Ledger(store.folder).tokens() == []


def test_a_token_needs_a_relay_to_join_at(home: Home) -> None:
    store = initialise(home, Plan(issued_at=NOW, policy_life_s=DAY_S, relays=()))
    with pytest.raises(Refused) as caught:
        make_token(store, store.signer("enrolment_ca", SILENT), tags=(), uses=1, life_s=DAY_S, now=NOW)
    assert caught.value.reason == "no_relay"


def test_a_damaged_ledger_is_said_and_left_alone(store: Store) -> None:
    path = store.folder / FILE
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(ConfigInvalid) as caught:
        Ledger(store.folder).tokens()
    assert caught.value.reason == "corrupt_file"
    assert path.read_bytes() == b"this is no database" * 100
