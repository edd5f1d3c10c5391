"""Sessions that outlive what happens to networks.

    device                       router, NAT                      relay                      console
      10.8.1.2 -- cable, lan -- 10.8.1.1
      10.8.3.2 -- spare, lan2 -- 10.8.3.1
      10.8.4.2 -- radio, bad --- 10.8.4.1
                                 10.8.0.1 -- uplink, wan -- 10.8.0.9
                                                            10.8.2.1 -- hall, desk -- 10.8.2.2

An open shell with output that is counted, and a transfer, by our console and by stock ssh.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import pwd
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

from tests.support.agent_process import WITHIN_S, AgentProcess, wait_until
from tests.support.bad_line import bad_line
from tests.support.console_process import ConsoleProcess
from tests.support.console_world import ConsoleWorld
from tests.support.daemons import find, need
from tests.support.effort import LONG
from tests.support.netns import IS_ROOT, Namespace, is_possible, namespace
from tests.support.relay_process import RelayProcess

need("nft")
pytestmark = pytest.mark.skipif(not (is_possible() and IS_ROOT), reason="sessions in namespaces need root")

SETTINGS = '[server]\nlisten = "*:0"\nnames = ["10.8.0.9:0"]\n'
ACCOUNT = pwd.getpwuid(os.geteuid()).pw_name
BLACKOUT_S = 60.0 if LONG else 5.0
MIB = 1024 * 1024
TRANSFER_MIB = 1024 if LONG else 16
LINES = 200
BAD_LINE_PIECE_BYTES = 256 * 1024 if LONG else 32 * 1024
"""A line that loses one packet of twenty carries some 100 KiB/s: RFC 5348, section 3.1."""

COUNT = f"i=0; while [ $i -lt {LINES} ]; do echo $i; i=$((i+1)); sleep 0.05; done"
BACK_WITHIN_S = 30.0
TRIES = 5
"""From the network's return to the next byte; measured in milliseconds by tests/bench, here it only has to come."""


class Net:
    def __init__(self, device: Namespace, router: Namespace, relay: Namespace, console: Namespace) -> None:
        self.device, self.router, self.relay, self.console = device, router, relay, console

    def nft(self, *rules: str) -> None:
        for rule in rules:
            self.router.run(find("nft") or "nft", *rule.split(" "))


@pytest.fixture(scope="module")
def net() -> Iterator[Net]:
    with namespace() as device, namespace(device) as router, namespace(device) as relay, namespace(device) as console:
        for here, name, there, other, subnet in (
            (device, "cable", router, "lan", 1),
            (device, "spare", router, "lan2", 3),
            (router, "uplink", relay, "wan", 0),
            (console, "desk", relay, "hall", 2),
        ):
            here.ip(f"link add {name} type veth peer name {other} netns {there.pid}")
            near, far = (1, 9) if name == "uplink" else (2, 1)
            here.ip(f"addr add 10.8.{subnet}.{near}/24 dev {name}", f"link set {name} up")
            there.ip(f"addr add 10.8.{subnet}.{far}/24 dev {other}", f"link set {other} up")
        device.ip("route add default via 10.8.1.1")
        console.ip("route add default via 10.8.2.1")
        made = Net(device, router, relay, console)
        router.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        made.nft(
            "add table ip nat",
            "add chain ip nat post { type nat hook postrouting priority 100 ; }",
            "add rule ip nat post oifname uplink masquerade",
        )
        yield made


@pytest.fixture(scope="module")
def world(net: Net, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleWorld]:
    folder = tmp_path_factory.mktemp("world")
    relay = RelayProcess(folder / "relay", settings=SETTINGS, prefix=net.relay.prefix, host="*")
    with ConsoleWorld(folder, relay=relay, prefix=net.relay.prefix) as world:
        yield world


