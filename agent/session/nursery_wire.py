"""What the supervisor and the nursery say to each other; see agent.session.nursery."""

from __future__ import annotations

import struct

REQUEST = struct.Struct("=q")
"""The uid to become; KEEP_UID: stay who we are."""

REPLY = struct.Struct("=q")
"""The child's pid, or FAILED."""

KEEP_UID = FAILED = -1
