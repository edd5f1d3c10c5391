"""`auxilio`: where it starts. Errors end here: one line, a hint, a documented exit status, never a traceback.

`proxy` and `known-host` run for every connection of stock ssh, and `completion --words` at every press of TAB: they
start without click and what it brings.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from protocol.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_OK, EXIT_PIPE, EXIT_USAGE, AuxilioError, missing_extra

if TYPE_CHECKING:
    from console.home import Home

MAX_SAID_CHARS = 1000
"""Of an error's line; a hint may carry a path and a command."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; arguments: without the program's name. Returns its exit status, and raises nothing."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    home_option: str | None = None
    try:
        home_option, words = _take_home(words)
        return _dispatch(home_option, words)
    except AuxilioError as error:
        return report(error)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _forget_output()
        return EXIT_PIPE
    except SystemExit as exc:  # argparse's and click's way out of --help
        return exc.code if isinstance(exc.code, int) else EXIT_OK if exc.code is None else EXIT_USAGE
    except BaseException as error:
        return _report_bug(error, home_option)


def _take_home(words: list[str]) -> tuple[str | None, list[str]]:
    """`--home DIR` before the command."""
    if words and words[0].startswith("--home="):
        return words[0].removeprefix("--home="), words[1:]
    if len(words) >= 2 and words[0] == "--home":
        return words[1], words[2:]
    return None, words


def _dispatch(home_option: str | None, words: list[str]) -> int:
    if words[:1] == ["known-host"]:
        from console import known_host

        return known_host.main(lambda: _home(home_option), words[1:])
    from console.home import Home, home_folder

    command = words[0] if words else ""
    if words[:2] == ["completion", "--words"]:
        typed = words[3:] if words[2:3] == ["--"] else words[2:]
        if len(typed) > 2:  # the folder that is being typed is no folder yet
            home_option, typed = _take_home(typed)
        from console import completion

        return completion.main(Home(home_folder(os.environ, home_option)), typed)
    home = _home(home_option)
    if command == "proxy":
        from console import proxy

        return proxy.main(home, words[1:])
    from console.cli import run

    return run(home, words)


def _home(option: str | None) -> Home:
    from console.home import Home, check_folder, home_folder

    home = Home(home_folder(os.environ, option))
    check_folder(home.path)
    return home


def report(error: AuxilioError) -> int:
    """Tell a person what went wrong and what to do: in a line each, whatever is in them."""
    from protocol.text import escape

    print(f"auxilio: {escape(error.message, limit=MAX_SAID_CHARS)}", file=sys.stderr)
    if error.hint:
        print(f"hint: {escape(error.hint, limit=MAX_SAID_CHARS)}", file=sys.stderr)
    return error.exit_status


def _report_bug(error: BaseException, home_option: str | None) -> int:
    from console.home import Home, file_failure, home_folder
    from protocol.text import escape

    if isinstance(error, OSError) and error.filename is not None:
        return report(file_failure(error, Path(os.fsdecode(error.filename))))
    if isinstance(error, ModuleNotFoundError) and (missing := missing_extra(error, "console")) is not None:
        return report(missing)
    log = Home(home_folder(os.environ, home_option)).note_bug(error)
    print(f"auxilio: a bug of ours: {type(error).__name__}: {escape(str(error), limit=200)}", file=sys.stderr)
    if log is not None:
        print(f"hint: {log} has the details that a report needs", file=sys.stderr)
    return EXIT_BUG


def _forget_output() -> None:
    """Nobody reads: keep the interpreter from complaining when it flushes at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(null, descriptor)


if __name__ == "__main__":
    sys.exit(main())
