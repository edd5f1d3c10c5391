"""`auxilio-agent diagnose` at a real relay; what the agent that runs makes of the same; the page that is handed on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from agent.diagnosis.look import Diagnosis
from agent.diagnosis.page import page
from agent.diagnosis.target import Target
from agent.diagnosis.text import lines_of
from agent.outages import SHORTEST_S, OutageLog
from agent.state import StateDir
from protocol.errors import EXIT_BROKEN, EXIT_OK, EXIT_WARNINGS
from protocol.sections.battery import Battery, Cell
from protocol.sections.connectivity import RUNGS, Connectivity, Outage, Rung
from protocol.sections.findings import Finding, Findings
from protocol.sections.health import DiskHealth, Health
from protocol.sections.machine import System
from protocol.sections.memory import Memory
from protocol.sections.memory_slots import MemorySlot
from protocol.sections.router import Router
from protocol.sections.temperatures import Sensor, Temperatures
from tests.support.relay_process import ROOT, RelayProcess

EVIL = "\x1b]0;pwned\x07<script>alert(1)</script>\"'&"


def diagnose(*words: str, status: tuple[int, ...], language: str = "C.UTF-8", state: Path | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "agent.main", "diagnose", *words, "--state", str(state or "/nonexistent")],
        env={**os.environ, "LC_ALL": language, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode in status, done.stderr
    assert done.stderr == ""
    return done.stdout


def rungs(found: dict[str, Any]) -> dict[str, str]:
    return {rung["name"]: rung["state"] for rung in found["sections"]["connectivity"]["rungs"]}


async def test_a_relay_that_is_there_is_found_and_another_s_key_is_told() -> None:
    async with RelayProcess() as relay:
        where = ("--relay", relay.url)
        found = json.loads(diagnose(*where, "--pin", relay.pin, "--json", status=(EXIT_OK, EXIT_WARNINGS, EXIT_BROKEN)))
        assert list(rungs(found)) == list(RUNGS)
        assert " GB" in found["memory"]["line"] or " MB" in found["memory"]["line"]
        assert all(rungs(found)[name] == "pass" for name in ("tls", "clock", "mtu", "relay")), rungs(found)
        assert found["verdict"] is None or found["verdict"]["name"] not in ("tls", "clock", "mtu", "relay")
        found = json.loads(diagnose(*where, "--pin", f"sha256:{'0' * 64}", "--json", status=(EXIT_BROKEN,)))
        assert (found["verdict"]["code"], found["status"]) == ("tls-intercepted", "broken")
        assert "down_mbps" not in found["sections"]["connectivity"]
        said = diagnose(*where, "--pin", relay.pin, "--throughput", status=(EXIT_OK, EXIT_WARNINGS, EXIT_BROKEN))
        assert re.search(r"^From the relay: (at least )?[0-9.]+ Mbit/s$", said, re.MULTILINE), said
        assert "CN=" in found["verdict"]["evidence"]["issuer"]


def test_nothing_there_is_said_first_and_in_the_customer_s_language(tmp_path: Path) -> None:
    where = ("--relay", "https://127.0.0.1:1")
    english = diagnose(*where, status=(EXIT_BROKEN,))
    spanish = diagnose(*where, status=(EXIT_BROKEN,), language="es_ES.UTF-8")
    assert english.startswith("What is wrong: The support service is not running\n")
    assert spanish.startswith("Qué falla: El servicio de asistencia no está en marcha\n")
    written = diagnose(*where, "--html", str(tmp_path / "report.html"), status=(EXIT_BROKEN,))
    assert written == f"The report is in {tmp_path}/report.html.\n"
    assert "When the support service cannot be reached" in (tmp_path / "report.html").read_text()


def test_a_device_that_knows_no_relay_is_looked_at_all_the_same(tmp_path: Path) -> None:
    said = diagnose(status=(EXIT_OK, EXIT_WARNINGS, EXIT_BROKEN), state=tmp_path / "none")
    assert "knows no relay" in said or "What is wrong" in said


def diagnosis() -> Diagnosis:
    rung = Rung(name="tls", state="fail", code="tls-intercepted", evidence={"issuer": EVIL, "subject": EVIL})
    finding = Finding(code=rung.code, severity="error", subject=EVIL, evidence=rung.evidence)
    unknown = Finding(code=EVIL, severity="warning", subject=EVIL, evidence={"x": EVIL})
    return Diagnosis(
        at=1_800_000_000.0,
        target=Target(),
        sections={
            "system": System(hostname=EVIL, os_name=EVIL, model=EVIL, unavailable={EVIL: EVIL}),
            "router": Router(address=EVIL, asked_by="igd", maker=EVIL, model=EVIL, firmware=EVIL, down_bps=50_000_000),
            "connectivity": Connectivity(rungs=(rung,)),
            "health": Health(disks=(DiskHealth(name=EVIL, model=EVIL, passed=False, wear_percent=97, pending=8),)),
            "battery": Battery(present=True, cells=(Cell(name=EVIL, model=EVIL, health_percent=40),)),
            "temperatures": Temperatures(sensors=(Sensor(chip=EVIL, label=EVIL, celsius=97, critical_c=100),)),
            "findings": Findings(findings=(finding, unknown)),
            "memory": Memory(
                total=8 << 30,
                board="slots",
                capacity=32 << 30,
                slots=(MemorySlot(slot=EVIL, size=8 << 30, kind=EVIL, form=EVIL, ecc=False), MemorySlot(size=0)),
            ),
        },
    )


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.mark.parametrize("language", ["en", "es"])
def test_what_others_named_neither_runs_in_the_page_nor_moves_the_terminal(language: str) -> None:
    text = page(diagnosis(), language)
    tags = Tags()
    tags.feed(text)
    assert "script" not in tags.seen and not {"src", "href", "onclick", "onerror"} & tags.attributes
    assert "default-src 'none'" in text and "50.0 Mbit/s" in text
    assert all(words in text for words in ("97 %", "40 %", "97 °C / 100 °C")), "what wears out is there"
    assert not any("\x1b" in line or "\x07" in line for line in lines_of(diagnosis(), language))


@pytest.mark.parametrize(
    ("language", "said"), [("en", "8 GB in one of two slots; "), ("es", "8 GB en una de dos ranuras; ")]
)
def test_what_can_be_done_about_memory_is_said_in_the_customer_s_language(language: str, said: str) -> None:
    assert said in page(diagnosis(), language)
    assert any(said in line for line in lines_of(diagnosis(), language))


def test_a_time_without_a_relay_is_kept_with_its_cause_and_a_flicker_is_none(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "state", make=True)
    log = OutageLog(state)
    log.link_down(1000.0)
    log.looked(Connectivity(rungs=(Rung(name="dns", state="fail", code="dns-silent"),)))
    log.looked(Connectivity(rungs=(Rung(name="relay", state="fail", code="relay-silent"),)))
    log = OutageLog(state)  # the agent was restarted meanwhile
    assert log.lasting
    log.link_down(1500.0)  # and found no relay
    log.link_up(2000.0)
    told = Outage(from_at=1000, until_at=2000, code="dns-silent", rung="dns")
    assert log.outages == (told,)
    log.link_down(3000.0)
    log.link_up(3000.0 + SHORTEST_S / 2)
    assert OutageLog(state).outages == (told,)
