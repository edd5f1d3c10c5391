"""Devices: enrolled, approved, seen, and listed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Boolean, Connection, Row, bindparam, case, delete, func, insert, select, update

from protocol.codec import encode
from protocol.device_record import HeldRecord
from protocol.enrolment import VerifiedEnrolment
from protocol.ids import DeviceId, OrganisationId, Sha256, sha256
from protocol.keys import parse_public_line
from protocol.link import PolicyNumber
from protocol.statement import Signed
from relay.store.tables import device_samples, device_tags, devices, join_tokens


class DeviceKey(msgspec.Struct, frozen=True):
    """What a link or report is judged by. line: the device's public key."""

    id: DeviceId
    line: str
    revoked: bool
    record_number: int
    report_number: int
    record_blob: Sha256 | None
    samples_number: int = 0


class Seen(msgspec.Struct, frozen=True):
    """What a Hello says. address: where it comes from."""

    address: str
    agent: str
    charter: int
    policy: PolicyNumber
    offline_reason: str
    offline_since_at: int
    forks: tuple[Sha256, ...]


def _this(organisation: OrganisationId, device: DeviceId) -> Any:
    return (devices.c.organisation == organisation) & (devices.c.id == device)


# What every link asks and says is built once: to build a statement takes longer than to run it.
_BY_ID = (devices.c.organisation == bindparam("of_organisation")) & (devices.c.id == bindparam("of_device"))
_SAMPLES = device_samples.c.organisation == devices.c.organisation
_FIND_KEY = (
    select(
        devices.c.key,
        devices.c.revoked,
        devices.c.record_number,
        devices.c.report_number,
        devices.c.record_blob,
        device_samples.c.number.label("samples_number"),
    )
    .select_from(devices.outerjoin(device_samples, _SAMPLES & (device_samples.c.device == devices.c.id)))
    .where(_BY_ID)
)
_SEEN = (
    "last_seen_at", "address", "agent", "held_charter", "held_epoch", "held_policy", "offline_reason",
    "offline_since_at", "forks",
)  # fmt: skip
_WENT_ONLINE = (
    update(devices)
    .where(_BY_ID)
    .values(
        online=True,
        since_at=case((bindparam("is_new", type_=Boolean), bindparam("to_last_seen_at")), else_=devices.c.since_at),
        **{name: bindparam(f"to_{name}") for name in _SEEN},
    )
)
_HOLDS = (
    update(devices)
    .where(_BY_ID)
    .values({name: bindparam(f"to_{name}") for name in ("held_charter", "held_epoch", "held_policy", "forks")})
)
_WENT_OFFLINE = (
    update(devices)
    .where(_BY_ID, devices.c.online.is_(True))
    .values(online=False, since_at=bindparam("now"), last_seen_at=bindparam("now"))
)


def find_key(connection: Connection, organisation: OrganisationId, device: DeviceId) -> DeviceKey | None:
    row = connection.execute(_FIND_KEY, {"of_organisation": organisation, "of_device": device}).first()
    if row is None:
        return None
    blob = None if row.record_blob is None else Sha256(row.record_blob)
    samples = row.samples_number or 0
    return DeviceKey(device, row.key, row.revoked, row.record_number, row.report_number, blob, samples)


def find_row(
    connection: Connection, organisation: OrganisationId, device: DeviceId, *, removed: bool = False
) -> Row[Any] | None:
    """removed: also one that was removed, for what is shown of its time."""
    query = select(devices).where(_this(organisation, device))
    if not removed:
        query = query.where(devices.c.revoked.is_(False))
    return (connection.execute(query)).first()


