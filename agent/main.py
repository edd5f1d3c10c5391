"""`auxilio-agent`: the first thing that runs. Decides which half of the program is needed before importing it."""

from __future__ import annotations

import sys


def main() -> int:
    """The exit status is documented in docs/agent.md."""
    if len(sys.argv) > 2 and sys.argv[1] == "session-child":
        from agent.session.child import main as child_main  # a packaged agent is its own session process

        child_main(sys.argv[2:])
        return 0
    if len(sys.argv) > 2 and sys.argv[1] == "session-launch":
        from agent.platform.posix_launch import main as launch_main  # and what a technician's processes begin as

        return launch_main(sys.argv[2:])
    from agent.cli import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
