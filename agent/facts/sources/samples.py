"""Sources of samples: what is read in microseconds, since it is read every minute.

Signal is not asked of the modem for it: what the last look at the modem said stands for it, and where there was none,
nothing does.
"""

from __future__ import annotations

import os
import sys

from agent.facts.parsers.processor_time import ProcessorTime
from agent.facts.source import Source


def _processor_time() -> ProcessorTime:
    import psutil

    times = psutil.cpu_times()
    # The time of guests is a part of user's and nice's (proc(5)).
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return ProcessorTime(total=total, idle=times.idle + getattr(times, "iowait", 0.0))


def _system_disk_free() -> int:
    import psutil

    system = os.environ.get("SYSTEMDRIVE", "C:") + "\\" if sys.platform == "win32" else "/"
    return int(psutil.disk_usage(system).free)


PROCESSOR_TIME = Source(name="processor_time", ask=_processor_time)
SYSTEM_DISK_FREE = Source(name="system_disk_free", ask=_system_disk_free, deadline_s=3.0)
