"""Port-forwards: where the policy says so, to the address that was judged, and never to what is forbidden."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest

from tests.support.effort import LONG
from tests.support.session_world import SessionWorld, Technician, free_port, until

MIB = 1024 * 1024
BULK_BYTES = (256 if LONG else 16) * MIB
FORWARD = ("forward",)


class ForwardWorld(SessionWorld):
    async def __aenter__(self) -> ForwardWorld:
        await super().__aenter__()
        self.technician = Technician(self, may="shell,forward")
        return self


@contextlib.asynccontextmanager
async def listening(answer: bytes = b"", *, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A server on the device that says `answer`, then echoes until the client ends, then says `bye`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(answer)
            while data := await reader.read(MIB):
                writer.write(data)
                await writer.drain()
            writer.write(b"bye")
            await writer.drain()
            writer.close()

    server = await asyncio.start_server(serve, host, 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def refusal(client: asyncssh.SSHClientConnection, host: str, port: int) -> str:
    with pytest.raises(asyncssh.ChannelOpenError) as caught:
        await client.open_connection(host, port)
    return str(caught.value.reason)


async def test_stock_ssh_forwards_a_port_both_ways_and_half_closed() -> None:
    async with ForwardWorld(forward=("localhost:*",)) as world, listening(b"hello ") as port:
        ours = free_port()
        command = await world.stock_ssh("-N", "-L", f"127.0.0.1:{ours}:localhost:{port}", "-", capabilities=FORWARD)
        ssh = await asyncio.create_subprocess_exec(*command[:-1], stdin=asyncio.subprocess.DEVNULL)
        try:
            reader, writer = await _connected(ours)
            payload = bytes(range(256)) * (BULK_BYTES // 256)
            sending = asyncio.ensure_future(_send(writer, payload))
            got = await reader.readexactly(6 + len(payload))
            await sending
            writer.write_eof()
            assert await reader.read() == b"bye"  # the end of our direction reached it, and the other stayed open
            assert got == b"hello " + payload
            writer.close()
            # A page in a browser: many connections at once.
            pairs = await asyncio.gather(*(_connected(ours) for _ in range(20)))
            assert [await reader.readexactly(6) for reader, _ in pairs] == [b"hello "] * 20
            for _, writer in pairs:
                writer.close()
        finally:
            ssh.terminate()
            await ssh.wait()
        assert [(e["host"], e["port"], e["address"]) for e in world.log.of("forward_open")] == [
            ("localhost", port, "127.0.0.1")
        ]


async def _connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(60):
        while True:
            try:
                return await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)


async def _send(writer: asyncio.StreamWriter, payload: bytes) -> None:
    for at in range(0, len(payload), MIB):
        writer.write(payload[at : at + MIB])
        await writer.drain()


async def test_what_the_policy_does_not_name_is_refused_with_the_reason() -> None:
    async with ForwardWorld(forward=("localhost:80", "10.0.0.0/8:8080")) as world:
        async with listening() as port, world.client(capabilities=FORWARD) as client:
            assert "permits no forward to localhost" in await refusal(client, "localhost", port)
            assert "permits no forward" in await refusal(client, "example.org", 80)
            assert "permits no forward" in await refusal(client, "127.0.0.1", port)
            assert "not the name" in await refusal(client, "/run/docker.sock", 1)
            world.publish(forward=("localhost:*",))  # each connection is judged by the policy of its moment
            reader, writer = await client.open_connection("localhost", port)
            writer.write_eof()
            assert await reader.read() == b"bye"
        assert {entry["code"] for entry in world.log.of("forward_refused")} == {"target_not_permitted", "usage_invalid"}


@pytest.mark.parametrize("host", ["169.254.169.254", "::ffff:169.254.169.254", "0.0.0.0", "::", "fe80::1", "224.0.0.1"])
async def test_no_policy_opens_what_is_forbidden(host: str) -> None:
    async with ForwardWorld(forward=("*:*",)) as world, world.client(capabilities=FORWARD) as client:
        assert "is not forwarded to" in await refusal(client, host, 80)
        (entry,) = world.log.of("forward_refused")
        assert entry["code"] == "target_forbidden"


async def test_the_relay_s_own_ports_on_this_machine_are_forbidden_by_any_address() -> None:
    async with ForwardWorld(forward=("*:*",)) as world, listening() as port:
        world.desk.link_up(frozenset({port}))
        async with world.client(capabilities=FORWARD) as client:
            for host in ("localhost", "127.0.0.1", "127.9.9.9", "::ffff:127.0.0.1", socket.gethostname()):
                assert "the relay's own port" in await refusal(client, host, port)


async def test_sockets_that_are_files_are_never_forwarded_to(tmp_path: Path) -> None:
    path = str(tmp_path / "agent.sock")
    async with ForwardWorld(forward=("*:*",)) as world, world.client(capabilities=("shell", "forward")) as client:
        server = await asyncio.start_unix_server(lambda reader, writer: None, path)
        with pytest.raises(asyncssh.ChannelOpenError, match="not forwarded to"):
            await client.open_unix_connection(path)
        server.close()
        (entry,) = world.log.of("channel_refused")
        assert (entry["kind"], entry["detail"]) == ("forward", path)


async def test_nothing_listens_for_the_device_s_side() -> None:
    async with ForwardWorld(forward=("*:*",)) as world, world.client(capabilities=FORWARD) as client:
        with pytest.raises(asyncssh.ChannelListenError):
            await client.forward_remote_port("", 0, "127.0.0.1", 22)


async def test_without_the_right_or_the_permit_nothing_is_forwarded() -> None:
    async with SessionWorld(forward=("*:*",)) as world, world.client() as client:
        assert "`forward`" in await refusal(client, "localhost", 80)
    async with SessionWorld(forward=("*:*",)) as world:
        world.technician = Technician(
            world, extensions={"may@auxilio": "forward", "scope@auxilio": "all", "permit-pty": ""}
        )
        async with world.client(capabilities=FORWARD) as client:
            assert "permit-port-forwarding" in await refusal(client, "localhost", 80)


async def test_who_does_not_answer_is_said_and_who_hangs_up_is_noticed() -> None:
    async with ForwardWorld(forward=("*:*",)) as world, world.client(capabilities=FORWARD) as client:
        assert "Connection refused" in await refusal(client, "127.0.0.1", free_port())
        assert "cannot resolve" in await refusal(client, "no-such-host.invalid", 80)
        (child,) = world.children()
        before = len(list(Path(f"/proc/{child}/fd").iterdir()))

        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.abort()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        for _ in range(70):  # more than there may be at one time
            reader, writer = await client.open_connection("127.0.0.1", port)
            await reader.read()
            writer.close()
        server.close()
        await until(lambda: len(list(Path(f"/proc/{child}/fd").iterdir())) == before)


async def test_the_end_of_a_session_ends_its_connections() -> None:
    async with ForwardWorld(forward=("*:*",)) as world, listening(b"hello ") as port:
        async with world.client(capabilities=FORWARD) as client:
            reader, _ = await client.open_connection("127.0.0.1", port)
            assert await reader.readexactly(6) == b"hello "
            world.publish(revocations=_everybody(world))
            with contextlib.suppress(asyncssh.Error, OSError):
                assert await reader.read() == b""
        await until(lambda: not world.children())


def _everybody(world: SessionWorld) -> object:
    from protocol.revocation import Revocations, RevokedKeyId

    return Revocations(key_ids=(RevokedKeyId(key_id="ana", since=None),))
