"""What is said to a proxy before the relay is at the other end. Pure: the driver (transport.dial) moves the bytes.

    HTTP      CONNECT host:port, with Basic credentials -> 2xx            RFC 9110 9.3.6, RFC 7617
    SOCKS5    methods -> (user, password ->) request -> reply             RFC 1928, RFC 1929

A handshake is a generator: it yields what to send and how much may then be read, and is sent what came. It ends when
the tunnel stands. A proxy is a stranger: what it says is bounded, and none of it becomes part of a message. In a
tunnel to a relay we speak first (TLS), so bytes behind the proxy's last word are nobody's.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Generator
from typing import NoReturn

import h11
import msgspec

from protocol.errors import RelayUnreachable
from transport.hosts import join_port
from transport.proxy import Proxy

MAX_REPLY_BYTES = 16 * 1024
"""Of an HTTP proxy's status line and headers: some set cookies."""

MAX_INTERIM = 4
"""Answers 1xx before the real one."""

CREDENTIALS_HINT = "Its user and password belong into the proxy's address: http://user:password@host:port."

NO_AUTHENTICATION, USER_AND_PASSWORD, NONE_ACCEPTABLE = 0, 2, 255
CONNECT, NOT_ALLOWED = 1, 2
IPV4, DOMAIN_NAME, IPV6 = 1, 3, 4

SOCKS_REPLIES = {
    1: "general failure",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "time to live expired",
    7: "command not supported",
    8: "address type not supported",
}
"""RFC 1928, section 6."""


class ProxyFailed(RelayUnreachable):
    """The proxy is the reason why the relay is not reached. code: proxy_unreachable (no connection to it),
    proxy_credentials, proxy_refused (its rules), proxy_fault (it is no such proxy), proxy_failed (it tried)."""

    code = "proxy_failed"
    default_hint = "Is the relay's address right, and does the proxy reach it?"


class Ask(msgspec.Struct, frozen=True):
    """Send `data`; then give what comes, 1 to `most` bytes."""

    data: bytes
    most: int


Handshake = Generator[Ask, bytes, None]


def handshake(proxy: Proxy, host: str, port: int) -> Handshake:
    """Make `proxy` connect to host:port. Raises ProxyFailed."""
    return _http(proxy, join_port(host, port)) if proxy.scheme == "http" else _socks5(proxy, host, port)


# -- HTTP ---------------------------------------------------------------------------------------------------------


def _http(proxy: Proxy, target: str) -> Handshake:
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_REPLY_BYTES)
    headers = [("Host", target)]
    if proxy.user is not None:
        pair = f"{proxy.user}:{proxy.password or ''}".encode()
        headers.append(("Proxy-Authorization", f"Basic {base64.b64encode(pair).decode('ascii')}"))
    data = http.send(h11.Request(method="CONNECT", target=target, headers=headers)) or b""
    data += http.send(h11.EndOfMessage()) or b""
    try:
        answer = yield from _answer(http, data)
    except h11.RemoteProtocolError as exc:
        raise _no_such_proxy(proxy, "HTTP", "socks5") from exc
    if not 200 <= answer.status_code <= 299:
        raise _refusal(proxy, target, answer)
    if http.trailing_data[0]:
        raise _no_such_proxy(proxy, "HTTP", "socks5")


def _answer(http: h11.Connection, data: bytes) -> Generator[Ask, bytes, h11.Response]:
    interim = 0
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data((yield Ask(data, MAX_REPLY_BYTES)))
            data = b""
        elif isinstance(event, h11.Response):
            return event
        elif isinstance(event, h11.InformationalResponse) and interim < MAX_INTERIM:
            interim += 1
        else:
            raise h11.RemoteProtocolError("no answer where one was due")


def _refusal(proxy: Proxy, target: str, answer: h11.Response) -> ProxyFailed:
    status = answer.status_code
    if status in (401, 407):  # tinyproxy says 401 to wrong ones
        schemes = [value for name, value in answer.headers if name == b"proxy-authenticate"]
        return _wrong_credentials(proxy, any(value.lower().startswith(b"basic") for value in schemes) or not schemes)
    if 400 <= status <= 499:
        return ProxyFailed(
            f"the proxy {proxy.url} refuses to connect to {target} ({status})",
            code="proxy_refused",
            hint="Whoever runs the proxy has to allow CONNECT to this address and port.",
        )
    if 500 <= status <= 599:
        return ProxyFailed(f"the proxy {proxy.url} does not reach {target} ({status})")
    return _no_such_proxy(proxy, "HTTP", "socks5")


