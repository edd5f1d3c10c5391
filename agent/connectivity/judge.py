"""Which rung of the ladder is broken, from what the probes saw. Pure.

Each rung is judged by its own evidence alone, so that a probe that failed breaks one rung and not all above it. But
what stands above a broken rung could not work: those are unknown, not failed, and the verdict is the lowest.

"Answers" is hard to deny and easy to miss: a gateway may ignore pings, a router may have no name server. So a rung
fails only where something that has to be there is not; where a higher one works, the lower cannot be broken.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Callable

import msgspec

from agent.connectivity.judge_radio import explains_no_link, modem_rung, wifi_rung
from agent.connectivity.observed import NameServer, Observed, Reached, Relay
from agent.connectivity.router_judge import judge_router
from protocol.sections.connectivity import RUNGS, Connectivity, Evidence, Rung
from protocol.sections.network import Interface

CLOCK_WRONG_S = 300
"""Five minutes: from there on a console refuses to sign, and certificates of an hour begin to fail."""

CLOCK_WARN_S = 60

SLOW_DNS_MS = 500.0
"""Every page asks for dozens of names; from half a second each, people call it broken."""

SLOW_RELAY_MS = 400.0
"""A satellite in geostationary orbit takes 550; every other access is below."""

LOSS_WARN_PERCENT = 3.0
"""TCP halves its pace with each loss; from here on a call stutters and a page waits."""

LOSS_FAIL_PERCENT = 25.0

SELF_ASSIGNED = ipaddress.ip_network("169.254.0.0/16")
"""RFC 3927: what a machine gives itself where no DHCP server answers."""

IP = ipaddress.IPv4Address | ipaddress.IPv6Address


def judge(seen: Observed) -> Connectivity:
    """The ladder, each rung once and in order, and the figures of the way to the relay."""
    rungs = [_RULES[name](seen) for name in RUNGS]
    relay = seen.relay
    return Connectivity(
        rungs=tuple(_without_what_could_not_work(rungs)),
        latency_ms=_median(relay.rtts_ms) if relay and relay.rtts_ms else None,
        jitter_ms=_jitter(relay.rtts_ms) if relay and len(relay.rtts_ms) > 1 else None,
        loss_percent=_loss(relay),
    )


# -- the rungs, from the hardware upwards ---------------------------------------------------------------------------


def _adapter(seen: Observed) -> Rung:
    own = [i for i in seen.interfaces if not _is_loopback(i)]
    if not own:
        return _pass("adapter") if explains_no_link(seen, has_cable=False) else _fail("adapter", "no-adapter")
    if seen.routes:
        return _pass("adapter", interface=seen.routes[0].interface)
    real = [i for i in own if i.kind != "virtual"] or own  # a bridge of containers is up whatever happens to the cable
    up = next((i for i in real if i.up), None)
    if up is None and explains_no_link(seen, has_cable=any(i.kind == "ethernet" for i in real)):
        return _pass("adapter", interface=real[0].name)  # it is the radio's rung that tells
    if up is None:
        return _fail("adapter", "link-down", interface=real[0].name)
    return _pass("adapter", interface=up.name)


def _address(seen: Observed) -> Rung:
    up = [i for i in seen.interfaces if i.up and not _is_loopback(i)]
    if seen.duplicates and _beyond(seen):  # it works now, and will not when the other one speaks
        return _warn("address", "address-duplicate", address=seen.duplicates[0])
    if seen.duplicates:
        return _fail("address", "address-duplicate", address=seen.duplicates[0])
    usable = [(i, a) for i in up for a in _addresses(i) if not a.is_link_local]
    if usable:
        interface, address = usable[0]
        return _pass("address", address=str(address), interface=interface.name)
    if not up:
        return _unknown("address")
    for interface in up:
        for address in _addresses(interface):
            if address in SELF_ASSIGNED:
                return _fail("address", "address-self-assigned", address=str(address), interface=interface.name)
    return _fail("address", "no-address", interface=up[0].name)


def _gateway(seen: Observed) -> Rung:
    if not seen.routes:
        return _fail("gateway", "no-gateway") if _has_address(seen) else _unknown("gateway")
    looked = [g for g in seen.gateways if g.answers is not None]
    good = next((g for g in looked if g.answers), None)
    if good is not None:
        if good.duplicate:
            return _warn("gateway", "gateway-duplicate", gateway=good.address)
        evidence: Evidence = {"gateway": good.address}
        if good.rtt_ms is not None:
            evidence["rtt_ms"] = round(good.rtt_ms, 1)
        return Rung(name="gateway", state="pass", evidence=evidence)
    if looked and not _beyond(seen):
        return _fail("gateway", "gateway-silent", gateway=looked[0].address, interface=looked[0].interface)
    return _pass("gateway") if _beyond(seen) else _unknown("gateway")


def _internet(seen: Observed) -> Rung:
    if _beyond(seen):
        return _pass("internet")
    if _somebody_in_between(seen):
        return _unknown("internet")  # kept from it, on purpose: the rung of whoever does so tells
    asked = seen.name_servers or (seen.relay.reached if seen.relay else ())
    if not asked or not seen.routes:
        return _unknown("internet")
    return _fail("internet", "internet-down", gateway=next((g.address for g in seen.gateways), ""))


def _dns(seen: Observed) -> Rung:
    servers = seen.name_servers
    if not servers:
        if seen.proxy is not None or (seen.relay and not seen.relay.is_name):
            return _unknown("dns")
        return _fail("dns", "dns-none") if not seen.dns_servers and seen.routes else _unknown("dns")
    liar = next((s for s in servers if s.invents), None)
    good = [s for s in servers if s.outcome in ("answered", "no_address")]
    if liar is not None and _somebody_in_between(seen):
        return _unknown("dns")  # how a portal leads everybody to itself
    if liar is not None and not _relay_is_there(seen):
        return _fail("dns", "dns-hijacked", server=liar.server, address=(liar.invented or liar.addresses or ("",))[0])
    if not good:
        return _dns_failed(servers)
    if (lied := _disagrees(seen)) is not None:
        return _fail("dns", "dns-wrong", server=lied.server, address=lied.addresses[0])
    dead = next((s for s in servers if s not in good), None)
    if dead is not None:
        return _warn("dns", "dns-one-dead", server=dead.server, outcome=dead.outcome)
    if liar is not None:
        return _warn("dns", "dns-hijacked", server=liar.server, address=(liar.invented or ("",))[0])
    slowest = max(servers, key=lambda s: s.ms or 0.0)
    if (slowest.ms or 0.0) > SLOW_DNS_MS and (_loss(seen.relay) or 0.0) < LOSS_WARN_PERCENT:  # else the line is slow
        return _warn("dns", "dns-slow", server=slowest.server, ms=round(slowest.ms or 0.0))
    return _pass("dns", server=servers[0].server, ms=round(servers[0].ms or 0.0))


def _dns_failed(servers: tuple[NameServer, ...]) -> Rung:
    first = servers[0]
    code = {"no_name": "dns-no-name", "servfail": "dns-failing", "refused": "dns-refused"}.get(
        first.outcome, "dns-silent"
    )
    return _fail("dns", code, server=first.server, outcome=first.outcome)


def _disagrees(seen: Observed) -> NameServer | None:
    """A server that sends to somewhere else, while the relay is where it was: it proved so with its key."""
    relay = seen.relay
    if relay is None or not relay.found_at or relay.found_at in relay.resolved:
        return None
    return next((s for s in seen.name_servers if s.addresses and relay.found_at not in s.addresses), None)


def _portal(seen: Observed) -> Rung:
    if _relay_is_there(seen):
        return _pass("portal")
    if seen.web is None:
        return _unknown("portal")
    if seen.web.kind == "portal":
        return _fail("portal", "captive-portal", location=seen.web.location)
    return _pass("portal")


def _proxy(seen: Observed) -> Rung:
    proxy = seen.proxy
    if proxy is not None:
        code = {
            "unreachable": "proxy-unreachable",
            "wants_credentials": "proxy-credentials",
            "refused": "proxy-refuses",
            "broken": "proxy-broken",
        }.get(proxy.outcome)
        if code is not None:
            return _fail("proxy", code, proxy=proxy.url, reason=proxy.reason)
        return _pass("proxy", proxy=proxy.url)
    if seen.web is not None and seen.web.kind == "proxy_asks":
        return _fail("proxy", "proxy-needed")
    return _pass("proxy") if _relay_is_there(seen) else _unknown("proxy")


def _tls(seen: Observed) -> Rung:
    tls = seen.relay.tls if seen.relay else None
    if tls is None:
        return _unknown("tls")
    names: Evidence = {"issuer": tls.issuer, "subject": tls.subject}
    match tls.outcome:
        case "trusted":
            return _pass("tls")
        case "wrong_key" | "not_trusted":
            return Rung(name="tls", state="fail", code="tls-intercepted", evidence=names)
        case "not_valid_now":
            return Rung(name="tls", state="fail", code="tls-dates", evidence=names)
        case "broken":
            return _fail("tls", "tls-broken")
    return _unknown("tls")


def _mtu(seen: Observed) -> Rung:
    relay = seen.relay
    if relay is None or relay.large_ok is None:
        return _unknown("mtu")
    if relay.large_ok:
        return _pass("mtu")
    if relay.clamped_ok:
        return _fail("mtu", "mtu-black-hole", host=relay.host)
    return _unknown("mtu")


def _ipv6(seen: Observed) -> Rung:
    reached = seen.relay.reached if seen.relay else ()
    six = [r for r in reached if r.family == 6]
    four = [r for r in reached if r.family == 4]
    if not six:
        return _unknown("ipv6")
    if any(r.outcome == "open" for r in six):
        return _pass("ipv6")
    has_way = any(route.family == 6 for route in seen.routes)
    if has_way and any(r.outcome == "open" for r in four):
        return _warn("ipv6", "ipv6-broken", address=six[0].address, outcome=six[0].outcome)
    return _unknown("ipv6")


def _clock(seen: Observed) -> Rung:
    relay = seen.relay
    if relay is None or relay.date is None or relay.asked_at is None:
        return _unknown("clock")
    off_s = round(relay.asked_at - relay.date)
    if abs(off_s) >= CLOCK_WRONG_S:
        return _fail("clock", "clock-wrong", seconds=off_s)
    if abs(off_s) >= CLOCK_WARN_S:
        return _warn("clock", "clock-off", seconds=off_s)
    return _pass("clock", seconds=off_s)


def _relay(seen: Observed) -> Rung:
    relay = seen.relay
    if relay is None:
        return _unknown("relay")
    if not _relay_is_there(seen):
        return _fail("relay", _why_not_there(seen, relay), host=relay.host)
    loss = _loss(relay) or 0.0
    figures: Evidence = {"host": relay.host, "loss_percent": round(loss, 1)}
    if relay.rtts_ms:
        figures["rtt_ms"] = round(_median(relay.rtts_ms), 1)
    if relay.status is not None and relay.status >= 500:
        return Rung(name="relay", state="fail", code="relay-failing", evidence={**figures, "status": relay.status})
    if loss >= LOSS_FAIL_PERCENT:
        return Rung(name="relay", state="fail", code="loss-heavy", evidence=figures)
    if loss >= LOSS_WARN_PERCENT:
        return Rung(name="relay", state="warn", code="loss", evidence=figures)
    if relay.rtts_ms and _median(relay.rtts_ms) > SLOW_RELAY_MS:
        return Rung(name="relay", state="warn", code="latency-high", evidence=figures)
    return Rung(name="relay", state="pass", evidence=figures)


def _why_not_there(seen: Observed, relay: Relay) -> str:
    if not relay.reached:
        return "relay-no-address" if relay.is_name and seen.proxy is None else "relay-unreachable"
    outcomes = {r.outcome for r in relay.reached}
    if "open" in outcomes:
        return "relay-silent"
    return "relay-refuses" if "refused" in outcomes else "relay-unreachable"


def _nothing_to_look_at(name: str) -> Callable[[Observed], Rung]:
    return lambda seen: _unknown(name)


_RULES: dict[str, Callable[[Observed], Rung]] = {
    "adapter": _adapter,
    "wifi": lambda seen: wifi_rung(seen, _beyond(seen)),
    "modem": lambda seen: modem_rung(seen, _beyond(seen)),
    "address": _address,
    "gateway": _gateway,
    "router": lambda seen: judge_router(seen.router, is_beyond=_beyond(seen)),
    "internet": _internet,
    "dns": _dns,
    "portal": _portal,
    "proxy": _proxy,
    "clock": _clock,
    "tls": _tls,
    "mtu": _mtu,
    "ipv6": _ipv6,
    "relay": _relay,
}


# -- what several rungs ask -------------------------------------------------------------------------------------------


def _relay_is_there(seen: Observed) -> bool:
    """TLS with the relay's own key, or its answer to a request, is proof that everything below works."""
    relay = seen.relay
    return relay is not None and bool(relay.small_ok)


