"""protocol.versions against the real dpkg."""

from __future__ import annotations

import random
import shutil
import subprocess

import pytest

from protocol.versions import compare


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="needs dpkg, which only Debian has")
def test_versions_compare_as_dpkg_compares_them() -> None:
    rng = random.Random(20261123)
    compared = 0
    for _ in range(400):
        left, right = ("1" + "".join(rng.choices("01a~.+-z:", k=rng.randint(0, 6))) for _ in "ab")
        ran = subprocess.run(["dpkg", "--compare-versions", left, "lt", right], capture_output=True, check=False)
        if ran.stderr:  # dpkg refuses some of these as versions; we order any text
            continue
        compared += 1
        assert (ran.returncode == 0) == (compare(left, right) < 0), (left, right)
    assert compared > 100
