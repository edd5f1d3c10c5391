"""A client that wants out of its folder, and whoever swaps files under the worker: nothing outside is touched."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.files.handles import MAX_HANDLES
from protocol.errors import BadMessage
from protocol.sftp import MAX_PATH_BYTES, Attributes, Extension, Kind, OpenFlag, Packet, Packets, Status
from protocol.sshwire import string, u32
from tests.support.effort import LONG
from tests.support.sftp import LocalSftp, SftpFailure

SECRET = b"the customer's secret"
RACE_ROUNDS = 20_000 if LONG else 1_500


@pytest.fixture
def jail(tmp_path: Path) -> Path:
    """A root, with a secret beside it."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "inside").write_bytes(b"inside")
    (tmp_path / "secret").write_bytes(SECRET)
    return root


@pytest.fixture
def client(jail: Path) -> Iterator[LocalSftp]:
    before = len(os.listdir("/proc/self/fd"))
    yield LocalSftp(jail)
    assert len(os.listdir("/proc/self/fd")) <= before + 1 + MAX_HANDLES


def refused(client: LocalSftp, kind: int, *fields: bytes) -> int:
    with pytest.raises(SftpFailure) as caught:
        client.request(kind, *fields)
    return caught.value.code


WAYS_OUT = ("../secret", "/../secret", "sub/../../secret", "/sub/../../../../secret", "//../secret", "./../secret")


@pytest.mark.parametrize("path", WAYS_OUT)
def test_dots_lead_no_further_than_the_root(client: LocalSftp, path: str) -> None:
    with pytest.raises(SftpFailure) as caught:
        client.read(path)
    assert caught.value.code == Status.NO_SUCH_FILE
    client.write(path, b"mine")
    assert client.read("/secret") == b"mine"  # in the root, where all of these are


def test_an_absolute_path_begins_at_the_root(client: LocalSftp, jail: Path) -> None:
    assert client.read("/sub/inside") == b"inside"
    with pytest.raises(SftpFailure):
        client.read(bytes(jail / "sub" / "inside"))
    assert client.name_of(Kind.REALPATH, "..") == b"/"
    assert client.name_of(Kind.REALPATH, "sub/../sub/./inside") == b"/sub/inside"
    assert client.name_of(Kind.REALPATH, "/nowhere-yet") == b"/nowhere-yet"


@pytest.mark.parametrize("target", ["../secret", "../../secret", "{outside}", "/proc/self/root{outside}", "loop"])
def test_links_that_lead_out_lead_nowhere(client: LocalSftp, jail: Path, target: str) -> None:
    outside = jail.parent / "secret"
    link = jail / "loop"
    link.symlink_to(target.replace("{outside}", str(outside)))
    for kind in (Kind.STAT, Kind.OPENDIR, Kind.REALPATH):
        try:
            client.request(kind, string("loop"))
        except SftpFailure:
            continue
        assert kind == Kind.REALPATH  # whose last component need not be there; it is a path in the root
    with pytest.raises(SftpFailure):
        client.read("loop")
    with pytest.raises(SftpFailure):
        client.write("loop", b"overwritten")
    refused(client, Kind.SETSTAT, string("loop"), Attributes(mode=0o777, size=0).encoded())
    assert outside.read_bytes() == SECRET
    assert client.attributes("loop", Kind.LSTAT).mode is not None
    assert client.name_of(Kind.READLINK, "loop") == bytes(link.readlink())


