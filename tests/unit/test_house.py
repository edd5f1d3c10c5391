"""The rules of the house that no linter knows: sizes, names, words, owners of tasks, and that the lock fits."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = ("protocol", "guidance", "transport", "agent", "relay", "console")
MAX_LINES = 400

TASK_DRIVERS = {
    "agent/platform/posix_process.py",
    "agent/platform/posix_child.py",
    "agent/session/broker.py",
    "agent/session/channels.py",
    "agent/session/child.py",
    "agent/session/child_channel.py",
    "agent/session/child_forward.py",
    "agent/session/child_pump.py",
    "agent/session/desk.py",
    "agent/session/forwards.py",
    "agent/session/live.py",
    "transport/leg.py",
    "transport/websocket.py",
}
"""Drivers whose tasks live as long as an object of theirs, which keeps them and ends them: no TaskGroup fits."""

CLOCK_READERS = {
    "agent/show.py",
    "agent/state.py",
    "console/demo/processes.py",
    "console/demo/steps.py",
    "protocol/system_clock.py",
    "transport/http.py",
}
"""Modules that measure or wait by the machine's own clock, in no decision."""

NOT_OURS = re.compile(
    r"\b(files\.)?(pypi|pythonhosted|npmjs|debian)\.(org|com)\b"  # where packages come from: each machine's own affair
    r"|(?<![\w/.])/(work|workspace|builds|Users)/"  # where somebody works
    r"|\bssh agent\b",  # it is "ssh-agent"; the agent is ours
    re.IGNORECASE,
)


def tracked() -> list[Path]:
    """Files that git knows or would take: so the rules hold before a commit, too. All, where there is no git."""
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        files = [ROOT / name for name in listed.stdout.splitlines()]
    else:
        files = [path for folder in (*PACKAGES, "tests", "build", "docs") for path in (ROOT / folder).rglob("*.*")]
    return [path for path in files if path.is_file() and not {"vendor", "__pycache__"} & set(path.parts)]


def sources() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in PACKAGES]


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def nodes(tree: ast.Module) -> list[ast.AST]:
    """All of them; walked once."""
    return list(ast.walk(tree))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# -- files and words --------------------------------------------------------------------------------------------------


def test_a_module_can_be_read_at_one_sitting() -> None:
    assert not {name_of(path): n for path in sources() if (n := len(path.read_text().splitlines())) >= MAX_LINES}


def test_no_room_is_named_after_nothing() -> None:
    nothing = re.compile(r"(utils?|helpers?|common|misc|managers?)\.py\Z")
    assert not [name_of(path) for path in sources() if nothing.search(path.name)]


def test_nothing_is_left_for_later() -> None:
    later = re.compile(r"\b(TODO|FIXME|XXX)\b|raise NotImplementedError$|type: ignore(?!\[[\w, -]+\]  #)")
    lines = [(path, *line) for path in sources() for line in enumerate(path.read_text().splitlines(), 1)]
    assert not [f"{name_of(path)}:{number}" for path, number, line in lines if later.search(line)]


def test_every_module_says_what_it_is() -> None:
    assert not [name_of(path) for path in sources() if tree_of(path).body and not ast.get_docstring(tree_of(path))]


def test_no_file_names_where_packages_come_from_or_where_somebody_works() -> None:
    found = {}
    for path in tracked():
        match = NOT_OURS.search(path.read_bytes().decode("utf-8", "replace"))
        if match and path != Path(__file__):
            found[name_of(path)] = match.group()
    assert not found


def test_output_is_ignored_and_build_is_source() -> None:
    def is_ignored(name: str) -> bool:
        command = ["git", "-c", f"safe.directory={ROOT}", "check-ignore", "-q", "--no-index", name]
        return subprocess.run(command, cwd=ROOT, check=False).returncode == 0

    if not (ROOT / ".git").exists():
        pytest.skip("not a clone: there is no git here to be asked")
    assert all(map(is_ignored, ("var/demo", ".venv/bin", "dist/x.whl", "agent/__pycache__/main.pyc")))
    assert not any(map(is_ignored, ("build/setup.sh", "build/x.spec", "requirements.lock", "tests/vectors/x")))


def test_every_make_target_says_what_it_does_and_a_link_in_the_documents_leads_somewhere() -> None:
    makefile = (ROOT / "Makefile").read_text()
    [phony] = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert set(phony.split()) == set(re.findall(r"^([a-z-]+): +## \S", makefile, re.MULTILINE))
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{name_of(page)} -> {link}"


# -- tasks and clocks -------------------------------------------------------------------------------------------------


def task_groups(tree: ast.Module) -> set[str]:
    """The names that `async with TaskGroup() as NAME` binds, and parameters of that type."""
    items = [item for node in nodes(tree) if isinstance(node, ast.AsyncWith) for item in node.items]
    bound = {
        ast.unparse(i.optional_vars) for i in items if i.optional_vars and "TaskGroup" in ast.unparse(i.context_expr)
    }
    arguments = [node for node in nodes(tree) if isinstance(node, ast.arg) and node.annotation]
    return bound | {a.arg for a in arguments if a.annotation and "TaskGroup" in ast.unparse(a.annotation)}


