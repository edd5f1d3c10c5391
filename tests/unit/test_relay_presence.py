"""Which link is a device's, when there are two."""

from __future__ import annotations

from protocol.ids import DeviceId, OrganisationId
from relay.presence import Presence, Replaced, WentOffline, WentOnline

KEY = (OrganisationId("o"), DeviceId("d"))


def test_a_second_link_takes_the_place_of_a_half_open_one_without_the_device_going_offline() -> None:
    presence: Presence[str] = Presence()
    assert presence.attach(KEY, "old") == [WentOnline(KEY)]
    assert presence.attach(KEY, "new") == [Replaced("old")]
    assert presence.detach(KEY, "old") == []
    assert presence.link(KEY) == "new"
    assert presence.detach(KEY, "new") == [WentOffline(KEY)]
    assert presence.detach(KEY, "new") == []
    assert len(presence) == 0


def test_organisations_do_not_see_each_others_devices() -> None:
    presence: Presence[str] = Presence()
    other = (OrganisationId("p"), KEY[1])
    presence.attach(KEY, "ours")
    presence.attach(other, "theirs")
    assert presence.of_organisation(KEY[0]) == ["ours"]
    assert presence.link(other) == "theirs"
    assert sorted(presence) == ["ours", "theirs"]
    assert presence.of_organisation(OrganisationId("none")) == []
