"""A shell on a terminal: login shell, size, Ctrl-C, modes, and what is left of it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import pwd
import re
import shlex
import struct
import sys
import termios
from collections.abc import AsyncIterator

import asyncssh

from tests.support.session_world import Client, SessionWorld, until

SHELL = pwd.getpwuid(os.geteuid()).pw_shell


class Screen:
    """A shell on a terminal, typed at and read."""

    def __init__(self, process: asyncssh.SSHClientProcess[str]) -> None:
        self.process = process
        self.seen = ""

    def type(self, text: str) -> None:
        self.process.stdin.write(text)

    async def shows(self, pattern: str) -> re.Match[str]:
        async with asyncio.timeout(60):
            while not (found := re.search(pattern, self.seen)):
                data = await self.process.stdout.read(4096)
                assert data, f"ended before {pattern!r}: {self.seen!r}"
                self.seen += data
        self.seen = self.seen[found.end() :]
        return found

    async def ask(self, command: str) -> str:
        """The output of `command`, between marks that its echo does not contain."""
        self.type(f"echo '<''<'; {command}; echo '>''>'\n")
        return (await self.shows(r"<<\r\n(?s:(.*?))>>\r\n")).group(1).replace("\r\n", "\n").strip()


@contextlib.asynccontextmanager
async def screen(client: Client, **options: object) -> AsyncIterator[Screen]:
    size = options.pop("term_size", (81, 25))
    process = await client.create_process(term_type="xterm-256color", term_size=size, **options)  # type: ignore[arg-type]
    yield Screen(process)
    process.close()


async def test_the_shell_is_a_login_shell_on_a_terminal_of_its_own() -> None:
    async with SessionWorld() as world, world.client() as client, screen(client) as shell:
        assert await shell.ask("echo $0") == f"-{os.path.basename(SHELL)}"
        assert (await shell.ask("tty")).startswith("/dev/pts/")
        assert await shell.ask("echo $TERM") == "xterm-256color"
        assert await shell.ask("stty size") == "25 81"
        # It leads its session, and the terminal controls it: job control works.
        fields = (await shell.ask("cat /proc/$$/stat")).rpartition(")")[2].split()
        pid = await shell.ask("echo $$")
        assert (fields[2], fields[3]) == (pid, pid)
        assert fields[4] != "0"
        assert "no job control" not in shell.seen


# A shell's own trap loses a signal that comes while it runs; this program waits for each.
SHOW_SIZES = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})
while print("rows %d columns %d" % os.get_terminal_size()[::-1], flush=True) is None:
    signal.sigwait({signal.SIGWINCH})
"""


async def test_a_resize_reaches_the_foreground_program() -> None:
    command = shlex.join([sys.executable, "-c", SHOW_SIZES])
    async with SessionWorld() as world, world.client() as client, screen(client, command=command) as shell:
        await shell.shows("rows 25 columns 81")
        shell.process.change_terminal_size(120, 40)
        await shell.shows("rows 40 columns 120")
        shell.process.change_terminal_size(70_000, 2**32 - 1)  # cut to what a terminal can have
        await shell.shows("rows 65535 columns 65535")


async def test_ctrl_c_interrupts_a_flood_of_output() -> None:
    async with SessionWorld() as world, world.client() as client, screen(client) as shell:
        shell.type("echo be''gin; yes\n")
        await shell.shows("begin")
        for _ in range(50):
            await shell.process.stdout.read(65536)
        shell.type("\x03")
        shell.type("echo still ''here\n")
        async with asyncio.timeout(60):
            tail = ""
            while "still here" not in tail:
                tail = (tail + await shell.process.stdout.read(65536))[-1000:]


async def test_ctrl_d_ends_the_shell_with_its_last_status() -> None:
    async with SessionWorld() as world, world.client() as client, screen(client) as shell:
        # A control-D typed before readline reads would be a NUL to it: each is typed at a prompt.
        shell.type("PS1='rea''dy> '\n")
        await shell.shows("ready> ")
        shell.type("(exit 5)\n")
        await shell.shows("ready> ")
        shell.type("\x04")
        async with asyncio.timeout(60):
            assert (await shell.process.wait()).exit_status == 5


async def test_a_background_process_does_not_hold_the_terminal_open() -> None:
    async with SessionWorld() as world, world.client() as client, screen(client) as shell:
        shell.type("nohup sleep 1000 & exit 3\n")
        async with asyncio.timeout(20):
            assert (await shell.process.wait()).exit_status == 3


async def test_a_command_on_a_terminal_ends_with_all_of_its_output() -> None:
    async with SessionWorld() as world, world.client() as client:
        for _ in range(10):
            result = await client.run("seq 1 2000; exit 6", term_type="vt100", stderr=asyncssh.STDOUT)
            lines = str(result.stdout).split()
            assert (lines[0], lines[-1], len(lines), result.exit_status) == ("1", "2000", 2000, 6)


async def test_modes_that_the_client_asks_for_are_set() -> None:
    modes = {asyncssh.PTY_ECHO: 0, asyncssh.PTY_ONLCR: 0, asyncssh.PTY_VINTR: 0x18, 77: 1}
    async with SessionWorld() as world, world.client() as client:
        result = await client.run("stty -a", term_type="xterm", term_modes=modes)
        shown = str(result.stdout)
        assert "intr = ^X" in shown
        assert " -echo " in shown
        assert "-onlcr" in shown
        assert "\r" not in shown


async def test_a_terminal_name_that_is_a_path_is_no_terminal_name() -> None:
    async with SessionWorld() as world, world.client() as client:
        result = await client.run("echo $TERM", term_type="../../tmp/evil")
        assert str(result.stdout).strip() == "dumb"


async def test_a_shell_ends_when_its_technician_is_gone() -> None:
    async with SessionWorld() as world:
        session = await world.start()
        client = await world.connect(session)
        shell = Screen(await client.create_process(term_type="xterm"))
        pid = int(await shell.ask("echo $$"))
        client.abort()
        await world.ended(session)
        assert not os.path.exists(f"/proc/{pid}")


async def test_stock_ssh_s_terminal_is_resized_and_interrupted() -> None:
    async with SessionWorld() as world:
        script = "trap 'echo size $(stty size)' WINCH; trap 'echo inter''rupted; exit 9' INT; echo re''ady; "
        command = await world.stock_ssh("-tt", script + "while :; do sleep 0.05; done")
        pid, master = pty.fork()
        if pid == 0:
            os.execvp(command[0], command)
        os.set_blocking(master, False)
        seen = ""

        def shows(text: str) -> bool:
            nonlocal seen
            with contextlib.suppress(OSError):
                seen += os.read(master, 65536).decode()
            return text in seen

        await until(lambda: shows("ready"))
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
        await until(lambda: shows("size 33 99"))
        os.write(master, b"\x03")
        await until(lambda: shows("interrupted"))
        status = await asyncio.to_thread(os.waitpid, pid, 0)
        os.close(master)
        assert os.waitstatus_to_exitcode(status[1]) == 9
