"""One file from us to the device: only what is missing, verified chunk by chunk, in its place when it is whole.

As the account of the session, perhaps root, in folders that others may write to: so an unfinished file is made anew
(O_EXCL follows no link), and one of an earlier try is gone on with only where it is ours by all that can be told.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import aclosing, suppress
from hashlib import sha256

from console.files.client import SftpFailure, done
from console.files.compare import CHUNKS_AT_ONCE, TRIES, differing_chunks, is_same, verify_holes
from console.files.local import MODE_BITS, Folder, attributes_of, data_runs, off_loop, read_exactly
from console.files.many import both, each, in_turn
from console.files.names import part_name
from console.files.plan import CHUNK, Run, chunk_bounds, chunks_with_data, pieces
from console.files.remote import Changed, Handle, Remote, check_path, is_file, is_folder
from console.files.tally import Tally
from protocol.errors import Refused
from protocol.sftp import Attributes, OpenFlag

PART_MODE = 0o600

CREATE = OpenFlag.READ | OpenFlag.WRITE | OpenFlag.CREATE | OpenFlag.EXCLUSIVE


class Upload:
    """own_uid: of the account there, where the device tells."""

    def __init__(self, remote: Remote, tally: Tally, own_uid: int | None = None) -> None:
        self._remote = remote
        self._tally = tally
        self._own_uid = own_uid

    async def copy(self, folder: Folder, name: bytes, target: bytes, *, fresh: bool, follow: bool = False) -> None:
        """Put `name` of `folder` onto the device as `target`. fresh: nothing is there, since its folder was just made.
        follow: `name` is what the person typed, and may be a link.

        Raises Refused (also its children Changed, SftpFailure), OSError, and what ended the conversation.
        """
        check_path(target)
        fd = folder.open_to_read(name, follow=follow)
        try:
            for attempt in range(1, TRIES + 1):
                try:
                    await self._try(fd, target, fresh and attempt == 1)
                    return
                except Changed as exc:
                    if attempt == TRIES:
                        raise Changed(f"it keeps changing while it is copied ({exc.message})") from exc
        finally:
            os.close(fd)

    async def _try(self, fd: int, target: bytes, fresh: bool) -> None:
        status = os.fstat(fd)
        part = _part_of(target)
        there = left = None
        if not fresh:
            there, left = await both(self._remote.attributes_if_there(target), self._remote.attributes_if_there(part))
        if there is not None and is_folder(there):
            raise Refused("a folder of this name is in its place", code="is_a_folder")
        if there is not None and await self._is_there(fd, status, target, there):
            self._tally.unchanged += 1
            self._tally.settled += status.st_size
            return
        handle, resumes = await self._open_part(part, left)
        try:
            await self._send(fd, status, handle, resumes, sync=there is not None)
        except BaseException:
            self._remote.forget(handle)
            raise
        await self._remote.rename(part, target)
        self._tally.copied += 1

    # -- what is there already ----------------------------------------------------------------------------------------

    async def _is_there(self, fd: int, status: os.stat_result, target: bytes, there: Attributes) -> bool:
        """Whether the file in its place is the same; then its mode and times are made so."""
        wanted = attributes_of(status)
        if not is_file(there) or there.size != status.st_size:
            return False
        if not self._remote.verifies and there.mtime != wanted.mtime:
            return False
        handle = await self._remote.open(target)
        try:
            if self._remote.verifies and not await is_same(self._remote, handle, fd, status.st_size):
                return False
            if there.mtime != wanted.mtime or ((there.mode or 0) ^ status.st_mode) & MODE_BITS:
                await done(self._remote.ask_set_attributes_of(handle, dress(wanted)))
            return True
        finally:
            self._remote.forget(handle)

    async def _open_part(self, part: bytes, left: Attributes | None) -> tuple[Handle, bool]:
        """A handle, and whether it has something of an earlier try."""
        if left is not None:
            if self._remote.knows_hashes and left.size and self._is_ours(left):
                handle = await self._remote.open(part, OpenFlag.READ | OpenFlag.WRITE)
                if await self._remote.ask_attributes_of(handle)() == left:
                    return handle, True
                self._remote.forget(handle)  # it was swapped for something else
            await self._remote.remove(part)
        try:
            return await self._remote.open(part, CREATE), False
        except SftpFailure as exc:
            if left is not None:
                raise
            # In a new folder there is none; but a retry of ours, or somebody else, may have made one since.
            with suppress(SftpFailure):
                await self._remote.remove(part)
                return await self._remote.open(part, CREATE), False
            raise exc

    def _is_ours(self, left: Attributes) -> bool:
        """A file that we made bears our account and nobody else's rights; a link to another would be told as one."""
        is_private = left.mode is not None and stat.S_IMODE(left.mode) == PART_MODE
        return is_file(left) and is_private and (self._own_uid is None or left.uid == self._own_uid)

    # -- what is missing ----------------------------------------------------------------------------------------------

    async def _send(self, fd: int, status: os.stat_result, handle: Handle, resumes: bool, *, sync: bool) -> None:
        size = status.st_size
        if size <= CHUNK and not resumes:
            await self._send_small(fd, status, handle, sync=sync)
            return
        await self._send_large(fd, size, handle, resumes)
        asked = [self._remote.ask_set_attributes_of(handle, dress(attributes_of(status)))]
        if _touched(fd, status) and not await self._still_same(fd, handle, size):
            raise Changed("it changed meanwhile")
        for reply in [*asked, *self._remote.ask_close(handle, sync=sync)]:
            await done(reply)

    async def _send_small(self, fd: int, status: os.stat_result, handle: Handle, *, sync: bool) -> None:
        """All of it at once, with everything that comes after it."""
        size = status.st_size
        async with self._remote.budget.take(size):
            chunk = _Chunk(self._remote, fd, handle, 0, size)
            if size:
                chunk.read()
                if _touched(fd, status):
                    raise Changed("it changed meanwhile")
                chunk.send([Run(0, size)])
            asked = [self._remote.ask_set_attributes_of(handle, dress(attributes_of(status)))]
            if not self._remote.verifies or self._remote.knows_hashes:
                asked += self._remote.ask_close(handle, sync=sync)
            if size and not await chunk.arrived(self._tally):
                raise Changed("its hash is another than that of what was sent")
            if len(asked) == 1:  # it was read back, by the same handle
                asked += self._remote.ask_close(handle, sync=sync)
            for reply in asked:
                await done(reply)

    async def _send_large(self, fd: int, size: int, handle: Handle, resumes: bool) -> None:
        await done(self._remote.ask_set_attributes_of(handle, Attributes(size=size)))
        runs = data_runs(fd, 0, size)
        if resumes:
            self._tally.resumed += 1
            wanted = differing_chunks(self._remote, handle, fd, size, self._tally)
        else:
            wanted = in_turn(chunks_with_data(runs))

        async def send(index: int) -> None:
            await self._chunk(fd, handle, index, size, runs)

        async with aclosing(wanted):
            await each(wanted, send, CHUNKS_AT_ONCE)
        if not resumes:
            await verify_holes(self._remote, handle, runs, size, self._tally)

    async def _chunk(self, fd: int, handle: Handle, index: int, size: int, runs: Sequence[Run]) -> None:
        start, end = chunk_bounds(index, size)
        async with self._remote.budget.take(end - start):
            chunk = _Chunk(self._remote, fd, handle, index, size)
            await off_loop(chunk.read)
            chunk.send(runs)
            if await chunk.arrived(self._tally):
                return
            # What an earlier try left may have data where the file has a hole: then the zeros are sent, too.
            chunk.send([Run(start, end)])
            if not await chunk.arrived(self._tally, again=True):
                raise Changed("its hash is another than that of what was sent")

    async def _still_same(self, fd: int, handle: Handle, size: int) -> bool:
        """It was touched meanwhile. A log that grew is what it was, as far as it goes."""
        return self._remote.verifies and await is_same(self._remote, handle, fd, size)


