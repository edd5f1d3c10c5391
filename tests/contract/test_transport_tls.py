"""Whom we talk to is decided inside the handshake, for HTTP and for WebSockets alike."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization

from protocol.errors import AuxilioError, RelayUnreachable, Untrusted
from tests.support.tls_relay import Certificate, RawRelay
from transport.http import RelayClient
from transport.relay_address import RelayAddress, parse_address
from transport.tls import client_context, spki_pin
from transport.websocket import connect

SECRET = "ticket-that-no-stranger-may-see"
OTHER_PIN = "sha256:" + "0" * 64


async def by_http(address: RelayAddress) -> None:
    async with RelayClient(address, bearer=SECRET, timeout_s=20) as client:
        await client.request("GET", "/v1/relay", None)


async def by_websocket(address: RelayAddress) -> None:
    await connect(address, "/v1/link", bearer=SECRET, timeout_s=20)


DIALS = [by_http, by_websocket]
Dial = Callable[[RelayAddress], Awaitable[None]]


class Listener(RawRelay):
    """Reads whatever comes, to the end."""

    def __init__(self, certificate: Certificate | None = None, *, tls: bool = True) -> None:
        super().__init__(self.listen, certificate, tls=tls)
        self.heard = asyncio.Event()

    async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(4096):
                self.received += data
                if b"\r\n\r\n" in self.received:
                    writer.write(b"HTTP/1.1 418 Short and stout\r\nContent-Length: 0\r\n\r\n")
        finally:
            self.heard.set()


async def failure(dial: Dial, address: RelayAddress) -> AuxilioError:
    with pytest.raises(AuxilioError) as caught:
        await dial(address)
    return caught.value


@pytest.mark.parametrize("dial", DIALS)
async def test_the_pinned_relay_is_talked_to(dial: Dial) -> None:
    async with Listener() as relay:
        error = await failure(dial, relay.address)
        assert error.message == "the relay answered 418"
        assert SECRET.encode() in relay.received


@pytest.mark.parametrize("dial", DIALS)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_no_byte_of_a_request_reaches_a_relay_with_another_key(
    dial: Dial, version: ssl.TLSVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = Certificate()
    context = certificate.server_context()
    context.maximum_version = version
    monkeypatch.setattr(certificate, "server_context", lambda: context)
    async with Listener(certificate) as relay:
        error = await failure(dial, msgspec.structs.replace(relay.address, pin=OTHER_PIN))
        assert isinstance(error, Untrusted)
        assert error.reason == "wrong_pin"
        assert relay.certificate.pin in error.message
        assert error.hint
        # The handshake may fail at the relay's end too; then nothing was served at all.
        if relay.accepted:
            await asyncio.wait_for(relay.heard.wait(), 60)
        assert relay.received == b""


@pytest.mark.parametrize("dial", DIALS)
async def test_no_byte_reaches_a_self_signed_relay_without_a_pin(dial: Dial) -> None:
    async with Listener() as relay:
        error = await failure(dial, msgspec.structs.replace(relay.address, pin=None))
        assert isinstance(error, Untrusted)
        assert error.reason == "bad_certificate"
        assert "pin" in error.hint
        assert relay.received == b""


@pytest.mark.parametrize("dial", DIALS)
async def test_an_expired_or_renewed_certificate_of_the_pinned_key_is_the_same_relay(dial: Dial) -> None:
    first = Certificate()
    for later in (Certificate(key=first.key), Certificate(key=first.key, days=-30)):
        assert later.pin == first.pin
        async with Listener(later) as relay:
            assert (await failure(dial, relay.address)).message == "the relay answered 418"


@pytest.mark.parametrize("dial", DIALS)
async def test_webpki_checks_authority_name_and_date(
    dial: Dial, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def dialled(certificate: Certificate, host: str) -> AuxilioError:
        authorities = tmp_path / "authorities.pem"
        authorities.write_bytes(certificate.certificate.public_bytes(serialization.Encoding.PEM))
        monkeypatch.setenv("SSL_CERT_FILE", str(authorities))
        client_context.cache_clear()
        try:
            async with Listener(certificate) as relay:
                return await failure(dial, parse_address(f"https://{host}:{relay.port}"))
        finally:
            client_context.cache_clear()

    good = Certificate()
    assert (await dialled(good, "localhost")).message == "the relay answered 418"
    assert (await dialled(good, "127.0.0.1")).message == "the relay answered 418"
    wrong_name = await dialled(Certificate(host="relay.example"), "localhost")
    expired = await dialled(Certificate(days=-2), "localhost")
    for error in (wrong_name, expired):
        assert isinstance(error, Untrusted)
        assert error.reason == "bad_certificate"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("dial", DIALS)
async def test_old_tls_is_not_spoken(dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = Certificate()
    context = certificate.server_context()
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    monkeypatch.setattr(certificate, "server_context", lambda: context)
    async with Listener(certificate) as relay:
        assert isinstance(await failure(dial, relay.address), RelayUnreachable)
        assert relay.received == b""


@pytest.mark.parametrize("dial", DIALS)
async def test_a_server_without_tls_gets_no_request(dial: Dial) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        relay.received += await reader.read(4096)

    relay = RawRelay(greet, tls=False)
    async with relay:
        error = await failure(dial, relay.address)
        assert isinstance(error, RelayUnreachable)
        assert SECRET.encode() not in relay.received


@pytest.mark.parametrize("dial", DIALS)
async def test_nobody_listening_and_no_such_name_are_told_apart(dial: Dial) -> None:
    async with Listener() as relay:
        port = relay.port
    refused = await failure(dial, parse_address(f"https://127.0.0.1:{port}", OTHER_PIN))
    assert isinstance(refused, RelayUnreachable)
    assert "nothing listens" in refused.message
    unknown = await failure(dial, parse_address("https://no-such-relay.invalid:443", OTHER_PIN))
    assert isinstance(unknown, RelayUnreachable)
    assert "cannot be resolved" in unknown.message


def test_a_pin_is_what_openssl_computes(tmp_path: Path) -> None:
    import subprocess

    certificate = Certificate()
    pem = tmp_path / "cert.pem"
    pem.write_bytes(certificate.certificate.public_bytes(serialization.Encoding.PEM))
    made = subprocess.run(
        f"openssl x509 -in {pem} -pubkey -noout | openssl pkey -pubin -outform DER | openssl dgst -sha256 -hex",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert certificate.pin == "sha256:" + made.stdout.split()[-1]


def test_a_certificate_that_cannot_be_read_is_untrusted() -> None:
    for der in (b"", b"\x30\x00", b"x" * 100_000):
        with pytest.raises(Untrusted) as caught:
            spki_pin(der)
        assert caught.value.reason == "bad_certificate"


def test_a_pinned_context_cannot_be_used_where_the_pin_is_not_checked() -> None:
    import socket

    one, other = socket.socketpair()
    with one, other, pytest.raises(ssl.SSLError, match="asyncio"):
        client_context(OTHER_PIN).wrap_socket(one)
