"""Samples: each device's signed batches for as long as they are raw, its roll-ups after that (relay/rollup.py)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, and_, delete, func, insert, select, tuple_, update

from protocol.codec import encode
from protocol.ids import DeviceId, OrganisationId
from protocol.samples import SampleBatch
from protocol.statement import Signed
from relay import rollup
from relay.rollup import Cell, Level
from relay.store.documents import read_signed
from relay.store.tables import device_samples, sample_batches, sample_rollups

MAX_RAW_BATCHES = 512
"""Of one device: two and a half times what two days bring. The oldest go first."""

MAX_RAW_BYTES = 2 * 1024 * 1024
"""Of one device, as they are kept: eight times what two days bring. A batch that would go beyond is refused."""

CLOCK_OFF_S = 300
"""How far ahead of us a last instant may be and still be believed: a device whose clock was wrong and is right again is
not to wait until the wrong time has come."""

EXPIRE_ROWS = 200
"""Dropped in one write: a few milliseconds, between which reports and jobs are committed."""


def last_number(connection: Connection, organisation: OrganisationId, device: DeviceId) -> int:
    """Of the device's last batch that was committed; 0: none."""
    query = select(device_samples.c.number).where(_of(device_samples, organisation, device))
    return int(connection.execute(query).scalar() or 0)


class Full(msgspec.Struct, frozen=True):
    """The device has its share of what is kept raw. Nothing of the batch was kept, nor its number."""


def commit_batch(
    connection: Connection,
    organisation: OrganisationId,
    device: DeviceId,
    batch: SampleBatch,
    signed: Signed,
    now: float,
) -> bool | Full:
    """Keep the batch, and count its samples; whether it is new. One with a number that was reached before is known,
    whatever became of it since; so is one that tells of no later instant than the batch before it."""
    this = {"organisation": organisation, "device": device}
    last = last_number(connection, organisation, device)
    if batch.number <= last:
        return False
    data = encode(signed)
    is_raw = rollup.raw_kept_from(now) <= batch.at[-1] <= now + rollup.AHEAD_S
    if is_raw and _raw_bytes(connection, organisation, device, now) + len(data) > MAX_RAW_BYTES:
        return Full()
    is_late = batch.at[-1] <= _last_until(connection, organisation, device, now)
    if last:
        mine = _of(device_samples, organisation, device)
        connection.execute(update(device_samples).where(mine).values(number=batch.number))
    else:
        connection.execute(insert(device_samples).values(**this, number=batch.number))
    if is_late:
        return False
    if is_raw:
        row = {"number": batch.number, "from_at": batch.at[0], "until_at": batch.at[-1], "signed": data}
        connection.execute(insert(sample_batches).values(**this, **row))
        _drop_surplus(connection, organisation, device)
    for level in rollup.LEVELS:
        _fold(connection, organisation, device, level, batch, now)
    return True


def _raw_bytes(connection: Connection, organisation: OrganisationId, device: DeviceId, now: float) -> int:
    kept = and_(_of(sample_batches, organisation, device), sample_batches.c.until_at >= rollup.raw_kept_from(now))
    return int(connection.execute(select(func.sum(func.length(sample_batches.c.signed))).where(kept)).scalar() or 0)


def _last_until(connection: Connection, organisation: OrganisationId, device: DeviceId, now: float) -> int:
    """The last instant of the last batch that is kept raw; -1: there is none, or its clock was wrong."""
    mine = _of(sample_batches, organisation, device)
    query = select(sample_batches.c.until_at).where(mine).order_by(sample_batches.c.number.desc()).limit(1)
    until_at = connection.execute(query).scalar()
    return -1 if until_at is None or until_at > now + CLOCK_OFF_S else int(until_at)


def _fold(
    connection: Connection, organisation: OrganisationId, device: DeviceId, level: Level, batch: SampleBatch, now: float
) -> None:
    chunks = rollup.by_chunk(level, rollup.countable(level, batch.samples(), now))
    for at, samples in chunks.items():
        this = {"organisation": organisation, "device": device, "step": level.step_s, "at": at}
        row = and_(*(sample_rollups.c[name] == value for name, value in this.items()))
        held = connection.execute(select(sample_rollups.c.data).where(row)).scalar()
        data = rollup.write_chunk(rollup.fold(rollup.read_chunk(held) if held is not None else {}, level, samples))
        if held is None:
            connection.execute(insert(sample_rollups).values(**this, data=data))
        else:
            connection.execute(update(sample_rollups).where(row).values(data=data))


