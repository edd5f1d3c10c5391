"""Become an account and execute its program: what the agent's supervisor runs as `python -I -S posix_launch.py`.

A program of its own, with the standard library alone: between fork and exec a threaded Python may run no code of its
own (subprocess's preexec_fn is documented as unsafe), and a controlling terminal cannot be had without any. It
starts as the agent (root, or the account itself), in a new session and with its descriptors in place, and does what
login(1) does. It takes no input but its arguments, which the supervisor wrote.

    posix_launch.py UID GID GROUPS HOME TERMINAL COUNT [NAME=VALUE...] ARGV0 PROGRAM [ARGUMENT...]
    posix_launch.py UID GID GROUPS HOME TERMINAL COUNT [NAME=VALUE...] - files ROOT HOME rw|ro NOTES

GROUPS: comma-separated, or - to leave them.  TERMINAL: 1 where standard input is the terminal to be controlled by.
COUNT: of the variables that follow, the program's whole environment. Our own is the supervisor's and fixed: what a
client may set must not reach the loader of a process that is still privileged.
The second form executes nothing: it is the file worker (agent.files.worker), imported while our own code can be read,
and begun as the account.
Exit status as in the shell: 126 where the program cannot be executed, 127 where there is none; 125 for the rest.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import termios

TYPE_CHECKING = False  # typing.TYPE_CHECKING without importing typing: each import is a millisecond of a shell's start
if TYPE_CHECKING:
    from collections.abc import Callable

UMASK = 0o022
"""login.defs(5)'s default; the account's own start-up files may change it."""


def main(arguments: list[str]) -> int:
    uid, gid, groups, home, terminal, count, *rest = arguments
    environment = dict(word.split("=", 1) for word in rest[: int(count)])
    argv0, program, *rest = rest[int(count) :]
    serve_files = _file_worker() if argv0 == "-" else None
    try:
        _leave_the_agent_behind()
        if terminal == "1":
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        if groups != "-":
            os.setgroups([int(group) for group in groups.split(",")])
            os.setresgid(int(gid), int(gid), int(gid))
            os.setresuid(int(uid), int(uid), int(uid))
    except (OSError, ValueError) as exc:
        print(f"auxilio: cannot become uid {uid}: {exc}", file=sys.stderr)
        return 125
    _go_home(home)
    if serve_files is not None:
        return serve_files(rest)
    try:
        os.execve(program, [argv0, *rest], environment)  # noqa: S606  # that is the purpose
    except FileNotFoundError:
        print(f"auxilio: {program}: no such program", file=sys.stderr)
        return 127
    except OSError as exc:
        print(f"auxilio: {program}: {exc.strerror}", file=sys.stderr)
        return 126


def _file_worker() -> Callable[[list[str]], int]:
    if not getattr(sys, "frozen", False):
        sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from agent.files.worker import main

    return main


def _leave_the_agent_behind() -> None:
    """Undo what a service manager, the agent or Python set and a login shell must not inherit."""
    os.umask(UMASK)
    for number in signal.valid_signals():
        # Python ignores SIGPIPE and SIGXFSZ, and what is ignored stays so over exec.
        _try(signal.signal, number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _try(os.setpriority, os.PRIO_PROCESS, 0, 0)
    _try(_write, "/proc/self/oom_score_adj", b"0")


def _try(act: Callable[..., object], *arguments: object) -> None:
    """Do what can be done: SIGKILL has no other meaning, another priority needs root, /proc may not be there."""
    try:
        act(*arguments)
    except (OSError, ValueError):
        pass


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def _go_home(home: str) -> None:
    # After the change of user: a home on NFS lets root in nowhere.
    try:
        os.chdir(home)
    except OSError:
        os.chdir("/")
        print(f"auxilio: no home folder {home!r}, starting in /", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
