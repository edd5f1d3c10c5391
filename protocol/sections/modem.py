"""The section on mobile-broadband modems: card, registration, signal, connection.

No IMEI, IMSI, ICCID, telephone number or cell is in it: they name a person or a place, and repair nothing.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from protocol.codec import Record
from protocol.sections.base import Count, Percent, Section

Dbm = Annotated[int, Meta(ge=-160, le=0)]
"""Decibels to a milliwatt. 3GPP TS 36.133 and 38.133 report down to -156."""

Db = Annotated[int, Meta(ge=-60, le=60)]

SignalWord = Literal["excellent", "good", "fair", "weak", "none"]

STEPS: dict[str, tuple[int, int, int, int]] = {
    "rsrp": (-98, -108, -118, -128),
    "ss-rsrp": (-65, -80, -90, -110),
    "rscp": (-85, -95, -105, -115),
    "rssi": (-89, -97, -103, -107),
}
"""From which dBm on a signal is excellent, good, fair, weak. As phones draw their bars: Android, CarrierConfigManager
(lte_rsrp_thresholds_int_array, 5g_nr_ssrsrp_thresholds_int_array, wcdma_rscp_thresholds_int_array,
gsm_rssi_thresholds_int_array)."""

SNR_STEPS = (13, 5, 1, -3)
"""dB of LTE's signal over its noise, likewise (lte_rssnr_thresholds_int_array)."""


class Bearer(Record, frozen=True, kw_only=True):
    """One connection for data. error: why it could not be made, as the network or the modem says, "" where it could.

    rx_bytes, tx_bytes: of this connection, coarse; None where nobody counts.  interface: of the system, "wwan0".
    """

    connected: bool | None = None
    apn: str = ""
    interface: str = ""
    ip_type: str = ""
    roaming_allowed: bool | None = None
    error: str = ""
    rx_bytes: Count | None = None
    tx_bytes: Count | None = None


class Modem(Record, frozen=True, kw_only=True):
    """One modem; what is not known is "" or None. The words are ModemManager's, whoever was asked.

    name: its port, interface or number.  by: who was asked: modemmanager, mmcli, at, qmi, mbim, netsh.
    state: failed, locked, disabled, enabled, searching, registered, connecting, connected and those between.
    failed_reason: sim-missing, sim-error (the card is wrong or broken), ...  lock: what is asked for, "sim-pin".
    unlock_tries: left for that lock.  power: on, low, off.
    registration: idle, home, searching, denied, roaming, ...  roaming: None where it is registered nowhere.
    operator: its name.  operator_code: MCC and MNC, "21407".  technology: "lte", "5gnr", "lte+5gnr", "umts", ...
    band: as the modem names it.  signal_percent: ModemManager's own scale, for all technologies.
    rssi_dbm, rscp_dbm, rsrp_dbm, rsrq_db, snr_db: as measured; those of 5G where it is in use alone.
    apn: of the bearer in use, else of one that is configured.
    """

    name: str = ""
    by: str = ""
    manufacturer: str = ""
    model: str = ""
    firmware: str = ""
    state: str = ""
    failed_reason: str = ""
    lock: str = ""
    unlock_tries: Count | None = None
    power: str = ""
    registration: str = ""
    roaming: bool | None = None
    operator: str = ""
    operator_code: str = ""
    technology: str = ""
    band: str = ""
    signal_percent: Percent | None = None
    rssi_dbm: Dbm | None = None
    rscp_dbm: Dbm | None = None
    rsrp_dbm: Dbm | None = None
    rsrq_db: Db | None = None
    snr_db: Db | None = None
    apn: str = ""
    bearers: tuple[Bearer, ...] = ()

    @property
    def signal_kind(self) -> str:
        """Which of the measures tells most: the reference signal's, where there is one. "" where there is none."""
        if self.rsrp_dbm is not None:
            return "ss-rsrp" if self.technology == "5gnr" else "rsrp"
        return "rscp" if self.rscp_dbm is not None else "rssi" if self.rssi_dbm is not None else ""

    @property
    def signal_dbm(self) -> int | None:
        """By that measure."""
        for value in (self.rsrp_dbm, self.rscp_dbm, self.rssi_dbm):
            if value is not None:
                return value
        return None

    @property
    def signal_word(self) -> SignalWord | None:
        """What it means to a person; noise can make a strong signal useless."""
        if self.signal_dbm is None:
            return None
        strength = _word(self.signal_dbm, STEPS[self.signal_kind])
        if self.snr_db is None or self.signal_kind != "rsrp":
            return strength
        return max(strength, _word(self.snr_db, SNR_STEPS), key=_WORDS.index)


class Modems(Section, frozen=True, kw_only=True):
    """modems: none on a machine without one.  radio_off: whether mobile radio is off: "" it is not, "soft" (flight
    mode, a setting), "hard" (a switch)."""

    modems: tuple[Modem, ...] = ()
    radio_off: str = ""


_WORDS: tuple[SignalWord, ...] = ("excellent", "good", "fair", "weak", "none")


def _word(value: int, steps: tuple[int, int, int, int]) -> SignalWord:
    return next((word for word, step in zip(_WORDS, steps, strict=False) if value >= step), "none")
