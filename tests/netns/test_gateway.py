"""The name `gateway`: a technician opens the page of the customer's modem, in a network that only the device is in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.netns import Namespace, is_possible, namespace

pytestmark = pytest.mark.skipif(not is_possible(), reason="network namespaces are not allowed here")

PAGE = "<h1>signal: -71 dBm</h1>"

SESSION = """
import asyncio, sys
import asyncssh
from tests.support.session_world import SessionWorld, Technician

async def main():
    async with SessionWorld(forward=("gateway:*",)) as world:
        world.technician = Technician(world, may="forward")
        async with world.client(capabilities=("forward",)) as client:
            reader, writer = await client.open_connection("gateway", int(sys.argv[1]))
            writer.write(b"GET / HTTP/1.0\\r\\n\\r\\n")
            print((await reader.read()).decode())
            for host in sys.argv[2:]:
                try:
                    await client.open_connection(host, int(sys.argv[1]))
                    print("OPENED", host)
                except asyncssh.ChannelOpenError as exc:
                    print("REFUSED", host, exc.reason)
        print(world.log.of("forward_open"))

asyncio.run(main())
"""


@pytest.fixture
def device() -> Iterator[Namespace]:
    with namespace() as device:
        yield device


@pytest.fixture
def modem(device: Namespace) -> Iterator[Namespace]:
    """At the other end of the device's one cable, `lan`."""
    with namespace(device) as modem:
        device.ip(f"link add lan type veth peer name lan netns {modem.pid}")
        yield modem


def serve_page(modem: Namespace, folder: Path, address: str) -> subprocess.Popen[bytes]:
    (folder / "index.html").write_text(PAGE)
    command = [
        *modem.prefix,
        sys.executable,
        "-u",
        "-m",
        "http.server",
        "-b",
        address,
        "8080",
        "-d",
        str(folder),
    ]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert server.stdout is not None and b"8080" in server.stdout.readline()
    return server


@pytest.mark.parametrize(
    ("near", "far", "via"),
    [("10.9.0.2/24", "10.9.0.1/24", "10.9.0.1"), ("fd09::2/64", "fd09::1/64", "fe80::1")],
)
def test_the_modem_s_page_is_reached_by_the_name_gateway(
    device: Namespace, modem: Namespace, tmp_path: Path, near: str, far: str, via: str
) -> None:
    """By its link-local address, too, as routers announce themselves."""
    everywhere, nodad = ("::/0", " nodad") if ":" in via else ("default", "")
    modem.ip(f"addr add {far} dev lan{nodad}", "link set lan up")
    device.ip(f"addr add {near} dev lan{nodad}", "link set lan up")
    bind = far.split("/")[0]
    if nodad:
        modem.ip("addr add fe80::1/64 dev lan nodad")
        bind = "::"
    device.ip(f"route add {everywhere} via {via} dev lan")
    server = serve_page(modem, tmp_path, bind)
    try:
        out = device.run(sys.executable, "-c", SESSION, "8080", far.split("/")[0], "fe80::1", "localhost")
    finally:
        server.kill()
        server.wait()
    assert PAGE in out
    assert f"'address': '{via}'" in out
    assert "OPENED" not in out and out.count("REFUSED") == 3  # it is the name that the policy permits
