"""Pumps: nothing is read before there is room, nothing is lost at the end."""

from __future__ import annotations

import asyncio
import os

from agent.session.child_pump import CHUNK_BYTES, Sink, Source


async def always() -> None:
    pass


async def test_a_source_hands_over_everything_up_to_the_end() -> None:
    out, into = os.pipe()
    source, got = Source(out, terminal=False), bytearray()
    pump = asyncio.get_running_loop().create_task(source.pump(got.extend, always))
    os.write(into, b"first")
    while got != b"first":
        await asyncio.sleep(0)
    source.process_exited()  # a pipe ends with its last writer, not with the process
    os.write(into, b" last")
    os.close(into)
    await pump
    source.close()
    assert got == b"first last"


async def test_a_source_reads_nothing_while_there_is_no_room() -> None:
    out, into = os.pipe()
    room, got = asyncio.Event(), bytearray()

    async def has_room() -> None:
        await room.wait()

    source = Source(out, terminal=False)
    pump = asyncio.get_running_loop().create_task(source.pump(got.extend, has_room))
    os.write(into, b"x" * 1000)
    for _ in range(20):
        await asyncio.sleep(0)
    assert got == b""
    room.set()
    os.close(into)
    await pump
    source.close()
    assert len(got) == 1000


async def test_a_terminal_ends_with_its_process_although_others_hold_it() -> None:
    master, slave = os.openpty()
    source, got = Source(master, terminal=True), bytearray()
    pump = asyncio.get_running_loop().create_task(source.pump(got.extend, always))
    os.write(slave, b"last words")
    source.process_exited()
    async with asyncio.timeout(10):
        await pump
    assert got == b"last words"
    os.close(slave)
    source.close()


class Flow:
    def __init__(self) -> None:
        self.paused = False
        self.sink = Sink(self.pause, self.resume)
        self.waiting: list[bytes] = []
        self.ended = False

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        """As a channel does: what waited, and the end, are delivered before this returns."""
        self.paused = False
        while self.waiting and not self.paused:
            self.sink.feed(self.waiting.pop(0))
        if self.ended and not self.waiting and not self.paused:
            self.sink.feed_end()


async def test_a_sink_holds_its_channel_until_there_is_a_process_and_while_it_does_not_read() -> None:
    flow = Flow()
    flow.sink.feed(b"early")
    assert flow.paused
    out, into = os.pipe()
    flow.sink.open(into, terminal=False)
    assert not flow.paused
    flow.sink.feed(b"x" * (4 * CHUNK_BYTES))
    assert flow.paused
    got = bytearray()
    os.set_blocking(out, False)
    async with asyncio.timeout(10):
        while len(got) < 4 * CHUNK_BYTES + 5:
            try:
                got += os.read(out, CHUNK_BYTES)
            except BlockingIOError:
                await asyncio.sleep(0)
    assert got.startswith(b"earlyx")
    assert not flow.paused
    flow.sink.close()
    os.close(out)


async def test_a_sink_closes_after_the_last_byte_when_the_end_comes_while_it_drains() -> None:
    flow = Flow()
    out, into = os.pipe()
    flow.sink.open(into, terminal=False)
    flow.sink.feed(b"a" * (2 * CHUNK_BYTES))
    assert flow.paused
    flow.waiting, flow.ended = [b"b" * (2 * CHUNK_BYTES)], True
    got = bytearray()
    os.set_blocking(out, False)
    async with asyncio.timeout(10):
        while True:
            try:
                data = os.read(out, CHUNK_BYTES)
            except BlockingIOError:
                await asyncio.sleep(0)
                continue
            if not data:
                break
            got += data
    assert got == b"a" * (2 * CHUNK_BYTES) + b"b" * (2 * CHUNK_BYTES)
    os.close(out)


async def test_a_sink_whose_process_closed_its_input_lets_the_channel_go_on() -> None:
    flow = Flow()
    out, into = os.pipe()
    flow.sink.open(into, terminal=False)
    os.close(out)
    for _ in range(10):
        flow.sink.feed(b"x" * CHUNK_BYTES)
    assert not flow.paused
    flow.sink.feed_end()
