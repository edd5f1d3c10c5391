"""Installed without an extra, a program says which one: one line, a hint, and no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.errors import EXIT_CONFIG, OWN_PACKAGES, missing_extra
from tests.support.agent_state import NO_RELAY
from tests.support.organisation import Organisation
from tests.unit.test_house import PACKAGES, ROOT


@pytest.mark.parametrize(
    ("program", "package", "words"),
    [
        ("console", "click", ["devices"]),
        ("relay", "sqlalchemy", ["check"]),
        ("agent", "h11", ["join", Organisation(NO_RELAY).join_token().text()]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_program_without_its_extra_names_it(program: str, package: str, words: list[str], tmp_path: Path) -> None:
    start = f"import sys; sys.modules[{package!r}] = None; sys.argv[1:] = {words!r}; from {program}.main import main"
    done = subprocess.run(
        [sys.executable, "-c", f"{start}; sys.exit(main())"],
        cwd=ROOT,
        env={**os.environ, "AUXILIO_AGENT_STATE": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        check=False,
    )
    line, hint = done.stderr.splitlines()
    assert done.returncode == EXIT_CONFIG
    assert f": the Python package {package} is not installed here" in line
    assert hint == f"hint: Install Auxilio with its extra `{program}`: pip install 'auxilio[{program}]'"


def test_a_missing_module_of_our_own_is_a_bug() -> None:
    assert set(PACKAGES) == OWN_PACKAGES
    assert missing_extra(ModuleNotFoundError("no", name="agent.session.nothing"), "agent") is None
    assert missing_extra(ModuleNotFoundError("no"), "agent") is None
