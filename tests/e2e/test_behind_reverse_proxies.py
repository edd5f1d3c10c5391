"""A relay behind Debian's nginx and HAProxy, configured as docs/relay.md says, word by word but for the addresses.

console, agent, session child  --TLS-->  nginx or HAProxy  --HTTP, or TLS passed on-->  relay
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import pwd
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from relay.certificate import read_certificate
from tests.support.console_process import ConsoleProcess
from tests.support.console_world import ConsoleWorld
from tests.support.daemons import Daemon, need, own_loopback
from tests.support.relay_process import ROOT, RelayProcess
from tests.support.relay_world import begin_world, until
from transport.blobs import get_blob, put_blob
from transport.leg import Leg, open_leg

need("nginx", "haproxy")

DOCUMENT = (ROOT / "docs" / "relay.md").read_text()
ACCOUNT = pwd.getpwuid(os.geteuid()).pw_name
PIECE = bytes(range(256)) * (8 * 1024)
QUIET_S = 200.0
"""Longer than any time-out of the documented configurations."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


class Front:
    """A proxy before a relay, on an address that both have to themselves. port: in place of the documented 443."""

    def __init__(self, relay: Path, host: str, port: int) -> None:
        self.folder, self.relay, self.host, self.port = relay.parent, relay, host, port
        self.url = f"https://{host}:{port}"

    def adapted(self, text: str) -> str:
        """A documented configuration for this test's addresses and files, and nothing else changed."""
        replaced: list[tuple[str, str]] = [
            (r"127\.0\.0\.1:8443", f"{self.host}:8443"),
            (r"listen 443 ssl;\n +listen \[::\]:443 ssl;", f"listen {self.host}:{self.port} ssl;"),
            (r"bind :443", f"bind {self.host}:{self.port}"),
            (r"/var/lib/auxilio-relay/", f"{self.relay}/"),
            (r"/etc/haproxy/auxilio\.pem", f"{self.folder}/auxilio.pem"),
        ]
        for pattern, by in replaced:
            text = re.sub(pattern, by, text)
        assert ":443" not in text and "/var" not in text and "/etc" not in text, text
        return text

    def nginx(self, block: str) -> Daemon:
        path = self.folder / "nginx.conf"
        temporary = "".join(
            f"{name}_temp_path {self.folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;\n" if os.geteuid() == 0 else ""
        head = f"{user}daemon off;\npid {self.folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
        path.write_text(f"{head}http {{\naccess_log off;\n{temporary}{self.adapted(block)}}}\n")
        command = ["nginx", "-e", "stderr", "-c", str(path)]
        return Daemon(command, self.host, self.port, self.folder / "nginx.log")

    def haproxy(self, block: str) -> Daemon:
        path = self.folder / "haproxy.cfg"
        path.write_text(self.adapted(block))
        pem = (self.relay / "certificate.pem").read_text() + (self.relay / "key.pem").read_text()
        (self.folder / "auxilio.pem").write_text(pem)
        return Daemon(["haproxy", "-db", "-f", str(path)], self.host, self.port, self.folder / "haproxy.log")


class FrontedRelay(RelayProcess):
    """A relay that is dialled at its proxies; they begin and end with it."""

    def __init__(self, folder: Path, settings: str, proxies: list[Callable[[], Daemon]]) -> None:
        super().__init__(folder, settings=settings)
        self._proxies = proxies
        self._kept = contextlib.ExitStack()

    async def start(self) -> None:
        self._port = None  # the configuration says where
        await super().start()
        self.pin = read_certificate(self.folder / "certificate.pem").pin
        for proxy in self._proxies:
            await asyncio.to_thread(self._kept.enter_context, proxy())

    async def stop(self) -> int | None:
        self._kept.close()
        return await super().stop()


def fronted_relay(folder: Path, *kinds: str) -> tuple[FrontedRelay, list[Front]]:
    """A relay behind proxies of these kinds, named by their addresses."""
    host = own_loopback()
    fronts = [Front(folder / "relay", host, 8444 + number) for number in range(len(kinds))]
    [nginx], [ending, passing] = blocks("nginx"), blocks("haproxy")
    begin: dict[str, Callable[[Front], Daemon]] = {
        "nginx": lambda front: front.nginx(nginx),
        "haproxy": lambda front: front.haproxy(ending),
        "haproxy-tcp": lambda front: front.haproxy(passing),
    }
    [settings] = [block for block in blocks("toml") if "trusted_proxies" in block]
    names = ", ".join(f'"{host}:{front.port}"' for front in fronts)
    settings = settings.replace('"relay.example.org:443"', names)
    settings = settings.replace('["127.0.0.1"]', f'["127.0.0.1", "{host}"]')
    if "haproxy-tcp" in kinds:
        settings = settings.replace("tls = false\n", "")
    proxies = [lambda kind=kind, front=front: begin[kind](front) for kind, front in zip(kinds, fronts, strict=True)]
    return FrontedRelay(folder / "relay", fronts[0].adapted(settings), proxies), fronts


@contextmanager
def fronted(folder: Path, *kinds: str) -> Iterator[tuple[ConsoleWorld, list[Front]]]:
    relay, fronts = fronted_relay(folder, *kinds)
    (folder / "world").mkdir()
    try:
        with ConsoleWorld(folder / "world", relay=relay) as world:
            yield world, fronts
    finally:
        asyncio.run(relay.stop())


def technician_at(world: ConsoleWorld, front: Front) -> ConsoleProcess:
    """Who logged in at another of the relay's addresses than the policy's."""
    console = world.technician("ana", account=ACCOUNT)
    console.run("login", front.url, "--pin", world.relay.pin)
    return console


def test_links_blobs_and_sessions_pass_nginx_and_haproxy(tmp_path: Path) -> None:
    """The agent comes by the one, the technician by the other."""
    with fronted(tmp_path, "nginx", "haproxy") as (world, fronts):
        agent, device = world.agent("free")
        console = technician_at(world, fronts[-1])
        agent.wait_reported()
        assert console.json("show", device, "memory"), "a blob up and down"
        done = console.run("ssh", device, "--account", ACCOUNT, "--", "tee /dev/stderr | sha256sum", stdin=PIECE)
        assert done.stdout.split()[0].decode() == hashlib.sha256(PIECE).hexdigest()
        assert done.stderr.endswith(PIECE)
        assert agent.status()["relay"] == fronts[0].url and agent.journal("offline") == []


async def test_links_blobs_and_legs_pass_haproxy_that_passes_tls_on(tmp_path: Path) -> None:
    """Nothing but TLS of the relay's own goes through: so the parts are enough, without the programs."""
    relay, [front] = fronted_relay(tmp_path, "haproxy-tcp")
    async with relay:
        world = await begin_world(relay)
        device = await world.device("lab")
        technician, client = await world.technician()
        async with device.linked() as link:
            name = await put_blob(link.blobs, PIECE)
            assert await get_blob(link.blobs, name) == PIECE
            started = await world.start_session(technician, client, device.id)
            offer = await link.offer()
            assert offer.leg_url == front.url
            legs = [(offer.session, offer.ticket), (started.session, started.ticket)]
            one, other = await asyncio.gather(*(open_leg(world.address, *leg) for leg in legs))
            one.write(PIECE)
            assert await collected(other, len(PIECE)) == PIECE
            one.close()
        await world.close()


async def collected(leg: Leg, size: int) -> bytes:
    class Collector(asyncio.Protocol):
        data = b""

        def data_received(self, data: bytes) -> None:
            self.data += data

    _, collector = await leg.create_connection(Collector)
    await until(lambda: len(collector.data) >= size, "all of it")
    return collector.data


@pytest.mark.long
@pytest.mark.parametrize("kind", ["nginx", "haproxy", "haproxy-tcp"])
def test_a_link_and_a_session_in_which_nothing_happens_outlive_every_time_out(kind: str, tmp_path: Path) -> None:
    with fronted(tmp_path, kind) as (world, fronts):
        agent, device = world.agent("free")
        console = technician_at(world, fronts[0])
        begun = time.monotonic()
        command = ("ssh", device, "--account", ACCOUNT, "--", f"sleep {QUIET_S:g}; echo still here")
        done = console.run(*command, within_s=QUIET_S + 120)
        assert done.stdout == b"still here\n" and time.monotonic() - begun > QUIET_S
        assert agent.journal("offline") == []


def test_what_is_documented_is_one_configuration_for_each() -> None:
    assert len(blocks("nginx")) == 1 and len(blocks("haproxy")) == 2
