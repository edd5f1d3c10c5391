"""`auxilio-relay run`: the process around the application."""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys

import msgspec

from protocol.errors import EXIT_OK
from relay import app, config, logs
from relay.organisations import add

SWITCH_INTERVAL_S = 0.001
"""How long a database thread may hold the interpreter while the loop waits: a fifth of Python's default, since the
loop passes sessions' bytes on."""


def serve(given: argparse.Namespace) -> int:
    settings = config.load(given.dir)
    if given.listen:
        settings = msgspec.structs.replace(settings, listen=config.parse_address(given.listen, "--listen"))
    for fingerprint in given.organisation:
        add(settings.database, fingerprint)
    logs.set_up(settings.log_level)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        gc.freeze()  # what the imports made lives as long as the process: the collector need not look at it again
        runner.run(app.run(settings, ready_file=given.ready_file))
    return EXIT_OK


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """uvloop where there is one: an idle TLS connection costs 37 KiB on it, and 290 on asyncio's own loop."""
    try:
        import uvloop
    except ImportError:
        logs.warning("no_uvloop", hint="pip install uvloop: connections cost an eighth of the memory")
        return None
    loop: type[asyncio.AbstractEventLoop] = uvloop.Loop
    return loop