def test_a_folder_that_is_a_link_out_is_no_way_for_any_request(client: LocalSftp, jail: Path) -> None:
    outside = jail.parent / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(SECRET)
    (jail / "door").symlink_to(outside)
    asked = [
        (Kind.OPENDIR, string("door")),
        (Kind.REMOVE, string("door/file")),
        (Kind.MKDIR, string("door/new") + u32(0)),
        (Kind.RMDIR, string("door/new")),
        (Kind.RENAME, string("door/file") + string("stolen")),
        (Kind.RENAME, string("sub/inside") + string("door/inside")),
        (Kind.SYMLINK, string("x") + string("door/link")),
        (Kind.SETSTAT, string("door") + Attributes(mode=0).encoded()),
        (Kind.EXTENDED, string(Extension.POSIX_RENAME) + string("door/file") + string("stolen")),
        (Kind.EXTENDED, string(Extension.STATVFS) + string("door")),
    ]
    for kind, fields in asked:
        refused(client, kind, fields)
    assert sorted(os.listdir(outside)) == ["file"]
    assert (outside / "file").read_bytes() == SECRET
    assert stat.S_IMODE(outside.stat().st_mode) != 0


def test_a_link_swapped_between_check_and_use_never_shows_the_outside(client: LocalSftp, jail: Path) -> None:
    """Somebody on the device swaps a folder for a link, as fast as it goes, while the client reads and writes."""
    outside = jail.parent / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(SECRET)
    (jail / "a").mkdir()
    (jail / "a" / "file").write_bytes(b"harmless")
    (jail / "b").symlink_to(outside)
    done = threading.Event()
    swaps = 0

    def swap() -> None:
        nonlocal swaps
        while not done.is_set():
            for old, new in (("a", "c"), ("b", "a"), ("a", "b"), ("c", "a")):
                os.rename(jail / old, jail / new)
            swaps += 1

    swapping = threading.Thread(target=swap)
    swapping.start()
    read: set[bytes] = set()
    try:
        for _ in range(RACE_ROUNDS):
            try:
                read.add(client.read("a/file"))
                client.write("a/file", b"harmless")
                client.write("a/new", b"")
                client.request(Kind.REMOVE, string("a/file"))
                client.write("a/file", b"harmless")
            except SftpFailure:
                pass
    finally:
        done.set()
        swapping.join()
    assert swaps > 10 and read <= {b"harmless", b""}
    assert os.listdir(outside) == ["file"] and (outside / "file").read_bytes() == SECRET


def test_a_second_name_of_a_file_outside_is_neither_read_nor_written_nor_changed(client: LocalSftp, jail: Path) -> None:
    os.link(jail.parent / "secret", jail / "innocent")
    for flags in (OpenFlag.READ, OpenFlag.WRITE, OpenFlag.READ | OpenFlag.WRITE | OpenFlag.TRUNCATE):
        with pytest.raises(SftpFailure) as caught:
            client.open("innocent", flags)
        assert caught.value.code == Status.PERMISSION_DENIED
    refused(client, Kind.SETSTAT, string("innocent"), Attributes(mode=0o666).encoded())
    refused(client, Kind.SETSTAT, string("innocent"), Attributes(size=0).encoded())
    assert (jail.parent / "secret").read_bytes() == SECRET
    client.request(Kind.REMOVE, string("innocent"))  # a name in the root is the client's


def test_no_link_is_made_that_others_would_follow_out(client: LocalSftp, jail: Path) -> None:
    for target in ("/etc/passwd", "../secret", "sub/../../secret"):
        assert refused(client, Kind.SYMLINK, string(target), string("made")) == Status.PERMISSION_DENIED
    with pytest.raises(SftpFailure):
        client.extended(Extension.HARDLINK, string("sub/inside"), string("made"))
    client.request(Kind.SYMLINK, string("sub/inside"), string("made"))
    assert client.read("made") == b"inside"


