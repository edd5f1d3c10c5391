"""The parsers of software and updates against what real systems wrote; each file of the kind has its case here."""

from __future__ import annotations

import json
import plistlib
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.facts.parsers.console_text import text_of
from agent.facts.parsers.installed import kib_of_text
from agent.facts.parsers.windows_registry import parse_reg
from agent.facts.parsers.windows_update import SECURITY_UPDATES
from tests.support.samples import sample, samples
from tests.support.software_parsers import INSTALLED, PENDING, assert_plausible, assert_plausible_updates

SOFTWARE: dict[str, tuple[str, int, tuple[str, str, str, int]]] = {
    # file: parser, packages, one of them (name, version, vendor, KiB)
    "apk-installed-alpine.txt": ("apk", 14, ("libcrypto1.1", "1.1.1q-r0", "Timo Teras", 2708)),
    "apk-installed-corrupt.txt": ("apk", 1, ("alpine-baselayout-data", "3.2.0-r22", "", 72)),
    "appx-russian-glpi.txt": ("appx", 8, ("Проводник", "10.0.19041.423", "Microsoft Corporation", 0)),
    "dpkg-status-deinstall.txt": (
        "dpkg",
        1,
        ("linux-image-6.14.0-1012-aws", "6.14.0-1012.12~24.04.1", "Canonical Kernel Team", 15221),
    ),
    "dpkg-status-installed-size-4KB.txt": ("dpkg", 1, ("apt", "1.8.2", "APT Development Team", 0)),
    "dpkg-status-multiple.txt": ("dpkg", 2, ("util-linux", "2.33.1-0.1", "LaMont Jones", 4327)),
    "flatpak-list.txt": ("flatpak", 11, ("com.obsproject.Studio", "stable", "", 0)),
    "nix-list.txt": ("nix", 9, ("python3.6-decorator", "4.0.11", "", 0)),
    "pacman-desc-corrupt.txt": ("pacman", 0, ("", "", "", 0)),
    "pacman-desc-emacs.txt": ("pacman", 1, ("emacs", "29.3-3", "Frederik Schwan", 123465)),
    "rpm-qa-queryformat-glpi.txt": ("rpm", 10, ("gjs", "1.32.0-1.mga2", "Mageia.Org", 173)),
    "snap-list.txt": ("snap", 5, ("kdenlive", "19.08.2", "kde", 0)),
    "spapplications-10.8.txt": ("applications", 136, ("Google Chrome", "49.0.2623.112", "", 0)),
    "spapplications-sample1.txt": ("applications", 204, ("Terminal", "2.1.2", "", 0)),
    "spapplications-sample5.xml": ("applications", 160, ("Acrobat Update Helper", "1 . 2 . 2", "Adobe Inc.", 0)),
    "uninstall-mssql.reg": ("uninstall", 7, ("Mozilla Firefox 57.0.2 (fr)", "57.0.2", "Mozilla", 130689)),
    "uninstall-russian.reg": ("uninstall", 2, ("КриптоПро CSP", "5.0.12000", "Компания КриптоПро", 0)),
    "winget-list-mangled-ellipsis.txt": ("winget", 58, ("Obsidian", "1.1.9", "", 0)),
}

UPDATES: dict[str, tuple[str, int, tuple[str, str, str, bool]]] = {
    # file: parser, updates, one of them (name, version, installed, security)
    "apt-get-s-debian1.txt": ("apt", 0, ("", "", "", False)),
    "apt-get-s-debian2.txt": ("apt", 13, ("libc6", "2.11.3-4", "2.11.3-3", False)),
    "apt-get-s-ubuntu1.txt": ("apt", 5, ("grub-pc", "1.99-21ubuntu3.4", "1.99-21ubuntu3.1", False)),
    "apt-get-sqq-jc.txt": ("apt", 2, ("dpkg", "1.19.8", "1.19.7", True)),
    "dnf-obsoleting-fedora36-excerpt.txt": ("dnf", 0, ("", "", "", False)),
    "dnf5-check-upgrade-obsoleting-fedora44.txt": ("dnf", 5, ("apparmor-libs", "6.0.0~alpha1-1.fc44", "", False)),
    "get-wulist-polish-table.txt": ("wulist", 4, ("Microsoft Silverlight (KB2", "KB2495644", "", False)),
    "softwareupdate-l-10.15-catalina.txt": (
        "softwareupdate",
        2,
        ("Command Line Tools for Xcode", "11.3", "", False),
    ),
    "softwareupdate-l-10.9-mavericks.txt": ("softwareupdate", 5, ("Safari", "7.1", "", False)),
}

