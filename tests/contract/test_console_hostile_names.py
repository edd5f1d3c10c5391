"""Names, in front of a relay and devices that lie: a name means an approved device that says so itself, or nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from console.fleet import judge
from console.history import check_continues, covers, fetch_history
from console.known_devices import KnownDevices
from console.remembered_names import RememberedNames
from console.resolving import resolve
from console.signed_in import Desk
from protocol.api import DevicePage, History
from protocol.codec import encode
from protocol.errors import AuxilioError, Refused, Untrusted, UsageInvalid
from protocol.ids import DeviceId
from protocol.revocation import Revocations, RevokedDevice
from protocol.sections.machine import System
from protocol.selector import parse
from tests.support.relayed import Named, Relayed, log_in, with_desk


@pytest.fixture
async def relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Relayed]:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    relayed = Relayed(tmp_path)
    await relayed.start()
    await log_in(relayed)
    try:
        yield relayed
    finally:
        await relayed.stop()


def show(relay: Relayed, *devices: Named) -> None:
    """What the relay lists from now on, whatever it is asked."""
    page = DevicePage(devices=tuple(device.told() for device in devices), next=None, total=len(devices))
    relay.answers["GET", "/v1/devices"] = lambda: page


async def resolved(relay: Relayed, text: str) -> object:
    return await with_desk(relay, lambda desk: resolve(desk, text))


async def refusal(relay: Relayed, text: str) -> AuxilioError:
    with pytest.raises(AuxilioError) as caught:
        await resolved(relay, text)
    assert "\x1b" not in caught.value.message
    return caught.value


# -- who is meant -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["dana-laptop", "DANA-Laptop.auxilio", "dana-laptop.clinic.auxilio", "dana-laptop.lan"]
)
async def test_a_name_means_the_approved_device_that_signed_it(relay: Relayed, text: str) -> None:
    dana = Named(relay, "Dana-Laptop.lan")
    show(relay, dana)
    assert await resolved(relay, text) == dana.id


async def test_a_relay_that_lists_another_device_under_the_name_gets_nowhere(relay: Relayed) -> None:
    other = Named(relay, "other", hostname="dana-laptop")  # the relay's word, and the device's own
    show(relay, other)
    assert (await refusal(relay, "dana-laptop")).reason == "no_such_device"


async def test_a_name_in_swapped_bytes_counts_for_nothing(relay: Relayed) -> None:
    other = Named(relay, "other")
    relay.answers[other.blob] = lambda: encode(System(hostname="dana-laptop"))
    show(relay, other)
    assert (await refusal(relay, "dana-laptop")).reason == "no_such_device"


async def test_a_name_in_another_devices_report_counts_for_nothing(relay: Relayed) -> None:
    dana, other = Named(relay, "dana-laptop"), Named(relay, "other")
    other.report = dana.report
    show(relay, other)
    assert (await refusal(relay, "dana-laptop")).reason == "no_such_device"


@pytest.mark.parametrize("of_another", [False, True])
async def test_nobody_without_a_record_of_their_own_is_meant(relay: Relayed, of_another: bool) -> None:
    record = relay.organisation.record(relay.device, "clinic") if of_another else None
    thief, dana = Named(relay, "dana-laptop", record=record), Named(relay, "dana-laptop")
    show(relay, thief)
    assert (await refusal(relay, "dana-laptop")).reason == "no_such_device"
    show(relay, thief, dana)
    assert await resolved(relay, "dana-laptop") == dana.id


async def test_a_device_that_was_removed_is_not_meant(relay: Relayed) -> None:
    dana, removed = Named(relay, "dana-laptop"), Named(relay, "dana-laptop")
    gone = (RevokedDevice(device=removed.id, since=relay.organisation.now),)
    relay.organisation.publish_policy(revocations=Revocations(devices=gone))
    await log_in(relay)
    show(relay, removed, dana)
    assert await resolved(relay, "dana-laptop") == dana.id


async def test_several_of_one_name_are_listed_with_their_ids(relay: Relayed) -> None:
    twins = [Named(relay, "dana-laptop"), Named(relay, "DANA-LAPTOP.lan")]
    show(relay, *twins)
    error = await refusal(relay, "dana-laptop")
    assert isinstance(error, Refused) and error.reason == "ambiguous"
    assert all(twin.id in error.message for twin in twins)
    assert await resolved(relay, "dana-laptop.lan") == twins[1].id


async def test_a_device_called_as_anothers_id_begins_captures_nothing(relay: Relayed) -> None:
    dana = Named(relay, "dana-laptop")
    thief = Named(relay, dana.id[:5])
    show(relay, dana, thief)
    assert (await refusal(relay, dana.id[:5])).reason == "ambiguous"
    show(relay, thief)  # the relay hides the one meant; it was seen here before
    assert (await refusal(relay, dana.id[:5])).reason == "ambiguous"
    assert await resolved(relay, dana.id) == dana.id


@pytest.mark.parametrize(
    "text", ["", "-o", "a_b", "dana laptop", "$(id)", "\x1b[2J", "../x", "a..b", "é", "a" * 129, "."]
)
async def test_what_is_no_name_is_never_asked_for(relay: Relayed, text: str) -> None:
    assert isinstance(await refusal(relay, text), UsageInvalid)
    assert "GET /v1/devices" not in relay.calls


@pytest.mark.parametrize("hostname", ["dana-laptop\x1b[2J", "dana-laptop\n", "dana-laptop ", "", "dana-laptop" * 30])
async def test_an_unusual_host_name_is_nobodys_name(relay: Relayed, hostname: str) -> None:
    show(relay, Named(relay, hostname))
    assert (await refusal(relay, "dana-laptop")).reason == "no_such_device"
    assert KnownDevices(relay.home).hostnames() == []


# -- remembered -------------------------------------------------------------------------------------------------


async def test_a_name_that_moved_to_another_device_is_a_hard_failure_until_it_is_forgotten(relay: Relayed) -> None:
    dana, thief = Named(relay, "dana-laptop"), Named(relay, "other")
    show(relay, dana)
    assert await resolved(relay, "dana-laptop") == dana.id
    dana.call("eva-laptop")
    thief.call("dana-laptop")
    show(relay, dana, thief)
    error = await refusal(relay, "dana-laptop")
    assert isinstance(error, Untrusted) and error.reason == "name_moved"
    assert dana.id in error.message and thief.id in error.message
    assert "auxilio device forget dana-laptop" in error.hint
    assert RememberedNames(relay.home).device("dana-laptop") == dana.id
    assert RememberedNames(relay.home).forget("dana-laptop")
    assert await resolved(relay, "dana-laptop") == thief.id


async def test_a_device_that_takes_anothers_name_neither_captures_nor_silences_it(relay: Relayed) -> None:
    dana, thief = Named(relay, "dana-laptop"), Named(relay, "other")
    show(relay, dana)
    await resolved(relay, "dana-laptop")
    thief.call("dana-laptop")
    show(relay, thief, dana)
    error = await refusal(relay, "dana-laptop")
    assert error.reason == "ambiguous"
    assert f"{dana.id} (called dana-laptop, what it meant before)" in error.message
    assert thief.id in error.message


async def test_a_beginning_that_moved_is_a_hard_failure(relay: Relayed) -> None:
    dana, other = Named(relay, "dana-laptop"), Named(relay, "other")
    RememberedNames(relay.home).remember(other.id[:5], dana.id)
    show(relay, other)
    assert (await refusal(relay, other.id[:5])).reason == "name_moved"


async def test_a_remembered_name_works_when_the_relay_withholds_the_list(relay: Relayed) -> None:
    dana = Named(relay, "dana-laptop")
    show(relay, dana)
    await resolved(relay, "dana-laptop")
    show(relay)
    assert await resolved(relay, "dana-laptop") == dana.id
    for answer in (lambda: b"\0nonsense", _unavailable):
        relay.answers["GET", "/v1/devices"] = answer
        assert await resolved(relay, "dana-laptop") == dana.id


def _unavailable() -> bytes:
    raise web.HTTPServiceUnavailable


async def test_an_older_report_does_not_bring_an_old_name_back(relay: Relayed) -> None:
    other = Named(relay, "dana-laptop")
    old, blob = other.report, other.blob
    other.call("other")
    show(relay, other)
    assert await resolved(relay, "other") == other.id
    other.report, other.blob = old, blob
    show(relay, other)
    assert (await refusal(relay, "dana-laptop")).reason == "no_such_device"


async def test_a_damaged_memory_is_said_and_nothing_is_believed(relay: Relayed) -> None:
    dana = Named(relay, "dana-laptop")
    show(relay, dana)
    await resolved(relay, "dana-laptop")
    relay.home.file("names/@dana-laptop").write_bytes(b"\xff\x1b")
    error = await refusal(relay, "dana-laptop")
    assert error.reason == "corrupt_file" and "device forget" in error.hint


async def test_the_report_is_fetched_once_while_it_says_the_same(relay: Relayed) -> None:
    dana = Named(relay, "dana-laptop")
    show(relay, dana)
    for _ in range(3):
        await resolved(relay, "dana-laptop")
    assert sum("/v1/blobs/" in call for call in relay.calls) == 1


# -- reinstalled ------------------------------------------------------------------------------------------------


def tell_history(relay: Relayed, device: Named, *before: Named) -> None:
    told = tuple(old.told() for old in before)
    relay.answers["GET", f"/v1/devices/{device.id}/history"] = lambda: History(devices=told, sessions=())


async def test_a_name_follows_the_machine_that_an_admin_says_was_reinstalled(relay: Relayed) -> None:
    old, new, newer = (Named(relay, "dana-laptop") for _ in range(3))
    show(relay, old)
    assert await resolved(relay, "dana-laptop") == old.id
    new.continues, newer.continues = old.id, new.id
    tell_history(relay, new, old)
    show(relay, old, new)
    assert await resolved(relay, "dana-laptop") == new.id
    RememberedNames(relay.home).remember("dana-laptop", old.id)
    tell_history(relay, newer, new, old)
    show(relay, newer)
    assert await resolved(relay, "dana-laptop") == newer.id


async def test_a_relay_cannot_say_that_a_device_continues_another(relay: Relayed) -> None:
    old, thief = Named(relay, "dana-laptop"), Named(relay, "dana-laptop")
    show(relay, old)
    await resolved(relay, "dana-laptop")
    tell_history(relay, thief, old)
    show(relay, thief)
    assert (await refusal(relay, "dana-laptop")).reason == "name_moved"


async def test_nobody_continues_a_device_over_which_they_have_no_say(relay: Relayed) -> None:
    old, thief = Named(relay, "dana-laptop"), Named(relay, "dana-laptop")
    show(relay, old)
    await resolved(relay, "dana-laptop")
    thief.tags, thief.continues = ("school",), old.id
    thief.by = relay.organisation.technician("eve", scope="tag:school")
    tell_history(relay, thief, old)
    show(relay, thief)
    assert (await refusal(relay, "dana-laptop")).reason == "name_moved"
    tell_history(relay, thief)  # the tags of the old one are withheld
    assert (await refusal(relay, "dana-laptop")).reason == "name_moved"


async def test_nobody_signs_that_a_device_outside_their_scope_is_continued(relay: Relayed) -> None:
    old = Named(relay, "old")
    tell_history(relay, old)

    async def check(desk: Desk) -> None:
        judged = judge(old.told(), desk.trust, KnownDevices(desk.home))
        mine = desk.identity.technician
        await check_continues(desk, relay.device, judged)
        with pytest.raises(Refused) as caught:
            await check_continues(desk, old.id, judged)
        assert caught.value.reason == "continues_itself"
        assert not covers(msgspec.structs.replace(mine, scope=parse("tag:school")), judged)

    await with_desk(relay, check)


async def test_a_circle_of_continuations_ends(relay: Relayed) -> None:
    one, two = Named(relay, "one"), Named(relay, "two")
    one.continues, two.continues = two.id, one.id
    tell_history(relay, one, two, one)
    show(relay, one)

    async def before(desk: Desk) -> list[DeviceId]:
        judged = judge(one.told(), desk.trust, KnownDevices(desk.home))
        return [device.id for device in (await fetch_history(desk, judged))[0]]

    assert await with_desk(relay, before) == [two.id]
