"""Collects the facts, climbs the ladder, applies the rules: one diagnosis. The driver of those three."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from agent.connectivity.judge import judge
from agent.connectivity.observe import observe
from agent.diagnosis.target import Target
from agent.facts.collect import Facts, collectors
from agent.findings.find import find
from agent.findings.known import Known
from agent.findings.thresholds import Thresholds
from agent.release import RELEASE
from guidance.memory import memory_answer
from protocol.diagnosis import EXITS, health
from protocol.sections.base import Section
from protocol.sections.catalogue import decode_section
from protocol.sections.connectivity import Connectivity, Rung
from protocol.sections.findings import Findings
from protocol.sections.memory import Memory
from protocol.sections.modem import Modems
from protocol.sections.network import Network
from protocol.sections.wifi import Wifi
from protocol.system_clock import Clock
from transport.relay_address import RelayAddress

Told = Callable[[str], None]

LADDER_NEEDS = ("network", "wifi", "modem")
"""Sections that are collected whatever was asked for."""


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """at: Unix seconds.  sections: by name, connectivity and findings among them."""

    at: float
    target: Target
    sections: dict[str, Section]

    @property
    def connectivity(self) -> Connectivity:
        section = self.sections["connectivity"]
        assert isinstance(section, Connectivity)
        return section

    @property
    def findings(self) -> Findings:
        section = self.sections["findings"]
        assert isinstance(section, Findings)
        return section

    @property
    def verdict(self) -> Rung | None:
        return self.connectivity.verdict

    @property
    def exit_status(self) -> int:
        """0 healthy, else by the worst finding."""
        return EXITS[health(self.findings.findings)]


async def diagnose(
    target: Target,
    clock: Clock,
    *,
    thresholds: Mapping[str, float] | None = None,
    only: Sequence[str] | None = None,
    throughput: bool = False,
    told: Told = lambda name: None,
) -> Diagnosis:
    """Takes seconds where all is well, and up to a minute where nothing answers. Never raises for what it finds.

    only: the sections to collect, all by default.  throughput: measure that as well, if the relay
    is there.  told: with each section and rung that is done.
    """
    at = clock.now()
    how = collectors(RELEASE)
    names = [name for name in how if only is None or name in only or name in LADDER_NEEDS]
    facts = Facts({name: how[name] for name in names}, clock)
    sections: dict[str, Section] = {}
    for name in names:
        [collected] = await facts.collect([name], at)
        sections[name] = decode_section(name, collected.data)
        told(name)
    network, wifi, modem = (sections[name] for name in LADDER_NEEDS)
    assert isinstance(network, Network) and isinstance(wifi, Wifi) and isinstance(modem, Modems)
    seen = await observe(network, target.address, clock, remembered=target.remembered, told=told)
    seen = msgspec.structs.replace(seen, wifi=wifi, modem=modem)
    if seen.router is not None:
        sections["router"] = seen.router
    connectivity = judge(seen)
    if throughput and target.address is not None and seen.relay is not None and seen.relay.small_ok:
        told("throughput")
        connectivity = await _with_throughput(connectivity, target.address, clock)
    sections["connectivity"] = connectivity
    sections["findings"] = find(Known(sections, clock.now(), Thresholds.with_changes(thresholds or {})))
    return Diagnosis(at=at, target=target, sections=sections)


async def _with_throughput(connectivity: Connectivity, address: RelayAddress, clock: Clock) -> Connectivity:
    from agent.connectivity.probes.throughput import measure_throughput

    found = await measure_throughput(address, connectivity.latency_ms or 0.0, clock)
    if found is None:
        return connectivity
    return msgspec.structs.replace(connectivity, down_mbps=found.down_mbps, down_is_least=found.is_least)


def as_record(diagnosis: Diagnosis) -> dict[str, Any]:
    """For --json: {at, relay, verdict, status, findings, memory, sections}. memory: what can be done about it."""
    verdict = diagnosis.verdict
    memory = diagnosis.sections.get("memory")
    answer = memory_answer(memory) if isinstance(memory, Memory) else None
    return {
        "at": int(diagnosis.at),
        "relay": diagnosis.target.address.url if diagnosis.target.address else None,
        "verdict": msgspec.to_builtins(verdict) if verdict is not None else None,
        "status": health(diagnosis.findings.findings),
        "findings": [msgspec.to_builtins(finding) for finding in diagnosis.findings.findings],
        "memory": msgspec.to_builtins(answer) if answer is not None else None,
        "sections": {name: msgspec.to_builtins(section) for name, section in diagnosis.sections.items()},
    }
