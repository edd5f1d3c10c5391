"""How this device reaches its relays: the proxy that was set for it, and the relay that served last.

A service has no environment of a person's, so a proxy can be kept here, credentials included: the state directory is
closed to every account but the agent's own.
"""

from __future__ import annotations

import msgspec

from agent.state import StateDir
from protocol.codec import Record
from transport.proxy import check_setting
from transport.relay_address import RelayAddress
from transport.ways import Ways

FILE = "way.json"
MAX_ADDRESSES = 4


class Way(Record, frozen=True, kw_only=True):
    """proxy: as transport.proxy.check_setting returns it.  relay: the URL of the one that served last, or "".

    addresses: the IP addresses at which that one was found, the latest first: a diagnosis tells by them whether it is
    the relay that is gone, or only its name.
    """

    proxy: str | None = None
    relay: str = ""
    addresses: tuple[str, ...] = ()

    def found(self, relay: RelayAddress, address: str | None) -> Way:
        """This way, after `relay` was reached with `address` at the other end of the connection."""
        addresses = self.addresses if relay.url == self.relay else ()
        if address is not None and relay.proxy is None:
            addresses = (address, *(old for old in addresses if old != address))[:MAX_ADDRESSES]
        return msgspec.structs.replace(self, relay=relay.url, addresses=addresses)

    @property
    def ways(self) -> Ways:
        return Ways(self.proxy)


def load_way(state: StateDir) -> Way:
    """Raises CorruptState."""
    return state.read_as(FILE, Way) or Way()


def save_way(state: StateDir, way: Way) -> None:
    state.write_as(FILE, way)


def set_proxy(state: StateDir, setting: str) -> Way:
    """Keep a proxy's URL, "direct" or "environment". Raises ConfigInvalid (bad_proxy), or what StateDir.write does."""
    way = msgspec.structs.replace(load_way(state), proxy=check_setting(setting))
    save_way(state, way)
    return way


def forget_way(state: StateDir) -> None:
    state.remove(FILE)
