"""The next policy: pure. What may be edited, how it is written down for a person, and how people are revoked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from protocol.authority import Authority
from protocol.codec import MAX_DOCUMENT_BYTES, Strict
from protocol.durations import duration_text, parse_duration
from protocol.errors import BadMessage, Refused, UsageInvalid
from protocol.ids import DeviceId, TokenId
from protocol.policy import DEFAULT_POLICY_LIFE_S, ConsentRule, FilesRule, Policy, Relay, policy_payload
from protocol.revocation import (
    MAX_REVOCATIONS,
    Revocations,
    RevokedDevice,
    RevokedKey,
    RevokedKeyId,
    RevokedSerial,
    RevokedToken,
)
from protocol.text import escape
from transport.relay_address import parse_address


class Editable(Strict, frozen=True, kw_only=True):
    """The part of a policy that people write; the rest (numbers, dates, revocations) has commands of its own.

    Durations (..._s) are written with a unit: "30d", "12h", "90m", "45s".
    """

    relays: tuple[Relay, ...]
    consent: tuple[ConsentRule, ...]
    files: tuple[FilesRule, ...]
    forward: tuple[str, ...]
    max_certificate_s: int
    max_session_s: int
    recording_recipients: tuple[str, ...]
    sealing_keys: tuple[str, ...]
    stale_after_s: int
    wave_limit: int


DURATIONS = ("max_certificate_s", "max_session_s", "stale_after_s")


def editable(policy: Policy) -> Editable:
    return Editable(**{name: getattr(policy, name) for name in Editable.__struct_fields__})


def to_text(fields: Editable) -> str:
    """For an editor: JSON with every field spelled out, durations with units."""
    values: dict[str, Any] = {name: getattr(fields, name) for name in fields.__struct_fields__}
    for name in DURATIONS:
        values[name] = duration_text(values[name])
    values["relays"] = [{"url": relay.url, "pin": relay.pin} for relay in fields.relays]
    for name in ("consent", "files"):
        values[name] = [msgspec.structs.asdict(rule) for rule in getattr(fields, name)]
    return json.dumps(msgspec.to_builtins(values), indent=2, ensure_ascii=False) + "\n"


def from_text(text: str) -> Editable:
    """What a person wrote. Raises UsageInvalid, saying where."""
    try:
        if len(text) > MAX_DOCUMENT_BYTES:
            raise UsageInvalid("the policy is too long", hint=f"{MAX_DOCUMENT_BYTES} characters are the most")
        values = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise UsageInvalid(f"not JSON: {exc}", hint="A comma or a quote, most likely.") from exc
    return _checked(values)


def with_settings(fields: Editable, settings: Iterable[str]) -> Editable:
    """`fields` with "name=value" applied; a value is JSON, a plain text, or a duration. Raises UsageInvalid."""
    values: dict[str, Any] = msgspec.to_builtins(fields)
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or name not in Editable.__struct_fields__:
            raise UsageInvalid(
                f"there is no policy field {escape(name, limit=60)!r}",
                hint=f"--set NAME=VALUE, with NAME of: {' '.join(Editable.__struct_fields__)}",
            )
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    return _checked(values)


def _checked(values: Any) -> Editable:
    if not isinstance(values, dict):
        raise UsageInvalid("a policy is a JSON object", hint="It begins with { and ends with }.")
    for name in DURATIONS:
        if isinstance(values.get(name), str):
            values[name] = parse_duration(values[name])
    try:
        fields = msgspec.convert(values, Editable)
    except msgspec.ValidationError as exc:
        raise UsageInvalid(f"the policy: {exc}", hint="docs/console.md explains the fields.") from exc
    for relay in fields.relays:
        parse_address(relay.url, relay.pin)
    return fields


def next_policy(
    authority: Authority,
    *,
    now: int,
    life_s: int = DEFAULT_POLICY_LIFE_S,
    fields: Editable | None = None,
    revocations: Revocations | None = None,
) -> Policy:
    """The successor of the policy in force. now: Unix seconds. Raises UsageInvalid where no device would take it."""
    held = authority.policy
    if held is None:
        raise Refused("no policy is in force that a new one could follow", code="no_policy", hint="auxilio policy show")
    old = held.policy
    changes: Mapping[str, Any] = {} if fields is None else msgspec.structs.asdict(fields)
    new = msgspec.structs.replace(
        old,
        epoch=authority.epoch,
        number=old.number + 1,
        previous=held.sha256,
        issued_at=now,
        expires_at=now + life_s,
        revocations=revocations if revocations is not None else old.revocations,
        **changes,
    )
    new = msgspec.structs.replace(new, critical=_critical(new))
    try:
        policy_payload(new)
    except BadMessage as exc:
        raise UsageInvalid(f"the policy: {exc.message}", hint=exc.hint or "Nothing was signed.") from exc
    return new


def _critical(policy: Policy) -> tuple[str, ...]:
    """A device that is too old to know of a restriction is to restrict itself, not to ignore it."""
    restricting = {"files"} if policy.files else set()
    return tuple(sorted((set(policy.critical) - {"files"}) | restricting))


# -- revocations ------------------------------------------------------------------------------------------------


def revoke(
    revocations: Revocations,
    *,
    since: int | None,
    names: Iterable[str] = (),
    keys: Iterable[str] = (),
    serials: Iterable[tuple[str, int]] = (),
    tokens: Iterable[TokenId] = (),
    devices: Iterable[DeviceId] = (),
) -> Revocations:
    """`revocations` and these. keys: fingerprints.  serials: (CA's fingerprint, serial).

    since: Unix seconds from when on (a leaver: what they signed before stays); None: always (a stolen key). An entry
    that exists is only ever made stricter.
    """
    new = Revocations(
        serials=_merge(revocations.serials, [RevokedSerial(ca=ca, serial=n, since=since) for ca, n in serials]),
        keys=_merge(revocations.keys, [RevokedKey(key=key, since=since) for key in keys]),
        key_ids=_merge(revocations.key_ids, [RevokedKeyId(key_id=name, since=since) for name in names]),
        tokens=_merge(revocations.tokens, [RevokedToken(token=token, since=since) for token in tokens]),
        devices=_merge(revocations.devices, [RevokedDevice(device=device, since=since) for device in devices]),
    )
    for field in new.__struct_fields__:
        if len(getattr(new, field)) > MAX_REVOCATIONS:
            raise Refused(
                f"more than {MAX_REVOCATIONS} {field} are revoked",
                code="too_many_revocations",
                hint="Rotate the CA instead: `auxilio authority rotate`.",
            )
    return new


def _merge(old: tuple[Any, ...], new: list[Any]) -> tuple[Any, ...]:
    merged = {_subject(entry): entry for entry in old}
    for entry in new:
        known = merged.get(_subject(entry))
        if known is None or (known.since is not None and (entry.since is None or entry.since < known.since)):
            merged[_subject(entry)] = entry
    return tuple(merged.values())


def _subject(entry: Any) -> tuple[Any, ...]:
    return tuple(getattr(entry, field) for field in entry.__struct_fields__ if field != "since")
