"""Who else has this machine's address: ARP probes as RFC 5227 has them, and IPv6's own detection. Pure.

An ARP probe asks for an address without claiming it, so nobody's table changes; only a machine that has the address
answers. IPv6 does the same by itself (RFC 4862 section 5.4), and Linux keeps how it ended.
"""

from __future__ import annotations

import ipaddress
import struct

ETHERTYPE_ARP = 0x0806
BROADCAST = b"\xff" * 6
ARP_REQUEST, ARP_REPLY = 1, 2

IFA_F_DADFAILED = 0x08
"""linux/if_addr.h"""

_ETHERNET = struct.Struct("!6s6sH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")
"""RFC 826: hardware and protocol types, their lengths, operation, the sender's two addresses, the target's two."""


def probe(mac: bytes, address: ipaddress.IPv4Address) -> bytes:
    """A frame that asks who has `address`. mac: our own, six bytes."""
    question = _ARP.pack(1, 0x0800, 6, 4, ARP_REQUEST, mac, bytes(4), bytes(6), address.packed)
    return _ETHERNET.pack(BROADCAST, mac, ETHERTYPE_ARP) + question


def holder_of(frame: bytes, address: ipaddress.IPv4Address) -> str:
    """The hardware address of who says that it has `address`; "" where the frame says nothing of it."""
    if len(frame) < _ETHERNET.size + _ARP.size or frame[12:14] != b"\x08\x06":
        return ""
    hardware, protocol, _, _, operation, mac, holder, _, _ = _ARP.unpack_from(frame, _ETHERNET.size)
    if (hardware, protocol, operation) != (1, 0x0800, ARP_REPLY) or holder != address.packed:
        return ""
    return mac_text(mac)


def mac_text(mac: bytes) -> str:
    return ":".join(f"{byte:02x}" for byte in mac)


def mac_bytes(text: str) -> bytes:
    """Six bytes; b"" for what is no Ethernet address."""
    try:
        mac = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        return b""
    return mac if len(mac) == 6 else b""


def refused_ipv6(text: str) -> tuple[str, ...]:
    """The addresses in /proc/net/if_inet6 that another machine was found to have: Linux does not use them."""
    found = []
    for line in text.splitlines():
        fields = line.split()
        try:
            if len(fields) == 6 and int(fields[4], 16) & IFA_F_DADFAILED:
                found.append(str(ipaddress.IPv6Address(bytes.fromhex(fields[0]))))
        except ValueError:
            continue
    return tuple(found)