def _somebody_in_between(seen: Observed) -> bool:
    return seen.web is not None and seen.web.kind in ("portal", "proxy_asks")


def _beyond(seen: Observed) -> bool:
    """Whether anything beyond this network answered, be it with a refusal."""
    own = {str(a) for i in seen.interfaces for a in _addresses(i)}
    near = own | {g.address for g in seen.gateways} | {"127.0.0.1", "::1"}
    if _relay_is_there(seen) or any(
        s.outcome not in ("silent", "closed") for s in seen.name_servers if s.server not in near
    ):
        return True
    if any(s.asks_others for s in seen.name_servers):
        return True
    reached: tuple[Reached, ...] = seen.relay.reached if seen.relay else ()
    return any(r.outcome in ("open", "refused") for r in reached if r.address not in near)


def _has_address(seen: Observed) -> bool:
    return any(not a.is_link_local for i in seen.interfaces if i.up and not _is_loopback(i) for a in _addresses(i))


def _is_loopback(interface: Interface) -> bool:
    """By its addresses where the system does not say: in a container, /sys is another's."""
    addresses = _addresses(interface)
    return interface.kind == "loopback" or (bool(addresses) and all(a.is_loopback for a in addresses))


def _addresses(interface: Interface) -> list[IP]:
    return [ipaddress.ip_interface(address).ip for address in interface.addresses]