FIXES = "wmic-quickfixengineering-xp.txt"

ASKED_OTHERWISE = frozenset(
    {
        "apt-cache-show.txt",
        "dpkg-l-codes.txt",
        "dpkg-l-columns500.txt",
        "dpkg-query-glpi.txt",
        "flatpak-info-obs.txt",
        "rpm-qi-package.txt",
        "snap-info-kdenlive.txt",
    }
)
"""Forms for people, in which no source of ours asks: whatever reads them by mistake takes nothing absurd from them."""


def test_every_recorded_file_of_software_and_updates_has_its_case() -> None:
    for kind, cases in (("software", {*SOFTWARE, *ASKED_OTHERWISE}), ("updates", {*UPDATES, FIXES})):
        names = {path.name for path in samples(kind)}
        assert names <= cases, f"no case in {__name__} for {names - cases}"


@pytest.mark.parametrize("name", SOFTWARE)
def test_a_recorded_list_of_software_is_read_as_it_is_meant(name: str) -> None:
    parser, number, one = SOFTWARE[name]
    found = INSTALLED[parser](sample("software", name))
    assert_plausible(found)
    assert len(found.packages) == number
    if number:
        assert one in [(p.name, p.version, p.vendor, p.size_kib) for p in found.packages]


@pytest.mark.parametrize("name", UPDATES)
def test_a_recorded_list_of_updates_is_read_as_it_is_meant(name: str) -> None:
    parser, number, one = UPDATES[name]
    found = PENDING[parser](sample("updates", name))
    assert_plausible_updates(found)
    assert len(found.updates) == number
    if number:
        assert one in [(u.name, u.version, u.installed, u.security) for u in found.updates]


def test_fixes_of_windows_are_read_with_the_day_they_came() -> None:
    found = INSTALLED["fixes"](sample("updates", FIXES))
    assert_plausible(found)
    numbers = {package.name: package.installed_at for package in found.packages}
    assert len(numbers) == 15 and numbers["KB982665"] == 1_295_092_800 and numbers["KB2079403"] is None


def test_winget_s_cut_names_leave_the_columns_behind_them_in_place() -> None:
    found = PENDING["winget upgrades"](sample("software", "winget-list-mangled-ellipsis.txt"))
    assert ("Teams Machine-Wide Installer", "1.5.0.21668", "1.5.00.28361") in [
        (u.name, u.installed, u.version) for u in found.updates
    ]
    assert len(found.updates) == 5


def test_text_of_a_console_s_code_page_is_read_with_its_accents() -> None:
    assert "é" in text_of(sample("odd", "sqlcmd-cp850-french.txt"))


@pytest.mark.parametrize("name", sorted(ASKED_OTHERWISE))
def test_what_is_written_for_people_yields_nothing_absurd(name: str) -> None:
    data = sample("software", name)
    for parse in INSTALLED.values():
        assert_plausible(parse(data))
    for parse_updates in PENDING.values():
        assert_plausible_updates(parse_updates(data))


# -- forms of which there is no recording ------------------------------------------------------------------------------

SYSTEM_UPDATE = "\tTitle: macOS Sonoma 14.1, Version: 14.1, Size: 3210K, Recommended: YES, Action: restart, \n"
ZYPPER = """\
S | Repository | Name    | Current Version | Available Version | Arch
--+------------+---------+-----------------+-------------------+-------
v | Main       | openssl | 3.1.4-1         | 3.1.4-2           | x86_64
"""
PATCHES = """\
Repository | Name          | Category | Severity  | Interactive | Status | Summary
-----------+---------------+----------+-----------+-------------+--------+--------
Update     | openSUSE-2026 | security | important | reboot      | needed | kernel
"""
WINDOWS_UPDATE = {
    "title": "2026-11 Cumulative Update",
    "kb": ["5044284"],
    "severity": "Critical",
    "size": 734003200,
    "categories": [SECURITY_UPDATES.upper()],
    "restart": 1,
    "id": "x",
}


