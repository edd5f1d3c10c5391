"""A batch of samples arrives: verified, counted once, committed, and only then acknowledged. And old ones go."""

from __future__ import annotations

import asyncio
from functools import partial

from protocol.errors import BadMessage, PeerFault, Refused, Untrusted
from protocol.ids import DeviceId, OrganisationId
from protocol.samples import open_samples
from protocol.statement import Signed
from relay.store import samples
from relay.store.samples import Full
from relay.store.store import MAX_NUMBER, Store

REST_S = 0.02
"""Between two writes that drop old rows: reports and jobs go first."""


class SamplesRefused(PeerFault):
    """The same batch will be refused again: the agent gives it up."""

    code = "samples_refused"


class SamplesFull(SamplesRefused):
    """The device has its share. To the agent it is the same: other batches may be refused as well until some go."""


async def accept_samples(
    store: Store, organisation: OrganisationId, device: DeviceId, device_key: str, signed: Signed, *, now: float
) -> tuple[int, bool]:
    """Commit the batch; return its number, and whether it is new.

    device_key: its public line.  Raises SamplesRefused, SamplesFull;
    StoreFailed, StoreFull: not committed, to be sent again.
    """
    try:
        batch = open_samples(signed, organisation=organisation, device=device, device_key=device_key)
        if batch.at[-1] > MAX_NUMBER:
            raise BadMessage("an instant is out of bounds")
    except (BadMessage, Refused, Untrusted) as exc:
        raise SamplesRefused(exc.message) from exc
    is_new = await store.write(lambda c: samples.commit_batch(c, organisation, device, batch, signed, now))
    if isinstance(is_new, Full):
        raise SamplesFull("the device has more samples than one may have in two days")
    return batch.number, is_new


async def expire(store: Store, now: float) -> int:
    """Drop what was kept for long enough; return how many rows went. In small steps, with rests in between."""
    dropped = 0
    while await store.read(partial(samples.is_anything_old, now=now)):
        dropped += await store.write(partial(samples.expire, now=now))
        await asyncio.sleep(REST_S)
    return dropped
