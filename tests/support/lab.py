"""A customer's network, of real parts, in which one thing at a time can be broken.

    device            router: dnsmasq, miniupnpd if wanted   provider                     relay, its name server
      DHCP --- cable, lan --- 10.9.1.1
                            11.9.2.1 -- line, street -- 11.9.2.9
                                                        203.0.113.1 -- wan, net - 203.0.113.9

The router's address on the line is a public one, and of no documentation's: miniupnpd tells of no other. The device
has an address by DHCP (udhcpc), and asks the router for names, which asks the provider's server. The line between
router and provider is the hop in the middle.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.support.agent_process import AgentProcess, wait_until
from tests.support.console_world import ConsoleWorld
from tests.support.daemons import find
from tests.support.netns import Namespace, namespace
from tests.support.relay_process import RelayProcess

RELAY_NAME = "relay.lab.example"
SETTINGS = f'[server]\nlisten = "*:0"\nnames = ["{RELAY_NAME}:0"]\n'
ROUTER_OUTSIDE, PROVIDER = "11.9.2.1", "11.9.2.9"
WITHIN_S = 120.0
OWN_RESOLVER = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'

LEASE = """#!/bin/sh
case "$1" in
bound|renew)
    ip addr flush dev $interface
    ip addr add $ip/$mask dev $interface
    ip route replace default via $router
    echo "nameserver $dns" >$RESOLV_CONF
esac
"""

HEALTHY = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).close()"

UPNP = """
ext_ifname=line
listening_ip=lan
port={port}
enable_natpmp=no
enable_upnp=yes
secure_mode=yes
bitrate_down=50000000
bitrate_up=10000000
uuid=5f4b1ad4-5d59-4b5e-9f0e-2f3f4c5d6e7f
friendly_name=Lab & Sons
model_name=Box
manufacturer_name=Lab
"""


class Server:
    """A program in a namespace, ended with it."""

    def __init__(self, where: Namespace, *command: str, log: Path, resolv_conf: Path | None = None) -> None:
        """resolv_conf: instead of this machine's."""
        own = ("unshare", "-m", "sh", "-c", OWN_RESOLVER, str(resolv_conf)) if resolv_conf is not None else ()
        words = [*where.prefix, *own, find(command[0]) or command[0], *command[1:]]
        with open(log, "ab") as output:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(WITHIN_S)


