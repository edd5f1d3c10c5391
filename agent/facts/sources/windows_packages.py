"""The sources on software of Windows. None of this has run on Windows yet."""

from __future__ import annotations

from collections.abc import Callable

from agent.facts.parsers.installed import Installed
from agent.facts.sources.command import run_tool

FIXES = (
    "[Console]::OutputEncoding=[Text.Encoding]::UTF8;"
    "Get-HotFix|ForEach-Object{'HotFixID : '+$_.HotFixID;"
    "if($_.InstalledOn){'InstalledOn : '+$_.InstalledOn.ToString('M/d/yyyy',[cultureinfo]::InvariantCulture)};''}"
)
DEADLINE_S = 20.0


def _uninstall() -> Installed:
    """Of the machine in both views, and of everybody who is logged in or whose settings are loaded."""
    from agent.facts.parsers.windows_software import uninstall_packages
    from agent.platform.windows_registry import uninstall_keys

    return uninstall_packages(uninstall_keys())


def _store() -> Installed:
    from agent.facts.parsers.windows_software import store_packages
    from agent.platform.windows_registry import store_package_names

    return store_packages(store_package_names())


def _fixes() -> Installed:
    from agent.facts.parsers.console_text import text_of
    from agent.facts.parsers.windows_software import parse_fixes

    return parse_fixes(text_of(run_tool(["powershell", "-NoProfile", "-Command", FIXES], deadline_s=DEADLINE_S)))


SYSTEMS: tuple[tuple[str, Callable[[], Installed]], ...] = (
    ("windows", _uninstall),
    ("msix", _store),
    ("windows-update", _fixes),
)
