"""One thing at a time is broken in a customer's network, and the verdict is the right rung."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import pytest

from tests.support.agent_process import wait_until
from tests.support.daemons import need
from tests.support.lab import PROVIDER, ROUTER_OUTSIDE, Lab, Server, lab, undone
from tests.support.netns import IS_ROOT, is_possible

need("nft", "dnsmasq", "udhcpc", "faketime", "tinyproxy", "miniupnpd")
pytestmark = pytest.mark.skipif(not (is_possible() and IS_ROOT), reason="a lab in namespaces needs root")

PORTAL = """
import http.server, sys
class Portal(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(302)
        self.send_header("Location", "http://10.9.1.1/welcome")
        self.end_headers()
server = http.server.ThreadingHTTPServer(("10.9.1.1", 8080), Portal)
print("there", flush=True)
server.serve_forever()
"""
BOX = """
import ssl, socket, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
listener = socket.create_server(("10.9.1.1", 8443))
print("there", flush=True)
while True:
    connection, _ = listener.accept()
    try:
        with context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(4096)
            tls.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nhi")
    except OSError:
        connection.close()
"""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    folder.chmod(0o755)
    with lab(folder) as made:
        yield made


@contextmanager
def link_down(net: Lab) -> Iterator[None]:
    net.device.ip("link set cable down")
    with undone(lambda: net.device.ip("link set cable up"), net.get_lease):
        yield


@contextmanager
def no_lease(net: Lab) -> Iterator[None]:
    with undone(net.serve_lan, net.get_lease):
        net.stop_lan()
        net.device.ip("addr flush dev cable")
        assert not net.lease()
        yield


@contextmanager
def gateway_silent(net: Lab) -> Iterator[None]:
    with undone(lambda: net.nft(net.router, "delete table netdev mute")):
        net.nft(
            net.router,
            "add table netdev mute",
            "add chain netdev mute in { type filter hook ingress device lan priority 0 ; }",
            "add rule netdev mute in drop",
        )
        net.device.ip("neigh flush dev cable")
        yield


@contextmanager
def wan_down(net: Lab) -> Iterator[None]:
    with undone(lambda: net.router.ip("link set line up", f"route add default via {PROVIDER}")):
        net.router.ip("link set line down")
        yield


@contextmanager
def wan_lost(net: Lab) -> Iterator[None]:
    """The line is there, and the provider gives no address on it."""
    with undone(lambda: net.router.ip(f"addr add {ROUTER_OUTSIDE}/24 dev line", f"route add default via {PROVIDER}")):
        net.router.ip("addr flush dev line")
        yield


@contextmanager
def deaf_to_searches(net: Lab) -> Iterator[None]:
    with undone(lambda: net.nft(net.router, "delete table ip deaf")):
        net.nft(
            net.router,
            "add table ip deaf",
            "add chain ip deaf in { type filter hook input priority 0 ; }",
            "add rule ip deaf in udp dport 1900 drop",
        )
        yield


@contextmanager
def behind_another(net: Lab) -> Iterator[None]:
    """The provider's box in front of the router gives it an address of a home."""
    with undone(
        lambda: net.isp.ip("addr del 192.168.9.9/24 dev street"),
        lambda: net.router.ip(
            "addr flush dev line", f"addr add {ROUTER_OUTSIDE}/24 dev line", f"route add default via {PROVIDER}"
        ),
    ):
        net.isp.ip("addr add 192.168.9.9/24 dev street")
        net.router.ip("addr flush dev line", "addr add 192.168.9.1/24 dev line", "route add default via 192.168.9.9")
        yield


LINE_MBPS = 2


@contextmanager
def slow_line(net: Lab) -> Iterator[None]:
    """Two megabits a second towards the customer, with a short queue."""
    with undone(lambda: net.isp.run("tc", "qdisc", "del", "dev", "street", "root")):
        shape = f"tbf rate {LINE_MBPS}mbit burst 16kb latency 200ms"
        net.isp.run("tc", "qdisc", "add", "dev", "street", "root", *shape.split(" "))
        yield


@contextmanager
def dns_dead(net: Lab) -> Iterator[None]:
    with undone(net.serve_lan):
        net.stop_lan()
        yield


@contextmanager
def dns_lies(net: Lab) -> Iterator[None]:
    with undone(net.stop_lan, net.serve_lan):
        net.stop_lan()
        net.serve_lan("--address=/#/203.0.113.66")
        yield


@contextmanager
def captive_portal(net: Lab) -> Iterator[None]:
    """Port 80 leads to the login page, everything else nowhere."""
    repair = ("flush chain ip nat pre", "flush chain ip filter forward")
    with serving(net, "-c", PORTAL), undone(lambda: net.nft(net.router, *repair)):
        net.nft(
            net.router,
            "add rule ip nat pre iifname lan tcp dport 80 dnat to 10.9.1.1:8080",
            "add rule ip filter forward iifname lan drop",
        )
        yield


@contextmanager
def intercepted(net: Lab) -> Iterator[None]:
    """A box that opens TLS, with an authority of its own."""
    key, certificate = net.folder / "box.key", net.folder / "box.pem"
    net.router.run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", "/CN=Acme Web Filter", "-keyout", str(key), "-out", str(certificate),
    )  # fmt: skip
    port = net.world.relay.names[0].rpartition(":")[2]
    repair = "flush chain ip nat pre"
    with serving(net, "-c", BOX, str(certificate), str(key)), undone(lambda: net.nft(net.router, repair)):
        net.nft(net.router, f"add rule ip nat pre iifname lan tcp dport {port} dnat to 10.9.1.1:8443")
        yield


