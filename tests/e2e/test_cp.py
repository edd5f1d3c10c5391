"""`auxilio cp` through a real relay, to and from a real device's worker: whole, interrupted, cut off, refused."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from protocol.errors import EXIT_INTERRUPTED, EXIT_PARTIAL, EXIT_REFUSED, EXIT_UNAVAILABLE, EXIT_USAGE
from tests.support.agent_process import WITHIN_S
from tests.support.effort import LONG
from tests.support.world import World

MIB = 1024 * 1024
MANY = 20_000 if LONG else 300
BULK_MIB = 512 if LONG else 128


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World.begin("lab")
    world.folder.chmod(0o755)
    yield world
    world.end()


def cp(world: World, *words: str | Path) -> dict[str, Any]:
    """The record of a copy that worked."""
    record: dict[str, Any] = world.console_json("cp", "-q", "--json", *map(str, words))
    return record


def there(world: World, path: Path | str) -> str:
    return f"{world.device}:{path}"


def tree(root: Path) -> dict[str, tuple[int, int, str]]:
    return {
        str(path.relative_to(root)): (
            stat.S_IMODE(path.lstat().st_mode),
            int(path.lstat().st_mtime),
            digest(path) if path.is_file() else "",
        )
        for path in sorted([root, *root.rglob("*")])
    }


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def bulk(path: Path, count_mib: int = BULK_MIB) -> Path:
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for number in range(count_mib):
            file.write(number.to_bytes(4, "big") + block[4:])
    return path


def test_a_folder_of_many_files_goes_there_and_back(world: World, tmp_path: Path) -> None:
    top = tmp_path / "many"
    for number in range(MANY):
        folder = top / str(number % 13)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / str(number)).write_bytes(b"%d\n" % number * (number % 50))
    (top / "0" / "0").chmod(0o750)
    os.utime(top, (1_500_000_000, 1_600_000_000))
    sent = cp(world, "-r", top, there(world, tmp_path / "there"))
    got = cp(world, "-r", there(world, tmp_path / "there" / "many"), tmp_path / "back")
    for record in (sent, got):
        assert (record["copied"], record["failed"], record["folders"]) == (MANY, 0, 14)
    assert tree(top) == tree(tmp_path / "there" / "many") == tree(tmp_path / "back" / "many")
    again = cp(world, "-r", top, there(world, tmp_path / "there"))
    assert (again["unchanged"], again["copied"], again["bytes_moved"]) == (MANY, 0, 0)


def test_paths_are_relative_to_the_account_s_home(world: World, tmp_path: Path) -> None:
    name = f"auxilio-cp-{os.getpid()}"
    (tmp_path / name).write_text("hola")
    try:
        cp(world, tmp_path / name, there(world, ""))
        assert (Path.home() / name).read_text() == "hola"
        cp(world, there(world, f"~/{name}"), tmp_path / "back")
        assert (tmp_path / "back").read_text() == "hola"
    finally:
        (Path.home() / name).unlink(missing_ok=True)


def stopped(world: World, words: list[str], folder: Path, target: Path, stop: Callable[[int], None]) -> tuple[int, str]:
    """Begin a copy, `stop` it (by the process's number) in the middle, and return its exit status and last words."""
    for _ in range(5):
        process = subprocess.Popen(
            world.auxilio("cp", *words), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=world.environment
        )
        if in_the_middle(folder, process):
            stop(process.pid)
            _, said = process.communicate(timeout=2 * WITHIN_S)
            if not target.exists():
                return process.returncode, said.decode()
        else:
            _, said = process.communicate(timeout=2 * WITHIN_S)
        assert process.returncode == 0, said  # it was done before we looked: once more
        target.unlink()
    raise AssertionError("it was done each time before it could be stopped")


def in_the_middle(folder: Path, process: subprocess.Popen[bytes]) -> bool:
    """Wait until the unfinished copy in `folder` has 10 MiB on the disk; False where it ended before."""
    while process.poll() is None:
        with suppress(FileNotFoundError):
            if any(path.stat().st_blocks * 512 >= 10 * MIB for path in folder.glob(".auxilio-*.part")):
                return True
        time.sleep(0.002)
    return False


@pytest.mark.parametrize("download", [True, False], ids=["down", "up"])
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill -9"])
def test_an_interrupted_copy_is_gone_on_with(world: World, tmp_path: Path, download: bool, ending: int) -> None:
    source, target = bulk(tmp_path / "source"), tmp_path / "target"
    words = [there(world, source), str(target)] if download else [str(source), there(world, target)]
    status, said = stopped(world, words, tmp_path, target, lambda pid: os.kill(pid, ending))
    [part] = tmp_path.glob(".auxilio-*.part")
    if ending == signal.SIGINT:
        assert status == EXIT_INTERRUPTED
        assert said.splitlines() == ["auxilio: interrupted. Run the same command again to go on."]
    record = cp(world, *words)
    assert (record["copied"], record["resumed"]) == (1, 1)
    assert record["bytes_moved"] <= (BULK_MIB - 5) * MIB
    assert digest(target) == digest(source) and not part.exists()


def test_a_session_that_is_cut_off_is_said_and_gone_on_with(world: World, tmp_path: Path) -> None:
    source, target = bulk(tmp_path / "source"), tmp_path / "target"
    words = [str(source), there(world, target)]

    def cut(pid: int) -> None:
        for child in world.session_children():
            with suppress(ProcessLookupError):  # of an earlier session, on its way out
                os.kill(child, signal.SIGKILL)

    status, said = stopped(world, words, tmp_path, target, cut)
    assert status == EXIT_UNAVAILABLE, said
    *_, line, hint = said.splitlines()  # before that, it tried to go on
    assert line.startswith("auxilio: the session ended: ") and hint == "hint: Run the same command again to go on."
    assert cp(world, *words)["resumed"] == 1
    assert digest(target) == digest(source)


def test_what_fails_is_named_and_the_rest_is_copied(world: World, tmp_path: Path) -> None:
    (tmp_path / "top" / "taken").mkdir(parents=True)
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "taken").write_text("a file")
    (tmp_path / "from" / "fine").write_text("fine")
    words = ("cp", "-r", f"{tmp_path}/from/.", there(world, tmp_path / "top"))
    said = world.console(*words, status=EXIT_PARTIAL)
    assert f"auxilio: {tmp_path}/from/./taken: a folder of this name is in its place\n" in said
    assert "auxilio: copied one file" in said and "auxilio: 1 could not be copied" in said
    assert (tmp_path / "top" / "fine").read_text() == "fine"


