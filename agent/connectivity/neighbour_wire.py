"""The kernel's table of neighbours, as it is asked for and told over netlink (rtnetlink(7), linux/neighbour.h). Pure.

No privilege is needed to read it, and it holds IPv4 and IPv6. What /proc/net/arp leaves out decides here: in which
*state* an entry is, so that one that is being resolved is not taken for dead, nor one that was known for alive.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator

NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWNEIGH, RTM_GETNEIGH = 28, 30
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
NDA_DST = 1

INCOMPLETE, REACHABLE, STALE, DELAY, PROBE, FAILED, NOARP, PERMANENT = (1 << bit for bit in range(8))
"""NUD_*: the states of RFC 4861 section 7.3.2, which Linux has for ARP as well."""

PROVEN = REACHABLE | PERMANENT | NOARP
"""It answered within the last minute, or there is nothing to ask."""

UNDER_WAY = INCOMPLETE | DELAY | PROBE
"""The kernel is about to ask, or waits for the answer: each ends as REACHABLE or FAILED."""

_HEADER = struct.Struct("=IHHII")
"""nlmsghdr: length with itself, type, flags, sequence, port."""

_NEIGHBOUR = struct.Struct("=BBHiHBB")
"""ndmsg: family, two paddings, interface, state, flags, type."""

_ATTRIBUTE = struct.Struct("=HH")


def ask_for_all(family: int) -> bytes:
    """A request for every neighbour of an address family (AF_INET or AF_INET6)."""
    length = _HEADER.size + _NEIGHBOUR.size
    flags = NLM_F_REQUEST | NLM_F_DUMP
    return _HEADER.pack(length, RTM_GETNEIGH, flags, 1, 0) + _NEIGHBOUR.pack(family, 0, 0, 0, 0, 0, 0)


def read_answer(answer: bytes) -> tuple[dict[tuple[str, int], int], bool]:
    """By (address, interface's number) the state, and whether this was the last part. Ends at what is garbled."""
    found: dict[tuple[str, int], int] = {}
    for kind, body in _messages(answer):
        if kind in (NLMSG_DONE, NLMSG_ERROR):
            return found, True
        if kind == RTM_NEWNEIGH and len(body) >= _NEIGHBOUR.size:
            _, _, _, interface, state, _, _ = _NEIGHBOUR.unpack_from(body)
            if address := _destination(body[_NEIGHBOUR.size :]):
                found[(address, interface)] = state
    return found, not answer


def _messages(answer: bytes) -> Iterator[tuple[int, bytes]]:
    while len(answer) >= _HEADER.size:
        length, kind, _, _, _ = _HEADER.unpack_from(answer)
        if not _HEADER.size <= length <= len(answer):
            return
        yield kind, answer[_HEADER.size : length]
        answer = answer[_aligned(length) :]


def _destination(attributes: bytes) -> str:
    while len(attributes) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(attributes)
        if not _ATTRIBUTE.size <= length <= len(attributes):
            return ""
        value = attributes[_ATTRIBUTE.size : length]
        if kind == NDA_DST and len(value) in (4, 16):
            return str(ipaddress.ip_address(value))
        attributes = attributes[_aligned(length) :]
    return ""


def _aligned(length: int) -> int:
    return (length + 3) & ~3
