"""Commands over a session: exit status, signals, streams apart and whole, by asyncssh and by stock ssh."""

from __future__ import annotations

import asyncio
import hashlib
import os

import asyncssh
import pytest

from tests.support.effort import LONG
from tests.support.session_world import SessionWorld, run, until

MIB = 1024 * 1024
BULK_BYTES = (100 if LONG else 16) * MIB  # tests/e2e/test_reach.py has the 100 each time


async def test_a_command_s_output_errors_and_exit_status_come_back_apart() -> None:
    async with SessionWorld() as world, world.client() as client:
        result = await client.run("echo out; echo err >&2; exit 7")
        assert (result.stdout, result.stderr, result.exit_status) == ("out\n", "err\n", 7)


async def test_stock_ssh_gets_output_errors_and_exit_status() -> None:
    async with SessionWorld() as world:
        status, out, err = await run(await world.stock_ssh("echo out; echo err >&2; exit 7"))
        assert (status, out, err) == (7, b"out\n", b"err\n")


async def test_the_signal_that_ended_a_command_is_told() -> None:
    async with SessionWorld() as world, world.client() as client:
        result = await client.run("kill -TERM $$")
        assert result.exit_signal is not None
        assert result.exit_signal[0] == "TERM"
        assert result.exit_status is None or result.exit_status < 0


async def test_a_client_s_signal_reaches_the_command() -> None:
    async with SessionWorld() as world, world.client() as client:
        process = await client.create_process(
            "trap 'echo caught; exit 3' USR1; echo ready; while :; do sleep 0.05; done"
        )
        assert await process.stdout.readline() == "ready\n"
        process.send_signal("USR1")
        assert await process.stdout.readline() == "caught\n"
        assert (await process.wait()).exit_status == 3


async def test_the_end_of_input_reaches_the_command_while_its_output_goes_on() -> None:
    async with SessionWorld() as world, world.client() as client:
        result = await client.run("cat; echo end", input="some input\n")
        assert result.stdout == "some input\nend\n"


async def test_a_command_that_reads_nothing_does_not_hang_on_its_input() -> None:
    async with SessionWorld() as world, world.client() as client:
        result = await client.run("exec 0<&-; sleep 0.2; echo done", input="x" * (4 * MIB))
        assert (result.stdout, result.exit_status) == ("done\n", 0)


async def test_output_written_just_before_the_exit_is_whole_before_the_status() -> None:
    async with SessionWorld() as world, world.client() as client:
        for _ in range(5):
            result = await client.run("head -c 3000000 /dev/zero; echo last >&2; exit 9", encoding=None)
            assert (len(result.stdout or b""), result.stderr, result.exit_status) == (3_000_000, b"last\n", 9)


async def test_output_of_what_outlives_its_shell_is_waited_for_as_sshd_does() -> None:
    async with SessionWorld() as world, world.client() as client:
        result = await client.run("(sleep 0.3; echo late) & echo early")
        assert result.stdout == "early\nlate\n"


@pytest.mark.parametrize("stock", [False, True], ids=["asyncssh", "stock-ssh"])
async def test_bulk_goes_through_stdin_and_stdout_unchanged(stock: bool) -> None:
    data = hashlib.shake_256(b"auxilio").digest(BULK_BYTES)
    async with SessionWorld() as world:
        if stock:
            status, out, _ = await run(await world.stock_ssh("cat"), stdin=data)
        else:
            async with world.client() as client:
                result = await client.run("cat", input=data, encoding=None)
                status, out = result.exit_status or 0, result.stdout or b""
        assert status == 0
        assert hashlib.sha256(out).digest() == hashlib.sha256(data).digest()


async def test_several_channels_run_side_by_side() -> None:
    async with SessionWorld() as world, world.client() as client:
        results = await asyncio.gather(*(client.run(f"sleep 0.1; echo {n}") for n in range(10)))
        assert [result.stdout for result in results] == [f"{n}\n" for n in range(10)]


async def test_an_eleventh_channel_is_refused_and_the_ten_go_on() -> None:
    async with SessionWorld() as world, world.client() as client:
        running = [await client.create_process("cat") for _ in range(10)]
        with pytest.raises(asyncssh.ChannelOpenError):
            await client.create_process("cat")
        for process in running:
            process.stdin.write_eof()
            assert (await process.wait()).exit_status == 0
        assert (await client.run("echo room again")).stdout == "room again\n"


async def test_the_environment_is_the_account_s_and_only_locales_come_from_the_client() -> None:
    hostile = {
        "LANG": "es_ES.UTF-8",
        "LC_TIME": "C",
        "LC_ALL": "../../tmp/evil",
        "LD_PRELOAD": "/tmp/evil.so",
        "PATH": "/tmp",
        "BASH_ENV": "/tmp/evil",
        "AUXILIO_SESSION": "forged",
    }
    async with SessionWorld() as world:
        session = await world.start()
        client = await world.connect(session)
        result = await client.run("env", env=hostile)
        found = dict(line.split("=", 1) for line in str(result.stdout).splitlines())
        assert found["LANG"] == "es_ES.UTF-8"
        assert found["LC_TIME"] == "C"
        assert found["AUXILIO_SESSION"] == session
        assert not {"LC_ALL", "LD_PRELOAD", "BASH_ENV", "PYTHONPATH", "TERM"} & found.keys()
        assert "/tmp" not in found["PATH"].split(":")
        client.close()


async def test_what_was_done_is_in_the_log() -> None:
    async with SessionWorld() as world:
        async with world.client(purpose="the printer", case="C-17") as client:
            await client.run("exit 4")
        await until(lambda: world.log.of("session_ended"))
        [requested], [opened] = world.log.of("session_requested"), world.log.of("channel_open")
        assert (requested["technician"], requested["purpose"], requested["case"]) == ("ana", "the printer", "C-17")
        assert (opened["kind"], opened["command"], opened["account"]) == ("exec", "exit 4", opened["account"])
        assert [e["status"] for e in world.log.of("channel_exit")] == [4]
        assert [e["reason"] for e in world.log.of("session_ended")] == ["closed"]


async def test_a_command_ends_with_its_client() -> None:
    async with SessionWorld() as world:
        session = await world.start()
        client = await world.connect(session)
        process = await client.create_process("echo $$; exec sleep 1000")
        pid = int(await process.stdout.readline())
        client.abort()
        assert (await world.ended(session)).reason in ("closed", "lost")
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert world.children() == []
