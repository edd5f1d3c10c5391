"""How the sections on the machine and its system are made."""

from __future__ import annotations

from agent.facts.parsers.firmware import Firmware, hypervisor_name
from agent.facts.parsers.kernel import CpuInfo
from agent.facts.parsers.os_release import OsRelease
from agent.facts.source import LINUX, Asked, fit_text
from agent.facts.sources import machine
from protocol.sections.machine import Cpu, System

MAX_NAME_CHARS = 255


def system_section(asked: Asked, release: str) -> System:
    on_linux = asked.platform in LINUX
    os_release = asked.ask(machine.OS_RELEASE_FILE if on_linux else machine.OS_ELSEWHERE, OsRelease())
    kernel = asked.ask(machine.KERNEL, machine.Kernel("", ""))
    firmware = asked.ask(machine.FIRMWARE, Firmware())
    cpuinfo = asked.ask(machine.CPUINFO, CpuInfo())
    booted_at = asked.ask(machine.BOOTED_AT, None)
    return System(
        hostname=fit_text(asked.ask(machine.HOSTNAME, ""), MAX_NAME_CHARS),
        family=machine.FAMILIES.get(asked.platform, asked.platform),
        os_id=os_release.id,
        os_version=os_release.version,
        os_name=os_release.name,
        os_like=os_release.like,
        kernel=fit_text(kernel.release, MAX_NAME_CHARS),
        architecture=fit_text(kernel.architecture, MAX_NAME_CHARS),
        vendor=firmware.vendor,
        model=firmware.model,
        virtual=fit_text(asked.ask(machine.CONTAINER, ""), MAX_NAME_CHARS)
        or hypervisor_name(firmware, by_processor=cpuinfo.hypervisor),
        timezone=fit_text(asked.ask(machine.TIMEZONE, ""), MAX_NAME_CHARS),
        booted_at=int(booted_at) if booted_at is not None else None,
        agent=release,
        unavailable=asked.unavailable,
    )


def cpu_section(asked: Asked) -> Cpu:
    cpuinfo = asked.ask(machine.CPUINFO, CpuInfo())
    processors = asked.ask(machine.PROCESSORS, machine.Processors(None, None))
    return Cpu(
        model=cpuinfo.model,
        cores=processors.cores,
        threads=processors.threads,
        max_mhz=asked.ask(machine.MAX_MHZ, None, otherwise=cpuinfo.rated_mhz),
        load_15m=asked.ask(machine.LOAD_15M, None),
        unavailable=asked.unavailable,
    )
