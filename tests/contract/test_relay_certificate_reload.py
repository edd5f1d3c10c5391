"""Another certificate while the relay runs: new connections see it, what stands goes on, and a bad one is refused."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from protocol.errors import Untrusted
from tests.support.relay_process import RelayProcess
from tests.support.relay_world import World, relay_world, sections, until
from tests.support.tls_relay import Certificate
from transport.websocket import connect


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with relay_world() as made:
        yield made


def key_of(relay: RelayProcess) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key((relay.folder / "key.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def put(path: Path, data: bytes) -> None:
    """As everybody should: whole or not at all."""
    partial = path.with_name(path.name + ".new")
    partial.write_bytes(data)
    partial.rename(path)


def renew(relay: RelayProcess, certificate: Certificate) -> None:
    put(relay.folder / "certificate.pem", certificate.pem)
    put(relay.folder / "key.pem", certificate.key_pem)


def fingerprint(certificate: Certificate) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.pem.decode())).hexdigest()


async def shown(relay: RelayProcess) -> str:
    """The fingerprint of the certificate that a new connection meets."""
    host, _, port = relay.name.rpartition(":")
    pem = await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)))
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def events(relay: RelayProcess, name: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in relay.log.splitlines()]
    return [entry for entry in found if entry["event"] == name]


async def reload(relay: RelayProcess, outcome: str) -> None:
    """SIGHUP, until it was looked at with this outcome."""
    before = len(events(relay, f"certificate_{outcome}"))
    relay.process.send_signal(signal.SIGHUP)
    await until(lambda: len(events(relay, f"certificate_{outcome}")) > before, outcome)


async def metric(relay: RelayProcess, name: str) -> float:
    async with aiohttp.ClientSession() as http, http.get(f"{relay.admin_url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return float(next((line.split()[-1] for line in lines if line.startswith(f"{name} ")), 0))


@asynccontextmanager
async def standing(world: World) -> AsyncIterator[None]:
    """A link, and a session's two legs, opened before; they carry on after."""
    device = await world.device("clinic")
    technician, client = await world.technician()
    async with device.linked() as link:
        started = await world.start_session(technician, client, device.id)
        offer = await link.offer()
        path = f"/v1/legs/{started.session}"
        legs = [await connect(world.address, path, bearer=ticket) for ticket in (started.ticket, offer.ticket)]
        for leg in legs:
            assert await leg.receive() == '{"type":"spliced"}'
        await link.send_report(1, sections())
        yield
        assert (await link.send_report(2, sections())).number == 2
        for one, other in (legs, reversed(legs)):
            one.send_binary(b"still joined")
            assert await other.receive() == b"still joined"
        assert await metric(world.relay, "auxilio_links") == 1
        for leg in legs:
            leg.close()


async def test_on_sighup_new_connections_see_the_new_one_and_nothing_that_stands_is_dropped(world: World) -> None:
    relay = world.relay
    new = Certificate(key=key_of(relay), days=90)
    async with standing(world):
        before = await shown(relay)
        renew(relay, new)
        await reload(relay, "taken")
        assert before != await shown(relay) == fingerprint(new)
        # The key is the old one, so whoever pins it goes on without a word.
        async with (await world.device()).linked():
            pass
    end = int(new.certificate.not_valid_after_utc.timestamp())
    assert await metric(relay, "auxilio_certificate_not_after_seconds") == end
    assert await metric(relay, 'auxilio_certificates_total{outcome="taken"}') >= 1
    assert not events(relay, "certificate_key_changed")


async def test_files_that_certbot_replaces_are_noticed_without_a_signal(world: World) -> None:
    """certbot's layout: live/ holds symbolic links into archive/, and a renewal changes where they lead."""
    relay, live, archive = world.relay, world.relay.folder / "live", world.relay.folder / "archive"
    live.mkdir()
    archive.mkdir()

    def lead(number: int, certificate: Certificate) -> None:
        for name, data in (("fullchain", certificate.pem), ("privkey", certificate.key_pem)):
            (archive / f"{name}{number}.pem").write_bytes(data)
            link = live / f"{name}.pem"
            link.unlink(missing_ok=True)
            os.symlink(f"../archive/{name}{number}.pem", link)

    await relay.stop()
    first = Certificate(key=key_of(relay))
    lead(1, first)
    relay.set("server", certificate=str(live / "fullchain.pem"), key=str(live / "privkey.pem"))
    await relay.start()
    async with standing(world):
        assert await shown(relay) == fingerprint(first)
        second = Certificate(key=first.key)
        lead(2, second)

        async def is_shown() -> bool:
            return await shown(relay) == fingerprint(second)

        await until(is_shown, "the renewed one is shown")
    assert not events(relay, "certificate_refused")


async def test_what_is_no_pair_half_written_or_out_of_date_is_refused_and_the_old_one_stays(world: World) -> None:
    relay = world.relay
    key = key_of(relay)
    good = Certificate(key=key)
    stranger = Certificate()
    async with standing(world):
        before = await shown(relay)
        spoilt: dict[str, tuple[bytes, bytes]] = {
            "no pair": (stranger.pem, good.key_pem),
            "half a certificate": (good.pem[: len(good.pem) // 2], good.key_pem),
            "a chain that was cut": (good.pem + stranger.pem[:300], good.key_pem),
            "half a key": (good.pem, good.key_pem[:100]),
            "nothing": (b"", b""),
            "out of date": (Certificate(key=key, days=-2).pem, good.key_pem),
        }
        for what, (pem, key_pem) in spoilt.items():
            (relay.folder / "certificate.pem").write_bytes(pem)
            (relay.folder / "key.pem").write_bytes(key_pem)
            await reload(relay, "refused")
            assert await shown(relay) == before, what
        (relay.folder / "certificate.pem").unlink()
        await reload(relay, "refused")
        refused = events(relay, "certificate_refused")
        assert all(entry["level"] == "warning" and entry["error"] for entry in refused)
        assert {entry["pin_kept"] for entry in refused} == {relay.pin}
        assert await metric(relay, 'auxilio_certificates_total{outcome="refused"}') >= len(spoilt) + 1
        renew(relay, good)
        await reload(relay, "taken")
        assert await shown(relay) == fingerprint(good)


async def test_another_key_is_taken_with_a_warning_and_pinned_devices_notice(world: World) -> None:
    device = await world.device()
    renew(world.relay, Certificate())
    await reload(world.relay, "taken")
    changed = events(world.relay, "certificate_key_changed")[0]
    assert changed["old_pin"] == world.relay.pin != changed["pin"]
    with pytest.raises(Untrusted):
        await device.dial()


async def test_behind_a_proxy_that_does_tls_sighup_does_nothing() -> None:
    async with RelayProcess() as relay:
        await relay.stop()
        relay.set("server", tls=False, trusted_proxies=["127.0.0.1"])
        await relay.start()
        relay.process.send_signal(signal.SIGHUP)
        await until(lambda: events(relay, "nothing_to_reload"), "it was heard")
        assert relay.process.poll() is None
