"""Which devices have a link here. Pure: it decides what an arriving or ending link means; links.py does it.

A device has one link. A second one means that the first is half-open (a laptop woke on another network), so the
newcomer, who has just proved to hold the device's key, takes its place.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

import msgspec

from protocol.ids import DeviceId, OrganisationId

L = TypeVar("L", bound=Hashable)
Key = tuple[OrganisationId, DeviceId]


class WentOnline(msgspec.Struct, frozen=True):
    key: Key


class WentOffline(msgspec.Struct, frozen=True):
    key: Key


class Replaced(msgspec.Struct, frozen=True):
    """This link is to be closed: its device has another one now."""

    link: object


Effect = WentOnline | WentOffline | Replaced


class Presence(Generic[L]):
    def __init__(self) -> None:
        self._links: dict[OrganisationId, dict[DeviceId, L]] = {}

    def attach(self, key: Key, link: L) -> list[Effect]:
        devices = self._links.setdefault(key[0], {})
        old = devices.get(key[1])
        devices[key[1]] = link
        # The device stays online throughout a replacement: nobody is told that it came or went.
        return [WentOnline(key)] if old is None else [Replaced(old)]

    def detach(self, key: Key, link: L) -> list[Effect]:
        """A link ended. Of a replaced one nothing follows: its successor is the device's link."""
        devices = self._links.get(key[0], {})
        if devices.get(key[1]) is not link:
            return []
        del devices[key[1]]
        if not devices:
            del self._links[key[0]]
        return [WentOffline(key)]

    def link(self, key: Key) -> L | None:
        return self._links.get(key[0], {}).get(key[1])

    def of_organisation(self, organisation: OrganisationId) -> list[L]:
        return list(self._links.get(organisation, {}).values())

    def __iter__(self) -> Iterator[L]:
        return iter([link for devices in self._links.values() for link in devices.values()])

    def __len__(self) -> int:
        return sum(len(devices) for devices in self._links.values())
