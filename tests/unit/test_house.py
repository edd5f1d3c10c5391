"""The rules of the house, and that they bite."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("protocol", "transport", "agent", "relay", "console")
MAX_LINES = 400

POSIX_ONLY = ("pwd", "grp", "pty", "fcntl", "termios", "tty", "resource", "spwd", "crypt", "nis", "syslog")

WITHOUT_POSIX = """
import importlib, pkgutil, sys

class Windows:
    def find_spec(self, name, path=None, target=None):
        if name in {posix_only!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
        return None

for name in {posix_only!r}:
    sys.modules.pop(name, None)
import asyncio, subprocess, tempfile  # the standard library's own imports of them are its own affair
import asyncssh, psutil, click, rich.console, picows  # and so are the libraries'
for name in {posix_only!r}:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Windows())
import agent, console
seen = 0
for package in (agent, console):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if ".posix_" in module.name or module.name.endswith("_posix"):
            continue
        importlib.import_module(module.name)
        seen += 1
print(seen)
"""

PURE = """
import importlib, pkgutil, sys
before = set(sys.modules)
import protocol
for module in pkgutil.walk_packages(protocol.__path__, "protocol."):
    if module.name != "protocol.system_clock":
        importlib.import_module(module.name)
print(" ".join(sorted(set(sys.modules) - before)))
"""


def tracked() -> list[Path]:
    """Files that git knows or would take, so that the test also holds before a commit."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [ROOT / name for name in listed if (ROOT / name).is_file() and "/vendor/" not in name]


def sources() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in PACKAGES]


def python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_a_module_can_be_read_at_one_sitting() -> None:
    long = {str(path): count for path in sources() if (count := len(path.read_text().splitlines())) > MAX_LINES}
    assert not long


def test_no_room_is_named_after_nothing() -> None:
    names = re.compile(r"(utils|helpers|common|misc|manager)\.py\Z")
    assert not [path for path in sources() if names.search(path.name)]


def test_nothing_is_left_for_later() -> None:
    later = re.compile(r"\b(TODO|FIXME|XXX)\b|raise NotImplementedError$|type: ignore(?!\[)")
    found = [
        f"{path}:{number}"
        for path in sources()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if later.search(line)
    ]
    assert not found


def test_every_module_says_what_it_is() -> None:
    mute = [path for path in sources() if path.read_text().strip() and not path.read_text().startswith('"""')]
    assert not mute


def test_no_file_names_a_registry_or_the_folder_it_was_written_in() -> None:
    hosts = re.compile(r"\b(pypi|files\.pythonhosted|registry\.npmjs|deb\.debian)\.org\b")
    for path in tracked():
        text = path.read_bytes().decode("utf-8", "ignore")
        assert path == Path(__file__) or not hosts.search(text), path
        assert f"{ROOT}/" not in text, path


def test_agent_and_console_import_where_posix_only_modules_do_not_exist() -> None:
    assert int(python(WITHOUT_POSIX.format(posix_only=POSIX_ONLY))) > 40


def test_protocol_loads_nothing_that_does_io_of_its_own_accord() -> None:
    loaded = set(python(PURE).split())
    assert "protocol.policy" in loaded
    assert not loaded & {"asyncio", "socket", "subprocess", "sqlite3", "aiohttp", "asyncssh", "picows", "psutil"}


VIOLATIONS = [
    ("protocol/ids.py", "import socket"),
    ("protocol/ids.py", "import time"),
    ("protocol/ids.py", "import transport.http"),
    ("transport/tls.py", "import agent.state"),
    ("transport/tls.py", "import asyncssh"),
    ("agent/state.py", "import relay.config"),
    ("agent/state.py", "import asyncssh"),
    ("agent/state.py", "import pwd"),
    ("agent/state.py", "import sqlalchemy"),
    ("agent/reporting.py", "import asyncio"),
    ("relay/config.py", "import transport.tls"),
    ("relay/config.py", "import console.home"),
    ("console/home.py", "import agent.state"),
    ("console/home.py", "import termios"),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("house")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def keeps_contracts(folder: Path) -> bool:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0


def test_the_import_rules_hold_and_each_of_them_bites(copy: Path) -> None:
    assert keeps_contracts(copy)
    # One broken rule at a time would take a minute; all together would hide one that never bites. So: by package.
    for name in {name for name, _ in VIOLATIONS}:
        path = copy / name
        original = path.read_text()
        for line in [line for n, line in VIOLATIONS if n == name]:
            path.write_text(original + f"\n{line}\n")
            assert not keeps_contracts(copy), f"{line} in {name} went unnoticed"
        path.write_text(original)
