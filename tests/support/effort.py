"""How much a test does: one short case of everything in `make test`, the full matrix in `make test-long`."""

from __future__ import annotations

import os

LONG = os.environ.get("AUXILIO_LONG") == "1"
