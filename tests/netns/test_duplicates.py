"""Two machines with one address, and what is not mistaken for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

from tests.support.agent_process import wait_until
from tests.support.netns import IS_ROOT, Namespace, is_possible, namespace

pytestmark = pytest.mark.skipif(not (is_possible() and IS_ROOT), reason="frames are sent by root alone")

LOOK = """
import asyncio, json
from agent.connectivity.probes.duplicates import look_for_duplicates
from agent.facts.collectors.network import network_section
from agent.facts.source import Asked, Hung
from protocol.system_clock import SystemClock
clock = SystemClock()
network = network_section(Asked(Hung(), clock, clock.monotonic() + 20))
print(json.dumps(asyncio.run(look_for_duplicates(network))))
"""


@pytest.fixture
def device() -> Iterator[Namespace]:
    with namespace() as device:
        yield device


@pytest.fixture
def street(device: Namespace) -> Iterator[Namespace]:
    """What the device's cable leads to: the router and whoever else is there."""
    with namespace(device) as street:
        device.ip(
            f"link add cable type veth peer name lan netns {street.pid}",
            "link set cable up",
            "addr add 10.8.0.2/24 dev cable",
        )
        street.ip("link set lan up", "addr add 10.8.0.1/24 dev lan")
        wait_until(lambda: "LOWER_UP" in device.run("ip", "link", "show", "cable"), "the cable is in")
        device.ip("route add default via 10.8.0.1")
        yield street


@pytest.fixture
def other(street: Namespace) -> Iterator[Namespace]:
    """A machine of its own in the same network."""
    with namespace(street) as other:
        street.ip(
            f"link add port type veth peer name cable netns {other.pid}",
            "link add bridge type bridge",
            "addr flush dev lan",
            "link set lan master bridge",
            "link set port master bridge",
            "link set port up",
            "link set bridge up",
            "addr add 10.8.0.1/24 dev bridge",
        )
        other.ip("link set cable up")
        yield other


def duplicates(device: Namespace) -> list[str]:
    found: list[str] = json.loads(device.run(sys.executable, "-c", LOOK))
    return found


def test_another_machine_with_our_address_is_noticed(device: Namespace, other: Namespace) -> None:
    assert duplicates(device) == []
    other.ip("addr add 10.8.0.2/24 dev cable")
    wait_until(lambda: duplicates(device) == ["10.8.0.2"], "the other one is noticed")


def test_a_gateway_that_answers_for_everybody_is_no_duplicate(device: Namespace, street: Namespace) -> None:
    street.ip("addr add 10.8.0.2/32 dev lan")
    assert duplicates(device) == []


def test_our_own_second_adapter_is_no_duplicate(device: Namespace, other: Namespace, street: Namespace) -> None:
    device.ip(f"link add second type veth peer name port2 netns {street.pid}")
    street.ip("link set port2 master bridge", "link set port2 up")
    device.ip("link set second up", "addr add 10.8.0.3/24 dev second")
    assert duplicates(device) == []


def test_what_ipv6_found_itself_is_told_to_everybody(device: Namespace, other: Namespace) -> None:
    other.ip("addr add fd08::2/64 dev cable nodad")
    device.ip("addr add fd08::2/64 dev cable")
    wait_until(lambda: "dadfailed" in device.run("ip", "-6", "addr", "show", "dev", "cable"), "IPv6 has noticed")
    assert duplicates(device) == ["fd08::2"]
