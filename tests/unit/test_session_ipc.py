"""The socketpair between supervisor and child: whole packets, bounded, with descriptors one way only."""

from __future__ import annotations

import asyncio
import os
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.session.endpoint import MAX_QUEUED, Endpoint
from agent.session.ipc import (
    MAX_IPC_BYTES,
    Denied,
    Hangup,
    Open,
    Opened,
    Ready,
    Sign,
    Signed,
    Terminal,
    decode_from_child,
    decode_to_child,
)
from protocol.codec import encode
from protocol.errors import BadMessage, Unavailable


def pair() -> tuple[Endpoint, Endpoint]:
    """(supervisor's, child's)"""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Endpoint(ours, descriptors=False), Endpoint(theirs, descriptors=True)


async def test_a_message_arrives_with_its_descriptors_which_are_closed_on_exec() -> None:
    supervisor, child = pair()
    out, into = os.pipe()
    supervisor.send(Opened(channel=3), (out,))
    os.close(out)
    packet = await child.receive()
    assert packet is not None
    assert decode_to_child(packet[0]) == Opened(channel=3)
    [received] = packet[1]
    assert not os.get_inheritable(received)
    os.write(into, b"through")
    assert os.read(received, 100) == b"through"
    for fd in (received, into):
        os.close(fd)
    child.close()
    assert await supervisor.receive() is None
    supervisor.send(Ready())  # nobody is there: dropped
    supervisor.close()


async def test_messages_wait_in_order_for_a_slow_reader_and_a_stuck_one_is_given_up() -> None:
    supervisor, child = pair()
    big = Denied(channel=1, code="c", message="x" * 50_000, hint="")
    sent = 0
    with pytest.raises(Unavailable):
        while sent < 10_000:
            supervisor.send(big)
            sent += 1
    assert sent >= MAX_QUEUED
    for _ in range(sent):
        packet = await child.receive()
        assert packet is not None
        assert decode_to_child(packet[0]) == big
    supervisor.close()
    assert await child.receive() is None
    child.close()


async def test_descriptors_that_never_left_are_closed_with_the_socket() -> None:
    supervisor, child = pair()
    before = len(os.listdir("/proc/self/fd"))
    fd = os.open("/dev/null", os.O_RDONLY)
    filler = Denied(channel=1, code="c", message="x" * 50_000, hint="")
    for _ in range(40):
        supervisor.send(filler)
        supervisor.send(Opened(channel=1), (fd,))
    os.close(fd)
    supervisor.close()
    child.close()
    assert len(os.listdir("/proc/self/fd")) <= before


async def test_a_signature_is_waited_for_while_other_messages_keep_their_turn() -> None:
    supervisor, child = pair()
    supervisor_sock = supervisor._sock

    def answer() -> None:
        supervisor_sock.setblocking(True)
        assert b"sign" in supervisor_sock.recv(MAX_IPC_BYTES)
        supervisor_sock.send(encode(Hangup(channel=9)))
        supervisor_sock.send(encode(Signed(signature=b"s")))

    waiting = asyncio.get_running_loop().create_task(child.receive())
    await asyncio.sleep(0)  # so that it waits for the socket when the exchange takes its packet away
    thread = threading.Thread(target=answer)
    thread.start()
    assert decode_to_child(child.exchange(Sign(exchange_hash=b"h" * 32), "signed", 10.0)) == Signed(signature=b"s")
    thread.join()
    async with asyncio.timeout(10):
        packet = await waiting
    assert packet is not None
    assert decode_from_child(packet[0]) == Hangup(channel=9)
    supervisor.close()
    child.close()


async def test_no_signature_in_time_is_an_error_of_ours() -> None:
    supervisor, child = pair()
    with pytest.raises(Unavailable):
        child.exchange(Sign(exchange_hash=b"h" * 32), "signed", 0.05)
    supervisor.close()
    with pytest.raises(Unavailable):
        child.exchange(Sign(exchange_hash=b"h" * 32), "signed", 10.0)
    child.close()


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_whatever_a_child_sends_is_a_message_or_one_error(packet: bytes) -> None:
    try:
        decode_from_child(packet)
    except BadMessage:
        pass


@pytest.mark.parametrize(
    "message",
    [
        Sign(exchange_hash=b"h" * 31),
        Sign(exchange_hash=b"SSHSIG" + b"h" * 100),
        Open(channel=1, kind="exec", command=None, terminal=None, environment={}),
        Open(channel=1, kind="exec", command="x" * 70_000, terminal=None, environment={}),
        Open(
            channel=1,
            kind="shell",
            command=None,
            environment={},
            terminal=Terminal(name="x", columns=1, rows=1, width=0, height=0, modes=((1, 1),) * 65),
        ),
    ],
)
def test_what_is_out_of_bounds_is_refused(message: Sign | Open) -> None:
    with pytest.raises(BadMessage):
        decode_from_child(encode(message))
