"""What a home router says of itself: UPnP's InternetGatewayDevice, and TR-064, which has the same words.

Sources: UPnP Forum, InternetGatewayDevice:1 and :2 with WANCommonInterfaceConfig, WANIPConnection, WANPPPConnection;
Broadband Forum TR-064. What firmware really says is looser: negative counters, faults with spaces, names with
ampersands. Whatever cannot be is not told.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Mapping

import msgspec

from agent.facts.parsers.ssdp import own_target
from agent.facts.parsers.upnp_xml import Element, parse_xml
from protocol.errors import BadMessage
from protocol.sections.router import AddressKind, LinkState, Router, WanState

MAX_NAME_CHARS = 100
MAX_WORD_CHARS = 60
MAX_SERVICES = 16
MAX_UPTIME_S = 10 * 365 * 86_400
"""Ten years without a break: nobody has that; firmware that counts in milliseconds does."""

MAX_RATE_BPS = 10**12
"""A terabit a second. All of UPnP's 32 bits set mean "more than fits"."""

UI4 = 2**32
SHARED = ipaddress.ip_network("100.64.0.0/10")
PRIVATE = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))

_SERVICE = re.compile(
    r"urn:(?:schemas-upnp-org|dslforum-org):service:(WANCommonInterfaceConfig|WANIPConnection|WANPPPConnection):[12]"
)
_NUMBER = re.compile(r"-?[0-9]{1,20}")

_WAN: Mapping[str, WanState] = {
    "connected": "up",
    "pendingdisconnect": "up",
    "connecting": "connecting",
    "authenticating": "connecting",
    "disconnecting": "down",
    "disconnected": "down",
    "unconfigured": "down",
}
_LINK: Mapping[str, LinkState] = {"up": "up", "down": "down", "initializing": "starting", "unavailable": "down"}


class Service(msgspec.Struct, frozen=True):
    """urn: as the description has it.  kind: its name, such as "WANIPConnection".  port, path: where it is asked."""

    urn: str
    kind: str
    port: int
    path: str

    @property
    def is_connection(self) -> bool:
        return self.kind != "WANCommonInterfaceConfig"


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """services: those that we ask, at most MAX_SERVICES.  is_gateway: it calls itself one."""

    maker: str = ""
    model: str = ""
    firmware: str = ""
    is_gateway: bool = False
    services: tuple[Service, ...] = ()


class Fault(BadMessage):
    """The router's refusal of an action. number: UPnP's errorCode, 0 where it names none."""

    def __init__(self, number: int) -> None:
        super().__init__(f"the router refused: UPnP error {number}")
        self.number = number


def parse_description(data: bytes, gateway: str, port: int) -> Description:
    """A device description that was fetched from `gateway` at `port`. Services elsewhere are left out.

    Raises BadMessage.
    """
    root = parse_xml(data)
    device = root.child("device")
    if root.name != "root" or device is None:
        raise BadMessage("no description of a device")
    base = own_target(root.text_of("URLBase"), gateway, port)
    at = base[0] if base is not None else port
    services = [_service(service, gateway, at) for service in device.below("service")]
    return Description(
        maker=_words(device.text_of("manufacturer")),
        model=_words(device.text_of("modelName")),
        firmware=_firmware(root, device),
        is_gateway="InternetGatewayDevice:" in device.text_of("deviceType"),
        services=tuple(service for service in services if service is not None)[:MAX_SERVICES],
    )


def _service(element: Element, gateway: str, port: int) -> Service | None:
    urn = element.text_of("serviceType")
    match, where = _SERVICE.fullmatch(urn), own_target(element.text_of("controlURL"), gateway, port)
    return Service(urn, match[1], *where) if match is not None and where is not None else None


def _firmware(root: Element, device: Element) -> str:
    """AVM's descriptions have it apart; others have the model's number, which is often a firmware's."""
    system = root.child("systemVersion")
    return _words(system.text_of("Display") if system is not None else device.text_of("modelNumber"))


def read_answer(data: bytes, action: str) -> dict[str, str]:
    """The values that a SOAP answer to `action` has, by name. Raises Fault for a refusal, and BadMessage."""
    envelope = parse_xml(data)
    body = envelope.child("Body")
    if envelope.name != "Envelope" or body is None:
        raise BadMessage("no SOAP envelope")
    if (fault := body.child("Fault")) is not None:
        raise Fault(next((number(code.text) or 0 for code in fault.below("errorCode")), 0))
    answer = body.child(f"{action}Response")
    if answer is None:
        raise BadMessage(f"no answer to {action}")
    return {child.name: child.text for child in answer.children}


