"""Processes that a technician asked for, from start to the last zombie, and what the kernel says of a process.

A process leads a session (setsid) and a process group of its own. It is waited for without being reaped, so that
its pid, which is also the id of its group and of its session, cannot become somebody else's before we killed what
is left in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

from agent.platform import posix_launch
from agent.platform.posix_terminal import open_terminal
from agent.session.host import Account, Exit, Launch
from protocol.errors import Unavailable

ADMIN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
USER_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
"""Debian's ENV_SUPATH and ENV_PATH (login.defs); start-up files of a login shell extend them."""

LOCALE_FILES = ("/etc/default/locale", "/etc/locale.conf")
FALLBACK_LANG = "C.UTF-8"

HANGUP_GRACE_S = 2.0
"""From SIGHUP to SIGKILL: an editor saves its swap file, a shell its history. A revoked session ends within 5 s."""

KILLED_WITHIN_S = 1.0
KILL_POLL_S = 0.02
"""Whoever is stuck in the kernel (a dead network file system) is left to it after a second: it runs nothing more."""

SIGNALS = frozenset(
    {"ABRT", "ALRM", "FPE", "HUP", "ILL", "INT", "KILL", "PIPE", "QUIT", "SEGV", "TERM", "USR1", "USR2"}
)
"""RFC 4254, section 6.10."""

MAX_LOCALE_BYTES = 4096
PIPE_BYTES = 1024 * 1024


def environment_of(launch: Launch) -> dict[str, str]:
    """What login(1) gives, and what the client may set over it; nothing of the agent's own environment."""
    account = launch.account
    own = {
        "HOME": account.home,
        "USER": account.name,
        "LOGNAME": account.name,
        "SHELL": account.shell,
        "PATH": USER_PATH if account.uid else ADMIN_PATH,
        "MAIL": f"/var/mail/{account.name}",
        "LANG": _system_lang(),
        **launch.environment,
        "AUXILIO_SESSION": launch.session,
    }
    if launch.terminal is not None:
        own["TERM"] = launch.terminal.name or "dumb"
    return own


def _system_lang() -> str:
    for file in LOCALE_FILES:
        try:
            with Path(file).open(encoding="ascii", errors="replace") as lines:
                text = lines.read(MAX_LOCALE_BYTES)
        except OSError:
            continue
        for line in text.splitlines():
            name, _, value = line.partition("=")
            if name.strip() == "LANG" and value.strip('" '):
                return value.strip('" ')
    return FALLBACK_LANG


LAUNCHER_ENVIRONMENT = {"PATH": ADMIN_PATH, "LC_ALL": FALLBACK_LANG}
"""Of the launcher, which has the agent's privilege: the account's environment is handed over as arguments, and only
what is executed as the account gets it."""


def _command_line(launch: Launch, *, is_root: bool, notes: int) -> list[str]:
    """notes: the descriptor on which the file worker writes down what it is asked."""
    account, shell = launch.account, launch.account.shell
    name = os.path.basename(shell)
    if launch.files is not None:
        access = "rw" if launch.files.write else "ro"
        program = ["-", "files", _root_of(launch.files.root, account), account.home, access, str(notes)]
    else:
        program = [f"-{name}", shell] if launch.command is None else [name, shell, "-c", launch.command]
    groups = ",".join(map(str, account.groups)) if is_root else "-"
    terminal = "1" if launch.terminal is not None else "0"
    words = [f"{key}={value}" for key, value in environment_of(launch).items()]
    who = [str(account.uid), str(account.gid), groups, account.home]
    return [*launcher(), *who, terminal, str(len(words)), *words, *program]


def _widen(pipe: int) -> None:
    """Let `pipe` hold a megabyte where the kernel allows it: fewer, larger turns of three processes (pipe(7))."""
    with contextlib.suppress(OSError, AttributeError):  # beyond the account's share of pipes; not Linux
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _root_of(root: str, account: Account) -> str:
    return account.home + root[1:] if root.startswith("~") else root


def launcher() -> list[str]:
    if getattr(sys, "frozen", False):  # one executable holds it all; its entry point dispatches
        return [sys.executable, "session-launch"]
    return [sys.executable, "-I", "-S", str(posix_launch.__file__)]


def start(launch: Launch) -> PosixProcess:
    """Start `launch`. Raises Unavailable where the kernel makes no process or terminal."""
    theirs: list[int] = []
    ours: list[int] = []
    notes: list[int] = []
    try:
        if launch.terminal is not None:
            master, slave = open_terminal(launch.terminal, launch.account)
            ours, theirs = [master], [slave]
            streams = (slave, slave, slave)
        else:
            streams = _pipes(ours, theirs)
        if launch.files is not None:
            notes = list(os.pipe())
            theirs.append(notes.pop())
        process = subprocess.Popen(
            _command_line(launch, is_root=os.geteuid() == 0, notes=theirs[-1]),
            stdin=streams[0],
            stdout=streams[1],
            stderr=streams[2],
            env=LAUNCHER_ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            pass_fds=theirs[3:],
        )
    except (OSError, ValueError) as exc:  # ValueError: a text that this system cannot pass on
        for fd in (*ours, *notes):
            os.close(fd)
        raise _not_started(exc) from exc
    finally:
        for fd in theirs:
            os.close(fd)
    return PosixProcess(process, tuple(ours), notes[0] if notes else None)


