"""What the home router looks like to a person."""

from __future__ import annotations

from console.render import print_pairs, when
from console.views.cells import filled
from protocol.sections.router import Router
from protocol.units import size_text

MBPS = 1_000_000
KINDS = {"private": "private: another router is in front", "shared": "shared by the provider (CGNAT)", "none": "none"}


def router_view(router: Router) -> None:
    if not router.asked_by:
        print(f"the router {router.address} does not tell of its line" if router.address else "no home router is known")
        return
    print_pairs(
        filled(
            ("router", " ".join(f"{router.maker} {router.model} {router.address}".split())),
            ("firmware", router.firmware),
            ("line", " ".join(filter(None, (router.access, router.link)))),
            ("rates", _rates(router)),
            ("connection", router.status),
            ("since", when(router.connected_since_at) if router.connected_since_at is not None else ""),
            ("last error", router.last_error if router.last_error != "ERROR_NONE" else ""),
            ("external address", " ".join(filter(None, (router.external_address, _kind(router))))),
            ("traffic", _traffic(router)),
            ("told by", {"igd": "UPnP", "tr064": "TR-064"}.get(router.asked_by, router.asked_by)),
        )
    )


def _kind(router: Router) -> str:
    kind = KINDS.get(router.external_kind, "")
    return f"({kind})" if kind and router.external_address else kind


def _rates(router: Router) -> str:
    rates = (("down", router.down_bps), ("up", router.up_bps))
    return ", ".join(f"{bps / MBPS:.1f} Mbit/s {which}" for which, bps in rates if bps is not None)


def _traffic(router: Router) -> str:
    counted = (("received", router.received), ("sent", router.sent))
    return ", ".join(f"{size_text(count)} {which}" for which, count in counted if count is not None)
