"""The link while the network changes under it, in namespaces: rebuilt where it lost its way, kept where it did not.

device                                  relay
  a0 10.7.1.2/24  ------------------  r0 10.7.1.1/24      10.7.9.9/32 on lo: the relay
  a1 10.7.2.2/24  ------------------  r1 10.7.2.1/24      (console here, too)
  10.7.9.9 via 10.7.1.1
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from agent.journal import read_journal
from agent.link_driver import LOOK_S
from agent.show import read_status
from protocol.liveness import ASLEEP_S, NAP_S, PERIOD_S, PROBE_WITHIN_S, SPREAD
from tests.support.agent_process import AgentProcess, wait_until
from tests.support.console_world import ConsoleWorld
from tests.support.netns import Namespace, is_possible, namespace
from tests.support.relay_process import RelayProcess

pytestmark = pytest.mark.skipif(not is_possible(), reason="namespaces are not allowed here")

SETTINGS = '[server]\nlisten = "*:0"\nnames = ["10.7.9.9:0"]\n'
ROUTE = "route replace 10.7.9.9/32 via 10.7.1.1"
BEFORE_ANY_PING_S = PERIOD_S * (1 - SPREAD)
"""From a link's beginning to its first ping at the earliest; without one, nobody hears that a link is dead."""


class Net:
    def __init__(self, device: Namespace, relay: Namespace) -> None:
        self.device, self.relay = device, relay


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    with namespace() as device, namespace(device) as relay:
        for number in (0, 1):
            device.ip(f"link add a{number} type veth peer name r{number} netns {relay.pid}")
            device.ip(f"addr add 10.7.{number + 1}.2/24 dev a{number}", f"link set a{number} up")
            relay.ip(f"addr add 10.7.{number + 1}.1/24 dev r{number}", f"link set r{number} up")
        relay.ip("addr add 10.7.9.9/32 dev lo")
        device.ip(ROUTE)
        yield Net(device, relay)


@pytest.fixture(scope="module")
def running(net: Net, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    folder = tmp_path_factory.mktemp("world")
    relay = RelayProcess(folder / "relay", settings=SETTINGS, prefix=net.relay.prefix)
    with ConsoleWorld(folder, relay=relay, prefix=net.relay.prefix, people=False) as world:
        agent = AgentProcess(folder / "agent", prefix=net.device.prefix)
        world.agents.append(agent)
        agent.join(world.admin.json("join-token", "create")["join_token"])
        agent.start()
        yield agent


@pytest.fixture
def agent(running: AgentProcess) -> Watched:
    """Linked, by a0 as it was: each test leaves it so."""
    running.wait_linked()
    return Watched(running)


def connections(net: Net) -> str:
    """The device's TCP connections, from which address to which."""
    command = [*net.device.prefix, "ss", "-Htn", "state", "established"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


class Watched:
    """An agent, and what became of its link since it was looked at first."""

    def __init__(self, agent: AgentProcess) -> None:
        self.agent = agent
        self.begun_at = time.time()
        self.since_at = read_status(agent.state)["since_at"]
        self._said = len(agent.said())

    def said(self, text: str) -> int:
        """How often."""
        return self.agent.said()[self._said :].count(text)

    def ended(self) -> list[dict[str, Any]]:
        entries = read_journal(self.agent.state / "journal.jsonl", 0)
        return [entry for entry in entries if entry["event"] == "offline" and entry["at"] >= self.begun_at]

    def wait_relinked(self, reason: str) -> None:
        """By a new link at once: before anybody could have waited for a ping, and by the first dial."""
        wait_until(self.ended, f"the link ends, after: {reason}")
        self.agent.wait_status(lambda s: s["linked"], f"a new link, after: {reason}")
        [ended] = self.ended()
        assert reason in ended["reason"] and ended["at"] - self.begun_at < BEFORE_ANY_PING_S
        assert self.said("offline: ") == 1

    def wait_said(self, text: str, count: int = 1) -> None:
        try:
            wait_until(lambda: self.said(text) >= count, f"{text}, {count} times")
        except AssertionError as exc:
            raise AssertionError(f"{exc}; the agent said: {self.agent.said()[self._said :]}") from exc


def test_another_address_makes_a_new_link_at_once(net: Net, agent: Watched) -> None:
    net.device.ip("addr del 10.7.1.2/24 dev a0", "addr add 10.7.1.3/24 dev a0", ROUTE)
    try:
        agent.wait_relinked("the network changed")
        assert "10.7.1.3" in connections(net)
    finally:
        net.device.ip("addr del 10.7.1.3/24 dev a0", "addr add 10.7.1.2/24 dev a0", ROUTE)
    agent.wait_said("linked to", 2)


def test_another_route_makes_a_new_link_at_once(net: Net, agent: Watched) -> None:
    net.device.ip("route replace 10.7.9.9/32 via 10.7.2.1")
    try:
        agent.wait_relinked("the network changed")
        assert "10.7.2.2" in connections(net)
    finally:
        net.device.ip(ROUTE)
    agent.wait_said("linked to", 2)


def test_changes_elsewhere_do_not_drop_a_healthy_link(net: Net, agent: Watched) -> None:
    for number in range(2):  # as containers do: a device with addresses and routes comes, and goes
        net.device.ip(
            "link add docker7 type veth peer name docker8",
            "link set docker7 up",
            "link set docker8 up",
            f"addr add 172.30.{number}.1/24 dev docker7",
            "addr add fd00:7::1/64 dev docker7",
            f"route add 10.99.{number}.0/24 dev docker7",
            "link del docker7",
        )
        agent.wait_said("the link stands", number + 1)
    assert agent.ended() == [] and read_status(agent.agent.state)["since_at"] == agent.since_at


def test_a_link_that_died_silently_is_noticed_when_anything_changes(net: Net, agent: Watched) -> None:
    net.relay.ip("route add blackhole 10.7.1.2/32")
    try:
        net.device.ip("link add docker7 type veth peer name docker8", "link del docker7")
        wait_until(agent.ended, "it gave the link up")
        assert agent.ended()[0]["reason"] == f"no answer to a ping for {PROBE_WITHIN_S:.0f} s"
    finally:
        net.relay.ip("route del blackhole 10.7.1.2/32")
    agent.agent.wait_linked()


def test_a_network_that_comes_back_finds_the_agent_waiting_for_it(net: Net, agent: Watched) -> None:
    net.device.ip("link set a0 down")
    agent.wait_said("offline: ", 2)  # the link ended, and a dial failed
    net.device.ip("link set a0 up", ROUTE)
    agent.agent.wait_linked()


def stop_for(agent: AgentProcess, seconds: float) -> None:
    os.kill(agent.pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(agent.pid, signal.SIGCONT)


def test_a_machine_that_stood_still_for_a_moment_asks_and_goes_on(agent: Watched) -> None:
    stop_for(agent.agent, LOOK_S + NAP_S + 1.0)
    agent.wait_said("the link stands")
    assert agent.ended() == []


@pytest.mark.long
def test_a_machine_that_stood_still_for_longer_begins_anew_at_once(agent: Watched) -> None:
    stop_for(agent.agent, ASLEEP_S + LOOK_S + 2.0)
    agent.begun_at = time.time()
    agent.wait_relinked("slept or stood still")
