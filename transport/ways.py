"""By which way each relay is reached: the one place where a relay's address and a proxy come together."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from protocol.policy import Relay
from transport.proxy import find_proxy
from transport.relay_address import RelayAddress, parse_address


class Ways(msgspec.Struct, frozen=True):
    """setting: as transport.proxy.check_setting returns it; None leaves it to the environment."""

    setting: str | None = None
    environment: Mapping[str, str] = os.environ

    def to(self, url: str, pin: str | None) -> RelayAddress:
        """Raises ConfigInvalid (bad_relay_address, bad_pin, bad_proxy)."""
        address = parse_address(url, pin)
        proxy = find_proxy(address.host, address.port, self.setting, self.environment)
        return msgspec.structs.replace(address, proxy=proxy)


def directly(relay: Relay) -> RelayAddress:
    return parse_address(relay.url, relay.pin)
