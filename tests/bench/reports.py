"""What reporting costs a device: one full report, the same again, and an hour of the default schedule.

The hour is extrapolated. What goes on all the time (samples, pings, the watch on sleep and packages) is watched for
some minutes in an agent that has just reported, so that no look and no climb of the ladder falls into them; what comes
less often is counted at what one of it costs, as often as the schedule has it in an hour.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.reporting import CHEAP_S, CONNECTIVITY_S, SOFTWARE_S
from agent.sampling import BATCH_S, KEEP_S, SAMPLE_S
from tests.bench.ours import Stock
from tests.bench.processes import cpu_s, settle
from tests.bench.rows import Row, median, ours_at_most
from tests.bench.settings import Settings

NAME = "reports"
HOUR_S = 3600.0
ROOT = Path(__file__).resolve().parents[2]


def measure(ours: Stock, settings: Settings) -> list[Row]:
    probes = [probe() for _ in range(settings.rounds)]
    return [*one_report(probes), *an_hour(ours, settings, probes)]


def probe() -> list[dict[str, Any]]:
    """A report in a new process, and the next two of the same process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.report_probe"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    runs: list[dict[str, Any]] = json.loads(done.stdout)
    return runs


def one_report(probes: list[list[dict[str, Any]]]) -> list[Row]:
    def figures(run: int, name: str) -> list[float]:
        return [float(runs[run][name]) for runs in probes]

    def row(name: str, unit: str, values: list[float], bound: float | None = None, **more: Any) -> Row:
        aim = ours_at_most(bound) if bound is not None else None
        return Row(f"{NAME}: {name}", unit, median(values), None, aim, more={"ours_all": values, **more})

    sent = [
        first + report for first, report in zip(figures(0, "section_bytes"), figures(0, "report_bytes"), strict=True)
    ]
    again = [
        section + report
        for section, report in zip(figures(2, "section_bytes"), figures(2, "report_bytes"), strict=True)
    ]
    cold = row("full, in a new process, CPU", "s", figures(0, "cpu_s"), 1.5, cpu_ms=probes[0][0]["cpu_ms"])
    cold.note = f"{probes[0][0]['packages']} packages; what it imports is included, the ladder is not"
    return [
        cold,
        row("full, in a new process, wall", "s", figures(0, "wall_s")),
        row("full, bytes", "B", sent),
        row("unchanged, CPU", "s", figures(2, "cpu_s"), 0.1, cpu_ms=probes[0][2]["cpu_ms"]),
        row("unchanged, wall", "s", figures(2, "wall_s")),
        row("unchanged, bytes", "B", again, 1024, changed=[runs[2]["changed"] for runs in probes]),
    ]


def an_hour(ours: Stock, settings: Settings, probes: list[list[dict[str, Any]]]) -> list[Row]:
    ladder_s = climb()
    settle(ours.device_side)
    before, began = cpu_s(ours.device_side()), time.monotonic()
    time.sleep(settings.quiet_s)
    watched_s, took_s = cpu_s(ours.device_side()) - before, time.monotonic() - began
    always_s = watched_s / took_s * HOUR_S
    rarer = rarer_s(probes[0][2]["cpu_ms"], median([runs[2]["cpu_s"] for runs in probes]) or 0.0, ladder_s)
    total = always_s + sum(rarer.values())
    parts = {"always": always_s, **rarer}
    hour = Row(f"{NAME}: idle, CPU per hour", "s", total, None, ours_at_most(20.0), more={"ours_parts": parts})
    hour.note = (
        f"watched for {took_s:.0f} s, in which {took_s / SAMPLE_S:.1f} samples fell; of it, by the hour: "
        + ", ".join(f"{name} {value:.2f} s" for name, value in parts.items())
    )
    return [hour]


def rarer_s(cpu_ms: Mapping[str, int], look_s: float, ladder_s: float) -> dict[str, float]:
    """CPU seconds an hour of what did not fall into the time that was watched, by what it is.

    cpu_ms: of each section, unchanged.  look_s: at all sections.
    """
    software_s = cpu_ms.get("software", 0) / 1000
    return {
        "looks": max(0.0, look_s - software_s) * HOUR_S / CHEAP_S,
        "packages": software_s * HOUR_S / SOFTWARE_S,
        "ladder": ladder_s * HOUR_S / CONNECTIVITY_S,
        "samples to disk and relay": keep_s() * HOUR_S / KEEP_S + batch_s() * HOUR_S / BATCH_S,
    }


def climb() -> float:
    """CPU seconds of one climb of the ladder, without a relay of its own; the interpreter's start is not in it."""
    code = (
        "import asyncio, time\n"
        "from agent.diagnosis.look import diagnose\nfrom agent.diagnosis.target import Target\n"
        "from protocol.system_clock import SystemClock\n"
        "before = time.process_time()\n"
        "asyncio.run(diagnose(Target(), SystemClock(), only=['network']))\n"
        "print(time.process_time() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, text=True)
    return float(done.stdout)


def keep_s() -> float:
    """CPU seconds of a commit of five samples to the spool."""
    import tempfile

    from agent.sample_spool import SampleSpool
    from agent.spool import Spool
    from protocol.samples import Sample

    with tempfile.TemporaryDirectory() as folder:
        spool = SampleSpool(Spool(Path(folder, "spool.sqlite")))
        before = time.process_time()
        for number in range(20):
            spool.add([Sample(60 * (5 * number + i), {"cpu_percent": 1.0}) for i in range(5)])
        return (time.process_time() - before) / 20


def batch_s() -> float:
    """CPU seconds of a batch of a quarter of an hour: read, signed, stored, forgotten."""
    import tempfile

    from agent.sample_spool import SampleSpool
    from agent.spool import Spool
    from protocol.codec import encode
    from protocol.ids import DeviceId, OrganisationId
    from protocol.samples import Sample, SampleBatch, columns_of
    from protocol.signing import KeySigner
    from protocol.statement import REPORT, seal_statement
    from tests.support.organisation import new_key

    samples = [Sample(60 * i, {"cpu_percent": 1.0, "memory_percent": 2.0}) for i in range(15)]
    key = KeySigner(new_key())
    with tempfile.TemporaryDirectory() as folder:
        spool = SampleSpool(Spool(Path(folder, "spool.sqlite")))
        spent = 0.0
        for number in range(1, 21):
            spool.add(samples)
            before = time.process_time()
            kept = spool.oldest()
            batch = SampleBatch(
                organisation=OrganisationId("a" * 52),
                device=DeviceId("aaaaa-bbbbb-ccccc-ddddd"),
                number=number,
                at=tuple(sample.at for sample in samples),
                values=columns_of(samples),
            )
            spool.put_batch(number, seal_statement(key, REPORT, encode(batch)), [one.id for one in kept])
            spool.forget(number)
            spent += time.process_time() - before
        return spent / 20
