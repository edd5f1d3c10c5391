"""What a relay can send to an agent besides messages: frames that no memory holds, that never end, that crawl."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from protocol.codec import MAX_MESSAGE_BYTES
from tests.support.false_relay import FalseLink
from tests.support.meeting import Meeting, meeting_in

MIB = 1024 * 1024
GROWTH_BYTES = 12 * MIB
"""Of a process that holds a message of 64 KiB at most, and what its allocator keeps of it."""

TEXT, BINARY, CONTINUED, FIN = 0x1, 0x2, 0x0, 0x80
"""RFC 6455, section 5.2."""


@pytest.fixture
async def meeting(tmp_path: Path) -> AsyncIterator[Meeting]:
    async with meeting_in(tmp_path) as made:
        yield made


def raw(link: FalseLink, data: bytes) -> None:
    """Past everything that would keep to the protocol."""
    request = link.socket._req
    assert request is not None and request.transport is not None
    request.transport.write(data)


def header(first: int, size: int) -> bytes:
    """In the shortest form, as is due, where there is one."""
    return struct.pack(">BBH", first, 126, size) if size < 65536 else struct.pack(">BBQ", first, 127, size)


@pytest.mark.parametrize("size", [MAX_MESSAGE_BYTES * 1000, 2**63 - 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("kind", [TEXT, BINARY])
async def test_a_frame_as_large_as_the_sea_is_not_waited_for(meeting: Meeting, kind: int, size: int) -> None:
    link = await meeting.link()
    process = psutil.Process(meeting.agent.pid)
    before = process.memory_info().rss
    raw(link, header(FIN | kind, size) + b"x" * 65536)
    await link.wait_ended()
    assert process.memory_info().rss - before < GROWTH_BYTES
    await meeting.is_well(await meeting.link())


async def test_fragments_without_end_are_ended(meeting: Meeting) -> None:
    link = await meeting.link()
    process = psutil.Process(meeting.agent.pid)
    before = process.memory_info().rss
    piece = b"x" * 4096
    raw(link, header(TEXT, len(piece)) + piece)
    for _ in range(8 * MIB // len(piece)):
        raw(link, header(CONTINUED, len(piece)) + piece)
    await link.wait_ended()
    assert process.memory_info().rss - before < GROWTH_BYTES
    await meeting.is_well(await meeting.link())


async def test_bytes_that_crawl_cost_nothing_and_hold_up_nobody(meeting: Meeting) -> None:
    link = await meeting.link()
    process = psutil.Process(meeting.agent.pid)
    before, cpu = process.memory_info().rss, sum(process.cpu_times()[:2])
    raw(link, header(FIN | TEXT, 60_000))
    for _ in range(100):
        raw(link, b" ")
        await asyncio.sleep(0.01)
    assert (await meeting.status())["running"], "it answers whoever sits before it"
    assert process.memory_info().rss - before < GROWTH_BYTES
    assert sum(process.cpu_times()[:2]) - cpu < 2.0


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"ping","id":' + "[" * 60_000,
        "[" * 60_000,
        '{"a":' * 10_000 + "1" + "}" * 10_000,
        '{"type":"ping","id":1' + "0" * 60_000 + "}",
        '{"type":"ping","id":1,"id":2,' + '"x":0,' * 8_000 + '"y":0}',
    ],
    ids=["open brackets", "an array in itself", "an object in itself", "a number as long as a book", "many keys"],
)
async def test_json_that_is_deep_or_wide_is_a_fault_of_the_link_alone(meeting: Meeting, text: str) -> None:
    link = await meeting.link()
    process = psutil.Process(meeting.agent.pid)
    before = process.memory_info().rss
    await link.send(text)
    await meeting.is_well(await meeting.link() if await ended(link) else link)
    assert process.memory_info().rss - before < GROWTH_BYTES


async def ended(link: FalseLink) -> bool:
    """Whether it took that for the end. A message of many keys is one that it may pass over."""
    try:
        async with asyncio.timeout(5):
            await link.wait_ended()
    except TimeoutError:
        return False
    return True
