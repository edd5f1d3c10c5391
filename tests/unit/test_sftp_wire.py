"""SFTP packets: what is written is read, however it is cut, and nothing out of bounds is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import BadMessage
from protocol.sftp import (
    MAX_EXTENDED_ATTRIBUTES,
    MAX_NAMES,
    MAX_PACKET_BYTES,
    Attributes,
    Entry,
    Kind,
    Packet,
    Packets,
    encode_names,
    packet,
    read_attributes,
    read_names,
    read_status,
)
from protocol.sshwire import Reader, string, u32

bodies = st.lists(st.binary(max_size=200), max_size=8)


@given(bodies, st.integers(1, 64))
def test_packets_come_out_as_they_went_in_however_the_stream_is_cut(written: list[bytes], step: int) -> None:
    stream = b"".join(packet(Kind.DATA, number, body) for number, body in enumerate(written))
    packets = Packets()
    read = [found for at in range(0, len(stream), step) for found in packets.feed(stream[at : at + step])]
    assert read == [Packet(Kind.DATA, number, body) for number, body in enumerate(written)]
    assert packets.pending == 0


@pytest.mark.parametrize("length", [0, 4, MAX_PACKET_BYTES + 1, 0xFFFFFFFF])
def test_a_length_that_no_packet_has_is_refused_before_its_bytes_are_there(length: int) -> None:
    with pytest.raises(BadMessage, match="SFTP packet"):
        list(Packets().feed(u32(length)))


numbers = st.none() | st.integers(0, 2**32 - 1)


@given(st.none() | st.integers(0, 2**64 - 1), numbers, numbers, numbers)
def test_attributes_come_back(size: int | None, one: int | None, mode: int | None, other: int | None) -> None:
    attributes = Attributes(size=size, uid=one, gid=one, mode=mode, atime=other, mtime=other)
    reader = Reader(attributes.encoded())
    assert read_attributes(reader) == attributes
    reader.done()


def test_attributes_of_another_version_or_with_endless_extensions_are_refused() -> None:
    with pytest.raises(BadMessage, match="another version"):
        read_attributes(Reader(u32(0x10)))
    with pytest.raises(BadMessage, match="extended"):
        read_attributes(Reader(u32(0x80000000) + u32(MAX_EXTENDED_ATTRIBUTES + 1)))


def test_names_come_back_and_are_bounded() -> None:
    entries = [Entry(b"../\x1b[2J", b"-rw", Attributes(size=3)), Entry(b"\xff\n", b"", Attributes())]
    assert read_names(Reader(encode_names(entries))) == entries
    with pytest.raises(BadMessage, match="names at once"):
        read_names(Reader(u32(MAX_NAMES + 1)))
    with pytest.raises(BadMessage):
        read_names(Reader(u32(1) + string(b"a" * 5000) + string(b"") + u32(0)))


def test_a_status_may_be_without_words() -> None:
    assert read_status(Reader(u32(2))) == (2, "")
    assert read_status(Reader(u32(4) + string(b"no \xff") + string(b"en"))) == (4, "no �")


@given(st.binary(max_size=300))
def test_no_bytes_are_read_as_anything_but_a_packet_or_one_error(data: bytes) -> None:
    try:
        for found in Packets().feed(data):
            for read in (read_names, read_attributes, read_status):
                try:
                    read(Reader(found.body))
                except BadMessage:
                    continue
    except BadMessage:
        pass
