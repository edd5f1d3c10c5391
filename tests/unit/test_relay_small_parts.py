"""Logs, events, packed software lists, errors as statuses, names of certificates, close reasons."""

from __future__ import annotations

import contextlib
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.api import Event
from protocol.errors import BadMessage, Refused, Unavailable, Untrusted
from protocol.ids import OrganisationId
from relay import logs
from relay.certificate import CertificateFacts, is_for, make_self_signed, read_certificate
from relay.events import MAX_LISTENERS, MAX_LISTENERS_EACH, MAX_QUEUED, MAX_REPLAY, Events, Overrun
from relay.failures import Conflict, NotFound, TooLarge, TooMany, status_of
from relay.http.openapi import document
from relay.http.routes import ROUTES
from relay.splice import close_reason
from relay.store.inventory import pack, unpack
from relay.store.store import storable, storable_number

A, B = OrganisationId("a"), OrganisationId("b")


def event(organisation: OrganisationId, detail: str = "") -> Event:
    return Event(kind="policy_changed", at=0, organisation=organisation, detail=detail)


def test_a_log_line_is_one_json_object_whatever_a_stranger_put_into_it() -> None:
    stream = io.StringIO()
    logs.set_up("info", stream)
    try:
        logs.info("link_up", agent="\x1b[2Jhi\n\u202e", count=3, none=None, long="x" * 10_000)
        logs.debug("not shown")
        try:
            raise ValueError("inner")
        except ValueError as exc:
            logs.bug("failed", exc)
    finally:
        logs.set_up("warning")
    first, second = stream.getvalue().splitlines()
    shown = json.loads(first)
    assert shown["agent"] == "\x1b[2Jhi\n\u202e" and shown["count"] == 3 and shown["none"] is None
    assert first.isascii() and "\x1b" not in first
    assert len(shown["long"]) < 1000
    assert "ValueError: inner" in json.loads(second)["trace"]


async def test_a_listener_hears_its_organisation_alone() -> None:
    events = Events("s")
    with events.listen(A, "ana", "") as listener:
        events.publish(event(B))
        events.publish(event(A, "ours"))
        assert (await listener.get()).event.detail == "ours"
    assert len(events) == 0


async def test_a_slow_listener_is_told_that_it_missed_something_and_costs_bounded_memory() -> None:
    events = Events("s")
    with events.listen(A, "ana", "") as listener:
        for _ in range(MAX_QUEUED + 10):
            events.publish(event(A))
        for _ in range(MAX_QUEUED):
            await listener.get()
        with pytest.raises(Overrun):
            await listener.get()


async def test_who_comes_back_after_a_cut_hears_what_it_missed() -> None:
    events = Events("s")
    with events.listen(A, "ana", "") as listener:
        events.publish(event(A, "one"))
        last = (await listener.get()).id
    events.publish(event(B, "foreign"))
    events.publish(event(A, "two"))
    with events.listen(A, "ana", last) as listener:
        assert (await listener.get()).event.detail == "two"
    for other in ("t-1", "s-", "s-x", "-1", "s-99999999999999999999"):
        with events.listen(A, "ana", other) as listener:
            events.publish(event(A, "fresh"))
            assert (await listener.get()).event.detail == "fresh"


async def test_one_technician_and_one_organisation_leave_room_for_other_listeners() -> None:
    events = Events("s")
    with contextlib.ExitStack() as held:
        for _ in range(MAX_LISTENERS_EACH):
            held.enter_context(events.listen(A, "ana", ""))
        with pytest.raises(TooMany):
            held.enter_context(events.listen(A, "ana", ""))
        for number in range(MAX_LISTENERS // 2 - MAX_LISTENERS_EACH):
            held.enter_context(events.listen(A, f"of-{number}", ""))
        with pytest.raises(TooMany):
            held.enter_context(events.listen(A, "one-more", ""))
        held.enter_context(events.listen(B, "ana", ""))


async def test_a_busy_organisation_does_not_make_others_forget_what_they_missed() -> None:
    events = Events("s")
    events.publish(event(A, "one"))
    for _ in range(MAX_REPLAY + 1):
        events.publish(event(B))
    with events.listen(A, "ana", "s-0") as listener:
        assert (await listener.get()).event.detail == "one"


async def test_a_stream_ends_when_the_relay_stops() -> None:
    events = Events("s")
    with events.listen(A, "ana", "") as listener:
        events.close()
        with pytest.raises(Overrun):
            await listener.get()


@given(st.sets(st.integers(1, 2**31 - 1), max_size=100))
def test_packed_keys_are_those_again(keys: set[int]) -> None:
    assert unpack(pack(keys)) == sorted(keys)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound(""), 404),
        (Conflict(""), 409),
        (TooLarge(""), 413),
        (BadMessage(""), 400),
        (Untrusted(""), 403),
        (Refused(""), 403),
        (Unavailable(""), 503),
    ],
)
def test_errors_have_the_status_of_whose_fault_they_are(error: Refused, status: int) -> None:
    assert status_of(error) == status


@given(st.text(max_size=300))
def test_a_close_reason_fits_its_frame_and_is_text(text: str) -> None:
    reason = close_reason(text)
    assert len(reason) <= 123
    reason.decode("utf-8")


@given(st.text(alphabet=st.characters(), max_size=50), st.integers())
def test_what_strangers_say_can_be_stored(text: str, number: int) -> None:
    stored = storable(text, 20)
    assert len(stored) <= 20 and "\0" not in stored
    stored.encode("utf-8")
    assert 0 <= storable_number(number) < 2**53


def test_a_certificate_is_for_the_names_it_says(tmp_path) -> None:
    pem, _ = make_self_signed(["relay.example", "127.0.0.1", "2001:db8::1"], 1_800_000_000.0)
    (tmp_path / "c.pem").write_bytes(pem)
    facts = read_certificate(tmp_path / "c.pem")
    assert facts.is_self_signed and facts.pin.startswith("sha256:") and len(facts.pin) == 71
    assert is_for(facts, "Relay.Example") and is_for(facts, "127.0.0.1") and is_for(facts, "[2001:db8::1]")
    assert not is_for(facts, "other.example")
    wild = CertificateFacts("", 0, 0, frozenset({"*.example"}), False)
    assert is_for(wild, "relay.example") and not is_for(wild, "a.relay.example")


def test_the_openapi_document_has_every_route_and_says_who_may_ask() -> None:
    made = document(ROUTES)
    operations = {(path, method) for path, methods in made["paths"].items() for method in methods}
    assert operations == {(route.path, route.method.lower()) for route in ROUTES}
    for route in ROUTES:
        operation = made["paths"][route.path][route.method.lower()]
        assert ("security" in operation) == (route.who != "stranger")
    json.dumps(made)
    names = [route.handler.__name__ for route in ROUTES]
    assert len(set(zip([r.method for r in ROUTES], names, strict=True))) == len(ROUTES)