def test_refusals_are_one_line_and_a_documented_status(world: World, tmp_path: Path) -> None:
    nothing = world.console("cp", there(world, "/no/such"), str(tmp_path), status=EXIT_REFUSED)
    assert nothing == "auxilio: /no/such on the device: no such file\n"
    folder = world.console("cp", there(world, "/etc"), str(tmp_path), status=EXIT_REFUSED)
    assert folder.endswith("hint: -r copies folders.\n")
    assert "neither side" in world.console("cp", "a", "b", status=EXIT_USAGE)
    world.technician("bob", may="shell")
    bob = world.login("bob")
    assert "no right to files" in bob.console("cp", there(world, "/etc/hostname"), str(tmp_path), status=EXIT_REFUSED)
    assert not list(tmp_path.iterdir())


def test_a_terminal_shows_how_far_it_is_and_is_left_clean(world: World, tmp_path: Path) -> None:
    source = bulk(tmp_path / "source", 64)
    master, slave = pty.openpty()
    process = subprocess.Popen(
        world.auxilio("cp", there(world, source), str(tmp_path / "target")),
        stdin=subprocess.DEVNULL, stderr=slave, env=world.environment,
    )  # fmt: skip
    os.close(slave)
    seen = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        if not data:
            break
        seen += data
    os.close(master)
    assert process.wait(WITHIN_S) == 0
    assert b" of 1 files  " in seen and b" of 64 MiB" in seen and b"MiB/s" in seen
    assert seen.split(b"\x1b[K")[-1].startswith(b"auxilio: copied one file; 64 MiB moved in ")


def test_the_device_s_log_names_what_was_copied(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    cp(world, there(world, tmp_path / "file"), tmp_path / "copy")
    entries = world.wait_journal("file")
    assert json.dumps(f"{tmp_path}/file") in json.dumps(entries)
