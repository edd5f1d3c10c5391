"""What the kernel says of the session's child and of what a technician gets: no privilege, and the account's alone."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agent.platform.posix_confine import FIRST_UID, NOBODY, SLOTS
from tests.support.session_world import Client, SessionWorld, Technician, run, until

ROOT = Path(__file__).resolve().parents[2]
AS_ROOT = os.geteuid() == 0
# What a child's /proc holds, only root may read; and that its own account may not is a test below.
only_root = pytest.mark.skipif(not AS_ROOT, reason="needs root: it is about giving up root's privileges")


def status_of(pid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/status").read_text()
    return {name: value.strip() for name, value in (line.split(":", 1) for line in text.splitlines())}


def limits_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    return {line[:25].strip(): line[26:46].strip() for line in lines}


async def test_the_child_has_no_privilege_says_the_kernel() -> None:
    async with SessionWorld() as world, world.client() as client:
        await client.run("true")
        [pid] = world.children()
        status = status_of(pid)
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(status[name], 16) == 0, name
        assert status["NoNewPrivs"] == "1"
        if AS_ROOT:
            assert int(status["CapBnd"], 16) == 0
            uids, gids = {int(n) for n in status["Uid"].split()}, {int(n) for n in status["Gid"].split()}
            assert len(uids) == len(gids) == 1
            [uid] = uids
            assert uid in range(FIRST_UID, FIRST_UID + SLOTS) or uid == NOBODY
            with pytest.raises(KeyError):
                pwd.getpwuid(uid)
            assert status["Groups"] == ""


async def test_the_child_may_make_no_process_no_file_and_no_dump() -> None:
    async with SessionWorld() as world, world.client() as client:
        await client.run("true")
        [pid] = world.children()
        limits = limits_of(pid)
        assert limits["Max processes"] == "0"
        assert limits["Max file size"] == "0"
        assert limits["Max core file size"] == "0"
        assert int(limits["Max open files"]) <= 256
        # Not dumpable: its files in /proc are root's, so no process of the same account may trace it either.
        assert os.stat(f"/proc/{pid}/maps").st_uid == 0


@only_root
async def test_each_session_has_a_uid_of_its_own() -> None:
    async with SessionWorld() as world, world.client() as one, world.client() as two:
        await one.run("true")
        await two.run("true")
        uids = {status_of(pid)["Uid"] for pid in world.children()}
        assert len(uids) == 2


@only_root
async def test_the_child_holds_no_descriptor_but_its_own() -> None:
    async with SessionWorld() as world, world.client() as client:
        secret = (world.folder / "secret").open("w")  # it must be open while the child lives
        await client.run("true")
        [pid] = world.children()
        held = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        assert all(re.match(r"/dev/null$|pipe:|socket:|anon_inode:", name) for name in held), held
        secret.close()


@only_root
async def test_the_environment_of_the_child_tells_nothing_of_the_agent_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUXILIO_TEST_SECRET", "hidden")
    async with SessionWorld() as world, world.client() as client:
        assert "AUXILIO_TEST_SECRET" not in str((await client.run("env")).stdout)
        [pid] = world.children()
        assert b"AUXILIO_TEST_SECRET" not in Path(f"/proc/{pid}/environ").read_bytes()


# -- what the shell has -----------------------------------------------------------------------------------------------

FACTS = (
    "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|SigIgn|SigBlk|Umask)' /proc/self/status; id; ulimit -c; pwd; nice"
)


async def facts(client: Client) -> str:
    return str((await client.run(FACTS)).stdout)


async def by_login(name: str) -> str:
    """The same of a login by util-linux, which is what an account has."""
    # From the usual priority, where the tests themselves have another one.
    _, out, _ = await run(["nice", "-n", str(-os.nice(0)), "runuser", "-l", name, "-s", "/bin/sh", "-c", FACTS])
    return out.decode()


@pytest.fixture
def account() -> object:
    """A real account with a supplementary group, removed afterwards."""
    name = "auxiliotest"
    subprocess.run(["userdel", "-r", name], capture_output=True, check=False)
    subprocess.run(["useradd", "-m", "-s", "/bin/sh", "-G", "users,audio", name], check=True, capture_output=True)
    yield name
    subprocess.run(["userdel", "-r", name], capture_output=True, check=False)


@only_root
async def test_a_root_shell_has_what_su_gives_root() -> None:
    async with SessionWorld() as world, world.client() as client:
        assert await facts(client) == await by_login("root")


@only_root
async def test_an_account_s_shell_has_what_su_gives_that_account(account: str) -> None:
    async with SessionWorld() as world:
        world.technician = Technician(world, principals=(account,))
        async with world.client(account=account) as client:
            assert await facts(client) == await by_login(account)
            result = await client.run("test -w /etc/passwd; echo $?; echo $HOME $USER $SHELL; umask")
            assert str(result.stdout).split() == ["1", f"/home/{account}", account, "/bin/sh", "0022"]
            shell = await client.run("tty; stat -c '%U %G %a' $(tty)", term_type="xterm")
            assert str(shell.stdout).split()[1:] == [account, "tty", "620"]


@only_root
@pytest.mark.parametrize(
    ("change", "code"),
    [
        (["usermod", "-s", "/usr/sbin/nologin"], "no_login_shell"),
        (["usermod", "-s", "/no/such/shell"], "no_login_shell"),
        (["usermod", "-e", "2001-01-01"], "account_expired"),
        (["userdel"], "no_such_account"),
    ],
)
async def test_a_closed_account_is_refused_before_and_during_a_session(
    account: str, change: list[str], code: str
) -> None:
    async with SessionWorld() as world:
        world.technician = Technician(world, principals=(account,))
        async with world.client(account=account) as client:
            assert (await client.run("true")).exit_status == 0
            subprocess.run([*change, account], check=True, capture_output=True)
            result = await client.run("true")
            assert result.exit_status == 254
            assert account in str(result.stderr)
        again = world.offer(world.request(account=account))
        assert (await world.refused(again)).code == code


@only_root
async def test_a_locked_password_does_not_close_an_account(account: str) -> None:
    subprocess.run(["usermod", "-L", account], check=True, capture_output=True)
    async with SessionWorld() as world:
        world.technician = Technician(world, principals=(account,))
        async with world.client(account=account) as client:
            assert str((await client.run("id -un")).stdout).strip() == account


async def test_an_agent_that_is_not_root_is_nobody_but_itself() -> None:
    if AS_ROOT:
        return  # tests/e2e/test_session_child_without_root.py runs it as somebody else
    async with SessionWorld() as world:
        world.technician = Technician(world, principals=("admin", "root"))
        refused = await world.refused(world.offer(world.request(account="root")))
        assert refused.code == "not_root"
        assert pwd.getpwuid(os.geteuid()).pw_name in refused.hint
        async with world.client(account="admin") as client:
            assert int(str((await client.run("id -u")).stdout)) == os.geteuid()


async def test_user_means_who_is_logged_in_and_nobody_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.platform.posix_accounts.present_users", lambda: ())
    async with SessionWorld() as world:
        world.technician = Technician(world, principals=("user",))
        refused = await world.refused(world.offer(world.request(account="user")))
        assert refused.code == "user_not_logged_in"


@only_root
async def test_user_is_the_account_at_the_seat(account: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.platform.posix_accounts.present_users", lambda: (account,))
    async with SessionWorld() as world:
        world.technician = Technician(world, principals=("user",))
        async with world.client(account="user") as client:
            assert str((await client.run("id -un")).stdout).strip() == account


# -- strace -----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("strace") is None and os.environ.get("CI") != "true", reason="needs strace")
async def test_the_child_executes_nothing_and_reads_no_code_after_it_gave_up_its_privilege(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    wrapper = tmp_path / "python"
    calls = "execve,execveat,openat,prctl,setresuid"
    # -D: the tracer is the grandchild, so that the pid that the supervisor judges is the traced one.
    wrapper.write_text(f'#!/bin/sh\nexec strace -D -f -qq -e trace={calls} -o {trace}.$$ {sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    async with SessionWorld() as world:
        sys_executable, sys.executable = sys.executable, str(wrapper)
        try:
            session = await world.start()
            await until(lambda: list(tmp_path.glob("trace.*")))
        finally:
            sys.executable = sys_executable
        client = await world.connect(session)
        result = await client.run("echo alive", term_type="xterm")
        assert "alive" in str(result.stdout)
        client.close()
        await world.ended(session)
    [file] = tmp_path.glob("trace.*")
    lines = file.read_text().splitlines()
    executed = [line for line in lines if re.search(r"\bexecve(at)?\(", line)]
    assert len(executed) == 1, executed  # the interpreter itself: no ldconfig, gcc or ld
    at = next(i for i, line in enumerate(lines) if "PR_SET_NO_NEW_PRIVS" in line)
    code = [line for line in lines[at:] if re.search(r"openat.*\.(py|pyc|so)\b", line)]
    assert code == []
