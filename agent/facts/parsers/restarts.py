"""Whether what is installed waits for a restart: from the names of kernels, and from what systems say of themselves."""

from __future__ import annotations

import re
from collections.abc import Collection

from agent.facts.parsers.installed import value
from protocol.versions import compare

MAX_REASONS = 50


def kernel_reasons(running: str, installed: Collection[str]) -> tuple[str, ...]:
    """running: of uname -r.  installed: kernels that could be started, by the same names.

    One of another flavour (amd64, cloud-amd64, lts) is no successor: somebody chose the one that runs.
    """
    if not running or not installed:
        return ()
    alike = [release for release in installed if _flavour(release) == _flavour(running)]
    newest = running
    for release in alike:
        if compare(release, newest, "kernel") > 0:
            newest = release
    if newest != running:
        return (f"{value(newest)} is installed, {value(running)} runs",)
    if running not in installed and alike:
        return (f"{value(running)} runs and is not installed any more",)
    return ()


def _flavour(release: str) -> str:
    """A name without its numbers: "6.1.0-28-cloud-amd64" is "--cloud-amd"."""
    return re.sub(r"[0-9.+~]+", "", release)


def parse_reboot_packages(text: str) -> tuple[str, ...]:
    """/run/reboot-required.pkgs: a package a line, each as often as it asked. Source: update-notifier."""
    names = [value(line) for line in text.splitlines()]
    return tuple(dict.fromkeys(name for name in names if name))[:MAX_REASONS]
