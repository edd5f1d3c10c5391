"""How this console was started, so that ssh can start it again. Impure: looks at argv and the environment."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from console.home import Home, home_folder


def own_command(home: Home) -> list[str]:
    """Words that start this very console with this home: absolute, independent of folder and environment."""
    command = own_program()
    if home.path != home_folder({}):
        command += ["--home", str(home.path)]
    return command


def shown(path: Path) -> str:
    """A path as a person types it: from the current folder where it is inside that."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def shown_program(name: str) -> str:
    """What a person types to start one of our programs: its name where the shell finds this very one, else its path."""
    beside = Path(sys.executable).with_name(name)
    found = shutil.which(name)
    if not beside.exists() or (found is not None and Path(found).absolute() == beside):
        return name
    return shown(beside)


def own_program() -> list[str]:
    """Words that start this very console, whatever the folder."""
    if getattr(sys, "frozen", False):
        return [sys.executable]
    started = Path(sys.argv[0])
    if started.name in ("auxilio", "auxilio.exe"):
        found = started if started.is_absolute() else Path(shutil.which(sys.argv[0]) or started).absolute()
        if found.exists():
            return [str(found)]
    beside = Path(sys.executable).with_name("auxilio")
    if beside.exists():
        return [str(beside)]
    # From a source tree, where nothing is installed: the tree has to be found from any folder.
    source = Path(__file__).resolve().parent.parent
    return [sys.executable, "-c", _start_from(source)]


def _start_from(source: Path) -> str:
    return f"import sys; sys.path.insert(0, {str(source)!r}); from console.main import main; sys.exit(main())"
