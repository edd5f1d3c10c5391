"""Blobs on their way in: hashed as they arrive, kept as a file until they are whole, then committed to the store.

An upload that is cut goes on where it stopped, as long as this process runs. Bounded: each upload by its announced
size, each owner by a count and by what they own already, each organisation by its share, all by a total.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from protocol.errors import BadMessage, Refused
from protocol.ids import OrganisationId, Sha256
from protocol.system_clock import Clock
from relay.failures import Conflict, Quota, StoreFull, TooLarge, TooMany
from relay.store import blobs
from relay.store.store import Store

MAX_BLOB_BYTES = 16 * 1024 * 1024
"""The largest section is 4 MiB; outputs of jobs travel in chunks."""

MAX_BLOBS_PER_OWNER = 4096
"""Nine times what the reports that are kept of a device can name. Counted, since the smallest blob costs a row too."""

MAX_UNFINISHED = 512
MAX_UNFINISHED_PER_ORGANISATION = 256
MAX_UNFINISHED_PER_OWNER = 8

QUOTA_RETRY_S = 600.0
"""Room comes with the next sweep at the earliest."""

SWEEP_STEP = 50
"""Ownerships dropped in one write: 20 ms, between which reports are committed."""

UNFINISHED_LIFE_S = 3600.0

Key = tuple[OrganisationId, str, Sha256]


class OffsetDiffers(Conflict):
    """The piece does not follow what is here. offset: where to go on."""

    code = "offset_differs"

    def __init__(self, offset: int) -> None:
        super().__init__(f"the upload goes on at byte {offset}", hint="Upload-Offset says where to go on.")
        self.offset = offset


class _Unfinished:
    """One upload. Its file holds `offset` bytes, of which `digest` is."""

    def __init__(self, path: Path, total: int) -> None:
        self.path = path
        self.total = total
        self.file: BinaryIO = path.open("w+b")
        self.digest = hashlib.sha256()
        self.offset = 0
        self.busy = False
        self.touched_at = 0.0

    def add(self, chunk: bytes) -> None:
        if self.offset + len(chunk) > self.total:
            raise TooLarge("the blob is longer than was announced")
        try:
            self.file.write(chunk)
        except OSError as exc:
            raise StoreFull("the relay's disk is full") from exc
        self.digest.update(chunk)
        self.offset += len(chunk)

    def pieces(self) -> Iterator[bytes]:
        self.file.seek(0)
        while piece := self.file.read(blobs.PIECE_BYTES):
            yield piece

    def drop(self) -> None:
        self.file.close()
        self.path.unlink(missing_ok=True)


class Uploads:
    """folder: emptied at the start; it holds nothing that was acknowledged."""

    def __init__(
        self,
        folder: Path,
        store: Store,
        clock: Clock,
        *,
        per_owner_bytes: int,
        per_organisation_bytes: int,
        total_bytes: int,
    ) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        self._folder = folder
        self._store = store
        self._clock = clock
        self._per_owner_bytes = per_owner_bytes
        self._per_organisation_bytes = per_organisation_bytes
        self._total_bytes = total_bytes
        self._unfinished: dict[Key, _Unfinished] = {}
        self._stored: dict[OrganisationId, int] | None = None
        self._serial = 0

    def offset(self, key: Key) -> int | None:
        """How many bytes of an unfinished upload are here; None: there is none."""
        upload = self._unfinished.get(key)
        return None if upload is None else upload.offset

    async def put(self, key: Key, start: int, total: int, chunks: AsyncIterator[bytes]) -> bool:
        """Take `chunks` from byte `start` of a blob of `total` bytes; whether the blob is whole and committed now.

        Raises OffsetDiffers; TooLarge; BadMessage (wrong_hash); Refused (blob_quota); Quota; TooMany; StoreFull.
        What came before a connection was cut stays.
        """
        organisation, owner, _ = key
        if total > MAX_BLOB_BYTES:
            raise TooLarge(f"a blob of {total} bytes, where {MAX_BLOB_BYTES} is the most")
        self.expire()
        if key not in self._unfinished:
            self._check_crowd(organisation, owner)
        owned = await self._store.read(lambda c: blobs.owned(c, organisation, owner))
        stored = await self._count()
        # From the look at what is arriving to being part of it nothing waits, so that a crowd cannot pass at once.
        self._check_room(key, total, owned, stored)
        upload = self._begin(key, start, total)
        upload.busy = True
        try:
            async for chunk in chunks:
                upload.add(chunk)
                upload.touched_at = self._clock.monotonic()
            if upload.offset < total:
                return False
            await self._finish(key, upload)
        except (BadMessage, StoreFull):
            self._drop(key)
            raise
        finally:
            upload.busy = False
        self._drop(key)
        return True

    async def _count(self) -> dict[OrganisationId, int]:
        """Bytes that are stored, of each organisation."""
        stored = self._stored
        if stored is None:
            stored = self._stored = await self._store.read(blobs.total_bytes)
        return stored

    def _check_room(self, key: Key, total: int, owned: tuple[int, int], stored: dict[OrganisationId, int]) -> None:
        """owned: how many blobs its owner has, and of how many bytes. What is announced counts as if it were here."""
        organisation = key[0]
        count, size = owned
        if count >= MAX_BLOBS_PER_OWNER or size + total > self._per_owner_bytes:
            raise Refused("there are too many blobs of this device already", code="blob_quota")
        arriving = [(known[0], upload.total) for known, upload in self._unfinished.items() if known != key]
        theirs = stored.get(organisation, 0) + sum(size for whose, size in arriving if whose == organisation)
        if theirs + total > self._per_organisation_bytes:
            raise Quota(
                "the organisation has as many blobs at this relay as it may",
                organisation=organisation,
                what="blobs",
                hint="The relay's operator can raise [store] blobs_per_organisation_mib.",
                retry_after_s=QUOTA_RETRY_S,
            )
        if sum(stored.values()) + sum(size for _, size in arriving) + total > self._total_bytes:
            raise StoreFull(
                "the relay holds as many blobs as it may", hint="Its operator can raise [store] blobs_total_mib."
            )

    def recount(self) -> None:
        """What is stored is counted anew: in between, what arrives is added to it."""
        self._stored = None

    def _check_crowd(self, organisation: OrganisationId, owner: str) -> None:
        """Raises TooMany where one more unfinished upload would be too many: of this owner, organisation, or of all."""
        theirs = sum(known[:2] == (organisation, owner) for known in self._unfinished)
        organisations = sum(known[0] == organisation for known in self._unfinished)
        if (
            theirs >= MAX_UNFINISHED_PER_OWNER
            or organisations >= MAX_UNFINISHED_PER_ORGANISATION
            or len(self._unfinished) >= MAX_UNFINISHED
        ):
            raise TooMany("there are too many unfinished uploads", retry_after_s=10.0)

    def _begin(self, key: Key, start: int, total: int) -> _Unfinished:
        upload = self._unfinished.get(key)
        if upload is not None and upload.busy:
            raise TooMany("this blob is being uploaded already", retry_after_s=2.0)
        if upload is not None and start == 0:
            self._drop(key)
            upload = None
        if upload is not None and (upload.offset != start or upload.total != total):
            raise OffsetDiffers(upload.offset)
        if upload is None and start > 0:
            raise OffsetDiffers(0)
        if upload is None:
            self._check_crowd(*key[:2])
            self._serial += 1
            try:
                upload = _Unfinished(self._folder / f"{self._serial}.part", total)
            except OSError as exc:
                raise StoreFull("the relay's disk is full") from exc
            upload.touched_at = self._clock.monotonic()
            self._unfinished[key] = upload
        return upload

    async def _finish(self, key: Key, upload: _Unfinished) -> None:
        organisation, owner, name = key
        if upload.digest.hexdigest() != name:
            raise BadMessage("the blob's bytes have another SHA-256 than its name", code="wrong_hash")
        now = self._clock.now()
        await self._store.write(lambda c: blobs.keep(c, organisation, owner, name, upload.pieces(), upload.total, now))
        if self._stored is not None:
            self._stored[organisation] = self._stored.get(organisation, 0) + upload.total

    def expire(self) -> None:
        """Forget uploads that nobody went on with."""
        oldest = self._clock.monotonic() - UNFINISHED_LIFE_S
        for key, upload in list(self._unfinished.items()):
            if upload.touched_at < oldest and not upload.busy:
                self._drop(key)

    def _drop(self, key: Key) -> None:
        upload = self._unfinished.pop(key, None)
        if upload is not None:
            upload.drop()


async def sweep(store: Store, clock: Clock) -> int:
    """Drop blobs that nothing needs any more; return how many ownerships went. In small steps, so that reports pass."""
    before = int(clock.now()) - blobs.UNNEEDED_AFTER_S
    dropped, since = 0, 0
    while True:
        found, since = await store.read(partial(blobs.unneeded, before=before, since=since))
        went = 0
        for start in range(0, len(found), SWEEP_STEP):
            step = found[start : start + SWEEP_STEP]
            went += await store.write(partial(blobs.drop, ownerships=step, before=before))
            await asyncio.sleep(0.02)
        dropped += went
        if len(found) < blobs.SWEEP_ROWS or not went:
            return dropped
