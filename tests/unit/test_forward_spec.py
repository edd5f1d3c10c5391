"""What `auxilio forward` is asked for: as ssh's -L has it, or refused with the form that is meant."""

from __future__ import annotations

import pytest

from console.forward_spec import Forward, parse_forward
from protocol.errors import UsageInvalid


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8080:gateway:80", Forward("127.0.0.1", 8080, "gateway", 80)),
        ("0:localhost:5900", Forward("127.0.0.1", 0, "localhost", 5900)),
        ("127.0.0.2:8080:Printer.LAN:631", Forward("127.0.0.2", 8080, "printer.lan", 631)),
        ("8080:[fd00::1]:80", Forward("127.0.0.1", 8080, "fd00::1", 80)),
        ("[::1]:8080:[FD00:0::1]:80", Forward("::1", 8080, "fd00::1", 80)),
        ("0.0.0.0:1:10.0.0.1:65535", Forward("0.0.0.0", 1, "10.0.0.1", 65535)),
    ],
)
def test_a_forward_is_read(text: str, expected: Forward) -> None:
    assert parse_forward(text) == expected
    assert parse_forward(f"1:{expected.target}").target == expected.target


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8080",
        "8080:gateway",
        "a:b:80",
        "80:host:0",
        "80:host:65536",
        "-1:host:80",
        "80:ho st:80",
        "80:fd00::1:80",
        "[::1:80:host:80",
        "name:80:host:80",
        "80:[host:80",
        "80:[fd00::1]x:80",
        "\u0663:host:80",
        "80::80",
    ],
)
def test_what_is_no_forward_is_refused(text: str) -> None:
    with pytest.raises(UsageInvalid):
        parse_forward(text)
