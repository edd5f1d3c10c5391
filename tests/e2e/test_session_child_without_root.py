"""The same sessions by an agent that is not root: these tests, run as an ordinary account.

The interpreter of the tests may live where nobody else can read; then Debian's own runs them, on a copy of the code.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.session_world import run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="without root, every test is this one")

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("agent", "protocol", "transport", "tests")
NAME = "auxilioplain"
CHOSEN = "privilege or ctrl_c or signal or stubborn or revoking or stock_ssh_gets or kept or not_root_is or login_shell"


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that anybody may read, with the code, and an interpreter that has the same packages."""
    folder = Path(tempfile.mkdtemp(prefix="auxilio-plain-", dir="/tmp"))
    folder.chmod(0o755)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for writable in ("tmp", "var"):
        (folder / writable).mkdir()
        (folder / writable).chmod(0o1777)
    subprocess.run(["userdel", "-r", NAME], capture_output=True, check=False)
    subprocess.run(["useradd", "-m", "-s", "/bin/bash", NAME], check=True, capture_output=True)
    subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)
    yield folder
    subprocess.run(["userdel", "-r", NAME], capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)


def as_plain(*command: str) -> list[str]:
    return ["runuser", "-u", NAME, "--", *command]


def interpreter(place: Path) -> str:
    """One that the account may execute, of this very version, so that compiled packages fit."""
    wanted = f"{sys.version_info.major}.{sys.version_info.minor}"
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    for candidate in (sys.executable, "/usr/bin/python3", f"/usr/bin/python{wanted}"):
        found = subprocess.run(as_plain(candidate, "-c", ask), capture_output=True, text=True, check=False)
        if found.stdout.strip() == wanted:
            subprocess.run([candidate, "-m", "venv", "--without-pip", str(place / "venv")], check=True)
            site = sysconfig.get_path("purelib", vars={"base": str(place / "venv")})
            Path(site, "tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
            subprocess.run(["chmod", "-R", "a+rX", str(place / "venv")], check=True)
            return str(place / "venv" / "bin" / "python")
    pytest.skip(f"no Python {wanted} that an ordinary account may execute")


async def test_sessions_of_an_agent_that_is_not_root(place: Path) -> None:
    python = interpreter(place)
    files = [str(path.relative_to(place)) for path in sorted((place / "tests" / "e2e").glob("test_session_child_*.py"))]
    command = as_plain(
        "env",
        f"TMPDIR={place / 'tmp'}",
        f"PYTHONPATH={place}",
        python,
        *("-m", "pytest", "-o", f"cache_dir={place / 'tmp' / 'cache'}", "-q", "--rootdir", str(place), "-k", CHOSEN),
        *(str(place / file) for file in files),
    )
    status, out, err = await run(command, within_s=400)
    assert status == 0, (out + err).decode(errors="replace")[-4000:]
    assert b" passed" in out
