"""A network without IPv4, and a relay with two addresses of which the first dies: relay, agent, console, session.

    fd00:8::5   the policy's first address: serves, then refuses, then is a black hole that swallows SYNs
    fd00:8::6   the second one, of the same relay

The namespace has no IPv4 address at all, not even 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.agent_process import AgentProcess
from tests.support.console_process import ConsoleProcess
from tests.support.console_world import ConsoleWorld
from tests.support.netns import IS_ROOT, Namespace, is_possible, namespace
from tests.support.relay_process import RelayProcess
from transport.dial import CONNECT_S
from transport.http import TIMEOUT_S

pytestmark = pytest.mark.skipif(not is_possible(), reason="namespaces are not allowed here")

FIRST, SECOND = "fd00:8::5", "fd00:8::6"
SETTINGS = f"""
[server]
listen = "*:0"
names = ["[{FIRST}]:0", "[{SECOND}]:0"]
[admin]
listen = "[::1]:0"
"""
ACCOUNT = pwd.getpwuid(os.geteuid()).pw_name
PIECE = bytes(range(256)) * 4096


@pytest.fixture(scope="module")
def net() -> Iterator[Namespace]:
    with namespace() as net:
        net.ip(
            "addr del 127.0.0.1/8 dev lo",
            "link add one type veth peer name other",
            "link set one up",
            "link set other up",
            f"addr add {FIRST}/64 dev one nodad",
            f"addr add {SECOND}/64 dev one nodad",
        )
        yield net


@pytest.fixture(scope="module")
def world(net: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleWorld]:
    folder = tmp_path_factory.mktemp("world")
    relay = RelayProcess(folder / "relay", settings=SETTINGS, prefix=net.prefix, host=f"[{SECOND}]")
    with ConsoleWorld(folder, relay=relay, prefix=net.prefix) as world:
        yield world


@pytest.fixture(scope="module")
def device(world: ConsoleWorld) -> tuple[AgentProcess, str]:
    return world.agent("free")


def url(world: ConsoleWorld, host: str) -> str:
    return f"https://[{host}]:{world.relay.url.rpartition(':')[2]}"


def works(console: ConsoleProcess, device: tuple[AgentProcess, str]) -> None:
    """Listing, blobs; and a session, where the namespace's root is one who may become anybody."""
    agent, name = device
    agent.wait_reported()
    assert console.json("show", name, "memory")
    if IS_ROOT:
        done = console.run("ssh", name, "--account", ACCOUNT, "--", "tee /dev/stderr | sha256sum", stdin=PIECE)
        assert done.stdout.split()[0].decode() == hashlib.sha256(PIECE).hexdigest()
        assert done.stderr.endswith(PIECE)


def test_everything_works_where_there_is_no_ipv4(
    net: Namespace, world: ConsoleWorld, device: tuple[AgentProcess, str]
) -> None:
    attempt = "import socket; print(socket.socket().connect_ex(('127.0.0.1', 9)))"
    done = subprocess.run([*net.prefix, sys.executable, "-c", attempt], capture_output=True, check=True)
    assert int(done.stdout) == errno.ENETUNREACH
    works(world.technician("ana", account=ACCOUNT), device)
    assert device[0].status()["relay"] == url(world, FIRST)


def test_an_address_that_refuses_is_left_for_the_second_and_not_dialled_again(
    world: ConsoleWorld, device: tuple[AgentProcess, str]
) -> None:
    agent, _ = device
    for name in ("eva", "leo"):
        world.technician(name, account=ACCOUNT)
    asyncio.run(world.relay.restart())  # from now on it listens at the second address alone
    agent.wait_status(lambda s: s["linked"] and s["relay"] == url(world, SECOND), "linked at the second address")

    eva = ConsoleProcess(world.folder / "home-eva", prefix=world.prefix)
    first = eva.run("devices").stderr.decode()
    assert "connection refused" in first and f"going on at {url(world, SECOND)}" in first
    assert eva.run("devices").stderr == b"", "it is remembered"
    works(eva, device)


def test_a_black_hole_costs_seconds_once(net: Namespace, world: ConsoleWorld, device: tuple[AgentProcess, str]) -> None:
    agent, _ = device
    net.ip(f"addr del {FIRST}/64 dev one", f"neigh replace {FIRST} lladdr 02:00:00:00:00:05 nud permanent dev one")

    leo = ConsoleProcess(world.folder / "home-leo", prefix=world.prefix)
    assert "did not answer in time" in leo.run("devices").stderr.decode()
    assert leo.run("devices").stderr == b"", "it is remembered"

    agent.stop()
    way = agent.state / "way.json"
    assert json.loads(way.read_bytes())["relay"] == url(world, SECOND), "so a start dials it first"
    way.write_text(json.dumps({"relay": url(world, FIRST)}))
    said = len(agent.said())
    agent.start()
    agent.wait_linked()
    assert CONNECT_S - 1.0 < agent.journal("online")[-1]["at"] - agent.journal("started")[-1]["at"] < TIMEOUT_S
    heard = agent.said()[said:]
    assert heard.count("did not answer in time") == 1 and f"linked to [{SECOND}]" in heard

    agent.stop()
    said = len(agent.said())
    agent.start()
    agent.wait_linked()
    assert "offline" not in agent.said()[said:], "the first dial went to the one that serves"