def tags_of(
    connection: Connection, organisation: OrganisationId, ids: list[str]
) -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    """For each of `ids`: the signed tags, and the suggested ones."""
    signed: dict[str, set[str]] = {id_: set() for id_ in ids}
    suggested: dict[str, set[str]] = {id_: set() for id_ in ids}
    query = select(device_tags.c.device, device_tags.c.tag, device_tags.c.suggested).where(
        device_tags.c.organisation == organisation, device_tags.c.device.in_(ids)
    )
    for device, tag, is_suggested in connection.execute(query):
        (suggested if is_suggested else signed)[device].add(tag)
    return {id_: (frozenset(signed[id_]), frozenset(suggested[id_])) for id_ in ids}


def enrol(
    connection: Connection, organisation: OrganisationId, enrolment: VerifiedEnrolment, signed: Signed, now: float
) -> bool:
    """Keep a device that joins; whether it is new. False where the token has no uses left and nothing was kept.

    The same device with the same token again is the same enrolment, whose answer was lost: it costs no use.
    """
    grant = enrolment.grant
    held = select(devices.c.token, devices.c.enrolment).where(_this(organisation, enrolment.device))
    row = (connection.execute(held)).first()
    if row is not None and row.token == grant.token:
        return True
    if not _use_token(connection, organisation, grant.token, grant.uses):
        return False
    _keep(connection, organisation, enrolment, signed, now, is_new=row is None)
    return True


def introduce(
    connection: Connection,
    organisation: OrganisationId,
    enrolment: VerifiedEnrolment,
    signed: Signed,
    record: HeldRecord,
    now: float,
) -> bool:
    """Keep a device that was approved elsewhere; False where it is known here already."""
    if find_row(connection, organisation, enrolment.device, removed=True) is not None:
        return False
    _keep(connection, organisation, enrolment, signed, now, is_new=True)
    put_record(connection, organisation, record, replaces=0)
    return True


def _keep(
    connection: Connection,
    organisation: OrganisationId,
    enrolment: VerifiedEnrolment,
    signed: Signed,
    now: float,
    *,
    is_new: bool,
) -> None:
    statement, grant = enrolment.statement, enrolment.grant
    values = {
        "enrolment": encode(signed),
        "token": grant.token,
        "machine": statement.machine,
        "enrolled_at": int(now),
    }
    if not is_new:
        connection.execute(update(devices).where(_this(organisation, enrolment.device)).values(**values))
        connection.execute(_delete_tags(organisation, enrolment.device, suggested=True))
    else:
        fresh: dict[str, object] = {
            "organisation": organisation,
            "id": enrolment.device,
            "key": parse_public_line(statement.device_key).line,
            "revoked": False,
            "record_number": 0,
            "report_number": 0,
            "hostname": statement.hostname,
            "os": "",
            "notes": "",
            "online": False,
            "since_at": int(now),
            "last_seen_at": int(now),
            "address": "",
            "agent": "",
            "held_charter": 0,
            "held_epoch": 0,
            "held_policy": 0,
            "offline_reason": "",
            "offline_since_at": 0,
            "forks": "",
        }
        connection.execute(insert(devices).values(**fresh, **values))
    _insert_tags(connection, organisation, enrolment.device, grant.tags, suggested=True)


def _use_token(connection: Connection, organisation: OrganisationId, token: str, uses: int) -> bool:
    this = (join_tokens.c.organisation == organisation) & (join_tokens.c.token == token)
    used = (connection.execute(select(join_tokens.c.used).where(this))).scalar()
    if used is None:
        connection.execute(insert(join_tokens).values(organisation=organisation, token=token, used=1))
        return uses >= 1
    if used >= uses:
        return False
    connection.execute(update(join_tokens).where(this).values(used=used + 1))
    return True


def _delete_tags(organisation: OrganisationId, device: DeviceId, *, suggested: bool) -> Any:
    return delete(device_tags).where(
        device_tags.c.organisation == organisation,
        device_tags.c.device == device,
        device_tags.c.suggested.is_(suggested),
    )


