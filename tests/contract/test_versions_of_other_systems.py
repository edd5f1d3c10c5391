"""protocol.versions against the packaging systems themselves: rpm by its own interpreter, pacman by its library."""

from __future__ import annotations

import ctypes
import random
import subprocess

from protocol.versions import compare
from tests.support.daemons import need

PARTS = ("0", "1", "10", "2", "007", "a", "b", "rc", "alpha", "~", "^", ".", "-", ":", "+", "_", "..", "git")


def pairs(number: int) -> list[tuple[str, str]]:
    """Versions and what somebody could take for one: half of the pairs differ in their tail alone."""
    rng = random.Random(20261128)
    made = []
    for _ in range(number):
        head = "1" + "".join(rng.choices(PARTS, k=rng.randint(0, 4)))
        left, right = (head + "".join(rng.choices(PARTS, k=rng.randint(0, 3))) for _ in "ab")
        made.append((left, right) if rng.random() < 0.5 else (left, "1" + "".join(rng.choices(PARTS, k=4))))
    return [pair for pair in made if not any(text.endswith("-") or ":-" in text or "--" in text for text in pair)]


def differing(asked: list[tuple[str, str]], answers: list[int], system: str) -> list[tuple[tuple[str, str], int, int]]:
    ours = [compare(left, right, system) for left, right in asked]
    return [one for one in zip(asked, ours, answers, strict=True) if one[1] != one[2]]


def test_versions_compare_as_rpm_compares_them() -> None:
    need("rpm")
    asked = pairs(3000)
    lines = "".join(f'print(rpm.vercmp("{left}", "{right}") .. "\\n")' for left, right in asked)
    ran = subprocess.run(["rpm", "--eval", f"%{{lua:{lines}}}"], capture_output=True, text=True, check=True)
    answers = [int(line) for line in ran.stdout.split()]
    assert len(answers) == len(asked) > 1000 and {-1, 0, 1} <= set(answers)
    assert differing(asked, answers, "rpm") == []


def test_versions_compare_as_pacman_compares_them() -> None:
    need("pacman")
    alpm = ctypes.CDLL("libalpm.so.13")  # Debian's pacman comes without vercmp, which is this function's command
    alpm.alpm_pkg_vercmp.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    asked = pairs(3000)
    answers = [alpm.alpm_pkg_vercmp(left.encode(), right.encode()) for left, right in asked]
    assert len(asked) > 1000 and {-1, 0, 1} <= set(answers)
    assert differing(asked, answers, "pacman") == []
