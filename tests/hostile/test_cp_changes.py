"""Files that are not what they were when they were listed: because they changed, or because the device says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.sftp import Kind, Packet, packet
from protocol.sshwire import u32, u64
from tests.support.evil_device import MTIME, EvilDevice, file_attributes, named


async def test_a_file_that_changed_is_tried_once_more(tmp_path: Path) -> None:
    device = EvilDevice({b"file": b"data"})
    lies = [bytes(32)]

    def hashed(request: Packet) -> list[bytes]:
        if lies:
            return [packet(Kind.EXTENDED_REPLY, request.number, lies.pop())]
        del device.extended[b"hash@auxilio"]
        return list(device.honest(request))

    device.extended[b"hash@auxilio"] = hashed
    tally = await device.get("file", to=tmp_path)
    assert (tally.copied, tally.failed) == (1, 0) and (tmp_path / "file").read_bytes() == b"data"


@pytest.mark.parametrize("grown", [b"as it was, and more", b"Not as it was, and more"])
async def test_a_log_that_grows_is_copied_as_long_as_it_was_and_nothing_else_is(tmp_path: Path, grown: bytes) -> None:
    device = EvilDevice({b"top": [named(b"log", file_attributes(9))], b"top/log": b"as it was"})

    def grows(request: Packet) -> list[bytes]:
        device.tree[b"top/log"] = grown
        attributes = file_attributes(len(grown))._replace(mtime=MTIME + 1)
        return [packet(Kind.ATTRS, request.number, attributes.encoded())]

    device.answers[Kind.FSTAT] = grows
    tally = await device.get("top", to=tmp_path)
    copied = (tmp_path / "top" / "log").read_bytes() if tally.copied else b""
    if grown.startswith(b"as it was"):
        assert copied == b"as it was" and int((tmp_path / "top" / "log").stat().st_mtime) == MTIME
        assert len(device.said(Kind.OPEN)) == 1
    else:
        assert len(device.said(Kind.OPEN)) == 2  # it was tried again, as it is then


async def test_a_hole_of_an_exbibyte_is_a_file_that_our_disk_does_not_have(tmp_path: Path) -> None:
    entries = [named(b"hole", file_attributes(2**62)), named(b"good")]
    device = EvilDevice({b"top": entries, b"top/good": b"good"})
    device.extended[b"extents@auxilio"] = lambda request: [packet(Kind.EXTENDED_REPLY, request.number, u32(0))]
    tally = await device.get("top", to=tmp_path)
    assert tally.failures == [("top/hole", "File too large")]
    assert [path.name for path in (tmp_path / "top").iterdir()] == ["good"]


async def test_data_in_what_was_told_to_be_a_hole_is_noticed(tmp_path: Path) -> None:
    data = bytes(1 << 20) + b"x" * (1 << 20) + bytes(1 << 20)
    device = EvilDevice({b"file": data})
    first = u32(1) + u64(0) + u64(4096)
    device.extended[b"extents@auxilio"] = lambda request: [packet(Kind.EXTENDED_REPLY, request.number, first)]
    tally = await device.get("file", to=tmp_path)
    # The second try finds what the first one left, compares it chunk by chunk, and fetches what is missing.
    assert (tally.copied, tally.resumed) == (1, 1) and (tmp_path / "file").read_bytes() == data
