"""Properties as D-Bus may carry them, and any others: a modem or an adapter, no exception, and no absurd value."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.facts.parsers.modem_on_dbus import MODEM, MODEM_3GPP, SIGNAL, parse_modem, technology_of
from agent.facts.parsers.wifi_on_dbus import parse_device, parse_point, radio_off
from protocol.codec import encode
from protocol.sections.catalogue import decode_section
from protocol.sections.modem import Modems
from protocol.sections.wifi import Wifi

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=8)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("rsrp", "rssi", "snr", "apn", "rx-bytes")) | st.integers(0, 20), inner)
    ),
    max_leaves=8,
)
NAMES = ("State", "StateFailedReason", "UnlockRequired", "UnlockRetries", "PowerState", "SignalQuality", "Model")
NAMES += ("AccessTechnologies", "PrimaryPort", "Manufacturer", "Revision", "RegistrationState", "OperatorName")
NAMES += (
    "OperatorCode",
    "Lte",
    "Nr5g",
    "Umts",
    "Gsm",
    "Connected",
    "Properties",
    "Stats",
    "ConnectionError",
    "Interface",
)
WIFI_NAMES = ("State", "StateReason", "Interface", "Bitrate", "Ssid", "Frequency", "Strength", "Flags", "RsnFlags")
properties = st.dictionaries(st.sampled_from(NAMES), values)
wifi_properties = st.dictionaries(st.sampled_from(WIFI_NAMES), values)


@settings(max_examples=300, deadline=None)
@given(properties | values, properties, properties, st.lists(properties, max_size=12))
def test_any_properties_are_a_modem_that_can_be_sent(
    generic: object, gsm: object, signal: object, bearers: list[dict[str, object]]
) -> None:
    interfaces = {MODEM: generic, MODEM_3GPP: gsm, SIGNAL: signal}
    section = Modems(modems=(parse_modem("/x/Modem/0", interfaces, bearers),))  # type: ignore[arg-type]
    assert decode_section("modem", encode(section)) == section


@settings(max_examples=300, deadline=None)
@given(wifi_properties, wifi_properties, wifi_properties)
def test_any_properties_are_an_adapter_that_can_be_sent(
    device: dict[str, object], wireless: dict[str, object], point: dict[str, object]
) -> None:
    section = Wifi(interfaces=(parse_device(device, wireless, point),))
    assert decode_section("wifi", encode(section)) == section
    assert parse_point(point).channel is None or 1 <= (parse_point(point).channel or 0) <= 233
    assert radio_off(device, "Wireless") == ""


def test_the_best_technology_is_named_and_5g_on_lte_as_both() -> None:
    assert technology_of((1 << 14) | (1 << 5)) == "lte"
    assert technology_of((1 << 14) | (1 << 15)) == "lte+5gnr"
    assert (technology_of(0), technology_of(True), technology_of("lte"), technology_of(1 << 40)) == ("", "", "", "")
