"""The sections that are made from what the agent knows: the ladder, the outages, the findings."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agent.diagnosis.target import Target
from agent.documents import Documents
from agent.facts.collectors.table import Collector
from agent.facts.source import Asked
from agent.outages import OutageLog
from agent.way import Way
from protocol.sections.base import Section
from protocol.sections.connectivity import Connectivity, Outages
from protocol.sections.findings import Findings
from protocol.sections.network import Network
from protocol.sections.router import Router
from protocol.system_clock import Clock

MEASURES = 10
"""Connections to tell latency and loss by: fewer than where a person waits for the figure."""

DEADLINE_S = 25.0
"""Of all probes together: the section has 30."""


class Surroundings:
    """What these sections need of the agent."""

    def __init__(self, documents: Documents, way: Callable[[], Way], log: OutageLog) -> None:
        """way: as it is set now."""
        self._documents = documents
        self._way = way
        self.log = log
        self._climbed: Connectivity | None = None

    def climbed(self, section: Connectivity) -> None:
        """The ladder was climbed just now."""
        self.log.looked(section)
        self._climbed = section

    def take_climb(self) -> Connectivity | None:
        """What the ladder said, if it was climbed since this was asked last."""
        climbed, self._climbed = self._climbed, None
        return climbed

    def now(self) -> float:
        """Unix seconds, by the agent's own time."""
        return self._documents.now()

    def target(self) -> Target:
        """The relay that served last, else the first of the policy's."""
        way, relays = self._way(), self._documents.relays()
        relay = next((relay for relay in relays if relay.url == way.relay), next(iter(relays), None))
        if relay is None:
            return Target()
        return Target(way.ways.to(relay.url, relay.pin), way.addresses if relay.url == way.relay else ())

    def thresholds(self) -> Mapping[str, float]:
        held = self._documents.authority.policy
        return held.policy.thresholds if held is not None else {}


def derived_collectors(
    surroundings: Surroundings, held: Callable[[], Mapping[str, Section]], clock: Clock
) -> dict[str, Collector]:
    """How they are collected. Each imports what it needs when it is asked: between two looks the agent is idle."""

    def connectivity(asked: Asked) -> Connectivity:
        import asyncio

        import msgspec

        from agent.connectivity.judge import judge
        from agent.connectivity.observe import observe
        from agent.facts.collectors.modem import modem_section
        from agent.facts.collectors.network import network_section
        from agent.facts.collectors.wifi import wifi_section

        target = surroundings.target()
        network: Network = network_section(asked)
        wifi, modem = wifi_section(asked), modem_section(asked)
        seen = asyncio.run(
            observe(
                network,
                target.address,
                clock,
                remembered=target.remembered,
                measures=MEASURES,
                deadline_s=min(DEADLINE_S, asked.left_s),
            )
        )
        section = judge(msgspec.structs.replace(seen, wifi=wifi, modem=modem))
        surroundings.climbed(section)
        return msgspec.structs.replace(section, unavailable=asked.unavailable)

    def router(asked: Asked) -> Router:
        import asyncio

        import msgspec

        from agent.connectivity.probes.router import look_at_router
        from agent.facts.collectors.network import network_section

        routes = network_section(asked).default_routes
        found = asyncio.run(look_at_router(routes, clock))
        return msgspec.structs.replace(found, unavailable=asked.unavailable)

    def outages(asked: Asked) -> Outages:
        return Outages(outages=surroundings.log.outages)

    def findings(asked: Asked) -> Findings:
        from agent.findings.find import find
        from agent.findings.known import Known
        from agent.findings.thresholds import Thresholds

        sections = held()
        before = sections.get("findings")
        known = Known(sections, surroundings.now(), Thresholds.with_changes(surroundings.thresholds()))
        return find(known, before.findings if isinstance(before, Findings) else ())

    return {"router": router, "connectivity": connectivity, "outages": outages, "findings": findings}
