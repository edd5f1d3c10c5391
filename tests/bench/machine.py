"""What the figures were taken on: var/bench-machine.json. A slow figure on a machine that was busy says little."""

from __future__ import annotations

import os
import platform
import ssl
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.release import RELEASE
from tests.bench.openssh import CIPHER
from tests.bench.settings import Settings


@dataclass(frozen=True)
class CpuTimes:
    """Ticks of all cores together, from /proc/stat. steal: the host gave them to others."""

    total: int
    idle: int
    steal: int

    @classmethod
    def now(cls) -> CpuTimes:
        # user nice system idle iowait irq softirq steal; guest time is in user already (proc(5))
        words = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return cls(sum(words), words[3] + words[4], words[7])

    def until(self, later: CpuTimes) -> dict[str, float]:
        total = max(1, later.total - self.total)
        busy = 100 * (1 - (later.idle - self.idle) / total)
        return {"busy_percent": round(busy, 1), "steal_percent": round(100 * (later.steal - self.steal) / total, 1)}


def facts(settings: Settings) -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "openssh": subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr.strip(),
        "auxilio": RELEASE,
        "ssh_cipher": CIPHER,
        "load_average_before": os.getloadavg(),
        "settings": {name: str(value) for name, value in asdict(settings).items()},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
