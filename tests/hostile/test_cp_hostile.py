"""`auxilio cp` from a device that wants more than to be copied from: nothing is written outside of the target."""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.files import work
from console.files.names import part_name
from console.files.tally import Tally
from protocol.errors import BadMessage, PeerFault, Refused
from protocol.sftp import Attributes, Entry, Kind, Packet, Status, encode_names, packet
from protocol.sshwire import Reader, string, u32
from tests.support.evil_device import FOLDER, MTIME, EvilDevice, file_attributes, named, status

OUTSIDE = [
    b"../evil",
    b"..",
    b"/tmp/evil-absolute",
    b"a/../../evil",
    b"sub/evil",
    b"nul\0evil",
    b"",
    b"/",
    b"x" * 256,
    part_name(b"good"),
]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A folder in a folder in which nothing may appear."""
    folder = tmp_path / "around" / "target"
    folder.mkdir(parents=True)
    return folder


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("name", OUTSIDE, ids=repr)
async def test_a_name_that_is_no_name_makes_nothing_anywhere(target: Path, name: bytes) -> None:
    device = EvilDevice({b"top": [named(b"good"), named(name), named(b"."), named(b"..")], b"top/good": b"good"})
    tally = await device.get("top", to=target)
    assert everything(target.parent) == {"target", "target/top", "target/top/good"}
    assert tally.failed == (name != b"..")
    # It was not even asked for: a device learns nothing of what its names would have done.
    assert len(device.said(Kind.OPEN)) == 1


async def test_a_folder_by_such_a_name_is_not_looked_into(target: Path) -> None:
    entries = [named(b"../up", FOLDER), named(b"/etc", FOLDER), named(b"ok", FOLDER)]
    device = EvilDevice({b"top": entries, b"top/ok": [], b"top/../up": [named(b"x")], b"/etc": [named(b"x")]})
    tally = await device.get("top", to=target)
    assert everything(target.parent) == {"target", "target/top", "target/top/ok"}
    assert tally.failed == 2


async def test_a_link_that_lies_in_the_way_is_not_followed(target: Path, tmp_path: Path) -> None:
    """Whoever put it there: an earlier copy, or somebody else at this machine."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    (target / "top").mkdir()
    (target / "top" / "sub").symlink_to(outside)
    (target / "top" / "file").symlink_to(outside / "file")
    (target / "top" / os.fsdecode(part_name(b"other"))).symlink_to(outside / "file")
    entries = [named(b"sub", FOLDER), named(b"file"), named(b"other")]
    tree: dict[bytes, bytes | list[Entry]] = {b"top": entries, b"top/sub": [named(b"x")], b"top/sub/x": b"evil"}
    device = EvilDevice({**tree, b"top/file": b"evil", b"top/other": b"evil"})
    tally = await device.get("top", to=target)
    assert everything(outside) == {"file"} and (outside / "file").read_text() == "mine"
    assert [why for _, why in tally.failures] == ["Not a directory"]
    # A link in a file's place is replaced, as rename(2) does; what it led to stays.
    assert not (target / "top" / "file").is_symlink() and (target / "top" / "file").read_bytes() == b"evil"
    assert (target / "top" / "other").read_bytes() == b"evil"


