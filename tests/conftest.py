"""For every test: long ones run when asked for, nothing is quietly left out in CI, and no process stays behind."""

from __future__ import annotations

import os
import re
import secrets
import signal
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path

import hypothesis.configuration
import pytest

from tests.support.effort import LONG

ROOT = Path(__file__).resolve().parents[1]
IN_CI = os.environ.get("CI") == "true"

MARK_VARIABLE = "AUXILIO_TEST_RUN"
"""Every process that a test starts inherits it; a session's shell, whose environment is clean, ends with its agent."""

END_WITHIN_S = 15.0
"""For what was told to end, and does: a relay says goodbye first."""

MISSING = re.compile(r"Skipped: (needs (?!root)|there is no )")
"""How a test's reason for being skipped begins, where a program or package is missing. Root is none."""

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each process of a test would compile every module anew

hypothesis.configuration.set_hypothesis_home_dir(ROOT / "var" / "hypothesis")


LONGEST_FIRST = ("test_console_demo.py", "test_agent_at_a_hostile_relay.py", "test_relay_limits.py")
"""Files of more than a minute, most of it waiting: begun first, so that no worker is left alone with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST_FIRST)
    if not LONG:
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="long: make test-long"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Programs that a test needs are there in CI: a test that is skipped everywhere shows nothing."""
    report = yield
    if IN_CI and report.skipped and isinstance(report.longrepr, tuple) and MISSING.match(report.longrepr[2]):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} may not be skipped in CI: {report.longrepr[2]}"
    return report


@pytest.fixture(scope="session", autouse=True)
def no_process_is_left() -> Iterator[None]:
    """What a test started ends with it. What did not is ended here, and fails the run.  Knows nothing without /proc."""
    mark = f"{MARK_VARIABLE}={secrets.token_hex(8)}"
    os.environ[MARK_VARIABLE] = mark.partition("=")[2]
    yield
    deadline = time.monotonic() + END_WITHIN_S
    while (left := dict(_marked(mark.encode()))) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not left, f"left running: {sorted(left.values())}"


def _marked(mark: bytes) -> Iterator[tuple[int, str]]:
    """Processes that inherited `mark`, and their command lines. Our own environ is that of our start: without it."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                yield int(entry.name), command
