"""Every parser of software and updates, from bytes, by name: what tests feed with samples, and with anything else."""

from __future__ import annotations

from collections.abc import Callable

from agent.facts.parsers.apk import parse_apk_installed, parse_apk_upgrades
from agent.facts.parsers.apt import parse_apt_list, parse_apt_upgrades
from agent.facts.parsers.console_text import text_of
from agent.facts.parsers.dnf import parse_dnf_advisories, parse_dnf_upgrades
from agent.facts.parsers.dpkg import parse_dpkg_status
from agent.facts.parsers.flatpak import parse_flatpak_list, parse_flatpak_updates
from agent.facts.parsers.homebrew import brew_package
from agent.facts.parsers.installed import EARLIEST, LATEST, MAX_SIZE_KIB, MAX_VALUE_CHARS, Installed, Pending, listed
from agent.facts.parsers.macos_software import parse_applications, parse_receipt
from agent.facts.parsers.nix import parse_nix_paths
from agent.facts.parsers.pacman import parse_pacman_desc, parse_pacman_upgrades
from agent.facts.parsers.program_names import program
from agent.facts.parsers.rpm import parse_rpm_list
from agent.facts.parsers.snap import parse_snap_list, parse_snap_refreshes, parse_snaps
from agent.facts.parsers.softwareupdate import parse_softwareupdate
from agent.facts.parsers.windows_registry import parse_reg
from agent.facts.parsers.windows_software import parse_appx_list, parse_fixes, store_packages, uninstall_packages
from agent.facts.parsers.windows_update import parse_windows_updates, parse_wulist
from agent.facts.parsers.winget import parse_winget_list, parse_winget_upgrades
from agent.facts.parsers.zypper import parse_zypper_patches, parse_zypper_updates
from protocol.codec import encode
from protocol.sections.catalogue import decode_section
from protocol.sections.software import Software
from protocol.sections.updates import Updates

INSTALLED: dict[str, Callable[[bytes], Installed]] = {
    "dpkg": lambda data: parse_dpkg_status(_plain(data).splitlines(keepends=True)),
    "rpm": lambda data: parse_rpm_list(_plain(data)),
    "pacman": lambda data: listed([parse_pacman_desc(_plain(data))]),
    "apk": lambda data: parse_apk_installed(_plain(data).splitlines(keepends=True)),
    "flatpak": lambda data: parse_flatpak_list(_plain(data)),
    "snapd": parse_snaps,
    "snap": lambda data: parse_snap_list(_plain(data)),
    "nix": lambda data: parse_nix_paths(_plain(data)),
    "uninstall": lambda data: uninstall_packages(parse_reg(text_of(data))),
    "full names": lambda data: store_packages(text_of(data).split("\n")),
    "appx": lambda data: parse_appx_list(text_of(data)),
    "fixes": lambda data: parse_fixes(text_of(data)),
    "winget": lambda data: parse_winget_list(text_of(data)),
    "applications": parse_applications,
    "receipt": lambda data: listed([parse_receipt(data)]),
    "homebrew": lambda data: listed([brew_package("a", "1", data)]),
    "file name": lambda data: listed([program(_plain(data), "/opt")]),
}

PENDING: dict[str, Callable[[bytes], Pending]] = {
    "apt": lambda data: parse_apt_upgrades(_plain(data)),
    "apt list": lambda data: parse_apt_list(_plain(data)),
    "dnf": lambda data: parse_dnf_upgrades(_plain(data), parse_dnf_advisories(_plain(data))),
    "zypper": lambda data: parse_zypper_updates(_plain(data)),
    "zypper patches": lambda data: parse_zypper_patches(_plain(data)),
    "pacman -Qu": lambda data: parse_pacman_upgrades(_plain(data)),
    "apk version": lambda data: parse_apk_upgrades(_plain(data)),
    "flatpak updates": lambda data: parse_flatpak_updates(_plain(data)),
    "snap refreshes": parse_snap_refreshes,
    "windows update": parse_windows_updates,
    "wulist": lambda data: parse_wulist(text_of(data)),
    "winget upgrades": lambda data: parse_winget_upgrades(text_of(data)),
    "softwareupdate": lambda data: parse_softwareupdate(_plain(data)),
}


def _plain(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def assert_plausible(found: Installed) -> None:
    """What no system can have, and what cannot be sent."""
    for package in found.packages:
        assert package.name and package.name == package.name.strip() and "\n" not in package.name
        fields = (package.name, package.version, package.architecture, package.source, package.vendor)
        assert all(len(field) <= MAX_VALUE_CHARS for field in fields)
        assert 0 <= package.size_kib <= MAX_SIZE_KIB
        assert package.installed_at is None or EARLIEST <= package.installed_at <= LATEST
    section = Software(systems=("x",), packages=found.packages)
    assert decode_section("software", encode(section)) == section
    section_of_updates = Updates(broken=found.broken, held=found.held)
    assert decode_section("updates", encode(section_of_updates)) == section_of_updates


def assert_plausible_updates(found: Pending) -> None:
    for update in found.updates:
        assert update.name and update.version and update.system
        assert all(len(field) <= MAX_VALUE_CHARS for field in (update.name, update.version, update.origin))
        assert 0 <= update.size_kib <= MAX_SIZE_KIB
    section = Updates(updates=found.updates)
    assert decode_section("updates", encode(section)) == section
