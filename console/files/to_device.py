"""A tree of ours to the device. Symbolic links in it are not followed, whoever put them there."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator

from console.files.client import SftpFailure
from console.files.from_device import kind_of
from console.files.local import Folder, attributes_of
from console.files.names import PART_NAME, joined, link_fault, part_name, shown
from console.files.remote import Remote, check_path
from console.files.tally import Tally
from console.files.upload import Upload, dress
from console.files.work import MAX_DEPTH, Bounds, Item
from protocol.errors import Refused

PAGE = 500
"""Entries listed before others get their turn."""


class ToDevice:
    """base: the path on the device that everything goes below.  Tops name local paths, as they were typed."""

    def __init__(
        self, remote: Remote, base: bytes, tally: Tally, *, links: bool, bounds: Bounds, own_uid: int | None
    ) -> None:
        self._remote = remote
        self._base = base
        self._tally = tally
        self._links = links
        self._bounds = bounds
        self._upload = Upload(remote, tally, own_uid)

    def shown(self, item: Item) -> str:
        return shown(os.path.join(item.top.source, *item.trail))

    def _target(self, item: Item) -> bytes:
        return joined(self._base, *item.top.under, *item.trail)

    def _folder(self, item: Item) -> tuple[Folder, bytes]:
        """The folder that it is in, to be closed, and its name there."""
        if not item.trail:
            folder, name = os.path.split(item.top.source)
            return Folder.open(folder or b"."), name
        with Folder.open(item.top.source) as top:
            return top.descend(item.trail[:-1]), item.trail[-1]

    async def file(self, item: Item) -> None:
        folder, name = self._folder(item)
        with folder:
            await self._upload.copy(folder, name, self._target(item), fresh=item.fresh, follow=not item.trail)

    async def link(self, item: Item) -> None:
        folder, name = self._folder(item)
        with folder:
            target = folder.read_link(name)
        fault = link_fault(target, len(item.trail) - 1)
        if fault is not None:
            raise Refused(fault, code="bad_link")
        path = self._target(item)
        try:
            await self._remote.make_link(target, path)
        except SftpFailure:
            if item.fresh:
                raise
            await self._replace_link(target, path)
        self._tally.links += 1

    async def _replace_link(self, target: bytes, path: bytes) -> None:
        folder, slash, name = path.rpartition(b"/")
        part = folder + slash + part_name(name)
        if await self._remote.attributes_if_there(part) is not None:
            await self._remote.remove(part)
        await self._remote.make_link(target, part)
        await self._remote.rename(part, path)

    async def dress(self, item: Item) -> None:
        if item.top.under or item.trail:
            await self._remote.set_attributes(self._target(item), dress(item.attributes))

    async def expand(self, item: Item) -> AsyncGenerator[list[Item], None]:
        if len(item.trail) >= MAX_DEPTH:
            raise Refused(f"folders in folders, {MAX_DEPTH} deep", code="too_deep")
        with Folder.open(item.top.source) as top, top.descend(item.trail) as folder:
            names = folder.names()
            self._bounds.count(len(names))
            fresh = False
            if item.top.under or item.trail:
                check_path(self._target(item))
                fresh = await self._remote.make_folder(self._target(item))
            for at in range(0, len(names), PAGE):
                children = (self._child(item, folder, name, fresh) for name in names[at : at + PAGE])
                yield [child for child in children if child is not None]

    def _child(self, parent: Item, folder: Folder, name: bytes, fresh: bool) -> Item | None:
        status = folder.status(name)
        if status is None:
            return None  # it went away meanwhile
        attributes = attributes_of(status)
        kind = kind_of(attributes)
        if kind == "link" and not self._links:
            self._tally.skipped["link"] += 1
            return None
        if kind == "special":
            self._tally.skipped["devices, sockets and pipes"] += 1
            return None
        if PART_NAME.match(name):
            self._tally.skipped["unfinished copies (.auxilio-*.part)"] += 1
            return None
        return Item(kind, parent.top, (*parent.trail, name), attributes, fresh)
