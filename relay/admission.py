"""How much strangers may ask for. Pure: token buckets per address and counts of what is in flight, with `now` given.

A stranger is whoever has not shown a token or a signature that was good. An address is an IPv4 address or an IPv6
/64, since whoever has one address of a /64 has all of them. Both tables are bounded, so that many addresses cost no
more memory than few; at the bound the longest unseen is forgotten, which can only be in its favour.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

import msgspec

MAX_ADDRESSES = 20_000
"""Remembered at once: about 3 MiB."""

REQUESTS_PER_S = 20.0
REQUEST_BURST = 600.0
"""A hospital's devices behind one address come back within a minute of a power cut; each costs one request or two."""

CONNECTIONS_PER_ADDRESS = 4_000
"""Sockets of one address. A whole site behind one NAT has a link for each device, and legs."""


def address_key(address: str) -> str:
    """The unit by which strangers are counted; the text itself where it is no IP address (a Unix socket)."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        if mapped is not None:
            return str(mapped)
        return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)


class _Bucket(msgspec.Struct):
    level: float
    at: float


class Buckets:
    """A token bucket for each key. per_s: refill.  burst: what a full one holds."""

    def __init__(
        self, *, per_s: float = REQUESTS_PER_S, burst: float = REQUEST_BURST, limit: int = MAX_ADDRESSES
    ) -> None:
        self._per_s = per_s
        self._burst = burst
        self._limit = limit
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, key: str, now: float) -> float:
        """0.0 if one more would be admitted now; else for how long not."""
        bucket = self._buckets.get(key)
        if bucket is None:
            return 0.0
        level = min(self._burst, bucket.level + max(0.0, now - bucket.at) * self._per_s)
        return 0.0 if level >= 1.0 else (1.0 - level) / self._per_s

    def take(self, key: str, now: float, cost: float = 1.0) -> float:
        """Take `cost` if there is one token at least; return 0.0, or for how long to stay away."""
        wait_s = self.wait_s(key, now)
        if wait_s > 0.0:
            return wait_s
        bucket = self._buckets.pop(key, None) or _Bucket(self._burst, now)
        level = min(self._burst, bucket.level + max(0.0, now - bucket.at) * self._per_s)
        self._buckets[key] = _Bucket(level - cost, now)
        while len(self._buckets) > self._limit:
            self._buckets.popitem(last=False)
        return 0.0


class Crowd:
    """Counts what is under way, in all and per key. Nothing is remembered of a key that has nothing under way."""

    def __init__(self, *, total: int, per_key: int) -> None:
        self._total = total
        self._per_key = per_key
        self._counts: dict[str, int] = {}
        self._sum = 0

    def __len__(self) -> int:
        return self._sum

    def enter(self, key: str, *, exempt: bool = False) -> bool:
        """Whether one more may begin; if so it is counted. exempt: `key` is a trusted proxy, which is many people."""
        held = self._counts.get(key, 0)
        if self._sum >= self._total or (held >= self._per_key and not exempt):
            return False
        self._counts[key] = held + 1
        self._sum += 1
        return True

    def leave(self, key: str) -> None:
        held = self._counts.get(key, 0)
        if held <= 1:
            self._counts.pop(key, None)
        else:
            self._counts[key] = held - 1
        self._sum -= held > 0
