"""A session's child that was taken over: what it can make the supervisor do, which is to end the session.

The test plays the child on the real socketpair; the supervisor's broker is real, the processes are not needed.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator

import pytest

from agent.admission import Running
from agent.session import broker as broker_module
from agent.session import channels as channels_module
from agent.session.broker import Outcome, SessionBroker
from agent.session.channels import MAX_CHANNELS
from agent.session.host import Account, Exit, Launch
from agent.session.ipc import (
    MAX_IPC_BYTES,
    Authenticated,
    Hangup,
    Joined,
    Leaving,
    Open,
    Ready,
    Sign,
    Signal,
    Signed,
    Start,
    Terminal,
    TurnedDown,
    decode_to_child,
)
from protocol.certificate import parse_certificate
from protocol.codec import Record, encode
from protocol.errors import Refused
from protocol.keys import parse_public_key
from protocol.session import VerifiedRequest
from protocol.signing import KeyRawSigner
from protocol.statement import Signed as SignedStatement
from protocol.technician import read_technician
from tests.support.session_world import SessionWorld, until
from transport.ways import directly

HASH = b"h" * 32


class FakeProcess:
    """A process that never ends by itself."""

    def __init__(self) -> None:
        self.pid = 0
        self.signals: list[str] = []
        self.ended: bool | None = None
        self._exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()

    def take_descriptors(self) -> tuple[int, ...]:
        return (os.open("/dev/null", os.O_RDWR),)

    def take_notes(self) -> int | None:
        return None

    async def wait(self) -> Exit:
        return await self._exit

    def leaves_behind(self) -> bool:
        return False

    def signal(self, name: str) -> bool:
        self.signals.append(name)
        return True

    async def end(self, *, everything: bool) -> None:
        self.ended = everything
        if not self._exit.done():
            self._exit.set_result(Exit(signal="KILL"))


class FakeChild:
    """The supervisor's handle of a child; `theirs` is the end that the test plays."""

    def __init__(self, *, confined: bool) -> None:
        self.pid = 0
        self.sock, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.theirs.setblocking(False)
        self.errors: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.errors.set_result("")
        self._confined = confined
        self.killed = False

    def confined(self) -> bool:
        return self._confined

    async def end(self, grace_s: float) -> None:
        self.killed = True

    def say(self, *messages: Record | bytes) -> None:
        for message in messages:
            self.theirs.send(message if isinstance(message, bytes) else encode(message))

    async def hear(self) -> object:
        return decode_to_child(await asyncio.get_running_loop().sock_recv(self.theirs, MAX_IPC_BYTES))


class FakeHost:
    def __init__(self, *, confined: bool = True) -> None:
        self.child = FakeChild(confined=confined)
        self.processes: list[FakeProcess] = []
        self.launches: list[Launch] = []

    def account(self, principal: str) -> Account:
        return Account(name="root", uid=0, gid=0, groups=(0,), home="/", shell="/bin/sh")

    def gateways(self) -> list[tuple[str, int]]:
        return []

    def is_own_address(self, address: str) -> bool:
        return False

    def somebody_present(self) -> bool:
        return False

    def start(self, launch: Launch) -> FakeProcess:
        self.launches.append(launch)
        self.processes.append(FakeProcess())
        return self.processes[-1]

    def close(self) -> None: ...

    def room_for_sessions(self) -> int:
        return 1

    async def start_child(self) -> FakeChild:
        return self.child


class Counting(KeyRawSigner):
    signed = 0

    def sign_raw(self, data: bytes) -> bytes:
        self.signed += 1
        return super().sign_raw(data)


class Stage:
    """A session with a child that the test plays."""

    def __init__(self, world: SessionWorld, host: FakeHost) -> None:
        self.host = host
        self.child = host.child
        self.key = Counting(world.device_key)
        self.log = world.log
        request = world.request(nonce="unused")
        technician = read_technician(parse_certificate(world.technician.signer.public))
        verified = VerifiedRequest(
            request=request, technician=technician, ssh_key=parse_public_key(world.technician.public)
        )
        policy = world.authority.policy
        assert policy is not None
        self.broker = SessionBroker(
            Running(verified=verified, asked=True, started_at=world.clock.now()),
            SignedStatement(payload=b"", signature=b""),
            relay=directly(policy.policy.relays[0]),
            ticket="t",
            host=host,  # type: ignore[arg-type]  # a fake
            device_key=self.key,
            journal=world.log,
            view=world.view,
            now=world.clock.now,
        )
        self.running = asyncio.get_running_loop().create_task(self.broker.run())

    async def outcome(self) -> Outcome:
        async with asyncio.timeout(30):
            return await self.running


