"""One file from the device to us: only what is missing, verified chunk by chunk, in its place when it is whole."""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Sequence
from contextlib import aclosing

from console.files.compare import CHUNKS_AT_ONCE, INLINE_BYTES, TRIES, differing_chunks, is_same, verify_holes
from console.files.local import MODE_BITS, Folder, Part, off_loop
from console.files.many import each, in_turn
from console.files.plan import CHUNK, Run, chunk_bounds, chunks_with_data, pieces
from console.files.remote import Changed, Digest, Handle, Remote, announced_size, is_file
from console.files.tally import Tally
from protocol.errors import Refused
from protocol.sftp import Attributes, Packet


class Download:
    def __init__(self, remote: Remote, tally: Tally) -> None:
        self._remote = remote
        self._tally = tally

    async def copy(self, source: bytes, attributes: Attributes, folder: Folder, name: bytes) -> None:
        """Put the device's file `source` into `folder` as `name`. attributes: as it was listed; they are announced
        sizes, which bound what is taken.

        Raises Refused (also its children Changed, SftpFailure), OSError, and what ended the conversation.
        """
        for attempt in range(1, TRIES + 1):
            try:
                await self._try(source, attributes, folder, name)
                return
            except Changed as exc:
                if attempt == TRIES:
                    raise Changed(f"it keeps changing while it is copied ({exc.message})") from exc
                attributes = await self._remote.attributes(source, follow=True)
                if not is_file(attributes):
                    raise Refused("it is no regular file any more", code="not_a_file") from exc

    async def _try(self, source: bytes, attributes: Attributes, folder: Folder, name: bytes) -> None:
        size = announced_size(attributes)
        there = folder.status(name)
        if there is not None and stat.S_ISDIR(there.st_mode):
            raise Refused("a folder of this name is in its place", code="is_a_folder")
        handle = await self._remote.open(source)
        try:
            equal = there is not None and stat.S_ISREG(there.st_mode) and there.st_size == size
            if equal and await self._is_there(handle, attributes, folder, name):
                self._tally.unchanged += 1
                self._tally.settled += size
                return
            part = folder.open_part(name)
            try:
                await self._receive(handle, attributes, size, part)
                part.finish(attributes, sync=there is not None)
            except BaseException:
                part.discard_if_small()
                raise
            finally:
                part.close()
            self._tally.copied += 1
        finally:
            self._remote.forget(handle)

    # -- what is there already ----------------------------------------------------------------------------------------

    async def _is_there(self, handle: Handle, attributes: Attributes, folder: Folder, name: bytes) -> bool:
        """Whether the file in its place is the same; then its mode and times are made so."""
        try:
            fd = folder.open_to_read(name)
        except PermissionError:
            return False
        try:
            size = announced_size(attributes)
            status = os.fstat(fd)
            if self._remote.verifies:
                if not await is_same(self._remote, handle, fd, size):
                    return False
            elif int(status.st_mtime) != attributes.mtime:
                return False
            return _dressed(fd, status, attributes)
        finally:
            os.close(fd)

    # -- what is missing ----------------------------------------------------------------------------------------------

    async def _receive(self, handle: Handle, attributes: Attributes, size: int, part: Part) -> None:
        if size <= CHUNK and not part.size:
            part.check_room(size)
            last = await self._receive_small(handle, size, part)
        else:
            await self._receive_large(handle, size, part)
            last = await self._remote.ask_attributes_of(handle)()
        if (last.size, last.mtime) != (attributes.size, attributes.mtime):
            await self._still_same(handle, part, size)

    async def _receive_small(self, handle: Handle, size: int, part: Part) -> Attributes:
        """All of it asked for at once, and afterwards what it was then."""
        async with self._remote.budget.take(size):
            fetch = _Fetch(self._remote, handle, 0, size, [Run(0, size)] if size else [])
            last = self._remote.ask_attributes_of(handle)
            if size:
                await fetch.into(part, self._tally)
        return await last()

    async def _receive_large(self, handle: Handle, size: int, part: Part) -> None:
        runs = await self._remote.runs(handle, size)
        part.check_room(sum(run.end - run.start for run in runs))
        resumes = bool(part.size) and self._remote.knows_hashes
        if resumes:
            part.set_size(min(part.size, size))
            self._tally.resumed += 1
            wanted = differing_chunks(self._remote, handle, part.fd, size, self._tally)
        else:
            part.set_size(0)  # what cannot be compared is not trusted
            wanted = in_turn(chunks_with_data(runs))
        part.set_size(size)

        async def fetch(index: int) -> None:
            await self._chunk(handle, index, size, runs, part)

        async with aclosing(wanted):
            await each(wanted, fetch, CHUNKS_AT_ONCE)
        if not resumes:
            await verify_holes(self._remote, handle, runs, size, self._tally)

    async def _chunk(self, handle: Handle, index: int, size: int, runs: Sequence[Run], part: Part) -> None:
        start, end = chunk_bounds(index, size)
        async with self._remote.budget.take(end - start):
            if await _Fetch(self._remote, handle, index, size, runs).fits(part, self._tally):
                return
            # What an earlier try left may have data where the file has a hole: then the zeros are fetched, too.
            await _Fetch(self._remote, handle, index, size, [Run(start, end)]).into(part, self._tally, again=True)

    async def _still_same(self, handle: Handle, part: Part, size: int) -> None:
        """It was touched meanwhile. A log that grew is what it was, as far as it goes; anything else is Changed."""
        if not (self._remote.verifies and await is_same(self._remote, handle, part.fd, size)):
            raise Changed("it changed meanwhile")


class _Fetch:
    """One chunk on its way: asked for when it is made."""

    def __init__(self, remote: Remote, handle: Handle, index: int, size: int, runs: Sequence[Run]) -> None:
        self._remote, self._handle = remote, handle
        self._start, self._end = chunk_bounds(index, size)
        self._asked: list[tuple[int, int, Awaitable[Packet]]] = [
            (offset, length, remote.ask_read(handle, offset, length))
            for offset, length in pieces(runs, self._start, self._end, remote.read_bytes)
        ]
        self._digest: Digest | None = remote.ask_digest(handle, index, size) if size else None

    async def fits(self, part: Part, tally: Tally, *, again: bool = False) -> bool:
        """Whether what the part holds then is what the device has."""
        data = [
            (offset, await self._remote.data(self._handle, offset, length, asked))
            for offset, length, asked in self._asked
        ]
        moved = sum(len(piece) for _, piece in data)
        if moved > INLINE_BYTES:
            own = await off_loop(part.write_chunk, self._start, self._end, data)
        else:
            own = part.write_chunk(self._start, self._end, data)
        tally.moved += moved
        if not again:
            tally.settled += self._end - self._start
        return self._digest is None or own == await self._digest()

    async def into(self, part: Part, tally: Tally, *, again: bool = False) -> None:
        if not await self.fits(part, tally, again=again):
            raise Changed("its hash is another than that of what came")


def _dressed(fd: int, status: os.stat_result, attributes: Attributes) -> bool:
    """Give a file that is complete the mode and times that are due. False where it is somebody else's to change."""
    try:
        if attributes.mode is not None and hasattr(os, "fchmod") and (status.st_mode ^ attributes.mode) & MODE_BITS:
            os.fchmod(fd, attributes.mode & MODE_BITS)
        if attributes.mtime is not None and int(status.st_mtime) != attributes.mtime and os.utime in os.supports_fd:
            os.utime(fd, (attributes.atime or 0, attributes.mtime))
    except PermissionError:
        return False
    return True
