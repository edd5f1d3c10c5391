"""Where software and updates are looked for: in a root of the test's own, with stand-ins for what cannot be here."""

from __future__ import annotations

import json
import os
import socketserver
import stat
import sys
import threading
import types
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from agent.facts import source as source_module
from agent.facts.collectors import software as software_collector
from agent.facts.collectors.software import software_section
from agent.facts.collectors.updates import updates_section
from agent.facts.parsers.restarts import kernel_reasons
from agent.facts.source import Asked, Hung, Missing, Question, Source
from agent.facts.sources import apps, places, restarts
from agent.facts.sources.command import run_tool
from agent.facts.sources.files import read_theirs
from agent.facts.sources.packages import software_version
from agent.facts.sources.unchanged import Kept, stamp_of
from agent.facts.steady import settle
from agent.platform import windows_registry
from protocol.sections.software import Package
from protocol.sections.updates import Updates
from protocol.system_clock import SystemClock
from tests.support.samples import sample

CLOCK = SystemClock()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(places, "ROOT", tmp_path)
    return tmp_path


def asked(platform: str = "linux") -> Asked:
    return Asked(Hung(), CLOCK, CLOCK.monotonic() + 30, platform=platform)


def put(path: Path, data: bytes | str = "", *, mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    path.chmod(mode)
    return path


def said(system: str) -> list[Package]:
    section = software_section(asked())
    assert system in section.systems, section.unavailable
    return [package for package in section.packages if package.system == system]


# -- Linux ------------------------------------------------------------------------------------------------------------


def test_alpine_s_packages_are_found_in_either_of_their_places(root: Path) -> None:
    for place in ("lib/apk/db/installed", "usr/lib/apk/db/installed"):
        path = put(root / place, sample("software", "apk-installed-alpine.txt"))
        assert len(said("apk")) == 14
        path.unlink()


def test_pacman_s_packages_are_found_and_a_damaged_one_hides_no_other(root: Path) -> None:
    local = root / "var/lib/pacman/local"
    put(local / "emacs-29.3-3/desc", sample("software", "pacman-desc-emacs.txt"))
    put(local / "tree-sitter-0.22.6-1/desc", sample("software", "pacman-desc-corrupt.txt"))
    (local / "no-desc-1").mkdir()
    put(local / "ALPM_DB_VERSION", "9\n")
    assert [package.name for package in said("pacman")] == ["emacs"]


def test_homebrew_s_formulas_and_casks_are_found_with_their_tap_and_day(root: Path) -> None:
    cellar = root / "home/linuxbrew/.linuxbrew/Cellar"
    receipt = {"time": 1_700_000_000, "source": {"tap": "homebrew/core"}, "arch": "x86_64"}
    put(cellar / "wget/1.24.5/INSTALL_RECEIPT.json", json.dumps(receipt))
    put(cellar / "wget/1.21.4/INSTALL_RECEIPT.json", "{damaged")
    put(root / "opt/homebrew/Caskroom/firefox/128.0/x", "")
    assert sorted((p.name, p.version, p.source, p.installed_at or 0) for p in said("homebrew")) == [
        ("firefox", "128.0", "", 0),
        ("wget", "1.21.4", "", 0),
        ("wget", "1.24.5", "homebrew/core", 1_700_000_000),
    ]


def test_a_receipt_that_is_no_file_is_not_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root would wait for a pipe's writer without end, start a watchdog, or read what the account may not."""
    cellar = root / "home/linuxbrew/.linuxbrew/Cellar"
    secret = put(root / "secret", json.dumps({"arch": "secret"}))
    names = ("device", "folder", "link", "pipe")
    for name in names:
        (cellar / name / "1").mkdir(parents=True)
    (cellar / "link/1/INSTALL_RECEIPT.json").symlink_to(secret)
    (cellar / "device/1/INSTALL_RECEIPT.json").symlink_to("/dev/tty")
    (cellar / "folder/1/INSTALL_RECEIPT.json").mkdir()
    os.mkfifo(cellar / "pipe/1/INSTALL_RECEIPT.json")
    opened: list[object] = []
    really = os.open
    monkeypatch.setattr(os, "open", lambda path, *args, **kw: opened.append(path) or really(path, *args, **kw))
    assert [(p.name, p.architecture) for p in said("homebrew")] == [(name, "") for name in names]
    assert not [path for path in opened if "INSTALL_RECEIPT" in str(path)], "to open a device may be enough"


def test_a_file_that_is_exchanged_between_the_look_and_the_opening_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, other = put(tmp_path / "file", "mine"), put(tmp_path / "other", "not mine")
    really = os.open

    def exchange(path: Path, *args: Any, **kw: Any) -> int:
        other.replace(file)
        return really(path, *args, **kw)

    assert read_theirs(file, 2) == b"mi"
    monkeypatch.setattr(os, "open", exchange)
    with pytest.raises(OSError, match="another file by now"):
        read_theirs(file)


def test_programs_that_nobody_manages_are_found_where_people_put_them(root: Path) -> None:
    put(root / "home/ana/Downloads/Krita-5.2.2-x86_64.AppImage", "x" * 3000)
    put(root / "home/ana/Downloads/letter.pdf", mode=0o755)
    put(root / "home/ana/.local/bin/tool", mode=0o755)
    put(root / "home/ana/.local/bin/notes.txt")
    put(root / "usr/local/bin/backup-2.1", mode=0o755)
    put(root / "opt/lamp-3.0/bin/lamp", mode=0o755)
    (root / "usr/local/bin/link").symlink_to("/bin/true")
    found = {p.name: (p.version, Path(p.source).relative_to(root).as_posix()) for p in said("files")}
    assert found == {
        "Krita": ("5.2.2", "home/ana/Downloads"),
        "tool": ("", "home/ana/.local/bin"),
        "backup": ("2.1", "usr/local/bin"),
        "lamp": ("3.0", "opt"),
    }
    assert {p.name: p.size_kib for p in said("files")}["Krita"] == 3


def test_people_s_own_flatpaks_are_found_without_running_anything_on_them(root: Path) -> None:
    installation = root / "home/ana/.local/share/flatpak"
    put(installation / ".changed")
    put(installation / "app/org.gimp.GIMP/x86_64/stable/active/deploy", "x")
    put(installation / "app/org.gone.Gone/x86_64/stable/old/x")
    [gimp] = said("flatpak")
    assert (gimp.name, gimp.version, gimp.source) == ("org.gimp.GIMP", "stable", "user")


def test_no_account_hides_what_the_system_has(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root / "var/lib/dpkg/status", "Package: zsh\nStatus: install ok installed\nVersion: 1\n")
    for name in ("ana", "ben"):
        installation = root / "home" / name / ".local/share/flatpak"
        put(installation / ".changed")
        for number in range(60):
            put(installation / f"app/{name}{number:03}/x86_64/stable/active/deploy")
            put(root / "home" / name / f"bin/{name}{number:03}", mode=0o755)
    monkeypatch.setattr(apps, "MAX_THEIRS", 100)
    section = software_section(asked())
    assert len([package for package in section.packages if package.system == "flatpak"]) == 100
    assert len([package for package in section.packages if package.system == "files"]) == 100
    assert "only the first 100" in section.unavailable["flatpak"] and "files" in section.unavailable
    monkeypatch.setattr(software_collector, "MAX_PACKAGES", 50)
    section = software_section(asked())
    assert len(section.packages) == 50 and "zsh" in [package.name for package in section.packages]
    assert "only 50 of 201" in section.unavailable["software"]


def test_the_names_of_people_s_flatpaks_are_bounded_like_others(root: Path) -> None:
    installation = root / "home/ana/.local/share/flatpak"
    put(installation / ".changed")
    put(installation / os.fsdecode(b"app/a\nb\xff/x86_64/stable/active/deploy"))
    assert [package.name for package in said("flatpak")] == ["a b?"]


def test_no_link_of_an_account_s_leads_root_to_a_folder_that_it_may_not_read(root: Path) -> None:
    secret, home = root / "secret", root / "home/ana"
    put(secret / "app/org.secret/x86_64/stable/active/deploy")
    put(secret / "bin/secret", mode=0o755)
    put(home / ".local/share/.changed")
    (home / ".local/share/flatpak").symlink_to(secret)
    (home / "bin").symlink_to(secret / "bin")
    put(home / ".local/bin/own", mode=0o755)
    (root / "home/linuxbrew/.linuxbrew").mkdir(parents=True)
    (root / "home/linuxbrew/.linuxbrew/Cellar").symlink_to(secret)
    (root / "opt/homebrew/Cellar").mkdir(parents=True)
    (root / "opt/homebrew/Cellar/wget").symlink_to(secret / "app")
    assert [package.name for package in software_section(asked()).packages if package.name != "homebrew"] == ["own"]


def test_folders_without_end_are_looked_at_to_a_bound(root: Path) -> None:
    for number in range(700):
        put(root / "usr/local/bin" / f"program{number}", mode=0o755)
    assert len(said("files")) == 500


def test_a_program_s_mode_decides_whether_it_can_be_started(root: Path) -> None:
    path = put(root / "usr/local/bin/tool", mode=0o755)
    assert [package.name for package in said("files")] == ["tool"]
    path.chmod(path.stat().st_mode & ~(stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH))
    put(root / "usr/local/bin/other", mode=0o755)
    assert [package.name for package in said("files")] == ["other"]


SNAPS = {
    "result": [
        {"name": "firefox", "version": "128.0-2", "status": "active", "installed-size": 280_000_000}
        | {"publisher": {"display-name": "Mozilla"}, "tracking-channel": "latest/stable"}
        | {"install-date": "2026-11-01T10:00:00Z"},
        {"name": "firefox", "version": "127.0", "status": "installed"},
        {"name": 5, "version": None},
        "nonsense",
    ]
}
REFRESHES = {"result": [{"name": "firefox", "version": "129.0-1", "download-size": 90_000_000, "channel": "stable"}]}
INFO = {"result": {"refresh": {"last": "2026-11-27T08:00:00+01:00"}}}


REFUSED: set[str] = set()
"""What snapd keeps from whoever is not root."""


class _Snapd(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answers: dict[str, Any] = {"/v2/snaps": SNAPS, "/v2/find?select=refresh": REFRESHES, "/v2/system-info": INFO}
        body = json.dumps(answers[self.path]).encode()
        self.send_response(401 if self.path in REFUSED else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None: ...

    def address_string(self) -> str:
        return "snap"


@pytest.fixture
def snapd(root: Path) -> Iterator[None]:
    (root / "run").mkdir()
    (root / "var/lib/snapd/snaps").mkdir(parents=True)
    with socketserver.UnixStreamServer(str(root / "run/snapd.socket"), _Snapd) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("snapd")
def test_snaps_and_their_refreshes_are_what_snapd_s_socket_says() -> None:
    [firefox] = said("snap")
    assert (firefox.version, firefox.vendor, firefox.source) == ("128.0-2", "Mozilla", "latest/stable")
    assert firefox.size_kib == 273_438 and firefox.installed_at == 1_793_527_200
    section = updates_section(asked())
    assert section.systems == ("snap",) and section.refreshed_at == {"snap": 1_795_762_800}
    [update] = section.updates
    assert (update.name, update.version, update.size_kib) == ("firefox", "129.0-1", 87_891)


@pytest.mark.usefixtures("snapd")
def test_what_snapd_refuses_is_not_known_and_not_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "REFUSED", {"/v2/find?select=refresh"})
    section = updates_section(asked())
    assert section.systems == () and "401" in section.unavailable["snap_updates"]


# -- changes ----------------------------------------------------------------------------------------------------------


def test_what_has_not_changed_is_not_read_again_and_a_failure_is_not_kept(tmp_path: Path) -> None:
    path, reads = put(tmp_path / "database", "1"), []

    def read() -> str:
        reads.append(path.read_text())
        if reads[-1] == "bad":
            raise Missing("damaged")
        return reads[-1]

    kept = Kept(read, lambda: stamp_of([path]))
    assert [kept(), kept()] == ["1", "1"] and len(reads) == 1
    put(path, "22")
    assert kept() == "22" and len(reads) == 2
    put(path, "bad")
    for _ in range(2):
        with pytest.raises(Missing):
            kept()
    put(path, "back")
    assert kept() == "back" and len(reads) == 5


def test_a_package_that_comes_by_any_system_changes_the_version_of_software(root: Path) -> None:
    seen = {software_version()}
    steps: list[Callable[[], object]] = [
        lambda: put(root / "var/lib/dpkg/status", "Package: a\n"),
        lambda: put(root / "var/lib/pacman/local/x-1/desc"),
        lambda: put(root / "usr/local/bin/tool", mode=0o755),
        lambda: put(root / "var/lib/rpm/rpmdb.sqlite", "x"),
        lambda: os.truncate(root / "var/lib/rpm/rpmdb.sqlite", 500),
    ]
    for step in steps:
        step()
        assert software_version() not in seen
        seen.add(software_version())


def test_homes_that_do_not_answer_cost_their_own_source_alone_and_no_watch(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(root / "var/lib/dpkg/status", "Package: a\nStatus: install ok installed\nVersion: 1\n")
    answers = threading.Event()

    def hang() -> list[Path]:
        answers.wait(60)
        return []

    monkeypatch.setattr(apps, "homes", hang)
    assert software_version()
    waiting = Asked(Hung(), CLOCK, CLOCK.monotonic() + 1.0, platform="linux")
    section = software_section(waiting)
    answers.set()
    assert section.systems == ("dpkg",) and [package.name for package in section.packages] == ["a"]
    assert "did not answer" in section.unavailable["flatpak"] and "files" in section.unavailable


def test_lists_that_are_fetched_every_hour_change_the_section_once_a_day() -> None:
    before = Updates(refreshed_at={"dpkg": 1_000_000})
    assert settle(before, Updates(refreshed_at={"dpkg": 1_003_600})) == before
    later = Updates(refreshed_at={"dpkg": 1_000_000 + 90_000, "rpm": 5})
    assert settle(before, later) == later
    assert settle(before, Updates(refreshed_at={"dpkg": 900_000})).refreshed_at == {"dpkg": 900_000}


# -- tools ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(source_module, "PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(source_module, "is_roots", lambda path: True)
    return tmp_path


def script(folder: Path, name: str, text: str) -> None:
    put(folder / name, f"#!/bin/sh\n{text}\n", mode=0o755)


def test_a_tool_runs_in_english_without_input_and_its_status_counts(
    tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGUAGE", "es")
    script(tools, "tool", 'cat; echo "$LC_ALL $LANGUAGE"; exit ${1:-0}')
    assert run_tool(["tool"], deadline_s=20) == b"C.UTF-8 \n"
    assert run_tool(["tool", "100"], deadline_s=20, good=(0, 100)) == b"C.UTF-8 \n"
    script(tools, "bad", "echo the database is damaged >&2; exit 3")
    with pytest.raises(Missing, match="bad ended with status 3: the database is damaged"):
        run_tool(["bad"], deadline_s=20)
    with pytest.raises(Missing, match="the program such-tool is not installed"):
        run_tool(["such-tool"], deadline_s=20)


def test_a_tool_that_hangs_or_has_no_end_is_ended_with_its_children(tools: Path) -> None:
    script(tools, "hangs", "sleep 600 & sleep 600")  # the first holds our pipe: it would keep us waiting if it lived
    with pytest.raises(Missing, match="hangs did not end within"):
        run_tool(["hangs"], deadline_s=0.5)
    script(tools, "endless", "exec yes")
    with pytest.raises(Missing, match="endless prints more than"):
        run_tool(["endless"], deadline_s=60)


def test_a_tool_s_cpu_time_is_its_source_s(tools: Path) -> None:
    script(tools, "busy", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done")
    question = Question(Source(name="busy", ask=lambda: run_tool(["busy"], deadline_s=60)))
    question.start()
    question.join(60)
    assert question.failure is None and question.cpu_s >= question.programs_cpu_s > 0


def test_each_system_s_tool_is_asked_for_its_updates_and_yum_before_dnf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, tools = tmp_path / "root", tmp_path / "tools"
    monkeypatch.setattr(places, "ROOT", root)
    monkeypatch.setattr(source_module, "PATH", f"{tools}:{tmp_path / 'shell'}")
    monkeypatch.setattr(source_module, "is_roots", lambda path: True)
    put(tmp_path / "shell/x")
    for program in ("sh", "cat", "printf"):
        (tmp_path / "shell" / program).symlink_to(f"/bin/{program}")
    put(root / "var/lib/rpm/Packages")
    (root / "var/lib/pacman/local").mkdir(parents=True)
    put(root / "lib/apk/db/installed")
    put(root / "var/cache/apk/APKINDEX.x.tar.gz")
    advisories = "FEDORA-1 Important/Sec. lamp-2-1.x86_64\n"
    rows = "lamp.x86_64  2-1  lab\n"
    script(tools, "yum", f"case $4 in list) printf '{advisories}';; *) printf '{rows}'; exit 100;; esac")
    script(tools, "pacman", "printf 'oil 1-1 -> 1-2\\n'")
    script(tools, "apk", "printf 'wick-1-r0   < 1-r1\\n'")
    section = updates_section(asked())
    assert section.systems == ("rpm", "pacman", "apk"), section.unavailable
    assert [(u.name, u.system, u.version, u.security) for u in section.updates] == [
        ("lamp", "rpm", "2-1", True),
        ("oil", "pacman", "1-2", False),
        ("wick", "apk", "1-r1", False),
    ]
    assert set(section.refreshed_at) == {"apk"}


# -- restarts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("running", "installed", "reason"),
    [
        ("6.1.0-28-amd64", ["6.1.0-28-amd64", "6.1.0-27-amd64"], ""),
        ("6.1.0-9-amd64", ["6.1.0-9-amd64", "6.1.0-10-amd64"], "6.1.0-10-amd64 is installed, 6.1.0-9-amd64 runs"),
        ("6.1.0-9-amd64", ["6.1.0-9-amd64", "6.1.0-10-cloud-amd64"], ""),
        (
            "6.11.4-301.fc41.x86_64",
            ["6.11.4-301.fc41.x86_64", "6.12.4-200.fc41.x86_64"],
            "6.12.4-200.fc41.x86_64 is installed, 6.11.4-301.fc41.x86_64 runs",
        ),
        ("6.10.10-arch1-1", ["6.11.1-arch1-1"], "6.11.1-arch1-1 is installed, 6.10.10-arch1-1 runs"),
        ("6.12.1-arch1-1", ["6.11.1-arch1-1"], "6.12.1-arch1-1 runs and is not installed any more"),
        ("6.18.44-custom", [], ""),
        ("6.18.44-custom", ["6.1.0-28-amd64"], ""),
    ],
)
def test_a_newer_kernel_of_the_same_flavour_waits_for_a_restart(
    running: str, installed: list[str], reason: str
) -> None:
    assert kernel_reasons(running, installed) == ((reason,) if reason else ())


def test_packages_that_ask_for_a_restart_are_named_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root / "run/reboot-required")
    assert restarts.RESTARTS.ask() == ("the system asks for it",)
    put(root / "run/reboot-required.pkgs", "libc6\nlinux-image-amd64\nlibc6\n")
    section = updates_section(asked())
    assert section.restart is True and section.restart_for == ("libc6", "linux-image-amd64")
    (root / "run/reboot-required").unlink()
    monkeypatch.setattr(restarts, "CONTAINER", Source(name="container", ask=lambda: "docker"))
    section = updates_section(asked())
    assert section.restart is None and "container" in section.unavailable["restart"]
    monkeypatch.setattr(restarts, "CONTAINER", Source(name="container", ask=lambda: ""))
    monkeypatch.setattr("platform.release", lambda: "6.1.0-9-amd64")
    put(root / "boot/vmlinuz-6.1.0-10-amd64")
    for name in ("6.1.0-9-amd64", "6.1.0-10-amd64", "6.1.0-11-amd64"):
        (root / "lib/modules" / name).mkdir(parents=True)
    section = updates_section(asked())
    assert section.restart_for == ("6.1.0-10-amd64 is installed, 6.1.0-9-amd64 runs",)


# -- Windows ----------------------------------------------------------------------------------------------------------


class FakeKey:
    def __init__(self, values: dict[str, str | int], children: list[str]) -> None:
        self.values, self.children = values, children

    def __enter__(self) -> FakeKey:
        return self

    def __exit__(self, *args: object) -> None: ...

    def Close(self) -> None: ...


def fake_winreg(tree: dict[tuple[int, str, int], dict[str, str | int]]) -> types.ModuleType:
    """tree: values by hive, path and view. Its functions are Python's, as far as ours are used."""
    module: Any = types.ModuleType("winreg")
    module.HKEY_LOCAL_MACHINE, module.HKEY_USERS, module.KEY_READ = 1, 2, 0x20019
    module.KEY_WOW64_64KEY, module.KEY_WOW64_32KEY = 0x100, 0x200

    def open_key(hive: int, path: str, reserved: int, access: int) -> FakeKey:
        view = access & 0x300
        below = [p for (h, p, v) in tree if h == hive and v == view and p.startswith(f"{path}\\" if path else "")]
        children = sorted({p[len(path) :].lstrip("\\").split("\\")[0] for p in below})
        if (hive, path, view) not in tree and not children:
            raise FileNotFoundError(2, "no such key")
        return FakeKey(tree.get((hive, path, view), {}), children)

    def query(key: FakeKey, name: str) -> tuple[str | int, int]:
        if name not in key.values:
            raise FileNotFoundError(2, "no such value")
        return key.values[name], 1

    module.OpenKey, module.QueryValueEx = open_key, query
    module.QueryInfoKey = lambda key: (len(key.children), len(key.values), 0)
    module.EnumKey = lambda key, index: key.children[index]
    filled: types.ModuleType = module
    return filled


def test_windows_uninstall_keys_of_both_views_and_of_everybody_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, wide, narrow = windows_registry.UNINSTALL, 0x100, 0x200
    account = f"S-1-5-21-1-2-3-1001\\{machine}"
    tree: dict[tuple[int, str, int], dict[str, str | int]] = {
        (1, f"{machine}\\lamp", wide): {"DisplayName": "Lamp", "DisplayVersion": "2.0", "EstimatedSize": 2048},
        (1, f"{machine}\\part", wide): {"DisplayName": "Part", "SystemComponent": 1},
        (1, f"{machine}\\old", narrow): {"DisplayName": "Old", "DisplayVersion": "1", "InstallDate": "20210724"},
        (2, f"{account}\\mine", wide): {"DisplayName": "Mine", "Publisher": "Me"},
        (1, f"{windows_registry.STORE}\\Microsoft.WindowsStore_22210.1401.13.0_x64__8wekyb3d8bbwe", wide): {},
        (1, windows_registry.REBOOT_PENDING[1], wide): {},
        (1, windows_registry.LAST_SEARCH, wide): {"LastSuccessTime": "2026-11-20 10:00:00"},
    }
    monkeypatch.setitem(sys.modules, "winreg", fake_winreg(tree))
    section = software_section(asked("win32"))
    assert [(p.name, p.version, p.architecture, p.vendor, p.size_kib) for p in section.packages] == [
        ("Lamp", "2.0", "", "", 2048),
        ("Microsoft.WindowsStore", "22210.1401.13.0", "x64", "", 0),
        ("Mine", "", "", "Me", 0),
        ("Old", "1", "x86", "", 0),
    ]
    assert section.systems == ("windows", "msix") and "powershell" in section.unavailable["windows-update"]
    assert windows_registry.reboot_reasons() == ("Auto Update",)
    assert windows_registry.last_search() == "2026-11-20 10:00:00"
    updates = updates_section(asked("win32"))
    assert updates.restart is True and "powershell" in updates.unavailable["windows-update_updates"]


def test_on_windows_accounts_keys_take_no_place_of_the_machine_s(monkeypatch: pytest.MonkeyPatch) -> None:
    path = windows_registry.UNINSTALL
    tree: dict[tuple[int, str, int], dict[str, str | int]] = {(1, f"{path}\\lamp", 0x200): {"DisplayName": "Lamp"}}
    for account in ("S-1-5-21-1", "S-1-5-21-2"):
        for number in range(6):
            tree[(2, f"{account}\\{path}\\{number}", 0x100)] = {"DisplayName": f"{account} {number}"}
    monkeypatch.setitem(sys.modules, "winreg", fake_winreg(tree))
    monkeypatch.setattr(windows_registry, "MAX_THEIRS", 8)
    keys = windows_registry.uninstall_keys()
    assert len(keys) == 9 and keys[0].values["displayname"] == "Lamp"