class _Chunk:
    """One chunk on its way: read, then sent, then confirmed."""

    def __init__(self, remote: Remote, fd: int, handle: Handle, index: int, size: int) -> None:
        self._remote, self._fd, self._handle = remote, fd, handle
        self._index, self._size = index, size
        self._start, self._end = chunk_bounds(index, size)
        self._data = memoryview(b"")
        self._own = b""

    def read(self) -> None:
        """Raises Changed where the file ends before."""
        data = read_exactly(self._fd, self._start, self._end)
        self._data = memoryview(data)
        self._own = sha256(data).digest() if self._remote.verifies else b""

    def send(self, runs: Sequence[Run]) -> None:
        found = pieces(runs, self._start, self._end, self._remote.write_bytes)
        self._moved = sum(length for _, length in found)
        self._asked = [
            self._remote.ask_write(
                self._handle, offset, self._data[offset - self._start : offset - self._start + length]
            )
            for offset, length in found
        ]
        self._digest = self._remote.ask_digest(self._handle, self._index, self._size)

    async def arrived(self, tally: Tally, *, again: bool = False) -> bool:
        """Whether the device has then what we sent."""
        for asked in self._asked:
            await done(asked)
        tally.moved += self._moved
        if not again:
            tally.settled += self._end - self._start
        return self._digest is None or await self._digest() == self._own


def _touched(fd: int, before: os.stat_result) -> bool:
    now = os.fstat(fd)
    return (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns)


def dress(attributes: Attributes) -> Attributes:
    """What a copy gets: permission bits and times; no size, no owner."""
    mode = None if attributes.mode is None else attributes.mode & MODE_BITS
    return Attributes(mode=mode, atime=attributes.atime, mtime=attributes.mtime)


def _part_of(target: bytes) -> bytes:
    folder, slash, name = target.rpartition(b"/")
    return folder + slash + part_name(name)
