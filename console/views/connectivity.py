"""What the way to the relay looks like to a person: the ladder, and the times without a link."""

from __future__ import annotations

from console.render import print_pairs, print_table, when
from console.views.cells import filled
from protocol.sections.connectivity import Connectivity, Evidence, Outage, Outages
from protocol.units import duration_text

SHOWN_OUTAGES = 20


def connectivity_view(connectivity: Connectivity) -> None:
    print_table(
        ("rung", "state", "why", "evidence"),
        [(rung.name, rung.state, rung.code, evidence_text(rung.evidence)) for rung in connectivity.rungs],
    )
    latency, jitter, loss = connectivity.latency_ms, connectivity.jitter_ms, connectivity.loss_percent
    down, least = connectivity.down_mbps, "at least " if connectivity.down_is_least else ""
    print_pairs(
        filled(
            ("latency", f"{latency:.1f} ms" if latency is not None else ""),
            ("jitter", f"{jitter:.1f} ms" if jitter is not None else ""),
            ("loss", f"{loss:.1f} %" if loss is not None else ""),
            ("download", f"{least}{down:g} Mbit/s" if down is not None else ""),
        )
    )


def outages_view(section: Outages) -> None:
    if not section.outages:
        print("no time without a relay is known")
        return
    print_table(("offline", "for", "why", "rung"), [outage_row(outage) for outage in section.outages[:SHOWN_OUTAGES]])


def outage_row(outage: Outage) -> tuple[str, str, str, str]:
    lasted = duration_text(outage.until_at - outage.from_at) if outage.until_at is not None else "until now"
    return when(outage.from_at), lasted, outage.code or "-", outage.rung


def evidence_text(evidence: Evidence) -> str:
    shown = (f"{value:g}" if isinstance(value, float) else str(value) for value in evidence.values())
    return " ".join(f"{name}={value}" for name, value in zip(evidence, shown, strict=True))
