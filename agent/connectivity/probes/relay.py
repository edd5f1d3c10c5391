"""The relay itself, step by step: its addresses, a connection to each, TLS, a small request, a large one.

What the agent's link does in one go is taken apart here, so that the step that fails can be named. Nothing secret is
sent: these are requests that any stranger may make.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import errno
import ipaddress
import socket
import ssl
from collections.abc import Sequence

import h11
import msgspec

from agent.connectivity.observed import Proxy, ProxyOutcome, Reached, Relay, TcpOutcome, Tls, TlsOutcome
from protocol.errors import Untrusted
from protocol.system_clock import Clock
from protocol.text import escape
from transport.dial import PROXY_S
from transport.http_wire import HttpWire
from transport.proxy_handshake import ProxyFailed
from transport.relay_address import RelayAddress
from transport.tls import WrongPin, client_context, spki_pin

CONNECT_S = 6.0
"""Linux has sent three SYNs by then."""

TLS_S = 8.0
ANSWER_S = 8.0
MAX_ADDRESSES = 6

SMALL, LARGE = "/v1/relay", "/v1/openapi.json"
PADDING_BYTES = 6000
"""In a header of the large request: four full packets on their way up; the answer is more of them on its way down."""

SMALL_SEGMENT_BYTES = 500
"""RFC 879's least is 536: no way is narrower than that."""

MEASURES = 40
AT_ONCE = 8
LOST_S = 0.95
"""A SYN is repeated after one second (RFC 6298): whoever took that long was lost once."""

MAX_NAME_CHARS = 120

WRONG_DATES = frozenset({9, 10})
"""openssl-verification-options(1): X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED."""

_PROXY_OUTCOMES: dict[str, ProxyOutcome] = {
    "proxy_unreachable": "unreachable",
    "proxy_credentials": "wants_credentials",
    "proxy_refused": "refused",
    "proxy_fault": "broken",
}
"""By ProxyFailed's code; its last, proxy_failed, is not the proxy's fault: it tried."""

_UNREACHABLE = frozenset({errno.EHOSTUNREACH, errno.ECONNRESET, errno.EACCES, errno.EPERM})
_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


async def look_at_relay(
    address: RelayAddress, remembered: Sequence[str], clock: Clock, *, measures: int = MEASURES
) -> Relay:
    """address: its proxy is not used.  remembered: addresses at which it was before.  measures: connections for the
    figures."""
    resolved = await _resolve(address)
    # Those of before are tried as well: if the relay is there and its name leads elsewhere, the name is the fault.
    candidates = list(dict.fromkeys((*resolved, *remembered)))[:MAX_ADDRESSES]
    reached = tuple(await asyncio.gather(*(_reach(ip, address.port, clock) for ip in candidates)))
    found = Relay(
        host=address.host,
        port=address.port,
        is_name=not _is_address(address.host),
        resolved=resolved,
        remembered=tuple(remembered),
        reached=reached,
    )
    for one in reached:
        if one.outcome == "open":
            looked = await _converse(found, address, one.address, clock)
            if looked.small_ok or found.tls is None:
                found = looked
            if found.small_ok:
                return await _measure(found, measures, clock)
    return found


async def _resolve(address: RelayAddress) -> tuple[str, ...]:
    if _is_address(address.host):
        return (address.host,)
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError, UnicodeError, TimeoutError):
        async with asyncio.timeout(CONNECT_S):
            found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
            return tuple(dict.fromkeys(str(where[0]) for *_, where in found))
    return ()


def _is_address(host: str) -> bool:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return True
    return False


async def _reach(ip: str, port: int, clock: Clock) -> Reached:
    begun = clock.monotonic()
    outcome: TcpOutcome = "open"
    try:
        (await _connect(ip, port)).close()
    except TimeoutError:
        outcome = "silent"
    except ConnectionRefusedError:
        outcome = "refused"
    except OSError as exc:
        outcome = "no_route" if exc.errno in _NO_ROUTE else "unreachable" if exc.errno in _UNREACHABLE else "silent"
    ms = (clock.monotonic() - begun) * 1000 if outcome == "open" else None
    return Reached(address=ip, family=6 if ":" in ip else 4, outcome=outcome, ms=ms)


