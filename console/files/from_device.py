"""A tree from the device: whatever it lists is judged before anything is made here."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing

from console.files.download import Download
from console.files.local import WINDOWS, Folder
from console.files.names import MAX_NAME_BYTES, fault_of, folded, is_listing_dot, joined, link_fault, shown
from console.files.remote import Remote, check_path, is_file, is_folder, is_link
from console.files.tally import Tally
from console.files.work import MAX_DEPTH, Bounds, Item, Top
from protocol.errors import Refused
from protocol.sftp import Attributes, Entry

ONE_FOR_BOTH_CASES = WINDOWS or sys.platform == "darwin"


class FromDevice:
    """base: the folder here that everything goes below.  links: make symbolic links again, of those that may be."""

    def __init__(
        self, remote: Remote, base: Folder, tally: Tally, *, links: bool, bounds: Bounds, windows: bool = WINDOWS
    ) -> None:
        self._remote = remote
        self._base = base
        self._tally = tally
        self._links = links
        self._bounds = bounds
        self._windows = windows
        self._download = Download(remote, tally)

    def shown(self, item: Item) -> str:
        return shown(joined(item.top.source, *item.trail))

    def _place(self, item: Item) -> tuple[Folder, bytes]:
        """The folder of its counterpart, to be closed, and its name there."""
        *trail, name = (*item.top.under, *item.trail)
        return self._base.descend(trail), name

    async def file(self, item: Item) -> None:
        folder, name = self._place(item)
        with folder:
            await self._download.copy(joined(item.top.source, *item.trail), item.attributes, folder, name)

    async def link(self, item: Item) -> None:
        target = await self._remote.read_link(joined(item.top.source, *item.trail))
        fault = link_fault(target, len(item.trail) - 1)
        if fault is not None:
            raise Refused(fault, code="bad_link")
        folder, name = self._place(item)
        with folder:
            folder.make_link(target, name)
        self._tally.links += 1

    async def dress(self, item: Item) -> None:
        if not (item.top.under or item.trail):
            return  # a folder of the person's own, which only received something
        folder, name = self._place(item)
        with folder:
            folder.set_folder_attributes(name, item.attributes)

    # -- listing ------------------------------------------------------------------------------------------------------

    async def expand(self, item: Item) -> AsyncGenerator[list[Item], None]:
        if len(item.trail) >= MAX_DEPTH:
            raise Refused(f"folders in folders, {MAX_DEPTH} deep", code="too_deep")
        fresh = False
        if item.top.under or item.trail:
            folder, name = self._place(item)
            with folder:
                fresh = folder.make_folder(name)
        path = joined(item.top.source, *item.trail)
        check_path(path + bytes(MAX_NAME_BYTES))
        seen: set[bytes] = set()
        async with aclosing(self._remote.pages(path)) as pages:
            async for page in pages:
                self._bounds.count(len(page))
                yield [child for entry in page if (child := await self._judged(item, entry, seen, fresh)) is not None]

    async def _judged(self, folder: Item, entry: Entry, seen: set[bytes], fresh: bool) -> Item | None:
        """What to make of an entry; None for what is left out, which is told or counted."""
        if is_listing_dot(entry.name):
            return None
        child = Item("file", folder.top, (*folder.trail, entry.name), entry.attributes, fresh)
        key = folded(entry.name) if ONE_FOR_BOTH_CASES else entry.name
        fault = fault_of(entry.name, windows=self._windows)
        if fault is None and key in seen:
            fault = "listed twice, or once more in other letters"
        if fault is not None:
            self._tally.fail(self.shown(child), f"not copied: {fault}")
            return None
        seen.add(key)
        attributes = entry.attributes
        if attributes.mode is None:
            attributes = await self._remote.attributes(joined(folder.top.source, *child.trail), follow=False)
        return self._sorted(child._replace(attributes=attributes))

    def _sorted(self, item: Item) -> Item | None:
        kind = kind_of(item.attributes)
        if kind == "link" and not self._links:
            self._tally.skipped["link"] += 1
            return None
        if kind == "special":
            self._tally.skipped["devices, sockets and pipes"] += 1
            return None
        return item._replace(kind=kind)


def kind_of(attributes: Attributes) -> str:
    if is_folder(attributes):
        return "folder"
    if is_link(attributes):
        return "link"
    return "file" if is_file(attributes) else "special"


def top_of(source: bytes, under: tuple[bytes, ...], attributes: Attributes, *, recursive: bool) -> Item:
    """Raises Refused for what is not copied: folders unless recursive, and what is no file."""
    kind = kind_of(attributes)
    if kind == "folder" and not recursive:
        raise Refused(f"{shown(source)} is a folder", code="is_a_folder", hint="-r copies folders.")
    if kind == "special":
        raise Refused(f"{shown(source)} is no file", code="not_a_file", hint="auxilio ssh DEVICE can read it.")
    return Item(kind, Top(source, under), (), attributes)
