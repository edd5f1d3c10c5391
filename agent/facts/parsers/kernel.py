"""The tables of Linux under /proc: processors, mounts, default routes. proc(5)."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal

import msgspec

from protocol.sections.network import Route

MAX_VALUE_CHARS = 256
MAX_MOUNTS = 4096
MAX_ROUTES = 64
MAX_METRIC = 2**32 - 1

RTF_UP = 0x1
RTF_REJECT = 0x200
"""Of a route that answers "unreachable". Source: linux/route.h."""

_RATED = re.compile(r"@\s*([0-9]{1,2}\.[0-9]{1,2})\s*GHz\b")
_OCTAL = re.compile(rb"\\([0-3][0-7][0-7])")


class CpuInfo(msgspec.Struct, frozen=True):
    """rated_mhz: megahertz in the processor's own name, where it has them.  hypervisor: the processor says that it
    is virtual."""

    model: str = ""
    rated_mhz: int | None = None
    hypervisor: bool = False


def parse_cpuinfo(text: str) -> CpuInfo:
    """/proc/cpuinfo, of its first processor. Each architecture has another field for its name; ARM often has none."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip().lower(), value.strip())
    keys = ("model name", "cpu model", "uarch", "processor 0", "cpu")
    model = next((" ".join(found[key].split()) for key in keys if found.get(key)), "")[:MAX_VALUE_CHARS]
    rated = _RATED.search(model)
    return CpuInfo(
        model=model,
        rated_mhz=round(float(rated[1]) * 1000) if rated else None,
        hypervisor="hypervisor" in found.get("flags", "").split(),
    )


class Mount(msgspec.Struct, frozen=True):
    """path: the mount point's bytes, as the kernel has them.  options: of the mount."""

    device: str
    path: bytes
    type: str
    options: frozenset[str]

    @property
    def text(self) -> str:
        """The mount point for people."""
        return self.path.decode("utf-8", "replace")


def parse_mounts(data: bytes) -> tuple[Mount, ...]:
    """/proc/self/mounts: what can be seen. Of several on one mount point the last hides the others."""
    mounts: dict[bytes, Mount] = {}
    for line in data.split(b"\n"):
        words = line.split(b" ")
        if len(words) < 4 or not words[1]:
            continue
        device, path = (_OCTAL.sub(lambda match: bytes([int(match[1], 8)]), word) for word in words[:2])
        options = frozenset(words[3].decode("utf-8", "replace").split(","))
        mounts.pop(path, None)
        mounts[path] = Mount(device.decode("utf-8", "replace"), path, words[2].decode("utf-8", "replace"), options)
        if len(mounts) >= MAX_MOUNTS:
            break
    return tuple(mounts.values())


def parse_ipv4_routes(text: str, byteorder: Literal["little", "big"] = "little") -> tuple[Route, ...]:
    """/proc/net/route: the default routes. byteorder: the machine's, in which the kernel prints addresses."""
    routes: list[Route] = []
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) < 8 or words[1] != "00000000" or words[7] != "00000000" or len(words[2]) != 8:
            continue
        try:
            gateway, flags, metric = int(words[2], 16), int(words[3], 16), int(words[6])
        except ValueError:
            continue
        if not flags & RTF_UP or flags & RTF_REJECT or not 0 <= gateway < 2**32 or not 0 <= metric <= MAX_METRIC:
            continue
        address = str(ipaddress.IPv4Address(gateway.to_bytes(4, byteorder))) if gateway else ""
        routes.append(Route(family=4, gateway=address, interface=words[0][:MAX_VALUE_CHARS], metric=metric))
    return tuple(routes[:MAX_ROUTES])


def parse_ipv6_routes(text: str) -> tuple[Route, ...]:
    """/proc/net/ipv6_route: the default routes, without those that reject."""
    routes: list[Route] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) != 10 or words[0] != "0" * 32 or words[1] != "00" or words[9] == "lo" or len(words[4]) != 32:
            continue
        try:
            gateway, metric, flags = (int(words[index], 16) for index in (4, 5, 8))
        except ValueError:
            continue
        if not flags & RTF_UP or flags & RTF_REJECT or not 0 <= gateway < 2**128 or not 0 <= metric <= MAX_METRIC:
            continue
        address = str(ipaddress.IPv6Address(gateway)) if gateway else ""
        routes.append(Route(family=6, gateway=address, interface=words[9][:MAX_VALUE_CHARS], metric=metric))
    return tuple(routes[:MAX_ROUTES])