async def _connect(ip: str, port: int, *, clamped: bool = False) -> socket.socket:
    """clamped: in packets that are small both ways. Raises OSError, TimeoutError."""
    connection = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        if clamped and hasattr(socket, "TCP_MAXSEG"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SMALL_SEGMENT_BYTES)
        async with asyncio.timeout(CONNECT_S):
            await asyncio.get_running_loop().sock_connect(connection, (ip, port))
    except BaseException:
        connection.close()
        raise
    return connection


# -- TLS and requests -----------------------------------------------------------------------------------------------


async def _converse(found: Relay, address: RelayAddress, ip: str, clock: Clock) -> Relay:
    """found, with what the relay at `ip` said."""
    tls, date = await _handshake(address, ip)
    if tls.outcome not in ("trusted", "silent"):
        return msgspec.structs.replace(found, tls=tls, date=date, asked_at=clock.now())
    small = await _ask(address, ip, SMALL) if tls.outcome == "trusted" else None
    large = await _ask(address, ip, LARGE, padding=PADDING_BYTES) if small is not None else None
    clamped = None
    if large is None:
        clamped = await _ask(address, ip, LARGE, padding=PADDING_BYTES, clamped=True)
    said = small or clamped
    return msgspec.structs.replace(
        found,
        tls=tls,
        found_at=ip if said is not None else "",
        small_ok=small is not None,
        large_ok=large is not None,
        clamped_ok=None if large is not None else clamped is not None,
        status=said.status_code if said is not None else None,
        date=_date(said) if said is not None else None,
        asked_at=clock.now(),
    )


async def _handshake(address: RelayAddress, ip: str) -> tuple[Tls, float | None]:
    """What TLS came to; and the time that whoever is there has, where it is not the relay."""
    try:
        wire = await _wire(address, ip, client_context(address.pin))
    except TimeoutError:
        return Tls(outcome="silent"), None
    except ssl.SSLError as exc:
        return await _stranger(address, ip, exc)
    except OSError:
        return Tls(outcome="broken"), None
    wire.close()
    return Tls(outcome="trusted"), None


async def _stranger(address: RelayAddress, ip: str, failure: ssl.SSLError) -> tuple[Tls, float | None]:
    """Whoever answers is not the relay that we trust: who does it say that it is?"""
    by_system = False
    if address.pin is not None and isinstance(failure, WrongPin):
        with contextlib.suppress(OSError, TimeoutError):
            (await _wire(address, ip, client_context(None))).close()
            by_system = True
    try:
        wire, certificate = await _unverified(address, ip)
    except (OSError, TimeoutError):
        return Tls(outcome="broken"), None
    try:
        issuer, subject = _names(certificate)
        async with asyncio.timeout(ANSWER_S):
            await wire.send("GET", SMALL, _headers(address))
            date = _date(await wire.answer())
    except Exception:  # whatever a stranger says
        date = None
    finally:
        wire.close()
    return Tls(outcome=_meaning(failure), issuer=issuer, subject=subject, by_system=by_system), date


def _meaning(failure: ssl.SSLError) -> TlsOutcome:
    if isinstance(failure, WrongPin):
        return "wrong_key"
    if not isinstance(failure, ssl.SSLCertVerificationError):
        return "broken"
    return "not_valid_now" if failure.verify_code in WRONG_DATES else "not_trusted"


async def _unverified(address: RelayAddress, ip: str) -> tuple[HttpWire, bytes]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with asyncio.timeout(TLS_S):
        reader, writer = await asyncio.open_connection(
            sock=await _connect(ip, address.port), ssl=context, server_hostname=address.host
        )
    return HttpWire(reader, writer), writer.get_extra_info("ssl_object").getpeercert(binary_form=True) or b""


def _names(certificate: bytes) -> tuple[str, str]:
    """Issuer and subject, as people read them. They are a stranger's."""
    from cryptography import x509

    with contextlib.suppress(Untrusted, ValueError):
        spki_pin(certificate)  # bounded, and a certificate at all
        read = x509.load_der_x509_certificate(certificate)
        return _shown(read.issuer.rfc4514_string()), _shown(read.subject.rfc4514_string())
    return "", ""


