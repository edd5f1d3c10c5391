"""The section on the home router or modem: what it says itself of its line to the provider."""

from __future__ import annotations

from typing import Literal

from protocol.sections.base import Count, Instant, Section

WanState = Literal["up", "connecting", "down", ""]
"""Of the connection to the provider. "": not told."""

LinkState = Literal["up", "down", "starting", ""]
"""Of the physical line below it: DSL in sync, a cable modem locked, light in the fibre, a plug in the socket."""

AddressKind = Literal["public", "private", "shared", "none", ""]
"""Of the external address. private: RFC 1918, so another router is in front.  shared: RFC 6598, the provider's own NAT.
none: it has none, or keeps a private one to itself.  "": not told."""


class Router(Section, frozen=True, kw_only=True):
    """address: of the gateway that was asked, "" where there is none.  asked_by: "igd" (UPnP), "tr064", or "" where
    it answers neither: most routers can, many have it switched off.

    maker, model, firmware: its own words.  status, last_error: in the words of UPnP ("Connected", "ERROR_NONE").
    connected_since_at: when the connection came up.  access: "DSL", "Cable", "Ethernet"...
    down_bps, up_bps: what the line can carry, bits a second.  received, sent: bytes, since it counts.
    """

    address: str = ""
    asked_by: str = ""
    maker: str = ""
    model: str = ""
    firmware: str = ""
    wan: WanState = ""
    status: str = ""
    last_error: str = ""
    connected_since_at: Instant | None = None
    link: LinkState = ""
    access: str = ""
    down_bps: Count | None = None
    up_bps: Count | None = None
    external_address: str = ""
    external_kind: AddressKind = ""
    received: Count | None = None
    sent: Count | None = None