@contextmanager
def serving(net: Lab, *python: str) -> Iterator[None]:
    log = net.folder / "server.log"
    log.write_text("")
    server = Server(net.router, sys.executable, *python, log=log)
    wait_until(lambda: "there" in log.read_text(), "it serves")
    try:
        yield
    finally:
        server.process.kill()
        server.process.wait()


@contextmanager
def black_hole(net: Lab) -> Iterator[None]:
    """The line takes less than both ends of it say, and nobody is told."""
    whole = (lambda: net.router.ip("link set line mtu 1500"), lambda: net.isp.ip("link set street mtu 1500"))
    heard = tuple(partial(net.nft, where, "delete table ip deaf") for where in (net.router, net.isp))
    with undone(*heard, *whole):
        net.router.ip("link set line mtu 1000")
        net.isp.ip("link set street mtu 1000")
        for where in (net.router, net.isp):
            net.nft(
                where,
                "add table ip deaf",
                "add chain ip deaf out { type filter hook output priority 0 ; }",
                "add rule ip deaf out icmp type destination-unreachable drop",
            )
        yield


@contextmanager
def losing(net: Lab) -> Iterator[None]:
    """What opens a connection is lost one time in three, counted: by chance it would now and then be too few."""
    with undone(lambda: net.nft(net.isp, "delete table netdev loss")):
        net.nft(
            net.isp,
            "add table netdev loss",
            "add chain netdev loss in { type filter hook ingress device street priority 0 ; }",
            "add rule netdev loss in tcp flags & (syn | ack) == syn numgen inc mod 3 < 1 drop",
            "add rule netdev loss in tcp flags & (syn | ack) != syn numgen random mod 100 < 30 drop",
        )
        yield


@contextmanager
def relay_gone(net: Lab) -> Iterator[None]:
    with undone(lambda: net.nft(net.relay, "delete table ip shut")):
        net.nft(
            net.relay,
            "add table ip shut",
            "add chain ip shut in { type filter hook input priority 0 ; }",
            "add rule ip shut in tcp dport != 22 reject with tcp reset",
        )
        yield


Fault = Callable[[Lab], AbstractContextManager[None]]

FAULTS: list[tuple[Fault, str, str]] = [
    (link_down, "adapter", "link-down"),
    (no_lease, "address", "no-address"),
    (gateway_silent, "gateway", "gateway-silent"),
    (wan_down, "internet", "internet-down"),
    (dns_dead, "dns", "dns-silent"),
    (dns_lies, "dns", "dns-wrong"),
    (captive_portal, "portal", "captive-portal"),
    (intercepted, "tls", "tls-intercepted"),
    (black_hole, "mtu", "mtu-black-hole"),
    (losing, "relay", "loss-heavy"),
    (relay_gone, "relay", "relay-refuses"),
]


ROUTER_CODES = {"router-wan-down", "router-link-down", "router-no-address", "router-restarted-recently", "double-nat"}


SLOWNESS = {"latency-high", "dns-slow"}
"""True of this machine while many tests run, and of no fault."""


def verdict(found: dict[str, Any]) -> tuple[str | None, str | None]:
    """As the diagnosis has it; what is slow alone does not count."""
    said = found["verdict"]
    if said is not None and said["code"] in SLOWNESS:
        rungs = found["sections"]["connectivity"]["rungs"]
        said = next((r for r in rungs if r["state"] == "warn" and r["code"] not in SLOWNESS), None)
    return (said["name"], said["code"]) if said is not None else (None, None)


def test_a_healthy_network_is_accused_of_nothing(net: Lab) -> None:
    found = net.diagnose()
    assert verdict(found) == (None, None), found["sections"]["connectivity"]
    rungs = found["sections"]["connectivity"]["rungs"]
    states = {rung["name"]: "pass" if rung.get("code") in SLOWNESS else rung["state"] for rung in rungs}
    proven = {"adapter", "address", "gateway", "internet", "dns", "portal", "clock", "tls", "mtu", "relay"}
    assert {name for name, state in states.items() if state == "pass"} >= proven, states


