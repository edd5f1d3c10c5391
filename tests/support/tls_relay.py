"""A relay's outside for tests of the transport: real TLS on loopback, a self-signed certificate, port 0.

`HttpRelay` is a real aiohttp server with the routes that a test gives it. `RawRelay` speaks TLS and then whatever
bytes the test wants, well-formed or not; it counts what it was sent.
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from transport.relay_address import RelayAddress, parse_address
from transport.tls import spki_pin


class Certificate:
    """A self-signed one for 127.0.0.1 and `host`. days: of validity from now on; negative: expired."""

    def __init__(
        self, *, key: ec.EllipticCurvePrivateKey | None = None, host: str = "localhost", days: int = 1
    ) -> None:
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        now = datetime.datetime.now(datetime.UTC)
        end = now + datetime.timedelta(days=days)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(now, end) - datetime.timedelta(days=1))
            .not_valid_after(end)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(host), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )
        self.pin = spki_pin(self.certificate.public_bytes(serialization.Encoding.DER))

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            chain, key = Path(folder, "cert.pem"), Path(folder, "key.pem")
            chain.write_bytes(self.pem)
            key.write_bytes(self.key_pem)
            context.load_cert_chain(chain, key)
        return context


class HttpRelay:
    """A real aiohttp server; `app` takes the test's routes before `async with`."""

    def __init__(self, certificate: Certificate | None = None) -> None:
        self.certificate = certificate or Certificate()
        self.app = web.Application(client_max_size=64 * 1024 * 1024)
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._runner = web.AppRunner(self.app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.certificate.server_context())
        await site.start()
        self.port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    @property
    def address(self) -> RelayAddress:
        return parse_address(f"https://127.0.0.1:{self.port}", self.certificate.pin)


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class RawRelay:
    """A TLS server that says what the test wants. `received`: all application bytes that any client sent.

    tls=False: it speaks no TLS at all.
    """

    def __init__(self, talk: Talk, certificate: Certificate | None = None, *, tls: bool = True) -> None:
        self.certificate = certificate or Certificate()
        self.received = bytearray()
        self.accepted = 0
        self._talk = talk
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        context = self.certificate.server_context() if self._tls else None
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def address(self) -> RelayAddress:
        return parse_address(f"https://127.0.0.1:{self.port}", self.certificate.pin)

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        """Read one request's head."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.received += head
        return head

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()