@pytest.mark.parametrize(
    ("parser", "text", "expected"),
    [
        (
            "apt list",
            "Listing...\nlibssl3/jammy-updates,jammy-security 3.0.2-1 i386 [upgradable from: 3.0.2-0]\n",
            ("libssl3", "3.0.2-1", "3.0.2-0", True, False),
        ),
        ("apt list", "nano/stable 8-1 amd64 [upgradable from: 7-1]\n", ("nano", "8-1", "7-1", False, False)),
        ("apk version", "busybox-1.36.1-r2   < 1.36.1-r5\n", ("busybox", "1.36.1-r5", "1.36.1-r2", False, False)),
        ("apk version", "py3-a-b-2.0_rc1-r0 < 2.0-r0\n", ("py3-a-b", "2.0-r0", "2.0_rc1-r0", False, False)),
        ("pacman -Qu", "linux 6.1-1 -> 6.2-1\nx 1 -> 2 [ignored]\n", ("linux", "6.2-1", "6.1-1", False, False)),
        ("softwareupdate", SYSTEM_UPDATE, ("macOS Sonoma 14.1", "14.1", "", True, True)),
        ("zypper", ZYPPER, ("openssl", "3.1.4-2", "3.1.4-1", False, False)),
        ("zypper patches", PATCHES, ("openSUSE-2026", "1", "", True, True)),
        ("windows update", json.dumps(WINDOWS_UPDATE), ("2026-11 Cumulative Update", "KB5044284", "", True, True)),
        (
            "windows update",
            json.dumps([WINDOWS_UPDATE] * 2),
            ("2026-11 Cumulative Update", "KB5044284", "", True, True),
        ),
        (
            "apt",
            "Inst libssl3:i386 [3.0.2-0] (3.0.2-1 Ubuntu:22.04/jammy-updates, Ubuntu:22.04/jammy-security [i386])\n",
            ("libssl3", "3.0.2-1", "3.0.2-0", True, False),
        ),
    ],
)
def test_updates_in_forms_that_nobody_recorded_are_read_by_their_manuals(
    parser: str, text: str, expected: tuple[str, str, str, bool, bool]
) -> None:
    [update] = PENDING[parser](text.encode()).updates
    assert (update.name, update.version, update.installed, update.security, update.restart) == expected


def test_dnf_s_security_updates_are_those_of_its_advisories() -> None:
    text = (
        "kernel.x86_64   6.2.6-100.fc36   updates\n"
        "a-name-that-is-so-long-that-dnf-wraps.noarch\n                2:1.0-1.fc36   updates\n"
        "FEDORA-2026-1 Important/Sec. a-name-that-is-so-long-that-dnf-wraps-1.0-1.fc36.noarch\n"
        "FEDORA-2026-2 security Critical other-1-1.x86_64 2026-11-01 10:00:00\n"
    )
    found = {update.name: update.security for update in PENDING["dnf"](text.encode()).updates}
    assert found == {"kernel": False, "a-name-that-is-so-long-that-dnf-wraps": True}


def test_an_installer_s_receipt_and_a_store_package_s_name_are_read() -> None:
    receipt = {
        "PackageIdentifier": "org.lamp",
        "PackageVersion": "1.2",
        "InstallDate": datetime.fromisoformat("2026-11-01T12:00:00"),
    }
    [package] = INSTALLED["receipt"](plistlib.dumps(receipt)).packages
    assert (package.name, package.version, package.installed_at) == ("org.lamp", "1.2", 1_793_534_400)
    names = (
        "Microsoft.WindowsStore_22210.1401.13.0_x64__8wekyb3d8bbwe\n"
        "Microsoft.WindowsStore_22210.1401.13.0_neutral_split.language-es_8wekyb3d8bbwe\n"
    )
    [store] = INSTALLED["full names"](names.encode()).packages
    assert (store.name, store.version, store.architecture) == ("Microsoft.WindowsStore", "22210.1401.13.0", "x64")