# -- what the answers say together ----------------------------------------------------------------------------------


def with_line(router: Router, answer: Mapping[str, str]) -> Router:
    """`router` with what WANCommonInterfaceConfig said; what it did not say stays."""
    link = link_state(answer.get("NewPhysicalLinkStatus", ""))
    received = byte_count(answer.get("NewX_AVM_DE_TotalBytesReceived64", answer.get("NewTotalBytesReceived", "")))
    sent = byte_count(answer.get("NewX_AVM_DE_TotalBytesSent64", answer.get("NewTotalBytesSent", "")))
    down = rate_bps(answer.get("NewLayer1DownstreamMaxBitRate", ""))
    up = rate_bps(answer.get("NewLayer1UpstreamMaxBitRate", ""))
    return msgspec.structs.replace(
        router,
        link=link or router.link,
        access=word(answer.get("NewWANAccessType", "")) or router.access,
        down_bps=down if down is not None else router.down_bps,
        up_bps=up if up is not None else router.up_bps,
        received=received if received is not None else router.received,
        sent=sent if sent is not None else router.sent,
    )


def with_connection(router: Router, answer: Mapping[str, str], now: float) -> Router:
    """`router` with what a WANIPConnection or WANPPPConnection said, if that tells more of the way out.

    Many routers list both and use one; the other is disconnected for ever. now: Unix seconds.
    """
    status = word(answer.get("NewConnectionStatus", ""))
    error = word(answer.get("NewLastConnectionError", ""))
    if _telling(status, error) <= _telling(router.status, router.last_error):
        return router
    address, kind = external_address(answer["NewExternalIPAddress"]) if "NewExternalIPAddress" in answer else ("", "")
    uptime = uptime_s(answer.get("NewUptime", ""))
    is_up = wan_state(status) == "up"
    return msgspec.structs.replace(
        router,
        wan=wan_state(status),
        status=status,
        last_error=error,
        connected_since_at=int(now) - uptime if uptime is not None and is_up and now > uptime else None,
        external_address=address,
        external_kind=kind,
    )


def _telling(status: str, error: str) -> int:
    """How much of the way out a connection's words tell."""
    state = wan_state(status)
    if state in ("up", "connecting"):
        return 5 if state == "up" else 4
    if state == "down":
        return 1 if status.lower() == "unconfigured" else 3 if is_about_credentials(error) else 2
    return 0


def is_about_credentials(error: str) -> bool:
    """UPnP has one word for it (ERROR_AUTHENTICATION_FAILURE), makers have more: all name it."""
    return "AUTH" in error.upper()


# -- values -----------------------------------------------------------------------------------------------------------


def number(text: str) -> int | None:
    """A whole number of at most 20 digits; None for anything else."""
    return int(text) if _NUMBER.fullmatch(text) else None


def wan_state(status: str) -> WanState:
    return _WAN.get(status.strip().lower(), "")


def link_state(status: str) -> LinkState:
    return _LINK.get(status.strip().lower(), "")


def uptime_s(text: str) -> int | None:
    """None for 0 too: that is what is said of a connection that is not up."""
    value = number(text)
    return value if value is not None and 0 < value <= MAX_UPTIME_S else None


def rate_bps(text: str) -> int | None:
    """None for 0 and for all bits set: unknown, or more than the type holds."""
    value = number(text)
    return value if value is not None and 0 < value <= MAX_RATE_BPS and value != UI4 - 1 else None


def byte_count(text: str) -> int | None:
    """A negative one is 32 bits whose first was taken for a sign."""
    value = number(text)
    if value is not None and -UI4 // 2 <= value < 0:
        value += UI4
    return value if value is not None and 0 <= value < 2**63 else None


def external_address(text: str) -> tuple[str, AddressKind]:
    """The address as it is written, and what kind; ("", "") for what cannot be one."""
    text = text.strip()
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(text)
        if address.is_unspecified:
            return "", "none"
        if address.version == 4 and address in SHARED:
            return str(address), "shared"
        if any(address.version == 4 and address in network for network in PRIVATE):
            return str(address), "private"
        if not (address.is_multicast or address.is_loopback or address.is_link_local or "%" in text):
            return str(address), "public"
    return "", "" if text else "none"


def word(text: str) -> str:
    """A status or error as it can be shown: letters, digits and what joins them."""
    return re.sub(r"[^A-Za-z0-9_. -]", "", text)[:MAX_WORD_CHARS].strip()


def _words(text: str) -> str:
    return " ".join(text.split())[:MAX_NAME_CHARS]
