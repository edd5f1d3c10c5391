"""The name `gateway`: a technician opens the page of the customer's modem, in a network that only the device is in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.netns import Namespaces, is_possible, namespaces

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
def nets() -> Iterator[Namespaces]:
    with namespaces("device", "modem") as nets:
        yield nets


def serve_page(nets: Namespaces, folder: Path, address: str) -> subprocess.Popen[bytes]:
    (folder / "index.html").write_text(PAGE)
    command = [
        *nets.prefix("modem"),
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
    ("device", "modem", "via"),
    [("10.9.0.2/24", "10.9.0.1/24", "10.9.0.1"), ("fd09::2/64", "fd09::1/64", "link-local")],
)
def test_the_modem_s_page_is_reached_by_the_name_gateway(
    nets: Namespaces, tmp_path: Path, device: str, modem: str, via: str
) -> None:
    near, far = nets.cable("device", device, "modem", modem)
    bind = modem.split("/")[0]
    if via == "link-local":  # as routers announce themselves
        nets.run("modem", "ip", "-6", "addr", "add", "fe80::1/64", "dev", far, "nodad")
        via, bind = "fe80::1", "::"
    nets.run("device", "ip", *(("-6",) if ":" in via else ()), "route", "add", "default", "via", via, "dev", near)
    server = serve_page(nets, tmp_path, bind)
    try:
        out = nets.run("device", sys.executable, "-c", SESSION, "8080", modem.split("/")[0], "fe80::1", "localhost")
    finally:
        server.kill()
        server.wait()
    assert PAGE in out
    assert f"'address': '{via}'" in out
    assert "OPENED" not in out and out.count("REFUSED") == 3  # it is the name that the policy permits
