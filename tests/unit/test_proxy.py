"""Which proxy a relay is dialled through, and that its password shows nowhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ConfigInvalid
from transport.proxy import Proxy, check_setting, find_proxy, parse_proxy, show_setting
from transport.relay_address import RelayAddress
from transport.ways import Ways

NAMED = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://proxy.example:3128", Proxy("http", "proxy.example", 3128)),
        ("proxy.example:3128", Proxy("http", "proxy.example", 3128)),
        ("HTTP://Proxy.Example./", Proxy("http", "proxy.example", 80)),
        ("socks5://10.0.0.1", Proxy("socks5", "10.0.0.1", 1080)),
        ("socks5h://[2001:DB8::1]:9", Proxy("socks5", "2001:db8::1", 9)),
        ("http://ana:s%40cret%3a%C3%B1@p:1", Proxy("http", "p", 1, "ana", "s@cret:ñ")),
        ("http://ana:a@b:c@p:1", Proxy("http", "p", 1, "ana", "a@b:c")),
        ("socks5://ana@p", Proxy("socks5", "p", 1080, "ana", "")),
    ],
)
def test_a_proxy_is_read_as_everybody_writes_it(text: str, proxy: Proxy) -> None:
    assert parse_proxy(text) == proxy


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "http://",
            "http://p:0",
            "http://p:70000",
            "http://p/path",
            "http://p q",
            "http://-p:1",
            "http://1.2.3:1",
        ),
        *(
            "https://p:1",
            "socks4://p:1",
            "ftp://p:1",
            "http://u:%ff@p:1",
            "http://u:%0d%0aX@p:1",
            "http://[::1",
            "x" * 9999,
        ),
        f"http://{'u' * 256}:x@p:1",
    ],
)
def test_what_is_no_proxy_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ConfigInvalid) as exc:
        parse_proxy(text.replace("://", "://ana:secret@") if "@" not in text else text, "$HTTPS_PROXY")
    assert exc.value.reason == "bad_proxy" and "HTTPS_PROXY" in exc.value.message
    assert "secret" not in f"{exc.value.message} {exc.value.hint}"


@given(st.text(max_size=80))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        assert 1 <= parse_proxy(text).port <= 65535
    except ConfigInvalid:
        pass


def test_credentials_show_in_no_text() -> None:
    proxy = parse_proxy("http://ana:secret@p:1")
    address = RelayAddress("relay.example", 443, None, proxy)
    for shown in (
        repr(proxy),
        str(proxy),
        proxy.url,
        repr(address),
        repr([address]),
        show_setting("http://ana:secret@p:1"),
    ):
        assert "secret" not in shown and "ana" not in shown


def chosen(setting: str | None = None, host: str = "relay.example", port: int = 443, **environment: str) -> str | None:
    proxy = find_proxy(host, port, setting, environment)
    return None if proxy is None else proxy.host


def test_a_setting_wins_over_the_environment_and_can_say_that_there_is_none() -> None:
    assert chosen(HTTPS_PROXY="http://one:1") == "one"
    assert chosen("http://two:2", HTTPS_PROXY="http://one:1", NO_PROXY="*") == "two"
    assert chosen("direct", HTTPS_PROXY="http://one:1") is None
    assert check_setting(" environment\n") is None and check_setting("direct") == "direct"
    with pytest.raises(ConfigInvalid):
        check_setting("none of these")


def test_the_environments_variables_count_in_curls_order() -> None:
    assert chosen(ALL_PROXY="socks5://all") == "all"
    assert chosen(ALL_PROXY="socks5://all", HTTPS_PROXY="http://https") == "https"
    assert chosen(HTTPS_PROXY="http://capital", https_proxy="http://small") == "small"
    assert chosen(HTTPS_PROXY="", ALL_PROXY="  ") is None
    assert chosen(HTTP_PROXY="http://plain", http_proxy="http://plain") is None, "relays are never dialled in the clear"
    with pytest.raises(ConfigInvalid, match="ALL_PROXY"):
        chosen(ALL_PROXY="gopher://x")


@pytest.mark.parametrize(
    ("listed", "host", "exempt"),
    [
        ("*", "relay.example", True),
        ("relay.example", "relay.example", True),
        ("example", "relay.example", True),
        (".example", "relay.example", True),
        ("*.example", "relay.example", True),
        ("EXAMPLE.", "relay.example", True),
        ("ample", "relay.example", False),
        ("other.example", "relay.example", False),
        ("a.example, relay.example:443", "relay.example", True),
        ("relay.example:8443", "relay.example", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "relay.example", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:443", "10.1.2.3", True),
        ("1.2.3", "10.1.2.3", False),
        ("2001:db8::/32", "2001:db8::7", True),
        ("2001:DB8:0::7", "2001:db8::7", True),
        ("[2001:db8::7]:443", "2001:db8::7", True),
        ("[2001:db8::7]:1", "2001:db8::7", False),
        ("10.0.0.0/99, /, :, ::, ,", "relay.example", False),
        ("", "relay.example", False),
        ("", "127.0.0.1", True),
        ("", "::1", True),
        ("", "localhost", True),
    ],
)
def test_no_proxy_exempts_what_it_names(listed: str, host: str, exempt: bool) -> None:
    assert (chosen(host=host, HTTPS_PROXY=NAMED, NO_PROXY=listed) is None) == exempt
    assert (chosen(host=host, HTTPS_PROXY=NAMED, no_proxy=listed, NO_PROXY="never") is None) == exempt


def test_an_address_knows_its_way() -> None:
    there = Ways(None, {"HTTPS_PROXY": "http://ana:secret@proxy.example:3128"}).to("https://relay.example", None)
    assert there.proxy == Proxy("http", "proxy.example", 3128, "ana", "secret")
    assert there.dialled_name == "relay.example:443", "what is signed does not change with the way"