def _shown(name: str) -> str:
    return escape(name, limit=MAX_NAME_CHARS)


async def look_through_proxy(address: RelayAddress, clock: Clock) -> tuple[Proxy, Relay]:
    """The same for a relay that is reached through a proxy, which hides the steps on the way. address: has a proxy."""
    assert address.proxy is not None
    found = Relay(host=address.host, port=address.port, is_name=not _is_address(address.host))
    proxy = Proxy(url=address.proxy.url, outcome="open")
    begun = clock.monotonic()
    try:
        async with asyncio.timeout(TLS_S + PROXY_S):
            wire = await HttpWire.dial(address)
    except ProxyFailed as exc:
        outcome = _PROXY_OUTCOMES.get(exc.reason, "open")
        return Proxy(url=address.proxy.url, outcome=outcome, reason=escape(exc.message, limit=MAX_NAME_CHARS)), found
    except WrongPin:
        return proxy, msgspec.structs.replace(found, tls=Tls(outcome="wrong_key"))
    except ssl.SSLCertVerificationError:
        return proxy, msgspec.structs.replace(found, tls=Tls(outcome="not_trusted"))
    except (OSError, TimeoutError):
        return proxy, msgspec.structs.replace(found, tls=Tls(outcome="broken"))
    ms = (clock.monotonic() - begun) * 1000
    said = await _exchange(wire, address, SMALL)
    return proxy, msgspec.structs.replace(
        found,
        tls=Tls(outcome="trusted"),
        found_at=address.host if said is not None else "",
        small_ok=said is not None,
        status=said.status_code if said is not None else None,
        date=_date(said) if said is not None else None,
        asked_at=clock.now(),
        rtts_ms=(round(ms, 2),) if said is not None else (),
    )


async def _wire(address: RelayAddress, ip: str, context: ssl.SSLContext, *, clamped: bool = False) -> HttpWire:
    async with asyncio.timeout(TLS_S):
        connection = await _connect(ip, address.port, clamped=clamped)
        return HttpWire(*await asyncio.open_connection(sock=connection, ssl=context, server_hostname=address.host))


async def _ask(
    address: RelayAddress, ip: str, path: str, *, padding: int = 0, clamped: bool = False
) -> h11.Response | None:
    """The answer's head, once its body has come whole; None where anything failed."""
    try:
        wire = await _wire(address, ip, client_context(address.pin), clamped=clamped)
    except (OSError, TimeoutError):
        return None
    return await _exchange(wire, address, path, padding=padding)


async def _exchange(wire: HttpWire, address: RelayAddress, path: str, *, padding: int = 0) -> h11.Response | None:
    try:
        async with asyncio.timeout(ANSWER_S):
            await wire.send("GET", path, [*_headers(address), ("X-Padding", "-" * padding)])
            answer = await wire.answer()
            async for _ in wire.body():
                pass
            return answer
    except (OSError, TimeoutError, h11.RemoteProtocolError):
        return None
    finally:
        wire.close()


def _headers(address: RelayAddress) -> list[tuple[str, str]]:
    return [("Host", address.dialled_name), ("Connection", "close")]


def _date(answer: h11.Response) -> float | None:
    text = next((value.decode("latin-1") for name, value in answer.headers if name == b"date"), "")
    return read_date(text)


def read_date(text: str) -> float | None:
    """Unix seconds of an HTTP date (RFC 9110 5.6.7); None for what is none. Pure."""
    try:
        return email.utils.parsedate_to_datetime(text[:64]).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


# -- figures ----------------------------------------------------------------------------------------------------------


async def _measure(found: Relay, measures: int, clock: Clock) -> Relay:
    """Latency and loss by opening connections: neither needs a privilege, and no router treats them as it treats
    pings."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one() -> float | None:
        async with gate:
            reached = await _reach(found.found_at, found.port, clock)
            return reached.ms if reached.ms is not None and reached.ms < LOST_S * 1000 else None

    taken = await asyncio.gather(*(one() for _ in range(measures)))
    return msgspec.structs.replace(
        found,
        rtts_ms=tuple(round(ms, 2) for ms in taken if ms is not None),
        lost=sum(ms is None for ms in taken),
    )