def _loss(relay: Relay | None) -> float | None:
    if relay is None or not (total := len(relay.rtts_ms) + relay.lost):
        return None
    return 100.0 * relay.lost / total


def _median(values: tuple[float, ...]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def _jitter(values: tuple[float, ...]) -> float:
    """The mean difference of one to the next: RFC 3550 section 6.4.1, without its smoothing."""
    steps = [abs(b - a) for a, b in itertools.pairwise(values)]
    return sum(steps) / len(steps)


def _without_what_could_not_work(rungs: list[Rung]) -> list[Rung]:
    """Above the lowest broken rung, what failed is its consequence: unknown, until that one is mended. Only a modem
    does not rest on Wi-Fi."""
    broken = next((index for index, rung in enumerate(rungs) if rung.state == "fail"), len(rungs))
    beside = {"wifi": "modem"}.get(rungs[broken].name if broken < len(rungs) else "")
    return [
        msgspec.structs.replace(rung, state="unknown", code="")
        if index > broken and rung.state == "fail" and rung.name != beside
        else rung
        for index, rung in enumerate(rungs)
    ]


def _pass(name: str, **evidence: str | int | float) -> Rung:
    return Rung(name=name, state="pass", evidence=evidence)


def _warn(name: str, code: str, **evidence: str | int | float) -> Rung:
    return Rung(name=name, state="warn", code=code, evidence=evidence)


def _fail(name: str, code: str, **evidence: str | int | float) -> Rung:
    return Rung(name=name, state="fail", code=code, evidence=evidence)


def _unknown(name: str) -> Rung:
    return Rung(name=name, state="unknown")
