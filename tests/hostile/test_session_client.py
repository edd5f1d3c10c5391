"""A technician's client that means no good: what it asks of the session's child, and what it gets."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from protocol.errors import AuxilioError
from protocol.keys import public_line
from protocol.revocation import Revocations, RevokedKeyId
from protocol.signing import KeyRawSigner
from tests.support.session_world import PERMITS, Client, SessionWorld, Technician, new_key, run, until

MIB = 1024 * 1024
CHILD_BOUND_BYTES = 80 * MIB
SETTLED_S = 1.0
"""A process that has written nothing for this long is held back."""


def peak_bytes(pid: int) -> int:
    """The most memory that `pid` ever had resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def written(pid: int) -> int:
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["wchar"])


async def settled(pid: int) -> int:
    """Bytes that `pid` wrote, once it writes no more."""
    loop = asyncio.get_running_loop()
    seen, since = written(pid), loop.time()

    def still() -> bool:
        nonlocal seen, since
        if (now := written(pid)) != seen:
            seen, since = now, loop.time()
        return loop.time() - since > SETTLED_S

    await until(still)
    return seen


def stall(client: Client) -> None:
    """Stop reading from the network, as a stopped process or a dead screen does."""
    client._transport.pause_reading()  # type: ignore[union-attr]  # asyncssh offers no such thing


# -- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("terminal", [None, "xterm"], ids=["pipe", "terminal"])
@pytest.mark.parametrize("channels", [1, 8])
async def test_a_window_of_1_gib_that_then_stalls_costs_the_child_less_than_80_mib(
    channels: int, terminal: str | None
) -> None:
    async with SessionWorld() as world:
        session = await world.start()
        client = await world.connect(session)
        flood = "echo $$; exec head -c 3000000000 /dev/zero"
        if terminal:
            flood = f"stty -onlcr -opost; {flood}"
        pids = []
        for _ in range(channels):
            process = await client.create_process(flood, window=1 << 30, term_type=terminal, encoding=None)
            pids.append(int(await process.stdout.readline()))
        stall(client)
        # Of 3 GB each. What came before the stall, the client took.
        assert max(await asyncio.gather(*map(settled, pids))) < 256 * MIB
        [child] = world.children()
        assert peak_bytes(child) < CHILD_BOUND_BYTES
        client.abort()
        await world.ended(session)


async def test_input_that_no_process_reads_is_held_back_at_its_sender() -> None:
    async with SessionWorld() as world, world.client() as client:
        process = await client.create_process("echo ready; exec sleep 1000", encoding=None)
        await process.stdout.readline()
        for _ in range(64):
            process.stdin.write(b"x" * MIB)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await process.stdin.drain()
        [child] = world.children()
        assert peak_bytes(child) < CHILD_BOUND_BYTES
        assert (await client.run("echo others go on")).stdout == "others go on\n"


@pytest.mark.long
async def test_a_client_that_asks_without_end_and_reads_no_answer_is_not_read_any_further() -> None:
    async with SessionWorld() as world:
        session = await world.start()
        client = await world.connect(session)
        [child] = world.children()
        transport = client._transport
        stall(client)
        for number in range(400_000):  # 30 MB of questions, of which the leg takes what the child takes
            client._global_request_waiters.append(asyncio.get_running_loop().create_future())
            client._send_global_request(b"unknown@auxilio", want_reply=True)
            if transport.get_write_buffer_size() > 8 * MIB:
                break
            if number % 100 == 0:
                await asyncio.sleep(0)
        else:
            raise AssertionError("the child took every question")
        assert peak_bytes(child) < CHILD_BOUND_BYTES
        # It is held up, not lost: once it reads again, it is served.
        transport.resume_reading()
        assert (await client.run("echo again")).stdout == "again\n"
        client.abort()
        await world.ended(session)


# -- authentication and key exchange ----------------------------------------------------------------------------------


async def fails(world: SessionWorld, **options: Any) -> str:
    """Try to connect with `options`; return what became of the session."""
    session = await world.start()
    with pytest.raises((asyncssh.Error, OSError)):
        await world.connect(session, **options)
    ended = await world.ended(session)
    assert world.log.of("session_open") == []
    return ended.message


async def test_no_other_key_and_no_password_is_admitted() -> None:
    async with SessionWorld() as world:
        other = asyncssh.import_private_key(Technician(world).key_pem)
        await fails(world, client_keys=[other])
        await fails(world, client_keys=None, password="hunter2")
        await fails(world, client_keys=None, preferred_auth=["keyboard-interactive"], password="x")