@pytest.mark.parametrize(("fault", "rung", "code"), FAULTS, ids=[code for _, _, code in FAULTS])
def test_one_fault_is_one_verdict(net: Lab, fault: Fault, rung: str, code: str) -> None:
    with fault(net):
        found = net.diagnose()
    net.wait_healthy()
    assert verdict(found) == (rung, code), found["sections"]["connectivity"]
    assert code in [finding["code"] for finding in found["findings"]]
    if code == "tls-intercepted":
        assert "Acme Web Filter" in found["verdict"]["evidence"]["issuer"]


def test_the_router_tells_what_its_line_is_like(net: Lab) -> None:
    with net.upnp():
        found = net.diagnose()
    assert verdict(found) == (None, None), found["sections"]["connectivity"]
    rung = next(rung for rung in found["sections"]["connectivity"]["rungs"] if rung["name"] == "router")
    assert rung["state"] == "pass" and rung["evidence"]["address"] == ROUTER_OUTSIDE
    router = found["sections"]["router"]
    said = {name: router.get(name) for name in ("address", "asked_by", "wan", "link", "external_kind", "maker")}
    expected = {"address": "10.9.1.1", "asked_by": "igd", "wan": "up", "link": "up", "external_kind": "public"}
    assert said == {**expected, "maker": "Lab"}
    assert (router["down_bps"], router["up_bps"]) == (50_000_000, 10_000_000)
    assert router["received"] > 0 and router["sent"] > 0
    assert {f["code"] for f in found["findings"]} & ROUTER_CODES <= {"router-restarted-recently"}  # it just began


@pytest.mark.parametrize("fault", [wan_down, wan_lost])
def test_a_router_that_knows_of_its_line_is_the_verdict(net: Lab, fault: Fault) -> None:
    with net.upnp(), fault(net):
        found = net.diagnose()
    net.wait_healthy()
    assert verdict(found) == ("router", "router-wan-down"), found["sections"]["connectivity"]
    assert found["verdict"]["evidence"]["status"] == "Disconnected"
    assert {f["code"] for f in found["findings"]} & ROUTER_CODES == {"router-wan-down"}


def test_a_router_that_answers_no_search_is_found_where_routers_usually_answer(net: Lab) -> None:
    with deaf_to_searches(net), net.upnp(port=5000), wan_lost(net):
        found = net.diagnose()
    net.wait_healthy()
    assert verdict(found) == ("router", "router-wan-down"), found["sections"]["connectivity"]


def test_a_router_behind_a_router_is_accused_of_nothing(net: Lab) -> None:
    """miniupnpd keeps an address of a home to itself."""
    with behind_another(net), net.upnp():
        found = net.diagnose()
    net.wait_healthy()
    assert verdict(found) == (None, None), found["sections"]["connectivity"]
    assert found["sections"]["router"]["external_kind"] == "none"
    assert {f["code"] for f in found["findings"]} & ROUTER_CODES <= {"router-restarted-recently"}


def test_what_comes_through_is_measured_and_is_not_more_than_the_line_carries(net: Lab) -> None:
    with slow_line(net):
        found = net.diagnose(options=("--throughput",))
    section = found["sections"]["connectivity"]
    assert 0.2 < section["down_mbps"] <= LINE_MBPS * 1.1, section
    assert not section.get("down_is_least"), "the line is what was slow"


def test_a_wrong_clock_is_the_verdict_and_not_what_it_breaks(net: Lab) -> None:
    assert verdict(net.diagnose("faketime", "-f", "-1d")) == ("clock", "clock-wrong")


def test_a_proxy_that_wants_credentials(net: Lab) -> None:
    settings = net.folder / "tinyproxy.conf"
    settings.write_text("Port 3128\nListen 10.9.1.1\nBasicAuth ana secret\nTimeout 30\nLogLevel Critical\n")
    words = ("tinyproxy", "-d", "-c", str(settings))
    proxy = Server(net.router, *words, log=net.folder / "proxy.log", resolv_conf=net.provider)
    try:
        wait_until(lambda: "3128" in net.router.run("ss", "-ltn"), "the proxy listens")
        found = net.diagnose(environment={"https_proxy": "http://10.9.1.1:3128"})
        assert verdict(found) == ("proxy", "proxy-credentials"), found["sections"]["connectivity"]
        found = net.diagnose(environment={"https_proxy": "http://ana:secret@10.9.1.1:3128"})
        assert verdict(found) == (None, None), found["sections"]["connectivity"]
    finally:
        proxy.stop()
