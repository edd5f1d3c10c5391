"""What is said to proxies, byte by byte, and what becomes of proxies that say something else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.proxy import Proxy, parse_proxy
from transport.proxy_handshake import MAX_REPLY_BYTES, ProxyFailed, handshake

HTTP, SOCKS = parse_proxy("http://ana:secret@p:1"), parse_proxy("socks5://ana:secret@p:1")
PLAIN_HTTP, PLAIN_SOCKS = parse_proxy("http://p:1"), parse_proxy("socks5://p:1")
OK = b"\5\0\0\1\x0a\0\0\1\0\x50"


def talk(proxy: Proxy, said: bytes, *, host: str = "relay.example", piece: int | None = None) -> bytes:
    """What the proxy was sent until the tunnel stood, if it says `said` in pieces of at most `piece` bytes."""
    steps = handshake(proxy, host, 443)
    sent = b""
    try:
        ask = next(steps)
        while True:
            sent += ask.data
            size = min(ask.most, piece or ask.most)
            assert said, "it waits for more than there is"
            part, said = said[:size], said[size:]
            ask = steps.send(part)
    except StopIteration:
        assert not said, "something was left unread"
        return sent


def failure(proxy: Proxy, said: bytes) -> ProxyFailed:
    with pytest.raises(ProxyFailed) as exc:
        talk(proxy, said)
    text = f"{exc.value.message} {exc.value.hint}"
    assert "secret" not in text and "c2VjcmV0" not in text and "\x1b" not in text
    assert exc.value.hint
    return exc.value


# -- HTTP ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [None, 1])
def test_connect_names_the_relay_and_carries_basic_credentials(piece: int | None) -> None:
    sent = talk(HTTP, b"HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\n", piece=piece)
    assert sent == (
        b"CONNECT relay.example:443 HTTP/1.1\r\nHost: relay.example:443\r\n"
        b"Proxy-Authorization: Basic YW5hOnNlY3JldA==\r\n\r\n"
    )


def test_without_credentials_none_are_sent_and_an_address_is_bracketed() -> None:
    sent = talk(PLAIN_HTTP, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 x\r\n\r\n", host="2001:db8::1")
    assert sent == b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n"


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        (b"HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm=x\r\n\r\n", "proxy_credentials", "does not accept"),
        (b"HTTP/1.1 407 x\r\nProxy-Authenticate: NTLM\r\n\r\n", "proxy_credentials", "does not accept"),
        (b"HTTP/1.0 401 x\r\n\r\n", "proxy_credentials", "does not accept"),
        (b"HTTP/1.1 403 \x1b[2J\r\n\r\n", "proxy_refused", "refuses"),
        (b"HTTP/1.1 502 x\r\n\r\n", "proxy_failed", "does not reach relay.example:443"),
        (b"HTTP/1.1 302 x\r\nLocation: http://portal\r\n\r\n", "proxy_fault", "does not answer as"),
        (b"HTTP/1.1 200 x\r\n\r\nand more", "proxy_fault", "does not answer as"),
        (b"HTTP/1.1 100 x\r\n\r\n" * 6, "proxy_fault", "does not answer as"),
        (b"HTTP/1.1 200 x\r\nX: " + b"y" * 2 * MAX_REPLY_BYTES, "proxy_fault", "does not answer as"),
        (b"\5\0", "proxy_fault", "does not answer as"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "proxy_fault", "does not answer as"),
    ],
)
def test_an_http_proxys_no_says_what_to_do(said: bytes, code: str, words: str) -> None:
    error = failure(HTTP, said)
    assert error.reason == code and words in error.message


def test_missing_credentials_and_methods_that_are_not_spoken_have_hints_of_their_own() -> None:
    missing = failure(PLAIN_HTTP, b"HTTP/1.1 407 x\r\nProxy-Authenticate: Basic\r\n\r\n")
    assert "wants a user and a password" in missing.message and "user:password@" in missing.hint
    assert "NTLM" in failure(HTTP, b"HTTP/1.1 407 x\r\nProxy-Authenticate: Negotiate\r\n\r\n").hint


# -- SOCKS5 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [None, 1])
def test_socks_logs_in_and_lets_the_proxy_resolve_the_name(piece: int | None) -> None:
    sent = talk(SOCKS, b"\5\2" + b"\1\0" + OK, piece=piece)
    assert sent == b"\5\2\0\2" + b"\1\3ana\6secret" + b"\5\1\0\3\x0drelay.example\x01\xbb"


def test_socks_without_credentials_and_with_addresses() -> None:
    assert talk(PLAIN_SOCKS, b"\5\0" + OK, host="10.1.2.3") == b"\5\1\0" + b"\5\1\0\1\x0a\1\2\3\x01\xbb"
    v6 = talk(PLAIN_SOCKS, b"\5\0" + b"\5\0\0\4" + bytes(18), host="::1")
    assert v6 == b"\5\1\0" + b"\5\1\0\4" + bytes(15) + b"\1\x01\xbb"
    talk(SOCKS, b"\5\0" + b"\5\0\0\3\4name\0\1")  # it wants no password, and answers with a name


@pytest.mark.parametrize(
    ("proxy", "said", "code", "words"),
    [
        (PLAIN_SOCKS, b"\5\xff", "proxy_credentials", "wants a user"),
        (SOCKS, b"\5\xff", "proxy_credentials", "does not accept"),
        (SOCKS, b"\5\2\1\1", "proxy_credentials", "does not accept"),
        (PLAIN_SOCKS, b"\5\2", "proxy_fault", "no SOCKS5 proxy"),
        (PLAIN_SOCKS, b"\4\0", "proxy_fault", "no SOCKS5 proxy"),
        (PLAIN_SOCKS, b"HT", "proxy_fault", "no SOCKS5 proxy"),
        (PLAIN_SOCKS, b"\5\0\5\2\0\1", "proxy_refused", "does not allow"),
        (PLAIN_SOCKS, b"\5\0\5\5\0\1", "proxy_failed", "connection refused"),
        (PLAIN_SOCKS, b"\5\0\5\x63\0\1", "proxy_failed", "reply 99"),
        (PLAIN_SOCKS, b"\5\0\5\0\0\7", "proxy_fault", "no SOCKS5 proxy"),
        (PLAIN_SOCKS, b"\5\0\4\0\0\1", "proxy_fault", "no SOCKS5 proxy"),
    ],
)
def test_a_socks_proxys_no_says_what_to_do(proxy: Proxy, said: bytes, code: str, words: str) -> None:
    error = failure(proxy, said)
    assert error.reason == code and words in error.message


@given(st.sampled_from([HTTP, SOCKS, PLAIN_HTTP, PLAIN_SOCKS]), st.binary(min_size=1, max_size=300), st.integers(1, 9))
def test_whatever_a_proxy_says_there_is_a_tunnel_an_error_or_a_bounded_wish_for_more(
    proxy: Proxy, said: bytes, piece: int
) -> None:
    try:
        talk(proxy, said, piece=piece)
    except (ProxyFailed, AssertionError):
        pass