def _insert_tags(
    connection: Connection,
    organisation: OrganisationId,
    device: DeviceId,
    tags: tuple[str, ...],
    *,
    suggested: bool,
) -> None:
    rows = [
        {"organisation": organisation, "tag": tag, "suggested": suggested, "device": device}
        for tag in dict.fromkeys(tags)
    ]
    if rows:
        connection.execute(insert(device_tags), rows)


def put_record(
    connection: Connection, organisation: OrganisationId, record: HeldRecord, replaces: int
) -> Sha256 | None:
    """Keep a record in the place of the one numbered `replaces` (0: none). None where it is not that one any more.

    Returns the hash under which the agent fetches it.
    """
    device = record.record.device
    data = encode(record.signed)
    blob = sha256(data)
    changed = connection.execute(
        update(devices)
        .where(_this(organisation, device), devices.c.record_number == replaces)
        .values(record=data, record_number=record.record.number, record_blob=blob)
    )
    if changed.rowcount != 1:
        return None
    connection.execute(_delete_tags(organisation, device, suggested=False))
    _insert_tags(connection, organisation, device, record.record.tags, suggested=False)
    return blob


def record_blob(connection: Connection, organisation: OrganisationId, blob: Sha256) -> tuple[DeviceId, bytes] | None:
    """The device record whose Signed has this hash, as JSON, and whose it is."""
    query = select(devices.c.id, devices.c.record).where(
        devices.c.organisation == organisation, devices.c.record_blob == blob
    )
    row = (connection.execute(query)).first()
    return None if row is None else (DeviceId(row.id), bytes(row.record))


# -- presence -----------------------------------------------------------------------------------------------------


class CameOnline(msgspec.Struct, frozen=True):
    """new: it was offline before; else its link was only replaced, and it has been online since when it was."""

    organisation: OrganisationId
    device: DeviceId
    seen: Seen
    at: float
    new: bool


def went_online(connection: Connection, came: Sequence[CameOnline]) -> None:
    connection.execute(_WENT_ONLINE, [_online_values(one) for one in came])


def _online_values(came: CameOnline) -> dict[str, object]:
    seen = came.seen
    return {
        "of_organisation": came.organisation,
        "of_device": came.device,
        "is_new": came.new,
        "to_last_seen_at": int(came.at),
        "to_address": seen.address,
        "to_agent": seen.agent,
        "to_offline_reason": seen.offline_reason,
        "to_offline_since_at": seen.offline_since_at,
        **_held_values(seen.charter, seen.policy, seen.forks),
    }


def _held_values(charter: int, policy: PolicyNumber, forks: tuple[Sha256, ...]) -> dict[str, object]:
    return {
        "to_held_charter": charter,
        "to_held_epoch": policy.epoch,
        "to_held_policy": policy.number,
        "to_forks": " ".join(forks),
    }


def holds(
    connection: Connection,
    organisation: OrganisationId,
    device: DeviceId,
    charter: int,
    policy: PolicyNumber,
    forks: tuple[Sha256, ...],
) -> None:
    of = {"of_organisation": organisation, "of_device": device}
    connection.execute(_HOLDS, {**of, **_held_values(charter, policy, forks)})


def went_offline(connection: Connection, organisation: OrganisationId, device: DeviceId, now: float) -> None:
    connection.execute(_WENT_OFFLINE, {"of_organisation": organisation, "of_device": device, "now": int(now)})


def all_offline(connection: Connection) -> int:
    """At a start: whatever was online when the last process ended went offline when it was last seen."""
    changed = connection.execute(
        update(devices).where(devices.c.online.is_(True)).values(online=False, since_at=devices.c.last_seen_at)
    )
    return changed.rowcount


def all_seen(connection: Connection, now: float) -> None:
    """Every device that is online was seen now: one statement a minute for all of them."""
    connection.execute(update(devices).where(devices.c.online.is_(True)).values(last_seen_at=int(now)))


def count(connection: Connection) -> int:
    return int((connection.execute(select(func.count()).select_from(devices))).scalar_one())