@contextlib.asynccontextmanager
async def stage(**host: bool) -> AsyncIterator[Stage]:
    async with SessionWorld() as world:
        played = Stage(world, FakeHost(**host))
        yield played
        played.broker.finish("closed", "the test is over")
        await played.outcome()
        assert played.child.killed
        played.child.theirs.close()


HANDSHAKE: list[Record] = [Ready(), Joined()]
OPENED: list[Record] = [*HANDSHAKE, Sign(exchange_hash=HASH), Authenticated(client="SSH-2.0-x")]


def opening(channel: int = 1, kind: str = "shell", command: str | None = None, **more: str) -> Open:
    return Open(channel=channel, kind=kind, command=command, terminal=None, environment=more)


HOSTILE: dict[str, list[Record | bytes]] = {
    "joined before ready": [Joined()],
    "ready twice": [Ready(), Ready()],
    "a signature before the legs are joined": [Ready(), Sign(exchange_hash=HASH)],
    "a second signature": [*HANDSHAKE, Sign(exchange_hash=HASH), Sign(exchange_hash=b"i" * 32)],
    "a signature once open": [*OPENED, Sign(exchange_hash=b"i" * 32)],
    "a statement to be signed": [*HANDSHAKE, Sign(exchange_hash=b"SSHSIG" * 20)],
    "nothing to be signed": [*HANDSHAKE, Sign(exchange_hash=b"")],
    "authenticated without a key exchange": [*HANDSHAKE, Authenticated(client="x")],
    "a shell before anybody authenticated": [*HANDSHAKE, opening()],
    "a channel's number twice": [*OPENED, opening(), opening()],
    "more channels than there may be": [*OPENED, *(opening(n) for n in range(MAX_CHANNELS + 1))],
    "a shell with a command": [*OPENED, opening(command="id")],
    "a kind that does not exist": [*OPENED, opening(kind="su", command="id")],
    "a NUL in a command": [*OPENED, opening(kind="exec", command="id\0x")],
    "an environment without end": [*OPENED, opening(**{f"LC_{n}": "C" for n in range(99)})],
    "no JSON": [b"\xff\xfe{"],
    "a message of the supervisor's": [b'{"type":"signed","signature":""}'],
    "a packet that is too long": [b'{"type":"ready","x":"' + b"x" * MAX_IPC_BYTES + b'"}'],
    "an environment for the loader": [
        *OPENED,
        Open(channel=1, kind="exec", command="x", terminal=None, environment={"LD_PRELOAD": "/tmp/evil.so"}),
    ],
    "a locale that is a path": [
        *OPENED,
        Open(channel=1, kind="exec", command="x", terminal=None, environment={"LC_ALL": "/tmp/evil"}),
    ],
    "a terminal that is a path": [
        *OPENED,
        Open(
            channel=1,
            kind="shell",
            command=None,
            terminal=Terminal(name="../evil", columns=1, rows=1, width=0, height=0),
            environment={},
        ),
    ],
    "nested without end": [b'{"type":"open","channel":' + b"[" * 60_000],
}


@pytest.mark.parametrize("messages", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_child_out_of_turn_ends_its_session(messages: list[Record | bytes]) -> None:
    async with stage() as played:
        played.child.say(*messages)
        outcome = await played.outcome()
        assert outcome.reason == "failed"
        assert "broke the rules" in outcome.message
        assert played.child.killed
        assert played.key.signed <= 1
        assert len(played.host.launches) <= MAX_CHANNELS
        assert all(process.ended is not None for process in played.host.processes)


async def test_a_child_that_kept_privileges_is_told_nothing() -> None:
    async with stage(confined=False) as played:
        played.child.say(Ready())
        outcome = await played.outcome()
        assert (outcome.reason, "privileges" in outcome.message) == ("failed", True)
        heard = [await played.child.hear()]
        assert not any(isinstance(message, Start) for message in heard)


async def test_descriptors_that_a_child_sends_are_not_taken() -> None:
    async with stage() as played:
        before = len(os.listdir("/proc/self/fd"))
        fd = os.open("/dev/null", os.O_RDONLY)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd] * 50))]
        for _ in range(20):
            played.child.theirs.sendmsg([encode(TurnedDown(what="x", detail="y"))], rights)
        os.close(fd)
        await played.outcome()
        assert len(os.listdir("/proc/self/fd")) <= before


