"""`auxilio-agent`: the first thing that runs. Decides which half of the program is needed before importing it."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """The exit status is documented in docs/agent.md."""
    _fill_standard_streams()
    if len(sys.argv) > 2 and sys.argv[1] == "session-nursery":
        from agent.session.nursery import main as nursery_main  # a packaged agent is its own session process

        nursery_main(sys.argv[2:])
        return 0
    if len(sys.argv) > 2 and sys.argv[1] == "session-launch":
        from agent.platform.posix_launch import main as launch_main  # and what a technician's processes begin as

        return launch_main(sys.argv[2:])
    from agent.cli import run

    return run(sys.argv[1:])


def _fill_standard_streams() -> None:
    """Where we were started without them, the next file opened would be standard error, and be written over."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one


if __name__ == "__main__":
    sys.exit(main())
