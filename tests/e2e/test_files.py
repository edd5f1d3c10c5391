"""Files over a session by the tools that people have: sftp, scp and rsync, as the account and within the policy."""

from __future__ import annotations

import asyncio
import hashlib
import os
import pwd
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from protocol.policy import FilesRule
from tests.support.effort import LONG
from tests.support.session_world import SessionWorld, Technician, run, until

MIB = 1024 * 1024
BULK_BYTES = (256 if LONG else 24) * MIB
FILES = ("files",)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="other accounts need root")


class FilesWorld(SessionWorld):
    """Its technician may do what a session asks for."""

    async def __aenter__(self) -> FilesWorld:
        await super().__aenter__()
        self.technician = Technician(self, may="shell,files")
        return self

    async def tool(self, tool: str, *arguments: str, **changes: object) -> tuple[int, bytes, bytes]:
        """Run stock sftp or scp (`device:` is the device) on a new session."""
        ssh = await self.stock_ssh("unused", **{"capabilities": FILES, **changes})
        options = ssh[1:-2]  # without the command's name, its host and the remote command
        options[options.index("-p")] = "-P"
        words = [word.replace("device:", "127.0.0.1:") for word in arguments]
        return await run([tool, *options, *words])


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree(root: Path) -> dict[str, tuple[int, int, str]]:
    """Mode, mtime in whole seconds, and content of each file below `root`."""
    return {
        str(path.relative_to(root)): (
            stat.S_IMODE(path.lstat().st_mode),
            int(path.lstat().st_mtime),
            digest(path) if path.is_file() else "",
        )
        for path in sorted(root.rglob("*"))
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with what folders have: depth, modes, times, odd names, an empty file, a large one."""
    root = tmp_path / "source"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "empty").touch()
    (root / "deep" / "er" / "tool").write_bytes(b"#!/bin/sh\n")
    (root / "deep" / "er" / "tool").chmod(0o750)
    (root / "with space and ñ").write_text("hola")
    (root / "bulk").write_bytes(os.urandom(MIB) * (BULK_BYTES // MIB))
    for path in root.rglob("*"):
        os.utime(path, (1_600_000_000, 1_600_000_000))
    return root


async def test_scp_copies_a_folder_there_and_back_by_sftp(source: Path, tmp_path: Path) -> None:
    async with FilesWorld() as world:
        there, back = tmp_path / "there", tmp_path / "back"
        assert await world.tool("scp", "-q", "-r", "-p", str(source), f"device:{there}") == (0, b"", b"")
        assert await world.tool("scp", "-q", "-r", "-p", f"device:{there}", str(back)) == (0, b"", b"")
        assert tree(there) == tree(source) == tree(back)
        # By SFTP: nothing was started on the device but the file worker.
        assert {entry["kind"] for entry in world.log.of("channel_open")} == {"sftp"}


async def test_the_old_scp_protocol_is_a_command_and_so_needs_the_right_to_a_shell(
    source: Path, tmp_path: Path
) -> None:
    async with FilesWorld() as world:
        status, _, said = await world.tool("scp", "-O", "-q", str(source / "empty"), f"device:{tmp_path}/never")
        assert status != 0 and b"`shell`" in said
        assert not (tmp_path / "never").exists()


async def test_sftp_does_what_a_day_s_work_needs(source: Path, tmp_path: Path) -> None:
    batch = tmp_path / "batch"
    work = tmp_path / "work"
    work.mkdir()
    batch.write_text(
        f"cd {work}\nput {source}/bulk\nput -p {source}/deep/er/tool\nrename tool tool2\nchmod 700 tool2\nmkdir sub\n"
        f"symlink sub link\nls -la\ndf\nput {source}/empty sub/empty\nrm sub/empty\nrmdir sub\npwd\n"
        f"get bulk {tmp_path}/got\n"
    )
    async with FilesWorld() as world:
        status, out, err = await world.tool("sftp", "-q", "-b", str(batch), "device:")
        assert (status, err) == (0, b"")
        assert f"Remote working directory: {work}".encode() in out
        assert sorted(os.listdir(work)) == ["bulk", "link", "tool2"]
        assert stat.S_IMODE((work / "tool2").stat().st_mode) == 0o700
        assert int((work / "tool2").stat().st_mtime) == 1_600_000_000
        assert digest(tmp_path / "got") == digest(source / "bulk")
        noted = [(entry["operation"], entry["path"]) for entry in world.log.of("file")]
        assert ("write", f"{work}/bulk") in noted and ("read", f"{work}/bulk") in noted
        assert ("remove", f"{work}/sub/empty") in noted


async def test_an_interrupted_sftp_transfer_is_resumed(source: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes((source / "bulk").read_bytes()[: 5 * MIB + 17])
    batch = tmp_path / "batch"
    batch.write_text(f"reput {source}/bulk {part}\n")
    async with FilesWorld() as world:
        assert (await world.tool("sftp", "-q", "-b", str(batch), "device:"))[0] == 0
        assert digest(part) == digest(source / "bulk")


async def test_rsync_works_by_the_right_to_a_shell(source: Path, tmp_path: Path) -> None:
    async with FilesWorld() as world:
        ssh = await world.stock_ssh("unused")
        shell = " ".join(ssh[:-2])
        command = ["rsync", "-a", "-e", shell, f"{source}/", f"127.0.0.1:{tmp_path}/copy/"]
        assert await run(command) == (0, b"", b"")
        assert tree(tmp_path / "copy") == tree(source)


@pytest.fixture
def account(tmp_path: Path) -> Iterator[pwd.struct_passwd]:
    name = f"aux{os.getpid() % 100_000}"
    subprocess.run(["useradd", "-m", "-s", "/bin/sh", name], check=True, capture_output=True)
    try:
        yield pwd.getpwnam(name)
    finally:
        subprocess.run(["userdel", "-r", "-f", name], check=True, capture_output=True)


@needs_root
async def test_files_are_served_by_a_process_of_the_account_and_of_nobody_else(account: pwd.struct_passwd) -> None:
    async with FilesWorld() as world:
        world.technician = Technician(world, may="files", principals=(account.pw_name,))
        async with world.client(capabilities=FILES, account=account.pw_name) as client:
            sftp = await client.start_sftp_client()
            async with sftp.open("mine", "w") as file:
                await file.write("mine")
            assert await sftp.realpath(".") == account.pw_dir
            mine = Path(account.pw_dir, "mine")
            assert (mine.stat().st_uid, mine.stat().st_gid) == (account.pw_uid, account.pw_gid)
            with pytest.raises(asyncssh.SFTPPermissionDenied):
                await sftp.open("/etc/shadow", "rb")
            with pytest.raises(asyncssh.SFTPPermissionDenied):
                await sftp.open("/etc/new", "w")
            ours = [line for line in _status_of_workers() if f"Uid:\t{account.pw_uid}" in line]
            assert len(ours) == 1
            uids = next(line for line in ours[0].splitlines() if line.startswith("Uid:")).split()[1:]
            assert set(uids) == {str(account.pw_uid)}
            assert "CapEff:\t0000000000000000" in ours[0] and "NoNewPrivs:\t1" in ours[0]


def _status_of_workers() -> list[str]:
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if b"\0-\0files\0" in (folder / "cmdline").read_bytes():
                found.append((folder / "status").read_text())
        except OSError:
            continue
    return found


async def test_a_session_without_the_capability_gets_no_files(tmp_path: Path) -> None:
    async with FilesWorld() as world:
        status, _, said = await world.tool("sftp", "-q", "-b", "/dev/null", "device:", capabilities=("shell",))
        assert status != 0 and b"`files`" in said
        (refusal,) = world.log.of("channel_refused")
        assert (refusal["kind"], refusal["code"]) == ("sftp", "no_capability")


async def test_the_policy_holds_files_to_a_folder_by_tag(tmp_path: Path, source: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "inside").write_text("inside")
    (tmp_path / "secret").write_text("secret")
    rules = (FilesRule(where="tag:lab", root=str(shared)), FilesRule(where="all", root="/nowhere"))
    async with FilesWorld(files=rules) as world, world.client(capabilities=FILES) as client:
        sftp = await client.start_sftp_client()
        assert await sftp.realpath(".") == "/"
        assert await sftp.listdir("/") == ["inside"]
        for path in ("../secret", str(tmp_path / "secret")):
            with pytest.raises(asyncssh.SFTPNoSuchFile):
                await sftp.open(path, "rb")
        world.publish(files=(FilesRule(where="all", root=str(shared), write=False),))
        async with client.start_sftp_client() as reader:  # each worker is held to the policy of its moment
            async with reader.open("inside", "rb") as file:
                assert await file.read() == b"inside"
            with pytest.raises(asyncssh.SFTPPermissionDenied):
                await reader.remove("inside")


async def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    rules = (FilesRule(where="all", root=str(tmp_path / "missing")),)
    async with FilesWorld(files=rules) as world:
        status, _, said = await world.tool("sftp", "-q", "-b", "/dev/null", "device:")
        assert status != 0 and b"cannot be served: No such file" in said


async def test_a_revocation_ends_a_transfer_and_the_worker(source: Path, tmp_path: Path) -> None:
    async with FilesWorld() as world:
        async with world.client(capabilities=FILES) as client:
            sftp = await client.start_sftp_client()
            assert _status_of_workers()
            transfer = asyncio.ensure_future(_endless_reads(sftp, source / "bulk"))
            await until(lambda: world.log.of("file"))
            world.desk.revoke()
            with pytest.raises((asyncssh.Error, OSError)):
                await transfer
        (ended,) = await until(lambda: world.log.of("session_ended") or None)
        assert ended["reason"] == "consent_revoked"
        await until(lambda: not _status_of_workers())


async def _endless_reads(sftp: asyncssh.SFTPClient, path: Path) -> None:
    async with sftp.open(str(path), "rb") as file:
        while True:
            await file.read(MIB, 0)


async def test_a_log_names_some_hundreds_of_files_and_counts_the_rest(tmp_path: Path) -> None:
    async with FilesWorld() as world:
        async with world.client(capabilities=FILES) as client:
            sftp = await client.start_sftp_client()
            for number in range(520):
                await sftp.mkdir(str(tmp_path / str(number)))
        await until(lambda: world.log.of("files_more"))
        assert len(world.log.of("file")) == 500
        assert world.log.of("files_more")[0]["count"] == 20


async def test_many_files_in_flight_do_not_outgrow_the_child(tmp_path: Path) -> None:
    """A client that asks for 64 MiB at once and reads nothing: the worker waits, and nothing piles up."""
    (tmp_path / "zeros").write_bytes(bytes(4 * MIB))
    async with FilesWorld() as world, world.client(capabilities=FILES) as client:
        sftp = await client.start_sftp_client()
        async with sftp.open(str(tmp_path / "zeros"), "rb") as file:
            got = await asyncio.gather(*(file.read(4 * MIB, 0) for _ in range(16)))
        assert {hashlib.sha256(data).hexdigest() for data in got} == {hashlib.sha256(bytes(4 * MIB)).hexdigest()}
        (child,) = world.children()
        peak = next(line for line in Path(f"/proc/{child}/status").read_text().splitlines() if "VmHWM" in line)
        assert int(peak.split()[1]) < 160 * 1024
