"""Whom the ladder leads to."""

from __future__ import annotations

import msgspec

from transport.relay_address import RelayAddress


class Target(msgspec.Struct, frozen=True):
    """address: None where this device knows no relay.  remembered: IP addresses at which it was before."""

    address: RelayAddress | None = None
    remembered: tuple[str, ...] = ()
