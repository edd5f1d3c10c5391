"""Where a relay is: one spelling of each address, or a clear refusal."""

from __future__ import annotations

import pytest

from protocol.errors import ConfigInvalid
from transport.relay_address import RelayAddress, parse_address

PIN = "sha256:" + "0f" * 32


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://relay.example", "relay.example:443"),
        ("https://Relay.EXAMPLE:8443/", "relay.example:8443"),
        ("https://relay.example.:443", "relay.example:443"),
        ("https://xn--and-6ma2c.example", "xn--and-6ma2c.example:443"),
        ("https://my_relay:1", "my_relay:1"),
        ("https://127.0.0.1:65535", "127.0.0.1:65535"),
        ("https://[::1]:443", "[::1]:443"),
        ("https://[2001:DB8:0:0::1]", "[2001:db8::1]:443"),
    ],
)
def test_an_address_has_one_spelling(url: str, name: str) -> None:
    address = parse_address(url, PIN)
    assert address.dialled_name == name
    assert address.url == f"https://{name}"
    assert parse_address(address.url, PIN) == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "relay.example",
        "http://relay.example",
        "wss://relay.example",
        "https://",
        "https://relay.example/path",
        "https://relay.example?x",
        "https://user@relay.example",
        "https://user:secret@relay.example",
        "https://relay.example:0",
        "https://relay.example:65536",
        "https://relay.example:",
        "https://relay..example",
        "https://-relay.example",
        "https://" + "a" * 64 + ".example",
        "https://" + "a." * 130 + "example",
        "https://127.1",
        "https://0x7f.1",
        "https://0x7f000001",
        "https://2130706433",
        "https://127.0.0.01",
        "https://1.2.3.4.5",
        "https://[::1",
        "https://::1",
        "https://[::ffff:1.2.3.4.5]",
        "https://[fe80::1%eth0]",
        "https://ñandú.example",
        "https://relay.example\n",
        " https://relay.example",
        "https://relay\x1b[31m.example",
        "https://relay\x00.example",
        "https://\ud800",
        "https://" + "x" * 10_000,
    ],
)
def test_what_is_no_address_is_refused_with_a_hint(url: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        parse_address(url)
    assert caught.value.reason == "bad_relay_address"
    assert caught.value.hint
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    "pin", ["", "sha256:", "sha256:" + "0" * 63, "sha256:" + "g" * 64, "0" * 64, "md5:" + "0" * 64]
)
def test_what_is_no_pin_is_refused(pin: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        parse_address("https://relay.example", pin)
    assert caught.value.reason == "bad_pin"


def test_a_pin_may_be_pasted_with_blanks_and_capitals() -> None:
    assert parse_address("https://r", f" {PIN.upper()}\n") == RelayAddress("r", 443, PIN)
