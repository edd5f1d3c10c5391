"""Which side is the device, what a copy is called, and which names a device may have us write."""

from __future__ import annotations

import pytest

from console.files.names import (
    Remote,
    Task,
    base_name,
    fault_of,
    folded,
    joined,
    link_fault,
    parse_place,
    parse_task,
    part_name,
)
from protocol.errors import UsageInvalid


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("k3m7x:/etc/fstab", Remote("k3m7x", b"/etc/fstab")),
        ("k3m7x:", Remote("k3m7x", b"")),
        ("k3m7x:a:b", Remote("k3m7x", b"a:b")),
        ("k3m7x:~", Remote("k3m7x", b"")),
        ("k3m7x:~/x", Remote("k3m7x", b"x")),
        ("k:x", Remote("k", b"x")),
        ("./a:b", b"./a:b"),
        ("/a:b", b"/a:b"),
        ("sub/a:b", b"sub/a:b"),
        (":x", b":x"),
        ("plain", b"plain"),
        ("C:\\temp\\x", b"C:\\temp\\x"),
        ("c:/temp", b"c:/temp"),
        ("caf\u00e9:\udcff", Remote("caf\u00e9", b"\xff")),
    ],
)
def test_a_place_is_a_device_s_or_ours_as_scp_has_it(typed: str, meant: object) -> None:
    assert parse_place(typed) == meant


def test_exactly_one_side_is_on_one_device() -> None:
    assert parse_task(("d:a", "d:b"), "here") == Task("d", True, (b"a", b"b"), b"here")
    assert parse_task(("a", "./d:b"), "d:") == Task("d", False, (b"a", b"./d:b"), b"")
    neither, both, two_devices, mixed = (("a",), "b"), (("d:a",), "d:b"), (("d:a", "e:b"), "c"), (("d:a", "b"), "c")
    for sources, target in (neither, both, two_devices, mixed, (("",), "d:")):
        with pytest.raises(UsageInvalid):
            parse_task(sources, target)
    with pytest.raises(UsageInvalid):
        parse_task(("d:a\0b",), "c")


@pytest.mark.parametrize(
    ("path", "name"),
    [(b"/a/b", b"b"), (b"b/", b"b"), (b"b", b"b"), (b"a/.", None), (b"a/..", None), (b"/", None), (b"", None)],
)
def test_a_copy_is_called_as_its_source(path: bytes, name: bytes | None) -> None:
    assert base_name(path) == name


def test_on_windows_both_slashes_part_names() -> None:
    assert base_name(b"C:\\a\\b", windows=True) == b"b" and base_name(b"C:\\a\\b") == b"C:\\a\\b"


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"/", b"a\0", b"x" * 256, part_name(b"x")])
def test_what_is_no_name_is_none_on_any_system(name: bytes) -> None:
    assert fault_of(name, windows=False) and fault_of(name, windows=True)


@pytest.mark.parametrize(
    "name",
    [
        *(b"a\\b", b"..\\x", b"C:x", b"file:stream", b"NUL", b"nul.txt", b"COM1", b"con .x", b"dot.", b"space "),
        *(b"\x01", "LPT\u00b2".encode(), b"a|b", b"a?", b"\xff"),
    ],
)
def test_names_that_are_more_on_windows(name: bytes) -> None:
    assert fault_of(name, windows=True) and not fault_of(name, windows=False)


@pytest.mark.parametrize("name", [b"file", b"..a", b"-rf", b"a b", "ma\u00f1ana".encode(), b"console", b"a.nul"])
def test_odd_names_are_names(name: bytes) -> None:
    assert fault_of(name, windows=False) is None and fault_of(name, windows=True) is None


def test_names_that_some_systems_take_for_one() -> None:
    assert folded(b"README") == folded(b"readme") and folded("e\u0301".encode()) == folded("\u00c9".encode())
    assert folded(b"a") != folded(b"b") and folded(b"\xff") == folded(b"\xff")


@pytest.mark.parametrize(
    ("target", "depth"), [(b"file", 0), (b"../file", 1), (b"../../a/b", 2), (b"./x", 0), (b"..", 1), (b"a//b", 0)]
)
def test_a_link_inside_the_tree_is_one(target: bytes, depth: int) -> None:
    assert link_fault(target, depth) is None


@pytest.mark.parametrize(
    ("target", "depth"),
    [(b"..", 0), (b"../..", 1), (b"/x", 5), (b"", 1), (b"a/../b", 3), (b"../a/../../b", 4), (b"a\0", 1), (b"..\\", 1)],
)
def test_a_link_that_could_lead_out_is_none(target: bytes, depth: int) -> None:
    assert link_fault(target, depth)


def test_paths_on_the_device_are_joined_from_home_from_the_root_and_from_folders() -> None:
    assert [joined(b""), joined(b"", b"a"), joined(b"/", b"a"), joined(b"x/", b"a", b"b"), joined(b"x")] == [
        b".",
        b"a",
        b"/a",
        b"x/a/b",
        b"x",
    ]