# -- SOCKS5 -------------------------------------------------------------------------------------------------------


def _socks5(proxy: Proxy, host: str, port: int) -> Handshake:
    methods = bytes([NO_AUTHENTICATION] if proxy.user is None else [NO_AUTHENTICATION, USER_AND_PASSWORD])
    version, method = yield from _exactly(bytes([5, len(methods)]) + methods, 2)
    if version != 5 or (method not in methods and method != NONE_ACCEPTABLE):
        raise _no_such_proxy(proxy, "SOCKS5", "http")
    if method == NONE_ACCEPTABLE:
        raise _wrong_credentials(proxy, True)
    if method == USER_AND_PASSWORD:
        user, password = (proxy.user or "").encode(), (proxy.password or "").encode()
        login = bytes([1, len(user)]) + user + bytes([len(password)]) + password
        _, status = yield from _exactly(login, 2)
        if status != 0:
            raise _wrong_credentials(proxy, True)
    request = bytes([5, CONNECT, 0]) + _socks_address(host) + port.to_bytes(2, "big")
    version, reply, _, kind = yield from _exactly(request, 4)
    if version != 5:
        raise _no_such_proxy(proxy, "SOCKS5", "http")
    if reply == NOT_ALLOWED:
        raise ProxyFailed(
            f"the proxy {proxy.url} does not allow {join_port(host, port)}",
            code="proxy_refused",
            hint="Whoever runs the proxy has to allow connections to this address and port.",
        )
    if reply != 0:
        why = SOCKS_REPLIES.get(reply, f"reply {reply}")
        raise ProxyFailed(f"the proxy {proxy.url} does not reach {join_port(host, port)}: {why}")
    # The address from which the proxy connected: of no use here, but it has to be read to its end.
    length = {IPV4: 4, IPV6: 16}.get(kind, 0)
    if kind == DOMAIN_NAME:
        length = (yield from _exactly(b"", 1))[0]
    elif not length:
        raise _no_such_proxy(proxy, "SOCKS5", "http")
    yield from _exactly(b"", length + 2)


def _exactly(data: bytes, size: int) -> Generator[Ask, bytes, bytes]:
    """Send `data`, and return the `size` bytes that follow."""
    got = yield Ask(data, size)
    while len(got) < size:
        got += yield Ask(b"", size - len(got))
    return got


def _socks_address(host: str) -> bytes:
    """A name is sent as it is: the proxy resolves it."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.encode("ascii")
        return bytes([DOMAIN_NAME, len(name)]) + name
    return bytes([IPV4 if address.version == 4 else IPV6]) + address.packed


# -- what went wrong ----------------------------------------------------------------------------------------------


def _wrong_credentials(proxy: Proxy, would_do: bool) -> ProxyFailed:
    """would_do: it takes a user and a password at all."""
    said = "wants a user and a password" if proxy.user is None else "does not accept the user and password"
    hint = CREDENTIALS_HINT if would_do else "It takes only methods other than Basic (NTLM, Negotiate, ...)."
    return ProxyFailed(f"the proxy {proxy.url} {said}", code="proxy_credentials", hint=hint)


def _no_such_proxy(proxy: Proxy, kind: str, other: str) -> ProxyFailed:
    return ProxyFailed(
        f"{proxy.url} does not answer as an {kind} proxy does" if kind == "HTTP" else f"{proxy.url} is no {kind} proxy",
        code="proxy_fault",
        hint=f"Is something else there, or a proxy of another kind ({other}://)?",
    )


def hung_up(proxy: Proxy) -> NoReturn:
    """It closed the connection instead of an answer: what some do with strangers."""
    raise ProxyFailed(
        f"the proxy {proxy.url} hung up without an answer",
        code="proxy_fault",
        hint="Does it serve this machine, and is it of this kind (http:// or socks5://)?",
    )
