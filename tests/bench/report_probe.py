"""What one full report costs, in a process of its own: JSON on standard output. See tests/bench/reports.py.

The facts alone: the ladder, which waits for the network, has a figure of its own there.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any


def main() -> None:
    cpu, wall = time.process_time(), time.monotonic()
    from agent.facts.collect import Facts, collectors
    from agent.release import RELEASE
    from protocol.system_clock import SystemClock

    facts = Facts(collectors(RELEASE), SystemClock())
    runs: list[dict[str, Any]] = []
    known: dict[str, str] = {}
    for _ in range(3):
        collected = asyncio.run(facts.collect(facts.names, time.time()))
        new = [section for section in collected if known.get(section.name) != section.sha256]
        known = {section.name: section.sha256 for section in collected}
        spent, took = time.process_time() - cpu, time.monotonic() - wall
        runs.append(
            {
                "cpu_s": spent,
                "wall_s": took,
                "section_bytes": sum(section.ref.size for section in new),
                "report_bytes": report_bytes(collected) if new else 0,
                "packages": len(getattr(facts.held.get("software"), "packages", ())),
                "changed": [section.name for section in new],
                "cpu_ms": {section.name: section.ref.cpu_ms for section in collected},
            }
        )
        cpu, wall = time.process_time(), time.monotonic()
    json.dump(runs, sys.stdout)


def report_bytes(collected: list[Any]) -> int:
    """Of the signed report that names the sections, as it goes over the link."""
    from protocol.codec import encode
    from protocol.ids import DeviceId, OrganisationId
    from protocol.report import Report
    from protocol.signing import KeySigner
    from protocol.statement import REPORT, seal_statement
    from tests.support.organisation import new_key

    report = Report(
        organisation=OrganisationId("a" * 52),
        device=DeviceId("aaaaa-bbbbb-ccccc-ddddd"),
        number=1,
        collected_at=int(time.time()),
        sections={section.name: section.ref for section in collected},
    )
    return len(encode(seal_statement(KeySigner(new_key()), REPORT, encode(report))))


if __name__ == "__main__":
    main()