def unowned_tasks(tree: ast.Module) -> list[ast.Call]:
    """Calls that make a task elsewhere than in a TaskGroup."""
    groups = task_groups(tree)
    return [
        call
        for call in nodes(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("create_task", "ensure_future")
        and ast.unparse(call.func.value) not in groups
    ]


def dropped_tasks(tree: ast.Module) -> list[int]:
    """Lines of those whose task nobody keeps: the collector may take it while it runs."""
    statements = [node.value for node in nodes(tree) if isinstance(node, ast.Expr)]
    return [call.lineno for call in unowned_tasks(tree) if any(call is value for value in statements)]


def clock_reads(tree: ast.Module) -> list[int]:
    """Lines that name a function which reads the machine's clock, or waits by it."""
    clock = re.compile(
        r"time\.(time|monotonic|perf_counter|sleep)(_ns)?|(datetime\.)?(datetime|date)\.(now|utcnow|today)"
    )
    dotted = [node for node in nodes(tree) if isinstance(node, ast.Attribute) and not isinstance(node.value, ast.Call)]
    named = [node for node in dotted if re.match(r"time|monotonic|perf|sleep|now|utcnow|today", node.attr)]
    return [node.lineno for node in named if clock.fullmatch(ast.unparse(node))]


@pytest.mark.parametrize(
    ("code", "unowned", "dropped", "clock"),
    [
        ("async with asyncio.TaskGroup() as tasks:\n        tasks.create_task(work())", 0, 0, 0),
        ("asyncio.get_running_loop().create_task(work())", 1, 1, 0),
        ("kept = loop.create_task(work())", 1, 0, 0),
        ("self.task = asyncio.ensure_future(work())", 1, 0, 0),
        ("now = time.time()", 0, 0, 1),
        ("later = loop.call_later(1, time.monotonic)", 0, 0, 1),
        ("at = datetime.datetime.now(UTC)", 0, 0, 1),
    ],
)
def test_the_rules_for_tasks_and_clocks_bite(code: str, unowned: int, dropped: int, clock: int) -> None:
    tree = ast.parse(f"async def f(self, loop):\n    {code}\n")
    assert (len(unowned_tasks(tree)), len(dropped_tasks(tree)), len(clock_reads(tree))) == (unowned, dropped, clock)


def test_tasks_are_owned_and_clocks_are_read_in_drivers_alone() -> None:
    trees = {
        name_of(path): tree_of(path)
        for path in sources()
        if re.search(r"create_task|ensure_future|\btime\b|\bdate(time)?\b", path.read_text())  # the rest is not walked
    }
    assert not {name: lines for name, tree in trees.items() if (lines := dropped_tasks(tree))}
    assert {name for name, tree in trees.items() if unowned_tasks(tree)} == TASK_DRIVERS
    assert {name for name, tree in trees.items() if clock_reads(tree)} == CLOCK_READERS


# -- the lock ---------------------------------------------------------------------------------------------------------


def locked() -> dict[str, Requirement]:
    text = (ROOT / "requirements.lock").read_text()
    found = [Requirement(line.rstrip(" \\")) for line in text.splitlines() if re.match(r"[a-z0-9]", line)]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def test_the_lock_holds_what_the_project_asks_for_by_hash_and_from_nowhere_in_particular() -> None:
    project = PROJECT["project"]
    asked = [*project["dependencies"], *PROJECT["build-system"]["requires"]]
    asked += [line for extra in project["optional-dependencies"].values() for line in extra]
    held = locked()
    for requirement in map(Requirement, asked):
        [pin] = held[canonicalize_name(requirement.name)].specifier
        assert pin.operator == "==" and requirement.specifier.contains(pin.version), requirement
    text = (ROOT / "requirements.lock").read_text()
    assert len(re.findall(r"^[a-z0-9].*\\\n    --hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)) == len(held)
    assert "://" not in text and "--index" not in text and "--find-links" not in text


def imports(tree: ast.Module) -> set[str]:
    """The top-level packages that a module imports, anywhere in it."""
    plain = {alias.name for node in nodes(tree) if isinstance(node, ast.Import) for alias in node.names}
    froms = [node for node in nodes(tree) if isinstance(node, ast.ImportFrom)]
    origins = {node.module for node in froms if node.module and not node.level}
    return {name.partition(".")[0] for name in plain | origins}


@pytest.mark.parametrize(
    ("program", "packages"),
    [
        ("agent", ("agent", "transport", "guidance", "protocol")),
        ("relay", ("relay", "protocol")),
        ("console", ("console", "transport", "guidance", "protocol")),
    ],
)
def test_each_programs_extra_is_enough_for_it(program: str, packages: tuple[str, ...]) -> None:
    """`pip install auxilio[relay]` runs a relay."""
    lines = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"][program]]
    brought = {canonicalize_name(Requirement(line).name) for line in lines}
    wanted = {
        name: name_of(path)
        for path in sources()
        if path.relative_to(ROOT).parts[0] in packages
        for name in imports(tree_of(path)) - {*PACKAGES, *sys.stdlib_module_names}
    }
    assert not {name: where for name, where in wanted.items() if canonicalize_name(name) not in brought}