def start_own(command: tuple[str, ...]) -> PosixProcess:
    """See agent.session.host.Host."""
    theirs: list[int] = []
    ours: list[int] = []
    try:
        into, out, err = _pipes(ours, theirs)
        process = subprocess.Popen(command, stdin=into, stdout=out, stderr=err, cwd="/", start_new_session=True)
    except (OSError, ValueError) as exc:
        for fd in ours:
            os.close(fd)
        raise _not_started(exc) from exc
    finally:
        for fd in theirs:
            os.close(fd)
    return PosixProcess(process, tuple(ours))


def _pipes(ours: list[int], theirs: list[int]) -> tuple[int, int, int]:
    """Input, output and error of a process; our ends, and its own, are added to the lists as they are made."""
    for inwards in (True, False, False):
        reading, writing = os.pipe()
        ours.append(writing if inwards else reading)
        theirs.append(reading if inwards else writing)
        _widen(reading)
    return theirs[0], theirs[1], theirs[2]


def _not_started(failure: OSError | ValueError) -> Unavailable:
    why = failure.strerror if isinstance(failure, OSError) else failure
    return Unavailable(f"the device cannot start a process: {why}", code="no_process")


class PosixProcess:
    """See agent.session.host.Process."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        descriptors: tuple[int, ...],
        notes: int | None = None,
    ) -> None:
        self._process = process
        self._notes = notes
        self._descriptors = descriptors
        self._waiting: asyncio.Task[Exit] | None = None
        self._reaped = False

    @property
    def pid(self) -> int:
        return self._process.pid

    def take_descriptors(self) -> tuple[int, ...]:
        taken, self._descriptors = self._descriptors, ()
        return taken

    def take_notes(self) -> int | None:
        taken, self._notes = self._notes, None
        return taken

    async def wait(self) -> Exit:
        if self._waiting is None:  # one waits for all: nobody may ask after a pid that was reaped meanwhile
            self._waiting = asyncio.get_running_loop().create_task(wait_unreaped(self.pid))
        return await asyncio.shield(self._waiting)

    @property
    def _exited(self) -> bool:
        return self._waiting is not None and self._waiting.done()

    def signal(self, name: str) -> bool:
        if name not in SIGNALS or self._reaped:
            return False
        return _kill_group(self.pid, signal.Signals[f"SIG{name}"])

    def leaves_behind(self) -> bool:
        return bool(members_of_session(self.pid))

    async def end(self, *, everything: bool) -> None:
        if self._reaped:
            # Its pid stays the id of its session, and nobody else's, for as long as something is in that.
            if everything and not os.path.exists(f"/proc/{self.pid}"):  # noqa: ASYNC240  # procfs never waits
                await _kill_session(self.pid)
            return
        for fd in self.take_descriptors():
            os.close(fd)
        if everything or not self._exited:
            _kill_group(self.pid, signal.SIGHUP)
            _kill_group(self.pid, signal.SIGCONT)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.wait(), HANGUP_GRACE_S)
            _kill_group(self.pid, signal.SIGKILL)
            if everything:
                await _kill_session(self.pid)
            try:
                await asyncio.wait_for(self.wait(), KILLED_WITHIN_S)
            except TimeoutError:
                assert self._waiting is not None
                self._waiting.add_done_callback(lambda _: self._reap())
                return
        self._reap()

    def _reap(self) -> None:
        self._reaped = True
        self._process.wait()


async def wait_for(pidfd: int) -> None:
    """Return when the process has exited. Not twice at a time for one descriptor."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    loop.add_reader(pidfd, complete, done)
    try:
        await done
    finally:
        loop.remove_reader(pidfd)


async def wait_unreaped(pid: int) -> Exit:
    """Return how `pid`, a child of this process, ended, and leave it a zombie."""
    pidfd = os.pidfd_open(pid)
    try:
        await wait_for(pidfd)
    finally:
        os.close(pidfd)
    status = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222  # its pidfd says that it is over
    if status is None or status.si_code == os.CLD_EXITED:
        return Exit(status=status.si_status & 0xFF if status else 255)
    name = signal.Signals(status.si_status).name.removeprefix("SIG")
    return Exit(signal=name, core_dumped=status.si_code == os.CLD_DUMPED)


def complete(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def _kill_group(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except OSError:
        return False
    return True


async def _kill_session(session: int) -> None:
    """Kill what is in `session`, and what it forks meanwhile, and see it dead. Its leader is still a zombie."""
    for _ in range(int(KILLED_WITHIN_S / KILL_POLL_S)):
        members = members_of_session(session)
        if not members:
            return
        for pid in members:
            _kill(pid, signal.SIGKILL)
        await asyncio.sleep(KILL_POLL_S)


def members_of_session(session: int) -> list[int]:
    """The processes whose session (setsid) is `session`. Source: proc(5), /proc/PID/stat, fields 3 and 6."""
    members = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            stat = Path("/proc", name, "stat").read_bytes()
        except OSError:
            continue
        # The command name may hold spaces and parentheses; what follows the last one does not.
        state, _, _, their_session = stat.rpartition(b") ")[2].split(b" ", 4)[:4]
        if int(their_session) == session and state not in (b"Z", b"X"):
            members.append(int(name))
    return members


def status_of(pid: int) -> dict[str, str]:
    """The lines of /proc/PID/status as a mapping. Raises OSError."""
    text = Path("/proc", str(pid), "status").read_text(encoding="ascii", errors="replace")
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
