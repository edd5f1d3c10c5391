"""What root runs, and in which environment: nothing that an account could have put there, or chosen."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.facts import source as source_module
from agent.facts.programs import is_roots, windows_folders, windows_program
from agent.facts.source import Missing, find_program
from agent.facts.sources.command import run

NOBODY = 65534

as_root = pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of root's on whose way there is no other's: not below /tmp, where everybody writes."""
    with tempfile.TemporaryDirectory(dir="/var/lib", prefix="auxilio-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def script(path: Path, text: str = "echo here") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@as_root
def test_root_runs_what_is_root_s_also_through_links_of_root_s(folder: Path) -> None:
    tool = script(folder / "bin/tool-1")
    (folder / "alternatives").mkdir()
    (folder / "alternatives/tool").symlink_to("../bin/tool-1")
    (folder / "bin/tool").symlink_to(folder / "alternatives/tool")
    (folder / "sbin").symlink_to("bin")
    assert is_roots(str(tool)) and is_roots(str(folder / "sbin/tool")) and is_roots("/bin/sh")
    assert not is_roots(str(folder / "bin")) and not is_roots(str(folder / "bin/none"))
    (folder / "bin/round").symlink_to("round")
    assert not is_roots(str(folder / "bin/round"))


@as_root
@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
@pytest.mark.parametrize("which", ["opt", "opt/bin", "opt/bin/tool"])
def test_root_runs_nothing_that_a_group_or_everybody_may_change(folder: Path, which: str, mode: int) -> None:
    tool = script(folder / "opt/bin/tool")
    assert is_roots(str(tool))
    (folder / which).chmod(mode)
    assert not is_roots(str(tool))


@as_root
@pytest.mark.parametrize("which", ["opt", "opt/bin", "opt/bin/tool"])
def test_root_runs_nothing_that_an_account_owns(folder: Path, which: str) -> None:
    tool = script(folder / "opt/bin/tool")
    os.chown(folder / which, NOBODY, -1)
    assert not is_roots(str(tool))


@as_root
def test_root_follows_no_link_that_an_account_made(folder: Path) -> None:
    """It would choose which of the system's programs is run by that name: rm, where rpm was meant."""
    theirs = folder / "theirs"
    theirs.mkdir()
    (theirs / "rpm").symlink_to("/bin/rm")
    os.chown(theirs, NOBODY, -1)
    assert not is_roots(str(theirs / "rpm"))
    (folder / "bin").symlink_to(theirs)
    assert not is_roots(str(folder / "bin/rpm"))


@as_root
def test_a_program_of_an_account_s_is_passed_over_for_the_system_s_or_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, ours = script(folder / "brew/tool"), script(folder / "bin/tool")
    os.chown(folder / "brew", NOBODY, -1)
    monkeypatch.setattr(source_module, "PATH", f"{folder}/brew:{folder}/bin")
    assert find_program("tool") == str(ours)
    ours.unlink()
    with pytest.raises(Missing, match="others than root may change the program tool"):
        run("tool", deadline_s=20)
    monkeypatch.setattr(source_module, "is_root", lambda: False)
    assert find_program("tool") == str(theirs), "an account runs its own"


@as_root
def test_root_s_programs_have_root_s_home_and_no_account_s(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """sudo may keep HOME: rpm then reads .rpmmacros there, which runs commands."""
    script(folder / "tool", 'echo "$HOME $USER $XDG_DATA_HOME"')
    monkeypatch.setattr(source_module, "PATH", str(folder))
    for name in ("HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, "/home/ana")
    monkeypatch.setenv("USER", "ana")
    assert run("tool", deadline_s=20).text == f"{os.path.expanduser('~root')} root \n"
    monkeypatch.setattr(source_module, "is_root", lambda: False)
    assert run("tool", deadline_s=20).text == "/home/ana ana /home/ana\n"


def test_on_windows_programs_are_in_the_system_s_folders_and_never_in_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, programs, here = tmp_path / "Windows", tmp_path / "Programs", tmp_path / "here"
    for path in (system / "System32/sc.exe", programs / "smartmontools/bin/smartctl.exe", here / "winget.exe"):
        path.parent.mkdir(parents=True)
        path.touch()
    (here / "sc.exe").touch()
    winget = programs / "WindowsApps/Microsoft.DesktopAppInstaller_1.24_x64__8wekyb3d8bbwe/winget.exe"
    monkeypatch.chdir(here)
    environment = {"SystemRoot": str(system), "ProgramFiles": str(programs), "PATH": str(here)}
    assert windows_program("sc", environment) == str(system / "System32/sc.exe")
    assert windows_program("smartctl", environment) == str(programs / "smartmontools/bin/smartctl.exe")
    assert windows_program("winget", environment) is None
    winget.parent.mkdir(parents=True)
    winget.touch()
    assert windows_program("winget", environment) == str(winget)
    assert windows_folders({"PATH": str(here)}) == () and windows_folders({"SystemRoot": "."}) == ()
