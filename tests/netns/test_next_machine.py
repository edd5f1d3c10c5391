"""Whether the next machine is there, asked of a kernel that may not send pings and whose table is out of date."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.agent_process import wait_until
from tests.support.daemons import find, need
from tests.support.netns import IS_ROOT, Namespace, is_possible, namespace

need("nft")
pytestmark = pytest.mark.skipif(not (is_possible() and IS_ROOT), reason="a network in namespaces needs root")

LOOK = """
import asyncio, sys
from agent.connectivity.probes.gateways import look_at_gateways
from protocol.sections.network import Route
from protocol.system_clock import SystemClock
route = Route(gateway=sys.argv[1], interface="cable", family=6 if ":" in sys.argv[1] else 4)
print(asyncio.run(look_at_gateways([route], SystemClock()))[0].answers)
"""
KNOCK = """
import socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", ("10.8.0.1", 9))
"""


@pytest.fixture
def device() -> Iterator[Namespace]:
    with namespace() as device:
        yield device


@pytest.fixture
def gateway(device: Namespace) -> Iterator[Namespace]:
    with namespace(device) as gateway:
        device.ip(
            f"link add cable type veth peer name lan netns {gateway.pid}",
            "addr add 10.8.0.2/24 dev cable",
            "addr add fd08::2/64 dev cable nodad",
            "link set cable up",
        )
        gateway.ip("addr add 10.8.0.1/24 dev lan", "addr add fd08::1/64 dev lan nodad", "link set lan up")
        wait_until(lambda: "LOWER_UP" in device.run("ip", "link", "show", "cable"), "the cable is in")
        yield gateway


def answers(device: Namespace, address: str = "10.8.0.1") -> str:
    return device.run(sys.executable, "-c", LOOK, address).strip()


def mute(gateway: Namespace) -> None:
    for rule in (
        "add table netdev mute",
        "add chain netdev mute in { type filter hook ingress device lan priority 0 ; }",
        "add rule netdev mute in drop",
    ):
        gateway.run(find("nft") or "nft", *rule.split(" "))


def unmute(gateway: Namespace) -> None:
    gateway.run(find("nft") or "nft", "delete", "table", "netdev", "mute")


@pytest.mark.parametrize("address", ["10.8.0.1", "fd08::1"])
def test_a_gateway_is_seen_where_no_ping_may_be_sent(device: Namespace, gateway: Namespace, address: str) -> None:
    assert answers(device, address) == "True"


@pytest.mark.parametrize("address", ["10.8.0.1", "fd08::1"])
def test_a_gateway_that_fell_silent_is_seen_though_its_address_is_still_known(
    device: Namespace, gateway: Namespace, address: str
) -> None:
    assert answers(device, address) == "True"
    mute(gateway)
    device.ip(f"neigh change {address} dev cable nud stale")
    assert answers(device, address) == "False"


def test_a_question_from_before_the_repair_is_no_verdict(device: Namespace, gateway: Namespace) -> None:
    """The kernel asks three times, once a second. Who comes after the third waits for an answer that cannot come."""
    mute(gateway)
    subprocess.run([*device.prefix, sys.executable, "-c", KNOCK], check=True)
    wait_until(lambda: "probes 6 INCOMPLETE" in asked(device), "the kernel asked for the last time")  # it begins at 4
    unmute(gateway)
    assert answers(device) == "True"


def asked(device: Namespace) -> str:
    return " ".join(device.run("ip", "-s", "neigh", "show", "10.8.0.1", "dev", "cable").split())


def test_an_entry_that_failed_is_asked_again(device: Namespace, gateway: Namespace) -> None:
    mute(gateway)
    assert answers(device) == "False"
    unmute(gateway)
    assert answers(device) == "True"


def test_nobody_is_not_a_gateway(device: Namespace, gateway: Namespace) -> None:
    assert answers(device, "10.8.0.77") == "False"
    assert answers(device, "10.7.7.7") == "None", "not on this network at all"