async def test_a_certificate_by_the_technicians_ca_does_not_stand_for_the_key_that_was_named() -> None:
    async with SessionWorld() as world:
        other = Technician(world)
        certificate = asyncssh.import_certificate(public_line(other.signer.public))
        pair = (asyncssh.import_private_key(other.key_pem), certificate)
        await fails(world, client_keys=[pair])


@pytest.mark.parametrize("name", ["user", "root", "", "Admin"])
async def test_what_is_meant_for_another_account_does_not_arrive_in_this_session(name: str) -> None:
    """A relay joins the leg of a session to that of another one of the same technician, who has one key in both."""
    async with SessionWorld() as world:
        session = await world.start(account="admin")
        with pytest.raises(asyncssh.Error, match="asked for as admin"):
            await world.connect(session, username=name)
        await world.ended(session)
        assert not world.log.of("session_open")


async def test_stock_ssh_is_told_as_whom_a_session_was_asked_for() -> None:
    async with SessionWorld() as world:
        command = await world.stock_ssh("id", account="admin")
        command[command.index("User=admin")] = "User=customer"
        status, out, err = await run(command)
        assert (status, out) == (255, b"") and b"this session was asked for as admin" in err, err


async def test_a_client_without_strict_key_exchange_gets_no_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    signed = count_signatures(monkeypatch)
    monkeypatch.setattr(asyncssh.SSHClientConnection, "_get_extra_kex_algs", lambda self: [b"ext-info-c"])
    async with SessionWorld() as world:
        assert "strict key exchange" in await fails(world)
        assert signed == []


@pytest.mark.parametrize(
    "options",
    [
        {"encryption_algs": ["aes256-ctr"]},
        {"encryption_algs": ["chacha20-poly1305@openssh.com"]},
        {"kex_algs": ["diffie-hellman-group14-sha1"]},
        {"compression_algs": ["zlib@openssh.com"]},
    ],
    ids=lambda options: next(iter(options.values()))[0],
)
async def test_weak_algorithms_are_not_agreed_on(options: dict[str, list[str]]) -> None:
    async with SessionWorld() as world:
        await fails(world, **options)


async def test_the_ciphers_that_are_agreed_on_are_aes_gcm() -> None:
    async with SessionWorld() as world, world.client() as client:
        assert str(client.get_extra_info("send_cipher")).endswith("-gcm@openssh.com")
        assert str(client.get_extra_info("recv_cipher")).endswith("-gcm@openssh.com")
        assert client.get_extra_info("send_compression") == "none"


