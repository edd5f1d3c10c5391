"""`auxilio cp` without a session: its own code over pipes to a real SFTP server, OpenSSH's or the device's worker."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from console.files.client import Client, session_lost
from console.files.copy import Options, run_copy
from console.files.names import Task
from console.files.tally import Tally
from tests.support.sftp import worker_command

STOCK = ("/usr/lib/openssh/sftp-server", "-e")


class _Pipe:
    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def writable(self) -> None:
        await self._writer.drain()


async def converse(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    task: Task,
    options: Options,
    tally: Tally,
) -> None:
    client = Client(_Pipe(writer))

    async def feed() -> None:
        while data := await reader.read(1 << 18):
            client.feed(data)
        client.lose(session_lost("the server ended"))

    async with asyncio.TaskGroup() as tasks:
        feeding = tasks.create_task(feed())
        try:
            await run_copy(client, task, options, tally)
        finally:
            feeding.cancel()


async def copy_by(
    command: Sequence[str],
    task: Task,
    options: Options = Options(recursive=True),  # noqa: B008  # it is frozen
    *,
    tally: Tally,
    pass_fds: Sequence[int] = (),
) -> Tally:
    """Start the server, copy, and end it. Raises the error alone."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 20, pass_fds=tuple(pass_fds)
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        await converse(process.stdout, process.stdin, task, options, tally)
    except BaseException as exc:
        process.kill()  # it may be stuck in what nobody reads any more
        raise (exc.exceptions[0] if isinstance(exc, BaseExceptionGroup) else exc) from None
    finally:
        process.stdin.close()
        await process.wait()
    return tally


def down(*words: Path | str | bytes) -> Task:
    """From the device: sources and, last, the target."""
    *sources, target = map(os.fsencode, words)
    return Task("device", True, tuple(sources), target)


def up(*words: Path | str | bytes, to: str = "") -> Task:
    return Task("device", False, tuple(map(os.fsencode, words)), os.fsencode(to))


class Copier:
    """server: stock or worker. Paths on either side are this machine's; the device's home is `home`."""

    def __init__(self, server: str, home: Path) -> None:
        self.server = server
        self.home = home

    async def _copy(self, task: Task, tally: Tally | None, **options: bool) -> Tally:
        options.setdefault("recursive", True)
        chosen = Options(**options)
        tally = tally or Tally()
        if self.server == "stock":
            return await copy_by((*STOCK, "-d", str(self.home)), task, chosen, tally=tally)
        with open(os.devnull, "wb") as notes:
            command = worker_command(Path("/"), self.home, notes.fileno())
            return await copy_by(command, task, chosen, tally=tally, pass_fds=(notes.fileno(),))

    async def get(
        self, *sources: Path | str | bytes, to: Path | str | bytes, tally: Tally | None = None, **options: bool
    ) -> Tally:
        return await self._copy(down(*sources, to), tally, **options)

    async def put(
        self, *sources: Path | str | bytes, to: Path | str | bytes, tally: Tally | None = None, **options: bool
    ) -> Tally:
        return await self._copy(up(*sources, to=os.fsdecode(os.fsencode(to))), tally, **options)