def _drop_surplus(connection: Connection, organisation: OrganisationId, device: DeviceId) -> None:
    mine = _of(sample_batches, organisation, device)
    nth = select(sample_batches.c.number).where(mine).order_by(sample_batches.c.number.desc())
    oldest = connection.execute(nth.offset(MAX_RAW_BATCHES - 1).limit(1)).scalar()
    if oldest is not None:
        connection.execute(delete(sample_batches).where(mine, sample_batches.c.number < oldest))


def _of(table: Table, organisation: OrganisationId, device: DeviceId) -> ColumnElement[bool]:
    return and_(table.c.organisation == organisation, table.c.device == device)


# -- what is shown ---------------------------------------------------------------------------------------------------


class Batches(msgspec.Struct, frozen=True):
    """signed: ascending by number.  more: older ones were left out, since together they are too long."""

    signed: tuple[Signed, ...]
    more: bool


def read_batches(
    connection: Connection, organisation: OrganisationId, device: DeviceId, since_at: int, until_at: int, limit: int
) -> Batches:
    """The newest batches with samples between the two instants, of `limit` bytes at most."""
    query = (
        select(sample_batches.c.signed)
        .where(
            _of(sample_batches, organisation, device),
            sample_batches.c.until_at >= since_at,
            sample_batches.c.from_at <= until_at,
        )
        .order_by(sample_batches.c.number.desc())
    )
    found: list[Signed] = []
    size = 0
    for (data,) in connection.execute(query):
        size += len(data)
        if size > limit:
            return Batches(tuple(reversed(found)), more=True)
        found.append(read_signed(data))
    return Batches(tuple(reversed(found)), more=False)


def read_buckets(
    connection: Connection, organisation: OrganisationId, device: DeviceId, level: Level, since_at: int, until_at: int
) -> Iterator[tuple[int, Mapping[str, Cell]]]:
    """The buckets that begin between the two instants, ascending."""
    query = (
        select(sample_rollups.c.data)
        .where(
            _of(sample_rollups, organisation, device),
            sample_rollups.c.step == level.step_s,
            sample_rollups.c.at >= level.chunk_at(since_at),
            sample_rollups.c.at <= until_at,
        )
        .order_by(sample_rollups.c.at)
    )
    for (data,) in connection.execute(query):
        for at, cells in rollup.read_chunk(data).items():
            if since_at <= at <= until_at:
                yield at, cells


# -- what goes -------------------------------------------------------------------------------------------------------


def expire(connection: Connection, now: float) -> int:
    """Drop up to EXPIRE_ROWS rows of each kind that are too old; return how many went."""
    gone = _drop(connection, sample_batches, sample_batches.c.until_at < rollup.raw_kept_from(now))
    for level in rollup.LEVELS:
        gone += _drop(connection, sample_rollups, _old(level, now))
    return gone


def is_anything_old(connection: Connection, now: float) -> bool:
    """Whether `expire` would drop anything: a read, so that the writer is not asked for nothing."""
    queries = [select(sample_batches.c.number).where(sample_batches.c.until_at < rollup.raw_kept_from(now))]
    queries += [select(sample_rollups.c.at).where(_old(level, now)) for level in rollup.LEVELS]
    return any(connection.execute(query.limit(1)).first() is not None for query in queries)


def _old(level: Level, now: float) -> ColumnElement[bool]:
    return and_(sample_rollups.c.step == level.step_s, sample_rollups.c.at < rollup.kept_from(level, now))


def _drop(connection: Connection, table: Table, old: ColumnElement[bool]) -> int:
    keys = tuple(table.primary_key.columns)
    some = select(*keys).where(old).limit(EXPIRE_ROWS)
    return connection.execute(delete(table).where(tuple_(*keys).in_(some))).rowcount
