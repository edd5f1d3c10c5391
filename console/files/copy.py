"""What a copy consists of: from what a person typed to the tops of trees, and then the work on them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable
from contextlib import suppress

import msgspec

from console.files.client import Client, SftpFailure
from console.files.from_device import FromDevice, top_of
from console.files.local import WINDOWS, Folder, attributes_of
from console.files.many import first_of
from console.files.names import Task, base_name, fault_of, shown
from console.files.remote import Remote, is_folder
from console.files.tally import Tally
from console.files.to_device import ToDevice
from console.files.work import AT_ONCE, Bounds, Item, Work
from protocol.errors import Refused, UsageInvalid
from protocol.sftp import Attributes

SPARE_HANDLES = 4

NEW_FOLDER_MODE = 0o755
"""Of a target that had to be made there; what is copied keeps its own."""


class Options(msgspec.Struct, frozen=True):
    """recursive: folders, too.  links: symbolic links, where they stay inside.  verify: by reading back where the
    device cannot hash."""

    recursive: bool = False
    links: bool = False
    verify: bool = False


async def run_copy(client: Client, task: Task, options: Options, tally: Tally) -> None:
    """Copy, over a conversation that ends with it.

    What fails alone is in the tally; raises what ended everything: AuxilioError, OSError.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            pump = tasks.create_task(client.run())
            await _copy(client, task, options, tally)
            pump.cancel()
    except BaseExceptionGroup as group:
        raise first_of(group) from None


async def _copy(client: Client, task: Task, options: Options, tally: Tally) -> None:
    await client.begin()
    remote = Remote(client, verify=options.verify)
    await remote.begin()
    at_once = max(1, min(AT_ONCE, (remote.max_handles or AT_ONCE) - SPARE_HANDLES))
    await (_download if task.download else _upload)(remote, task, options, tally, at_once)


async def _download(remote: Remote, task: Task, options: Options, tally: Tally, at_once: int) -> None:
    found = []
    for source in task.sources:
        path = source or b"."
        found.append((path, await _told(path, remote.attributes(path, follow=True))))
    base, tops = _local_tops(task.target or b".", found, options)
    with base:
        direction = FromDevice(remote, base, tally, links=options.links, bounds=Bounds())
        await Work(direction, tally, at_once=at_once).run(tops)


def _local_tops(target: bytes, found: list[tuple[bytes, Attributes]], options: Options) -> tuple[Folder, list[Item]]:
    """The folder here that everything goes below, and the trees."""
    is_folder_there = os.path.isdir(target)
    if names_the_copy(target, found, is_folder_there, windows=WINDOWS):
        folder, name = os.path.split(target)
        tops = _tops(found, options, name)
        return Folder.open(folder or b"."), tops
    tops = _tops(found, options)
    if not is_folder_there:
        os.mkdir(target)
    return Folder.open(target), tops


def names_the_copy(
    target: bytes, found: list[tuple[bytes, Attributes]], is_folder_there: bool, *, windows: bool = False
) -> bool:
    """Whether `target` is the copy's own name, and not the folder that it goes into.

    A folder always goes into the target under its own name, also where that has to be made first: so the same command
    again means the same, and goes on with what it began.
    """
    separators = (b"/", b"\\") if windows else (b"/",)
    return len(found) == 1 and not is_folder(found[0][1]) and not is_folder_there and not target.endswith(separators)


def _tops(
    found: list[tuple[bytes, Attributes]], options: Options, goal: bytes | None = None, *, local: bool = False
) -> list[Item]:
    """goal: the copy's name, else each has its source's. local: sources are paths of this machine."""
    tops = []
    for source, attributes in found:
        name = goal or base_name(source, windows=local and WINDOWS)
        fault = fault_of(name, windows=WINDOWS and not local) if name is not None else None
        if fault is not None:
            hint = "Give the copy another name."
            raise Refused(f"{shown(name or source)}: {fault}", code="bad_name", hint=hint)
        tops.append(top_of(source, () if name is None else (name,), attributes, recursive=options.recursive))
    names = [top.top.under for top in tops]
    if len(set(names)) != len(names):
        raise UsageInvalid("two sources of the same name", hint="Copy them one by one.")
    return tops


async def _upload(remote: Remote, task: Task, options: Options, tally: Tally, at_once: int) -> None:
    found = [(source.rstrip(b"/") or b"/", attributes_of(os.stat(source))) for source in task.sources]
    base, tops = await _remote_tops(remote, task.target or b".", found, options)
    own_uid = None
    with suppress(SftpFailure):
        own_uid = (await remote.attributes(b".", follow=True)).uid
    direction = ToDevice(remote, base, tally, links=options.links, bounds=Bounds(), own_uid=own_uid)
    await Work(direction, tally, at_once=at_once).run(tops)


async def _remote_tops(
    remote: Remote, target: bytes, found: list[tuple[bytes, Attributes]], options: Options
) -> tuple[bytes, list[Item]]:
    """The path there that everything goes below, and the trees."""
    there = await remote.attributes_if_there(target, follow=True)
    is_folder_there = there is not None and is_folder(there)
    if names_the_copy(target, found, is_folder_there):
        folder, slash, name = target.rpartition(b"/")
        return (folder or slash), _tops(found, options, name, local=True)
    tops = _tops(found, options, local=True)
    if not is_folder_there:
        await remote.make_folder(target)
        await remote.set_attributes(target, Attributes(mode=NEW_FOLDER_MODE))
    return target, tops


async def _told(path: bytes, asked: Awaitable[Attributes]) -> Attributes:
    try:
        return await asked
    except SftpFailure as exc:
        hint = "Patterns are not expanded on the device: copy its folder with -r." if b"*" in path else ""
        raise Refused(f"{shown(path)} on the device: {exc.message}", code=exc.reason, hint=hint) from exc
