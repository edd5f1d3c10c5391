"""When makers stop fixing holes in a system, by its id and version in os-release(5). Pure.

What is not here is not known: Apple names no dates; of Windows' builds, only those are here that have one date for all
that people have, or whose last edition has passed. The date is the last day of free updates for everybody: Debian's
LTS, Ubuntu's standard support. What somebody may have bought beyond it (ESM, ELTS, ESU) cannot be seen from here.

Sources, as of November 2026: Debian wiki, "LTS"; Ubuntu, "Release cycle"; Fedora, "End of life"; Red Hat, "Product life
cycles"; CentOS, "Download"; AlmaLinux and Rocky, "Release guide"; Alpine, "Releases"; openSUSE wiki, "Lifetime"; Linux
Mint, "All versions"; Microsoft, "Lifecycle policy" by product.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

SUPPORT_ENDS: Mapping[str, Mapping[str, str]] = {
    "debian": {
        "8": "2020-06-30",
        "9": "2022-06-30",
        "10": "2024-06-30",
        "11": "2026-08-31",
        "12": "2028-06-30",
        "13": "2030-06-30",
    },
    "raspbian": {"9": "2022-06-30", "10": "2024-06-30", "11": "2026-08-31", "12": "2028-06-30"},
    "ubuntu": {
        "14.04": "2019-04-30",
        "16.04": "2021-04-30",
        "18.04": "2023-05-31",
        "20.04": "2025-05-31",
        "22.04": "2027-04-30",
        "23.04": "2024-01-25",
        "23.10": "2024-07-11",
        "24.04": "2029-05-31",
        "24.10": "2025-07-10",
        "25.04": "2026-01-15",
    },
    "linuxmint": {"19": "2023-04-30", "20": "2025-04-30", "21": "2027-04-30", "22": "2029-04-30"},
    "fedora": {
        "37": "2023-12-05",
        "38": "2024-05-21",
        "39": "2024-11-26",
        "40": "2025-05-13",
        "41": "2025-12-15",
    },
    "rhel": {"6": "2020-11-30", "7": "2024-06-30", "8": "2029-05-31", "9": "2032-05-31", "10": "2035-05-31"},
    "centos": {"6": "2020-11-30", "7": "2024-06-30", "8": "2024-05-31", "9": "2027-05-31"},
    "almalinux": {"8": "2029-03-01", "9": "2032-05-31", "10": "2035-05-31"},
    "rocky": {"8": "2029-05-31", "9": "2032-05-31", "10": "2035-05-31"},
    "alpine": {
        "3.15": "2023-11-01",
        "3.16": "2024-05-23",
        "3.17": "2024-11-22",
        "3.18": "2025-05-09",
        "3.19": "2025-11-01",
        "3.20": "2026-04-01",
        "3.21": "2026-11-01",
        "3.22": "2027-05-01",
    },
    "opensuse-leap": {"15.3": "2022-12-31", "15.4": "2023-12-07", "15.5": "2024-12-31", "15.6": "2026-04-30"},
    "windows": {
        "5.1": "2014-04-08",
        "6.0": "2017-04-11",
        "6.1": "2020-01-14",
        "6.2": "2023-10-10",
        "6.3": "2023-10-10",
        "10.0.10240": "2025-10-14",
        "10.0.18363": "2022-05-10",
        "10.0.19041": "2021-12-14",
        "10.0.19042": "2023-05-09",
        "10.0.19043": "2022-12-13",
        "10.0.19045": "2025-10-14",
        "10.0.22000": "2024-10-08",
        "10.0.22621": "2025-10-14",
        "10.0.22631": "2026-11-10",
    },
}
"""The date by id, and by version or its beginning: the whole of it, its first three numbers, two, one."""


def support_end(os_id: str, os_version: str) -> date | None:
    """The last day of free security updates; None where nobody has said it here."""
    ends = SUPPORT_ENDS.get(os_id.lower(), {})
    parts = os_version.split(".")
    for version in (os_version, ".".join(parts[:3]), ".".join(parts[:2]), parts[0]):
        if version in ends:
            return date.fromisoformat(ends[version])
    return None


def days_left(end: date, now: float) -> int:
    """Days from `now` (Unix seconds) to the end of that day in UTC; negative when it has passed."""
    last = datetime(end.year, end.month, end.day, tzinfo=UTC) + timedelta(days=1)
    return int((last.timestamp() - now) // 86_400)
