"""What the diagnosis' page says of the home router: names and values, for the person who stands before it."""

from __future__ import annotations

from datetime import UTC, datetime

from agent.messages import say
from protocol.sections.base import Section
from protocol.sections.router import Router

MBPS = 1_000_000


def router_rows(section: Section | None) -> list[tuple[str, str]]:
    """None where the router was not there, or does not tell. Values are the router's own words, not escaped."""
    if not isinstance(section, Router) or not section.asked_by:
        return []
    since = section.connected_since_at
    rates = (("\u2193", section.down_bps), ("\u2191", section.up_bps))
    rows = (
        ("router_model", f"{section.maker} {section.model}".strip()),
        ("router_firmware", section.firmware),
        ("router_page", section.address),
        ("router_line", f"{section.access} {section.link}".strip()),
        ("router_rates", " ".join(f"{arrow} {bps / MBPS:.1f} Mbit/s" for arrow, bps in rates if bps is not None)),
        ("router_connection", section.status),
        ("router_since", f"{datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M} UTC" if since is not None else ""),
        ("router_outside", section.external_address),
    )
    return [(say(key), value) for key, value in rows if value]