def test_reg_query_and_reg_export_come_to_the_same_keys() -> None:
    path = "HKEY_LOCAL_MACHINE\\SOFTWARE\\WOW6432Node\\Microsoft\\Windows\\CurrentVersion\\Uninstall\\Lamp"
    queried = f"\n{path}\n    DisplayName    REG_SZ    Lamp \\ Oil\n    EstimatedSize    REG_DWORD    0x10\n"
    exported = f'[{path}]\n"DisplayName"="Lamp \\\\ Oil"\n"EstimatedSize"=dword:00000010\n[-{path}]\n"x"="y"\n'
    assert parse_reg(queried) == parse_reg(exported)
    [package] = INSTALLED["uninstall"](queried.encode()).packages
    assert (package.name, package.architecture, package.size_kib) == ("Lamp \\ Oil", "x86", 16)


@pytest.mark.parametrize(
    ("text", "kib"),
    [
        ("479,7 MB", 491_213),
        ("1.2 GiB", 1_258_291),
        ("224942K", 224_942),
        ("12 bytes", 0),
        ("4\xa0kB", 4),
        ("9e99 GB", 0),
        ("1.2.3 MB", 0),
        ("99999999 TB", 0),
        ("", 0),
        (".", 0),
    ],
)
def test_a_size_in_words_is_read_or_unknown(text: str, kib: int) -> None:
    assert kib_of_text(text) == kib


# -- damaged ----------------------------------------------------------------------------------------------------------

CASES = [("software", name, case[0]) for name, case in SOFTWARE.items()]
CASES += [("updates", name, case[0]) for name, case in UPDATES.items()] + [("updates", FIXES, "fixes")]


@pytest.mark.parametrize(("kind", "name", "parser"), CASES)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_a_damaged_file_is_read_as_far_as_it_goes(kind: str, name: str, parser: str, data: st.DataObject) -> None:
    whole = sample(kind, name)
    begin = data.draw(st.integers(0, max(0, len(whole) - 6000)))
    part = bytearray(whole[begin : begin + 6000] if data.draw(st.booleans()) else whole[:6000])
    for _ in range(data.draw(st.integers(0, 8))):
        at = data.draw(st.integers(0, max(0, len(part) - 1)))
        part[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=6))
    _read(parser, bytes(part[: data.draw(st.integers(0, len(part)))]))


@settings(deadline=None)
@given(st.sampled_from([*INSTALLED, *PENDING]), st.one_of(st.binary(max_size=400), st.text(max_size=300)))
def test_anything_at_all_is_read_without_an_exception(parser: str, anything: bytes | str) -> None:
    _read(parser, anything if isinstance(anything, bytes) else anything.encode("utf-8", "replace"))


def _read(parser: str, data: bytes) -> None:
    if parser in INSTALLED:
        assert_plausible(INSTALLED[parser](data))
    else:
        assert_plausible_updates(PENDING[parser](data))


LONG = 20_000
HOSTILE_LINES = (
    "a.b " + "1-" * LONG + " x y",
    "Inst a [1] (" + "2 " * LONG,
    "Inst a [1] (2 " + "a:" * LONG + " [x]",
    "FEDORA-1 Important/Sec. " + "a.-" * LONG,
    " " * LONG + "Title: " + ", Version: " * 2000,
    " " * LONG + "(" * LONG,
    "    " * LONG + "REG_SZ",
    '"' + "\\\\" * LONG,
    "/nix/store/" + "a" * 32 + "-" + "a-" * LONG,
    "a-1" * LONG + " < 2",
    "a" + "-1.1" * LONG + ".AppImage",
    "x|" * LONG,
)


@pytest.mark.parametrize("line", HOSTILE_LINES, ids=lambda line: line[:16].strip())
def test_a_line_made_to_keep_a_parser_busy_does_not(line: str) -> None:
    for parser in (*INSTALLED, *PENDING):
        _read(parser, line.encode())