async def test_the_exchange_hash_is_signed_by_the_device_key_once() -> None:
    async with stage() as played:
        played.child.say(*HANDSHAKE)
        assert isinstance(await played.child.hear(), Start)
        played.child.say(Sign(exchange_hash=HASH))
        reply = await played.child.hear()
        assert isinstance(reply, Signed)
        assert b"ssh-ed25519" in reply.signature
        assert played.key.signed == 1


async def test_what_a_child_says_of_itself_is_escaped_in_the_log_and_bounded() -> None:
    async with stage() as played:
        played.child.say(*OPENED)
        for _ in range(100):
            played.child.say(TurnedDown(what="\x1b[2J", detail="\u202e" * 1000))
            await asyncio.sleep(0)
        await until(lambda: len(played.log.of("channel_refused")) >= broker_module.MAX_TURNED_DOWN)
        played.child.say(Leaving(reason="revoked", message="\x1b]0;owned\x07"))
        outcome = await played.outcome()
        # Reasons that are the device's to give are not a child's.
        assert outcome.reason == "failed"
        assert "\x1b" not in outcome.message
        entries = played.log.of("channel_refused")
        assert len(entries) == broker_module.MAX_TURNED_DOWN
        assert all(str(entry["kind"]).isprintable() and len(str(entry["detail"])) < 300 for entry in entries)


async def test_a_signal_or_hangup_for_another_s_channel_touches_nothing() -> None:
    async with stage() as played:
        played.child.say(*OPENED)
        played.child.say(opening())
        await until(lambda: played.host.processes)
        played.child.say(Signal(channel=2, name="KILL"), Hangup(channel=2), Signal(channel=1, name="INT"))
        [process] = played.host.processes
        await until(lambda: process.signals)
        assert process.signals == ["INT"]
        assert process.ended is None


async def test_channels_opened_and_closed_without_end_neither_pile_up_nor_push_the_log_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(channels_module, "MAX_OPENED", 200)
    monkeypatch.setattr(FakeProcess, "end", _never)
    async with stage() as played:
        played.child.say(*OPENED)
        loop = asyncio.get_running_loop()
        for number in range(300):
            for message in (opening(number), Hangup(channel=number)):
                with contextlib.suppress(OSError, TimeoutError):
                    if not played.broker._outcome.done():
                        await asyncio.wait_for(loop.sock_sendall(played.child.theirs, encode(message)), 1)
        async with asyncio.timeout(30):
            await asyncio.wait((played.broker._outcome,))
        assert len(played.host.launches) <= channels_module.MAX_ENDING
        assert len(played.log.of("channel_open")) + len(played.log.of("channel_refused")) <= 200
        monkeypatch.undo()
        for process in played.host.processes:
            await process.end(everything=True)
        for ending in list(played.broker._channels._ending):
            ending.cancel()
        assert (await played.outcome()).reason == "failed"


async def _never(self: FakeProcess, *, everything: bool) -> None:
    await asyncio.get_running_loop().create_future()


async def test_a_child_that_reads_nothing_does_not_fill_the_supervisor_s_memory() -> None:
    async with stage() as played:
        played.child.say(*OPENED)
        await until(lambda: played.broker.state is broker_module.State.OPEN)
        loop = asyncio.get_running_loop()

        def nobody(principal: str) -> Account:
            raise Refused("no such account", code="no_such_account")

        played.host.account = nobody  # type: ignore[method-assign]  # so every request has an answer, which is not read
        while not played.running.done():
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(loop.sock_sendall(played.child.theirs, encode(opening())), 1)
        assert (await played.outcome()).reason == "failed"
