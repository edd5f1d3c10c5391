"""Who may import whom: the contracts of pyproject.toml hold, each of them bites, and real interpreters agree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("protocol", "transport", "agent", "relay", "console")
CONTRACTS: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
    "contracts"
]
FORBIDDEN = [contract for contract in CONTRACTS if contract["type"] == "forbidden"]
LAYERS = [contract for contract in CONTRACTS if contract["type"] == "layers"]

POSIX_ONLY = ("pwd", "grp", "pty", "fcntl", "termios", "tty", "resource", "spwd", "crypt", "nis", "syslog", "readline")

UPWARDS = {
    "protocol": ("transport", "agent", "relay", "console"),
    "transport": ("agent", "relay", "console"),
    "agent": ("relay", "console"),
    "relay": ("agent", "console"),
    "console": ("agent", "relay"),
}

WITHOUT_POSIX = """
import importlib, pkgutil, sys

class Windows:
    def find_spec(self, name, path=None, target=None):
        if name in {posix_only!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

# What the standard library and the libraries import where they run is their own affair.
import asyncio, subprocess, tempfile
import asyncssh, click, picows, psutil, pyrage, rich.console
for name in {posix_only!r}:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Windows())
import agent, console
for package in (agent, console):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        last = module.name.rpartition(".")[2]
        if not (last.startswith("posix") or last.endswith("_posix")):
            importlib.import_module(module.name)
            print(module.name)
"""

PURE = """
import builtins, importlib, pkgutil
import protocol

def watch(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {{}}).get("__name__", "")
    if importer.startswith("protocol") and importer != "protocol.system_clock":
        assert level or name.partition(".")[0] not in {forbidden!r}, f"{{importer}} imports {{name}}"
    return original(name, globals, locals, fromlist, level)

original, builtins.__import__ = builtins.__import__, watch
for module in pkgutil.walk_packages(protocol.__path__, "protocol."):
    importlib.import_module(module.name)
    print(module.name)
"""


def python(code: str) -> list[str]:
    """The lines that a new interpreter prints; what it says on failure is the failure."""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def is_posix_only(path: Path) -> bool:
    return path.name.startswith("posix") or path.name.endswith("_posix.py")


def test_agent_and_console_import_where_posix_only_modules_do_not_exist() -> None:
    imported = set(python(WITHOUT_POSIX.format(posix_only=POSIX_ONLY)))
    files = [path for package in ("agent", "console") for path in (ROOT / package).rglob("*.py")]
    meant = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files if not is_posix_only(path)}
    assert imported == {name for name in meant if not name.endswith("__init__")} | {
        name.removesuffix(".__init__") for name in meant if name.count(".") > 1 and name.endswith("__init__")
    }


def test_posix_only_modules_are_where_one_looks_for_them() -> None:
    found = {path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    named = {path for path in found if is_posix_only(path)}
    assert {path for path in named if path.parent != Path("agent/platform")} == {Path("console/terminal_posix.py")}


def test_protocol_imports_nothing_impure_in_a_real_process() -> None:
    [contract] = [contract for contract in FORBIDDEN if contract["source_modules"] == ["protocol"]]
    assert "protocol.statement" in python(PURE.format(forbidden=tuple(contract["forbidden_modules"])))


# -- every contract bites ---------------------------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def broken(folder: Path) -> dict[str, str]:
    """What lint-imports says of each contract that is broken, by the contract's name."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"],
        cwd=folder,
        env={**os.environ, "COLUMNS": "1000"},  # it wraps, else
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == ("0 broken" in done.stdout), done.stdout + done.stderr
    told = done.stdout.partition("Broken contracts")[2]
    parts = re.split(r"^(.+)\n-{3,}\n", told, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def intrude(folder: Path, module: str, imports: list[str]) -> None:
    """Let `module` import them: in a new module of it, if it is a package."""
    path = folder.joinpath(*module.split("."))
    path = path / "intruder.py" if path.is_dir() else path.with_suffix(".py")
    with path.open("a") as file:
        file.writelines(f"\nimport {name}\n" for name in imports)


def test_every_import_that_a_contract_forbids_is_noticed(copy: Path) -> None:
    for contract in FORBIDDEN:
        for module in contract["source_modules"]:
            intrude(copy, module, contract["forbidden_modules"])
    told = broken(copy)
    assert told.keys() == {contract["name"] for contract in FORBIDDEN}
    for contract in FORBIDDEN:
        for module in contract["source_modules"]:
            for name in contract["forbidden_modules"]:
                assert f"{module} is not allowed to import {name}:" in told[contract["name"]]


def test_every_import_against_the_layers_is_noticed(copy: Path) -> None:
    for package, above in UPWARDS.items():
        intrude(copy, package, [f"{name}.main" if name != "transport" else "transport.tls" for name in above])
    [told] = [text for name, text in broken(copy).items() if name in {contract["name"] for contract in LAYERS}]
    for package, above in UPWARDS.items():
        for name in above:
            assert f"{package} is not allowed to import {name}:" in told