def test_what_is_no_file_is_not_opened_and_opening_it_does_not_wait(client: LocalSftp, jail: Path) -> None:
    os.mkfifo(jail / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(jail / "socket"))
    names = ["fifo", "socket", "sub"]
    if os.geteuid() == 0:
        os.mknod(jail / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        names.append("null")
    for name in names:
        for flags in (OpenFlag.READ, OpenFlag.WRITE, OpenFlag.READ | OpenFlag.WRITE | OpenFlag.CREATE):
            with pytest.raises(SftpFailure) as caught:
                client.open(name, flags)
            assert caught.value.code == Status.PERMISSION_DENIED
        assert client.attributes(name).mode is not None  # it may be looked at


def test_magic_links_of_proc_are_no_way_out() -> None:
    client = LocalSftp(Path("/proc"))
    for path in ("self/root/etc/hostname", "self/cwd/pyproject.toml", "self/exe", "self/fd/0"):
        with pytest.raises(SftpFailure):
            client.read(path)


@pytest.mark.parametrize(
    "name", [b"new\nline", b"\x1b]0;owned\x07", b"\xff\xfe", b"-rf", b" ", b"\xe2\x80\xaegpj", b"a" * 255]
)
def test_odd_names_go_both_ways_and_are_harmless_where_they_are_shown(client: LocalSftp, name: bytes) -> None:
    client.write(b"sub/" + name, b"odd")
    assert client.read(b"sub/" + name) == b"odd"
    (found,) = (e for e in client.names("sub") if e.name == name)
    assert found.attributes.size == 3
    assert found.longname.decode("utf-8").isprintable()
    client.request(Kind.REMOVE, string(b"sub/" + name))


@pytest.mark.parametrize("path", [b"a\0b", b"x" * 300, b"x/" * (MAX_PATH_BYTES // 2 - 1)])
def test_names_that_are_none_are_refused(client: LocalSftp, path: bytes) -> None:
    for kind in (Kind.STAT, Kind.OPENDIR, Kind.REMOVE, Kind.REALPATH, Kind.READLINK):
        refused(client, kind, string(path))


@pytest.mark.parametrize("path", [b"a/" * 10_000, b"../" * 10_000 + b"secret"], ids=["down", "up"])
def test_a_path_of_ten_thousand_folders_is_refused_before_it_is_walked(client: LocalSftp, path: bytes) -> None:
    for kind in (Kind.STAT, Kind.OPENDIR, Kind.REALPATH, Kind.MKDIR):
        with pytest.raises((SftpFailure, BadMessage)):
            client.request(kind, string(path), u32(0) if kind == Kind.MKDIR else b"")


def test_a_tree_of_ten_thousand_folders_is_served_as_deep_as_paths_go(jail: Path, client: LocalSftp) -> None:
    """Made by somebody on the device, folder by folder: no path of the system's reaches its end."""
    here = os.open(jail / "sub", os.O_RDONLY)
    for _ in range(10_000):
        os.mkdir("d", dir_fd=here)
        deeper = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    try:
        reached = "sub" + "/d" * ((MAX_PATH_BYTES - 16) // 2)
        assert [entry.name for entry in client.names(reached) if entry.name not in (b".", b"..")] == [b"d"]
        with pytest.raises((SftpFailure, BadMessage)):
            client.names("sub" + "/d" * 9_000)
        assert client.read("sub/inside") == b"inside"
    finally:
        subprocess.run(["rm", "-rf", jail / "sub"], check=True)  # what removes tests' folders recurses, and gives up


@pytest.mark.parametrize("path", ["", ".", "/", "sub/..", "..", "sub/."])
def test_what_has_no_name_of_its_own_is_neither_made_nor_removed(client: LocalSftp, path: str) -> None:
    for kind, fields in ((Kind.RMDIR, b""), (Kind.REMOVE, b""), (Kind.RENAME, string("new")), (Kind.MKDIR, u32(0))):
        refused(client, kind, string(path), fields)


def test_a_root_that_is_only_read_changes_nothing(jail: Path) -> None:
    client = LocalSftp(jail, writable=False)
    handle = client.open("sub/inside")
    asked = [
        (Kind.OPEN, string("sub/inside") + u32(OpenFlag.WRITE) + u32(0)),
        (Kind.OPEN, string("new") + u32(OpenFlag.READ | OpenFlag.CREATE) + u32(0)),
        (Kind.OPEN, string("sub/inside") + u32(OpenFlag.READ | OpenFlag.TRUNCATE) + u32(0)),
        (Kind.REMOVE, string("sub/inside")),
        (Kind.MKDIR, string("new") + u32(0)),
        (Kind.RMDIR, string("sub")),
        (Kind.RENAME, string("sub/inside") + string("new")),
        (Kind.SYMLINK, string("sub") + string("new")),
        (Kind.SETSTAT, string("sub/inside") + Attributes(mode=0).encoded()),
        (Kind.FSETSTAT, string(handle) + Attributes(mode=0).encoded()),
        (Kind.EXTENDED, string(Extension.POSIX_RENAME) + string("sub/inside") + string("new")),
        (Kind.EXTENDED, string(Extension.HARDLINK) + string("sub/inside") + string("new")),
        (Kind.EXTENDED, string(Extension.LSETSTAT) + string("sub/inside") + Attributes(mode=0).encoded()),
    ]
    for kind, fields in asked:
        assert refused(client, kind, fields) == Status.PERMISSION_DENIED
    assert sorted(os.listdir(jail)) == ["sub"]
    assert (jail / "sub" / "inside").read_bytes() == b"inside"


def test_nothing_that_is_copied_runs_with_its_owner_s_rights(client: LocalSftp, jail: Path) -> None:
    handle = client.open("tool", OpenFlag.WRITE | OpenFlag.CREATE, mode=0o6755)
    client.request(Kind.FSETSTAT, string(handle), Attributes(mode=0o6755).encoded())
    client.request(Kind.SETSTAT, string("tool"), Attributes(mode=0o4755).encoded())
    client.request(Kind.MKDIR, string("folder"), Attributes(mode=0o2777).encoded())
    assert stat.S_IMODE((jail / "tool").stat().st_mode) == 0o755
    assert not stat.S_IMODE((jail / "folder").stat().st_mode) & 0o6000


def test_handles_are_bounded_and_a_stranger_s_are_refused(client: LocalSftp) -> None:
    for _ in range(MAX_HANDLES):
        client.open("sub/inside")
    with pytest.raises(SftpFailure):
        client.open("sub/inside")
    with pytest.raises(SftpFailure):
        client.open("never-made", OpenFlag.WRITE | OpenFlag.CREATE)
    assert b"never-made" not in [os.fsencode(n) for n in os.listdir(client.server._root._folder.decode())]
    for handle in (b"", b"0", b"999999", b"../x", b"\xff" * 200):
        refused(client, Kind.CLOSE, string(handle))
        refused(client, Kind.READDIR, string(handle))


packets = st.builds(
    Packet,
    st.sampled_from([*range(3, 21), 200, 0, 99, 255]),
    st.integers(0, 2**32 - 1),
    st.lists(
        st.one_of(
            st.sampled_from([b"sub", b"sub/inside", b"../secret", b"1", b"2", *vars(Extension).values()])
            .filter(lambda v: isinstance(v, bytes))
            .map(string),
            st.integers(0, 64).map(u32),
            st.binary(max_size=40),
        ),
        max_size=5,
    ).map(b"".join),
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=2000 if LONG else 200, deadline=None
)
@given(st.lists(packets, max_size=20))
def test_whatever_is_asked_there_is_one_reply_and_nothing_outside_changes(jail: Path, asked: list[Packet]) -> None:
    client = LocalSftp(jail)
    for request in asked:
        try:
            replies = list(Packets().feed(client.server.answer(request)))
        except BadMessage:
            continue
        assert [reply.number for reply in replies] == [request.number]
    for handle in list(client.server._handles._open):
        client.server._handles.close(handle)
    assert sorted(os.listdir(jail.parent)) == ["root", "secret"]
    assert (jail.parent / "secret").read_bytes() == SECRET
