"""Recorded outputs of real systems, which lie beside the project and are no part of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("AUXILIO_SAMPLES") or Path(__file__).resolve().parents[2].parent / "shared" / "data")


def samples(kind: str, pattern: str = "*") -> list[Path]:
    """The recorded files of a kind, by name; none where they are not at hand, which in CI is a failure."""
    found = sorted((ROOT / kind).glob(pattern))
    if not found and os.environ.get("CI") == "true":
        raise FileNotFoundError(f"no samples of {kind} ({pattern}) at {ROOT}")
    return found


def sample(kind: str, name: str) -> bytes:
    """One recorded file; the test is skipped where it is not at hand, except in CI."""
    path = ROOT / kind / name
    if not path.exists() and os.environ.get("CI") != "true":
        pytest.skip(f"no sample {kind}/{name}")
    return path.read_bytes()