@pytest.fixture(scope="module")
def device(net: Net, world: ConsoleWorld) -> str:
    agent = AgentProcess(world.folder / "agent", prefix=net.device.prefix)
    world.agents.append(agent)
    device = agent.join(world.admin.json("join-token", "create", "--tag", "free")["join_token"])
    agent.start()
    agent.wait_linked()
    world.admin.run("device", "approve", device, "--yes")
    agent.wait_status(lambda status: not status["provisional"], "the agent has its record")
    return device


@pytest.fixture(scope="module")
def console(net: Net, world: ConsoleWorld) -> ConsoleProcess:
    made = ConsoleProcess(world.folder / "home-ana", prefix=net.console.prefix)
    return world.technician("ana", account=ACCOUNT, console=made)


def reaches(console: ConsoleProcess, device: str) -> bool:
    command = [*console.command, "ssh", device, "--", "true"]
    return subprocess.run(command, capture_output=True, env=console.environment, check=False).returncode == 0


class Sessions:
    """Two at once: one that counts, by our console; one that takes data, by stock ssh."""

    def __init__(self, console: ConsoleProcess, device: str, folder: Path, *, piece_bytes: int = MIB) -> None:
        """piece_bytes: of each of TRANSFER_MIB pieces; less on a line that takes less."""
        self.out, self.err = folder / "out", folder / "err"
        self._console, self._device = console, device
        # The test before may have ended while the device was still on its way back, and nobody knew of it.
        wait_until(lambda: reaches(console, device), "the device is reached")
        console.run("ssh-config")
        for _ in range(TRIES):
            self._launch()
            wait_until(lambda: self.lines >= 10 or not self._live, "it counts")
            if self._live:
                break
            self._kill()  # the device may have begun another link at this very moment
        else:
            raise AssertionError(f"no session began: {self.err.read_text()}")
        self.piece = os.urandom(piece_bytes)
        self.go_on = threading.Event()
        self.feeder = threading.Thread(target=self._feed)
        self.feeder.start()

    def _launch(self) -> None:
        console, device = self._console, self._device
        ssh = ["ssh", "-F", str(console.home / "ssh_config"), "-o", "BatchMode=yes", f"{device}.auxilio"]
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.counting = subprocess.Popen(
                [*console.command, "ssh", device, "--", COUNT],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=console.environment,
            )
            self.taking = subprocess.Popen(
                [*console.prefix, *ssh, "sha256sum"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=err,
                env=console.environment,
            )

    @property
    def _live(self) -> bool:
        return self.counting.poll() is None and self.taking.poll() is None

    def _feed(self) -> None:
        """Half of it before whatever happens, the other half through it."""
        assert self.taking.stdin is not None
        for number in range(TRANSFER_MIB):
            if number == TRANSFER_MIB // 2:
                self.go_on.wait(WITHIN_S)
            self.taking.stdin.write(self.piece)
        self.taking.stdin.close()

    @property
    def lines(self) -> int:
        return self.out.read_bytes().count(b"\n")

    def end(self) -> None:
        """Everything has come, in order, and nothing twice."""
        self.go_on.set()
        self.feeder.join(10 * WITHIN_S)
        digest = hashlib.sha256()
        for _ in range(TRANSFER_MIB):
            digest.update(self.piece)
        assert self.taking.stdout is not None
        taken = self.taking.stdout.read()
        status = self.taking.wait(WITHIN_S)
        assert status == 0, self.err.read_text()
        assert taken.split()[0].decode() == digest.hexdigest()
        assert self.counting.wait(2 * WITHIN_S) == 0, self.err.read_text()
        assert self.out.read_bytes().split() == [b"%d" % i for i in range(LINES)]

    def close(self) -> None:
        self.go_on.set()
        self._kill()
        self.feeder.join()

    def _kill(self) -> None:
        for process in (self.counting, self.taking):
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.fixture
def sessions(console: ConsoleProcess, device: str, tmp_path: Path) -> Iterator[Sessions]:
    with closing(Sessions(console, device, tmp_path)) as made:
        yield made


@pytest.mark.parametrize("whose", ["device", "console"])
def test_a_blackout(net: Net, sessions: Sessions, whose: str) -> None:
    """The cable stays in; nothing goes through, and nobody is told."""
    where, name = (net.router, "uplink") if whose == "device" else (net.relay, "hall")
    where.ip(f"link set {name} down")
    sessions.go_on.set()
    time.sleep(BLACKOUT_S)
    where.ip(f"link set {name} up")
    if whose == "device":
        where.ip("addr replace 10.8.0.1/24 dev uplink")
    else:
        where.ip("addr replace 10.8.2.1/24 dev hall")
    sessions.end()


def test_the_relay_is_killed_and_starts_again(world: ConsoleWorld, sessions: Sessions) -> None:
    asyncio.run(world.relay.kill())
    sessions.go_on.set()
    asyncio.run(world.relay.start())
    sessions.end()


def test_the_device_gets_another_address_and_another_route(net: Net, sessions: Sessions) -> None:
    net.device.ip(
        "addr del 10.8.1.2/24 dev cable", "addr add 10.8.1.7/24 dev cable", "route replace default via 10.8.1.1"
    )
    sessions.go_on.set()
    wait_until(lambda: sessions.lines >= 40, "it goes on by the other address")
    net.device.ip("route replace default via 10.8.3.1")
    sessions.end()
    net.device.ip("route replace default via 10.8.1.1")


def test_five_packets_of_a_hundred_are_lost(net: Net, sessions: Sessions) -> None:
    drop = "numgen random mod 100 < 5 drop"
    for interface in ("lan", "uplink"):
        net.nft(
            f"add table netdev loss{interface}",
            f"add chain netdev loss{interface} in {{ type filter hook ingress device {interface} priority 0 ; }}",
            f"add rule netdev loss{interface} in {drop}",
        )
    try:
        sessions.end()
    finally:
        for interface in ("lan", "uplink"):
            net.nft(f"delete table netdev loss{interface}")


def test_the_router_forgets_its_connections(net: Net, sessions: Sessions) -> None:
    """As home routers do at night: what comes from outside has nowhere to go any more."""
    net.nft("flush table ip nat", "add rule ip nat post oifname uplink masquerade random")
    net.router.ip("link set lan down", "link set lan up")
    sessions.end()


def test_a_line_that_is_long_and_loses_packets(net: Net, console: ConsoleProcess, device: str, tmp_path: Path) -> None:
    """5 % lost and 100 ms +- 30 ms there and back, while it works: a radio modem at the edge of its cell."""
    with (
        closing(Sessions(console, device, tmp_path, piece_bytes=BAD_LINE_PIECE_BYTES)) as sessions,
        bad_line(net.device, net.router, "radio", delay_ms=50, jitter_ms=15, loss=5),
    ):
        net.router.ip("addr add 10.8.4.1/24 dev radio", "link set radio up")
        net.device.ip("addr add 10.8.4.2/24 dev radio", "link set radio up", "route replace default via 10.8.4.1")
        try:
            sessions.end()
        finally:
            net.device.ip("route replace default via 10.8.1.1")


def test_the_device_sleeps(world: ConsoleWorld, sessions: Sessions) -> None:
    """As a lid that is closed: every process of the device stops, and goes on without knowing for how long."""
    agent = psutil.Process(world.agents[0].pid)
    agent.send_signal(signal.SIGSTOP)  # first, so that it starts and ends none of the others meanwhile
    asleep = [agent, *agent.children(recursive=True)]
    for process in asleep:
        with suppress(psutil.NoSuchProcess):  # what was ending by itself
            process.send_signal(signal.SIGSTOP)
    sessions.go_on.set()
    time.sleep(BLACKOUT_S)
    for process in asleep:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGCONT)
    sessions.end()