def count_signatures(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    signed: list[bytes] = []
    sign = KeyRawSigner.sign_raw

    def counted(self: KeyRawSigner, data: bytes) -> bytes:
        if len(data) <= 64:
            signed.append(data)
        return sign(self, data)

    monkeypatch.setattr(KeyRawSigner, "sign_raw", counted)
    return signed


async def test_a_client_that_exchanges_keys_again_ends_its_session_and_gets_no_second_signature(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signed = count_signatures(monkeypatch)
    async with SessionWorld() as world:
        session = await world.start()
        client = await world.connect(session, rekey_bytes=100_000)
        with contextlib.suppress(asyncssh.Error, OSError):
            await client.run("cat", input="x" * 1_000_000)
        assert (await world.ended(session)).reason in ("lost", "failed")
        await until(lambda: world.heard)
        assert "once a session" in str(world.heard[0])
        assert len(signed) == 1


async def test_the_device_s_key_is_what_the_client_sees() -> None:
    async with SessionWorld() as world:
        session = await world.start()
        wrong = asyncssh.import_public_key(public_line(KeyRawSigner(new_key()).public))
        with pytest.raises(asyncssh.HostKeyNotVerifiable):
            await world.connect(session, known_hosts=([wrong], [], []))


# -- what is not served -----------------------------------------------------------------------------------------------


async def test_a_device_that_asks_for_the_technician_s_agent_gets_nothing() -> None:
    async with SessionWorld() as world:
        agent = await asyncio.create_subprocess_exec("ssh-agent", "-D", "-a", str(world.folder / "agent"))
        try:
            await until(lambda: (world.folder / "agent").exists())
            os.environ["SSH_AUTH_SOCK"] = str(world.folder / "agent")
            script = "echo agent=$SSH_AUTH_SOCK display=$DISPLAY; ls /tmp | grep -c asyncssh-"
            _, out, _ = await run(await world.stock_ssh("-A", "-X", script))
            assert out == b"agent= display=\n0\n"
        finally:
            os.environ.pop("SSH_AUTH_SOCK", None)
            agent.terminate()
            await agent.wait()


async def test_nothing_listens_for_the_device_and_no_tunnel_is_made() -> None:
    async with SessionWorld(forward=("*:*",)) as world:
        world.technician = Technician(world, may="shell,forward")
        async with world.client(capabilities=("shell", "forward")) as client:
            with pytest.raises(asyncssh.ChannelListenError):
                await client.forward_remote_port("127.0.0.1", 0, "127.0.0.1", 22)
            with pytest.raises(asyncssh.ChannelListenError):
                await client.forward_remote_path(str(world.folder / "socket"), "/tmp/x")
            with pytest.raises(asyncssh.ChannelOpenError):
                await client.open_unix_connection("/run/dbus/system_bus_socket")
            with pytest.raises(asyncssh.ChannelOpenError):
                await client.open_tun(0)
            with pytest.raises(asyncssh.ChannelOpenError):
                await client.create_process(subsystem="netconf")
            await until(lambda: len(world.log.of("channel_refused")) >= 2)
            assert {entry["kind"] for entry in world.log.of("channel_refused")} == {"forward", "subsystem"}
            assert (await client.run("echo still here")).stdout == "still here\n"


async def test_without_the_capability_there_is_no_shell_and_no_command() -> None:
    async with SessionWorld() as world:
        world.technician = Technician(world, may="shell,view")
        async with world.client(capabilities=("view",)) as client:
            for arguments in ({"command": "id"}, {"term_type": "xterm"}):
                result = await client.run(**arguments)  # type: ignore[arg-type]
                assert result.exit_status == 254
                assert result.stdout == ""
                assert "auxilio: the session was not asked for with `shell`" in str(result.stderr)
        assert [entry["code"] for entry in world.log.of("channel_refused")] == ["no_capability"] * 2
        assert world.log.of("channel_open") == []


async def test_a_terminal_needs_permit_pty() -> None:
    async with SessionWorld() as world:
        extensions = {"may@auxilio": "shell", "scope@auxilio": "all", "permit-port-forwarding": ""}
        assert extensions.keys() != PERMITS.keys()
        world.technician = Technician(world, extensions=extensions)
        async with world.client() as client:
            assert (await client.run("echo ok")).exit_status == 0
            result = await client.run("echo no", term_type="xterm")
            assert (result.exit_status, result.stdout) == (254, "")
            assert "permit-pty" in str(result.stderr)


async def test_every_channel_is_judged_by_what_holds_at_that_moment() -> None:
    async with SessionWorld() as world:
        session = await world.start()
        client = await world.connect(session)
        assert (await client.run("echo before")).stdout == "before\n"
        # Nobody reviews: the channel itself must find out.
        world.publish(review=False, revocations=Revocations(key_ids=(RevokedKeyId(key_id="ana"),)))
        with contextlib.suppress(asyncssh.Error, OSError):
            assert (await client.run("echo after")).stdout in ("", None)
        assert (await world.ended(session)).reason == "revoked"
        assert len(world.log.of("channel_open")) == 1


async def test_a_command_that_is_too_long_is_refused_and_the_session_goes_on() -> None:
    async with SessionWorld() as world, world.client() as client:
        with pytest.raises(asyncssh.ChannelOpenError):
            await client.run("#" * 100_000)
        with pytest.raises(asyncssh.ChannelOpenError):
            await client.run("echo a\0b")
        assert (await client.run("#" + "\u00e9" * 60_000 + "\necho ok")).stdout == "ok\n"


# -- the relay in between ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["flip", "drop", "repeat", "swap"])
async def test_a_relay_that_changes_bytes_ends_the_session_and_passes_nothing_on(kind: str) -> None:
    count = 0
    held: list[bytes] = []

    def tamper(data: bytes) -> list[bytes]:
        nonlocal count
        count += 1
        if count < 60 or data[0] != 0:
            return [data]
        if kind == "flip":
            return [data[:-1] + bytes([data[-1] ^ 1])]
        if kind == "drop":
            return [] if count % 10 == 0 else [data]
        if kind == "repeat":
            return [data, data]
        held.append(data)
        return [held.pop(), held.pop()] if len(held) == 2 else []

    async with SessionWorld(tamper=tamper) as world:
        session = await world.start()
        client = await world.connect(session)
        whole = b"0123456789abcdef" * 65536
        output = b""
        with contextlib.suppress(asyncssh.Error, AuxilioError, OSError):
            async with asyncio.timeout(20):
                process = await client.create_process("cat", encoding=None)
                process.stdin.write(whole)
                process.stdin.write_eof()
                while data := await process.stdout.read(65536):
                    output += data
        assert whole.startswith(output)
        if kind == "repeat":  # duplicates are trimmed by offset
            assert output == whole
        client.abort()
        assert (await world.ended(session)).reason in ("lost", "failed", "closed")
