"""Which release this is, and when it was made: the earliest that it can be now."""

from __future__ import annotations

RELEASE = "0.1.0"

BUILT_AT = 1_795_392_000
"""2026-11-23 00:00 UTC. Unix seconds; moved on with every release. No device's time goes behind it."""
