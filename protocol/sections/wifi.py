"""The section on Wi-Fi: to which network, how strong, how fast, and why not.

Neither the access point's hardware address nor other networks' names are in it: they tell where the device is.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from protocol.codec import Record
from protocol.sections.base import Count, Percent, Section

Dbm = Annotated[int, Meta(ge=-120, le=0)]
"""Decibels to a milliwatt; receivers hear nothing below -100."""

Channel = Annotated[int, Meta(ge=1, le=233)]
"""IEEE 802.11; 233 is the last of 6 GHz."""

Band = Literal["", "2.4", "5", "6"]
"""GHz."""

WifiWord = Literal["excellent", "good", "fair", "weak", "none"]

STEPS: tuple[tuple[int, WifiWord], ...] = ((-55, "excellent"), (-66, "good"), (-77, "fair"), (-88, "weak"))
"""From which dBm on: as phones draw their bars, from -88 to -55 in four steps (Android, WifiManager)."""


class WifiInterface(Record, frozen=True, kw_only=True):
    """One Wi-Fi adapter; what is not known is "" or None.

    state: connected, connecting, disconnected, off.  ssid: with U+FFFD for bytes that are no UTF-8.
    width_mhz: of the channel.  signal_dbm, signal_percent: of the network in use; Windows knows percent alone.
    noise_dbm: where the driver tells.  rate_mbps, rx_rate_mbps: of the last frames sent and received, Mbit/s.
    security: open, wep, wpa2-personal, wpa3-personal, wpa2-enterprise, ... as the system names it, in small letters.
    auth_failures: refused log-ins one after the other.  reason: why it is not connected: wrong-key, refused, not-found,
    timeout, no-address, or "".
    neighbours: other networks heard on channels that overlap, None where nobody listened.
    channel_busy_percent: as the access point says (BSS load).
    """

    name: str = ""
    state: str = ""
    ssid: str = ""
    band: Band = ""
    channel: Channel | None = None
    width_mhz: Count | None = None
    signal_dbm: Dbm | None = None
    signal_percent: Percent | None = None
    noise_dbm: Dbm | None = None
    rate_mbps: Count | None = None
    rx_rate_mbps: Count | None = None
    security: str = ""
    auth_failures: Count | None = None
    reason: str = ""
    neighbours: Count | None = None
    channel_busy_percent: Percent | None = None

    @property
    def signal_word(self) -> WifiWord | None:
        if self.signal_dbm is None:
            return None
        return next((word for step, word in STEPS if self.signal_dbm >= step), "none")


class Wifi(Section, frozen=True, kw_only=True):
    """interfaces: none on a machine without Wi-Fi.  radio_off: "", "soft" (flight mode, a setting) or "hard" (a
    switch)."""

    interfaces: tuple[WifiInterface, ...] = ()
    radio_off: str = ""
