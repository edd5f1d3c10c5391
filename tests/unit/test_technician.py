"""A technician is what the certificate says, and nothing where it says nothing."""

from __future__ import annotations

import pytest

from protocol.certificate import parse_certificate
from protocol.errors import BadMessage, Untrusted
from protocol.ids import device_id
from protocol.selector import Facts, matches
from protocol.sshwire import string
from protocol.technician import RIGHTS, Technician, parse_rights, parse_scope, read_technician
from tests.support.forgery import TECHNICIAN, Recipe

DEVICE = device_id(TECHNICIAN.public)


def technician(may: bytes | None, scope: bytes | None) -> Technician:
    named = (("may@auxilio", may), ("scope@auxilio", scope))
    extensions = tuple((name, data) for name, data in named if data is not None)
    return read_technician(parse_certificate(Recipe(extensions=extensions).certificate()))


@pytest.mark.parametrize(
    ("may", "rights"),
    [
        (string("shell"), {"shell"}),
        (string("shell,files,view"), {"shell", "files", "view"}),
        (string("shell,shell"), {"shell"}),
        (string("shell,teleport"), {"shell"}),
        (string("Shell"), set()),
        (string(" shell"), set()),
        (string("shell files"), set()),
        (string("shell,\nfiles"), {"shell"}),
        (string("all"), set()),
        (string("*"), set()),
        (string(","), set()),
        (string(""), set()),
        (b"", set()),
        (None, set()),
    ],
)
def test_a_right_is_granted_by_its_exact_name_alone(may: bytes | None, rights: set[str]) -> None:
    assert technician(may, string("all")).rights == rights


@pytest.mark.parametrize("may", [b"shell", string("shell") + b"x", string(b"\xff"), string(b"shell\0")])
def test_rights_that_cannot_be_read_are_refused(may: bytes) -> None:
    with pytest.raises(Untrusted) as caught:
        technician(may, string("all"))
    assert caught.value.reason == "bad_extension"


def test_without_a_scope_no_device_is_reached() -> None:
    with pytest.raises(Untrusted) as caught:
        technician(string("shell"), None)
    assert caught.value.reason == "no_scope"


@pytest.mark.parametrize(
    "scope",
    ["", " ", "((", "online", "os:debian", "not online", "tag:a or online", "host:pc-*", "(" * 40 + "all" + ")" * 40],
)
def test_a_scope_over_anything_but_signed_words_is_refused(scope: str) -> None:
    with pytest.raises(Untrusted) as caught:
        technician(string("shell"), string(scope))
    assert caught.value.reason == "bad_extension"


def test_a_scope_selects_devices_by_their_signed_tags() -> None:
    scope = technician(string("shell"), string("tag:clinic not tag:kiosk")).scope
    assert matches(scope, Facts(id=DEVICE, tags=frozenset({"clinic"})))
    assert not matches(scope, Facts(id=DEVICE, tags=frozenset({"clinic", "kiosk"})))
    assert not matches(scope, Facts(id=DEVICE, tags=frozenset()))


def test_rights_are_parsed_for_people_with_a_hint() -> None:
    assert parse_rights("shell, files,") == {"shell", "files"}
    assert parse_rights(",".join(RIGHTS)) == RIGHTS
    with pytest.raises(BadMessage) as caught:
        parse_rights("shell,fly")
    assert caught.value.reason == "unknown_right" and "approve" in caught.value.hint


def test_a_scope_for_people_says_what_it_may_use() -> None:
    with pytest.raises(BadMessage) as caught:
        parse_scope("online")
    assert caught.value.reason == "bad_scope" and "tag:" in caught.value.hint