async def test_a_hard_link_in_place_of_an_unfinished_copy_is_not_written_to(target: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    os.link(tmp_path / "mine", target / os.fsdecode(part_name(b"file")))
    await EvilDevice({b"file": b"evil"}).get("file", to=target)
    assert (tmp_path / "mine").read_text() == "mine" and (target / "file").read_bytes() == b"evil"


async def test_a_link_that_the_device_made_a_moment_ago_leads_it_nowhere(target: Path, tmp_path: Path) -> None:
    """First a link, then a folder of the same name: it is listed twice, and only the first counts."""
    link = Attributes(size=9, mode=stat.S_IFLNK | 0o777, atime=MTIME, mtime=MTIME)
    device = EvilDevice(
        {b"top": [named(b"a", link), named(b"a", FOLDER), named(b"a")], b"top/a": [named(b"x")], b"top/a/x": b"evil"}
    )
    device.answers[Kind.READLINK] = lambda request: [
        packet(Kind.NAME, request.number, encode_names([named(os.fsencode(tmp_path))]))
    ]
    tally = await device.get("top", to=target, links=True)
    assert everything(target) == {"top"}
    assert sorted(why for _, why in tally.failures) == [
        "a link by an absolute path",
        *["not copied: listed twice, or once more in other letters"] * 2,
    ]


@pytest.mark.parametrize("where", [b"../..", b"/etc/passwd", b"a/../../..", b"ok/../../out", b"", b"x\0y", b"..\\x"])
async def test_links_out_of_the_tree_are_not_made(target: Path, where: bytes) -> None:
    link = Attributes(size=9, mode=stat.S_IFLNK | 0o777, atime=MTIME, mtime=MTIME)
    device = EvilDevice({b"top": [named(b"sub", FOLDER)], b"top/sub": [named(b"link", link)]})
    device.answers[Kind.READLINK] = lambda request: [packet(Kind.NAME, request.number, encode_names([named(where)]))]
    tally = await device.get("top", to=target, links=True)
    assert everything(target) == {"top", "top/sub"} and tally.failed == 1


async def test_no_setuid_bit_comes_from_a_device(target: Path) -> None:
    entries = [named(b"su", file_attributes(4, stat.S_IFREG | 0o6755)), named(b"dir", FOLDER._replace(mode=0o47777))]
    device = EvilDevice({b"top": entries, b"top/su": b"evil", b"top/dir": []})
    await device.get("top", to=target)
    assert stat.S_IMODE((target / "top" / "su").stat().st_mode) == 0o755
    assert stat.S_IMODE((target / "top" / "dir").stat().st_mode) == 0o777


# -- what does not end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [[], [named(b".")], None], ids=["empty pages", "dots", "files"])
async def test_a_listing_without_an_end_is_ended(
    target: Path, monkeypatch: pytest.MonkeyPatch, page: list[Entry] | None
) -> None:
    monkeypatch.setattr(work.Bounds.__init__, "__defaults__", (2000,))
    numbers = itertools.count()
    device = EvilDevice({b"top": []})

    def endless(request: Packet) -> Iterator[bytes]:
        link = Attributes(mode=stat.S_IFIFO)
        entries = [named(b"f%d" % next(numbers), link) for _ in range(50)] if page is None else page
        yield packet(Kind.NAME, request.number, encode_names(entries))

    device.answers[Kind.READDIR] = endless
    with pytest.raises(Refused, match="more than 2,000 files and folders"):
        await device.get("top", to=target)
    assert len(device.said(Kind.READDIR)) <= 2001


async def test_folders_in_folders_without_an_end_are_ended(target: Path) -> None:
    device = EvilDevice({b"top": []})
    device.answers[Kind.STAT] = lambda request: [packet(Kind.ATTRS, request.number, FOLDER.encoded())]
    listed: set[bytes] = set()

    def again(request: Packet) -> Iterator[bytes]:
        if request.body in listed:
            return iter([status(request.number, Status.EOF)])
        listed.add(request.body)
        return iter([packet(Kind.NAME, request.number, encode_names([named(b"d", FOLDER)]))])

    device.answers[Kind.READDIR] = again
    tally = await device.get("top", to=target)
    assert [why for _, why in tally.failures] == [f"folders in folders, {work.MAX_DEPTH} deep"]
    assert len(everything(target)) == work.MAX_DEPTH


async def test_a_file_that_does_not_fit_is_not_begun(target: Path) -> None:
    device = EvilDevice({b"top": [named(b"huge", file_attributes(2**60)), named(b"good")], b"top/good": b"good"})
    everywhere = u32(1) + bytes(8) + (2**60).to_bytes(8, "big")
    device.extended[b"extents@auxilio"] = lambda request: [packet(Kind.EXTENDED_REPLY, request.number, everywhere)]
    tally = await device.get("top", to=target)
    [(_, why)] = tally.failures
    assert why.startswith("it needs 1024 PiB, and ")
    assert (target / "top" / "good").exists() and not (target / "top" / "huge").exists()


async def test_a_size_that_no_file_has_is_refused(target: Path) -> None:
    device = EvilDevice({b"top": [named(b"huge", file_attributes(2**63)), named(b"none", Attributes(mode=0o100644))]})
    tally = await device.get("top", to=target)
    assert [why for _, why in tally.failures] == ["the device does not say how long it is"] * 2


# -- lying sizes and data ---------------------------------------------------------------------------------------------


async def test_more_data_than_was_asked_for_ends_it(target: Path) -> None:
    device = EvilDevice({b"file": b"data"})
    device.answers[Kind.READ] = lambda request: [packet(Kind.DATA, request.number, string(b"far too much"))]
    with pytest.raises(BadMessage, match="not the data that was asked for"):
        await device.get("file", to=target)
    assert not (target / "file").exists()


async def test_no_more_is_taken_than_was_announced(target: Path) -> None:
    """The file is longer than it says, and its server gives whatever it is asked for."""
    device = EvilDevice({b"file": b"four and more"})
    device.answers[Kind.STAT] = device.answers[Kind.FSTAT] = lambda request: [
        packet(Kind.ATTRS, request.number, file_attributes(4).encoded())
    ]
    await device.get("file", to=target)
    assert (target / "file").read_bytes() == b"four"


async def test_a_file_shorter_than_it_says_is_an_error_that_names_it(target: Path) -> None:
    device = EvilDevice({b"top": [named(b"short", file_attributes(100))], b"top/short": b"four"})
    device.answers[Kind.STAT] = lambda request: [
        packet(Kind.ATTRS, request.number, (FOLDER if b"short" not in request.body else file_attributes(100)).encoded())
    ]
    tally = await device.get("top", to=target)
    assert tally.failures == [
        ("top/short", "it keeps changing while it is copied (it became shorter while it was copied)")
    ]
    assert not (target / "top" / "short").exists()


async def test_data_in_crumbs_ends_it(target: Path) -> None:
    device = EvilDevice({b"file": bytes(1000)})
    device.answers[Kind.READ] = lambda request: [packet(Kind.DATA, request.number, string(b"x"))]
    with pytest.raises(BadMessage, match="in crumbs"):
        await device.get("file", to=target)


async def test_a_hash_that_lies_is_an_error_that_names_the_file(target: Path) -> None:
    device = EvilDevice({b"file": b"data"})
    device.extended[b"hash@auxilio"] = lambda request: [packet(Kind.EXTENDED_REPLY, request.number, bytes(32))]
    tally = await device.get("file", to=target)
    assert tally.failures == [
        ("file", "it keeps changing while it is copied (its hash is another than that of what came)")
    ]
    assert not (target / "file").exists()


# -- breaking the protocol --------------------------------------------------------------------------------------------


def _wrong_number(request: Packet) -> list[bytes]:
    return [packet(Kind.DATA, request.number + 1000, string(b"data"))]


def _twice(request: Packet) -> list[bytes]:
    return [packet(Kind.DATA, request.number, string(b"data"))] * 2


def _wrong_kind(request: Packet) -> list[bytes]:
    return [packet(Kind.HANDLE, request.number, string(b"data"))]


def _too_long(request: Packet) -> list[bytes]:
    return [b"\xff\xff\xff\xff" + bytes(100)]


def _cut(request: Packet) -> list[bytes]:
    return [packet(Kind.DATA, request.number, u32(100), b"data")]


@pytest.mark.parametrize("lie", [_wrong_number, _twice, _wrong_kind, _too_long, _cut])
async def test_a_device_that_breaks_sftp_ends_the_copy_with_one_line(target: Path, lie: object) -> None:
    device = EvilDevice({b"top": [named(b"a"), named(b"b")], b"top/a": b"data", b"top/b": b"data"})
    device.answers[Kind.READ] = lie  # type: ignore[assignment]
    with pytest.raises(PeerFault) as caught:
        await device.get("top", to=target)
    assert caught.value.exit_status == 5 and "\n" not in caught.value.message
    assert not {name for name in everything(target) if name in ("top/a", "top/b") and lie is not _twice}


@pytest.mark.parametrize(
    "body",
    [
        u32(2**32 - 1),
        u32(3),
        u32(1) + bytes(16) + b"more",
        u32(2) + (8).to_bytes(8, "big") * 2 + (0).to_bytes(8, "big") * 2,
        u32(1) + (2**64 - 1).to_bytes(8, "big") * 2,
    ],
)
async def test_runs_of_data_that_make_no_sense_end_it(target: Path, body: bytes) -> None:
    device = EvilDevice({b"file": bytes(3 << 20)})
    device.extended[b"extents@auxilio"] = lambda request: [packet(Kind.EXTENDED_REPLY, request.number, body)]
    with pytest.raises(PeerFault):
        await device.get("file", to=target)
    assert not (target / "file").exists()


async def test_a_version_that_nobody_speaks_is_refused(target: Path) -> None:
    device = EvilDevice({})
    device.answers[Kind.INIT] = lambda request: [packet(Kind.VERSION, 6)]
    with pytest.raises(PeerFault, match="version 6"):
        await device.get("file", to=target)


async def test_escapes_in_names_and_messages_do_not_reach_the_terminal(target: Path) -> None:
    name = b"\x1b]0;owned\x07\x1b[2J\xe2\x80\xaetxt.exe"
    device = EvilDevice({b"top": [named(name), named(b"../\x1b[31m")]})
    device.answers[Kind.OPEN] = lambda request: [
        status(request.number, Status.FAILURE, "no\x1b[2J\r\nauxilio: all is well")
    ]
    tally = Tally()
    told: list[str] = []
    tally.tell = told.append
    await device.get("top", to=target, tally=tally)
    assert len(told) == 2 and all(line.isprintable() for line in told)
    assert any("\\x1b[2J\\r\\nauxilio: all is well" in line for line in told)


async def test_a_million_failures_are_counted_and_a_hundred_told(target: Path) -> None:
    device = EvilDevice({b"top": [named(b"../%d" % number) for number in range(3000)]})
    tally = Tally()
    told: list[str] = []
    tally.tell = told.append
    await device.get("top", to=target, tally=tally)
    assert (tally.failed, len(told)) == (3000, 101)


# -- to a hostile device ----------------------------------------------------------------------------------------------


async def test_a_link_in_what_we_send_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "secret")
    device = EvilDevice({b".": []})
    tally = await device.put(tmp_path / "tree", to="")
    assert tally.skipped == {"link": 1} and not device.said(Kind.WRITE)


async def test_an_unfinished_copy_that_is_not_ours_by_what_it_says_is_made_anew(tmp_path: Path) -> None:
    """As root in somebody's folder: they may have put a link there, to a file of ours."""
    (tmp_path / "file").write_bytes(b"data")
    link = Attributes(size=4, uid=0, gid=0, mode=stat.S_IFLNK | 0o777, atime=MTIME, mtime=MTIME)
    device = EvilDevice({b".": []})

    def looked_at(request: Packet) -> list[bytes]:
        is_part = b".part" in Reader(request.body).string()
        return [packet(Kind.ATTRS, request.number, link.encoded()) if is_part else status(request.number, 2)]

    device.answers[Kind.LSTAT] = looked_at
    device.extended[b"hash@auxilio"] = lambda request: [packet(Kind.EXTENDED_REPLY, request.number, bytes(32))]
    await device.put(tmp_path / "file", to="")
    assert [request.kind for request in device.asked if request.kind in (Kind.REMOVE, Kind.OPEN)][:2] == [
        Kind.REMOVE,
        Kind.OPEN,
    ]
    flags = Reader(device.said(Kind.OPEN)[0].body)
    flags.string()
    assert flags.u32() & 0x20, "not exclusive: a link would be followed"