class Lab:
    """Healthy when it is made. Each fault is a context that ends with its repair, whatever happens in it."""

    def __init__(self, folder: Path, device: Namespace, router: Namespace, isp: Namespace, relay: Namespace) -> None:
        self.folder = folder
        self.device, self.router, self.isp, self.relay = device, router, isp, relay
        self.resolv_conf = folder / "resolv.conf"
        self.resolv_conf.write_text("")
        self.provider = folder / "provider-resolv.conf"
        self._router_dns: Server | None = None
        self.world: ConsoleWorld
        self.agent: AgentProcess

    def join_cables(self) -> None:
        for here, name, near, there, other, far in (
            (self.device, "cable", "", self.router, "lan", "10.9.1.1/24"),
            (self.router, "line", f"{ROUTER_OUTSIDE}/24", self.isp, "street", f"{PROVIDER}/24"),
            (self.isp, "wan", "203.0.113.1/24", self.relay, "net", "203.0.113.9/24"),
        ):
            here.ip(f"link add {name} type veth peer name {other} netns {there.pid}")
            for where, which, address in ((here, name, near), (there, other, far)):
                where.ip(*([f"addr add {address} dev {which}"] if address else []), f"link set {which} up")
        self.router.ip(f"route add default via {PROVIDER}")
        self.relay.ip("route add default via 203.0.113.1")
        for where in (self.router, self.isp):
            where.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        self.nft(
            self.router,
            "add table ip nat",
            "add chain ip nat post { type nat hook postrouting priority 100 ; }",
            "add rule ip nat post oifname line masquerade",
            "add chain ip nat pre { type nat hook prerouting priority -100 ; }",
            "add table ip filter",
            "add chain ip filter forward { type filter hook forward priority 0 ; }",
        )
        self.isp.ip(f"route add 10.9.1.0/24 via {ROUTER_OUTSIDE}")

    def nft(self, where: Namespace, *rules: str) -> None:
        for rule in rules:
            where.run(find("nft") or "nft", *rule.split(" "))

    # -- names and addresses --------------------------------------------------------------------------------------

    def serve_names(self) -> Server:
        """The provider's server: it knows the relay, and denies what is below .com."""
        return self._dnsmasq(
            self.relay, "isp-dns", "--no-resolv", f"--address=/{RELAY_NAME}/203.0.113.9", "--address=/com/"
        )

    def serve_lan(self, *more: str) -> None:
        self._router_dns = self._dnsmasq(
            self.router,
            "lan-dns",
            "--interface=lan",
            "--no-resolv",
            "--server=203.0.113.9",
            "--dhcp-range=10.9.1.50,10.9.1.60,255.255.255.0,1h",
            "--dhcp-authoritative",
            "--no-ping",
            f"--dhcp-leasefile={self.folder}/leases",
            *more,
        )

    def stop_lan(self) -> None:
        if self._router_dns is not None:
            self._router_dns.stop()

    @contextmanager
    def upnp(self, port: int = 0) -> Iterator[None]:
        """The router tells of its line. port: 0 for any, which its reply to a search names."""
        settings = self.folder / "miniupnpd.conf"
        settings.write_text(UPNP.format(port=port))
        words = ("miniupnpd", "-d", "-f", str(settings), "-P", str(self.folder / "miniupnpd.pid"))
        server = Server(self.router, *words, log=self.folder / "miniupnpd.log")
        try:
            wait_until(lambda: ":1900" in self.router.run("ss", "-lun"), "the router can be asked")
            yield
        finally:
            server.stop()

    def _dnsmasq(self, where: Namespace, name: str, *options: str) -> Server:
        pid = self.folder / f"{name}.pid"
        pid.unlink(missing_ok=True)
        common = ("--keep-in-foreground", "--no-hosts", "--conf-file=/dev/null", "--bind-dynamic", "--user=root")
        server = Server(where, "dnsmasq", *common, f"--pid-file={pid}", *options, log=self.folder / f"{name}.log")
        wait_until(pid.exists, f"{name} runs")
        return server

    def lease(self) -> bool:
        """Ask for an address, as a machine does when its cable is put in."""
        script = self.folder / "lease.sh"
        script.write_text(LEASE)
        script.chmod(0o755)
        words = [find("udhcpc") or "udhcpc", "-f", "-n", "-q", "-t", "3", "-T", "1", "-i", "cable", "-s", str(script)]
        done = subprocess.run(
            [*self.device.prefix, *words],
            env={**os.environ, "RESOLV_CONF": str(self.resolv_conf)},
            capture_output=True,
            check=False,
            timeout=WITHIN_S,
        )
        return done.returncode == 0

    def get_lease(self) -> None:
        """Until it has one: right after a repair the server may not have noticed its interface yet."""
        wait_until(self.lease, "the device has an address again")

    # -- looking ----------------------------------------------------------------------------------------------------

    @property
    def at_the_device(self) -> tuple[str, ...]:
        """The prefix of a command there: its network, and its own resolv.conf."""
        return (*self.device.prefix, "unshare", "-m", "sh", "-c", OWN_RESOLVER, str(self.resolv_conf))

    def wait_healthy(self) -> None:
        """Until the device's questions for names are answered by the provider's server, and the relay takes its
        connections: what a fault broke works again, so that the next one is the only one."""
        port = self.world.relay.names[0].rpartition(":")[2]
        words = [*self.at_the_device, sys.executable, "-c", HEALTHY, RELAY_NAME, port]

        def is_so() -> bool:
            return subprocess.run(words, capture_output=True, check=False, timeout=WITHIN_S).returncode == 0

        wait_until(is_so, "the repair works", WITHIN_S)

    def diagnose(
        self, *prefix: str, environment: dict[str, str] | None = None, options: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """What `auxilio-agent diagnose --json` says there."""
        words = [sys.executable, "-m", "agent.main", "diagnose", "--json", "--state", str(self.agent.state), *options]
        done = subprocess.run(
            [*self.at_the_device, *prefix, *words],
            env={**self.agent.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=WITHIN_S,
            check=False,
        )
        assert done.returncode in (0, 8, 9), done.stderr.decode()
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@contextmanager
def lab(folder: Path) -> Iterator[Lab]:
    """Healthy, with a device that has joined and was linked once; its agent does not run."""
    with ExitStack() as stack:
        device = stack.enter_context(namespace())
        router, isp, relay = (stack.enter_context(namespace(device)) for _ in range(3))
        made = Lab(folder, device, router, isp, relay)
        made.join_cables()
        server = made.serve_names()
        stack.callback(server.stop)
        made.serve_lan()
        stack.callback(made.stop_lan)
        assert made.lease(), (folder / "lan-dns.log").read_text()
        made.provider.write_text("nameserver 203.0.113.9\n")
        people = (*relay.prefix, "unshare", "-m", "sh", "-c", OWN_RESOLVER, str(made.provider))
        process = RelayProcess(folder / "relay", settings=SETTINGS, prefix=relay.prefix)
        made.world = stack.enter_context(ConsoleWorld(folder, relay=process, prefix=people))
        made.agent = AgentProcess(folder / "agent", prefix=made.at_the_device)
        made.agent.join(made.world.admin.json("join-token", "create", "--tag", "free")["join_token"])
        made.agent.start()
        made.agent.wait_linked()
        made.agent.stop()
        yield made


@contextmanager
def undone(*repairs: Any) -> Iterator[None]:
    """Whatever happens inside, `repairs` are called after it, in order."""
    try:
        yield
    finally:
        with contextlib.ExitStack() as stack:
            for repair in reversed(repairs):
                stack.callback(repair)
