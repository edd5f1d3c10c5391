"""What the network looks like to a person."""

from __future__ import annotations

from console.render import print_pairs, print_table
from console.views.cells import filled
from protocol.sections.network import Network


def network_view(network: Network) -> None:
    print_table(
        ("interface", "kind", "state", "addresses", "MAC", "speed"),
        [
            (
                i.name,
                i.kind,
                "up" if i.up else "down",
                " ".join(i.addresses),
                i.mac,
                f"{i.speed_mbps} Mbit/s" if i.speed_mbps else "-",
            )
            for i in network.interfaces
        ],
    )
    print_pairs(
        [
            *((f"default IPv{r.family}", f"{r.gateway or 'direct'} by {r.interface}") for r in network.default_routes),
            ("DNS", " ".join(network.dns_servers) or "-"),
            *filled(("search", " ".join(network.search_domains))),
        ]
    )
