"""Names of the subsystems that a device's SSH serves besides `sftp`: alone, since a session's process imports them."""

from __future__ import annotations

DIAGNOSE = "diagnose@auxilio"
"""The device looks at itself: protocol/diagnosis.py has its lines."""
