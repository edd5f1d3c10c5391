"""Home routers that miniupnpd cannot play: a FRITZ!Box as it was recorded, one that is refused, and hostile ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.agent_process import wait_until
from tests.support.fake_router import NEIGHBOUR
from tests.support.netns import IS_ROOT, Namespace, is_possible, namespace
from tests.support.samples import sample

pytestmark = pytest.mark.skipif(not (is_possible() and IS_ROOT), reason="a network in namespaces needs root")

ROOT = Path(__file__).parents[2]
AT = "10.9.0.1"
LOOK = """
import asyncio, sys
from agent.connectivity.probes.router import look_at_router
from protocol.codec import encode
from protocol.sections.network import Route
from protocol.system_clock import SystemClock
route = Route(family=4, gateway=sys.argv[1], interface="cable")
sys.stdout.buffer.write(encode(asyncio.run(look_at_router([route], SystemClock()))))
"""
ANSWER = '<s:Envelope xmlns:s="x"><s:Body><u:{0}Response xmlns:u="y">{1}</u:{0}Response></s:Body></s:Envelope>'
DESCRIPTION = """<root><device><deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType>
<modelName>Box</modelName><service><serviceType>{urn}</serviceType><controlURL>{url}</controlURL></service>
</device></root>"""
PPP = "urn:schemas-upnp-org:service:WANPPPConnection:1"


@pytest.fixture(scope="module")
def device() -> Iterator[Namespace]:
    with namespace() as device:
        yield device


@pytest.fixture(scope="module")
def router(device: Namespace) -> Iterator[Namespace]:
    with namespace(device) as router:
        device.ip(f"link add cable type veth peer name lan netns {router.pid}", "addr add 10.9.0.2/24 dev cable")
        device.ip("link set cable up")
        router.ip(f"addr add {AT}/24 dev lan", f"addr add {NEIGHBOUR}/24 dev lan", "link set lan up")
        wait_until(lambda: "LOWER_UP" in device.run("ip", "link", "show", "cable"), "the cable is in")
        yield router


class Fake:
    def __init__(self, device: Namespace, log: Path) -> None:
        self._device, self._log = device, log

    def look(self, gateway: str = AT) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._device.run(sys.executable, "-c", LOOK, gateway))
        return found

    @property
    def requests(self) -> list[str]:
        return [line for line in self._log.read_text().splitlines() if line != "there"]


@contextmanager
def faking(device: Namespace, router: Namespace, folder: Path, **wanted: Any) -> Iterator[Fake]:
    settings, log = folder / "router.json", folder / "router.log"
    settings.write_text(json.dumps({"gateway": AT, "location": None, "pages": {}, "actions": {}, **wanted}))
    with open(log, "wb") as output:
        words = [*router.prefix, sys.executable, "-m", "tests.support.fake_router", str(settings)]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=output, stderr=output, cwd=ROOT)
    try:
        wait_until(lambda: "there" in log.read_text(), "the router is there")
        yield Fake(device, log)
    finally:
        process.kill()
        process.wait()
        if process.stdin is not None:
            process.stdin.close()


def fritzbox() -> dict[str, Any]:
    def recorded(name: str) -> str:
        return sample("gateway", name).decode()

    tr064 = "<root><systemVersion><Display>154.08.03</Display></systemVersion><device></device></root>"
    actions = ("GetStatusInfo", "GetExternalIPAddress", "GetCommonLinkProperties", "GetAddonInfos")
    return {
        "pages": {
            "49000 /igddesc.xml": [200, {}, recorded("fritzbox-igddesc.xml")],
            "49000 /tr64desc.xml": [200, {}, tr064],
        },
        "actions": {action: [200, recorded(f"soap-fritzbox-{action}.xml")] for action in actions},
    }


@pytest.mark.parametrize("way", ["asked alone", "asked with the group", "not asked at all"])
def test_a_fritzbox_tells_of_its_line(device: Namespace, router: Namespace, tmp_path: Path, way: str) -> None:
    location = None if way == "not asked at all" else f"http://{AT}:49000/igddesc.xml"
    group_only = way == "asked with the group"
    if group_only:
        device.ip("route replace 224.0.0.0/4 dev cable")
    with faking(device, router, tmp_path, location=location, group_only=group_only, **fritzbox()) as fake:
        found = fake.look()
        requests = fake.requests
    assert (found["asked_by"], found["model"], found["firmware"]) == ("igd", "FRITZ!Box 7590", "154.08.03")
    assert (found["wan"], found["link"], found["access"]) == ("up", "up", "DSL")
    assert (found["down_bps"], found["external_address"]) == (51_384_000, "203.0.113.71")
    assert (found["received"], found["sent"]) == (0, 0)
    assert all(request.endswith(" ok") for request in requests if request.startswith("POST"))
    searches = {request.split(" ")[1] for request in requests if request.startswith("SEARCH")}
    assert searches == {"asked alone": {AT}, "asked with the group": {"239.255.255.250"}}.get(way, set())


def test_a_refused_password_and_a_router_in_front_are_told(
    device: Namespace, router: Namespace, tmp_path: Path
) -> None:
    status = "<NewConnectionStatus>{}</NewConnectionStatus><NewLastConnectionError>{}</NewLastConnectionError>"
    page = [200, {}, DESCRIPTION.format(urn=PPP, url="/ctl")]
    address = ANSWER.format("GetExternalIPAddress", "<NewExternalIPAddress>192.168.0.2</NewExternalIPAddress>")
    for state, error, wan in (
        ("Disconnected", "ERROR_AUTHENTICATION_FAILURE", "down"),
        ("Connected", "ERROR_NONE", "up"),
    ):
        said = ANSWER.format("GetStatusInfo", status.format(state, error))
        actions = {"GetStatusInfo": [200, said], "GetExternalIPAddress": [200, address]}
        with faking(device, router, tmp_path, pages={"5000 /rootDesc.xml": page}, actions=actions) as fake:
            found = fake.look()
        assert (found["wan"], found["last_error"]) == (wan, error)
        assert (found["external_address"], found["external_kind"]) == ("192.168.0.2", "private")


def test_tr_064_is_read_where_it_lets_and_no_password_is_tried(
    device: Namespace, router: Namespace, tmp_path: Path
) -> None:
    urn = "urn:dslforum-org:service:WANPPPConnection:1"
    page = [200, {}, DESCRIPTION.format(urn=urn, url="/upnp/control/wanpppconn1")]
    status = ANSWER.format("GetStatusInfo", "<NewConnectionStatus>Connecting</NewConnectionStatus>")
    for actions, wan in (({"GetStatusInfo": [200, status]}, "connecting"), ({"GetStatusInfo": [401, "who?"]}, None)):
        with faking(device, router, tmp_path, pages={"49000 /tr64desc.xml": page}, actions=actions) as fake:
            found, requests = fake.look(), fake.requests
        assert (found["asked_by"], found.get("wan")) == ("tr064", wan)
        assert len([request for request in requests if " GetStatusInfo " in request]) == 1


GOOD = [200, {}, DESCRIPTION.format(urn=PPP, url="/ctl")]
HOSTILE: dict[str, dict[str, Any]] = {
    "a description at a neighbour": {"location": f"http://{NEIGHBOUR}/d.xml"},
    "a reply from a neighbour": {"location": f"http://{AT}:80/d.xml", "replies_from": NEIGHBOUR},
    "a redirect to a neighbour": {
        "location": f"http://{AT}:80/d.xml",
        "pages": {"80 /d.xml": [302, {"Location": f"http://{NEIGHBOUR}/d.xml"}, ""]},
    },
    "a service at a neighbour": {
        "location": f"http://{AT}:80/d.xml",
        "pages": {"80 /d.xml": [200, {}, DESCRIPTION.format(urn=PPP, url=f"http://{NEIGHBOUR}/ctl")]},
    },
    "a document type": {
        "location": f"http://{AT}:80/d.xml",
        "pages": {"80 /d.xml": [200, {}, f'<!DOCTYPE root SYSTEM "http://{NEIGHBOUR}/d.dtd">{GOOD[2]}']},
    },
    "a description without end": {"location": f"http://{AT}:80/d.xml", "pages": {"80 /d.xml": [200, {}, "FOREVER"]}},
    "a description that never comes": {
        "location": f"http://{AT}:80/d.xml",
        "pages": {"80 /d.xml": [200, {}, "NEVER"]},
    },
    "no HTTP": {"location": f"http://{AT}:80/d.xml", "pages": {"80 /d.xml": [200, {"Content-Length": "x"}, "hello"]}},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_router_leads_us_nowhere_and_ends(
    device: Namespace, router: Namespace, tmp_path: Path, name: str
) -> None:
    with faking(device, router, tmp_path, **HOSTILE[name]) as fake:
        found, requests = fake.look(), fake.requests
    assert found == {"address": AT}
    assert requests, "it was asked"
    assert not [request for request in requests if NEIGHBOUR in request]


def test_answers_that_never_come_cost_what_they_would_have_told(
    device: Namespace, router: Namespace, tmp_path: Path
) -> None:
    actions = {"GetStatusInfo": [200, "FOREVER"], "GetExternalIPAddress": [500, "NEVER"]}
    with faking(device, router, tmp_path, pages={"5000 /rootDesc.xml": GOOD}, actions=actions) as fake:
        found = fake.look()
    assert found == {"address": AT, "asked_by": "igd", "model": "Box"}


def test_a_gateway_of_no_home_is_not_asked(device: Namespace, router: Namespace, tmp_path: Path) -> None:
    with faking(device, router, tmp_path, **fritzbox()) as fake:
        assert fake.look("203.0.113.1") == {}
        assert not fake.requests
