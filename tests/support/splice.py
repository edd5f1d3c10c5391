"""The smallest relay that joins two legs: WebSockets at /v1/legs/{session}, as protocol/leg.py says. For tests of the
legs alone; the real relay is what everything else is tested with.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from aiohttp import WSMsgType, web

from protocol.codec import encode
from protocol.leg import MAX_LEG_MESSAGE_BYTES, LegText, Spliced
from tests.support.tls_relay import HttpRelay

Tamper = Callable[[bytes], list[bytes]]


def add_legs(relay: HttpRelay, *, tamper: Tamper | None = None, before: tuple[LegText, ...] = ()) -> None:
    """Serve legs on `relay`, joined in pairs by session id.

    tamper: what a hostile relay makes of each binary message.  before: what it says to each leg before Spliced.
    """
    waiting: dict[str, tuple[web.WebSocketResponse, asyncio.Future[web.WebSocketResponse]]] = {}

    async def serve(request: web.Request) -> web.WebSocketResponse:
        mine = web.WebSocketResponse(max_msg_size=MAX_LEG_MESSAGE_BYTES + 1, compress=False)
        await mine.prepare(request)
        session = request.match_info["session"]
        for said in before:
            await mine.send_str(encode(said).decode())
        if session in waiting:
            other, second = waiting.pop(session)
            second.set_result(mine)
        else:
            second = asyncio.get_running_loop().create_future()
            waiting[session] = (mine, second)
            other = await second
        await mine.send_str(encode(Spliced()).decode())
        async for message in mine:
            if message.type is WSMsgType.BINARY:
                with contextlib.suppress(ConnectionError):  # the other side may be gone already
                    for data in tamper(message.data) if tamper else (message.data,):
                        await other.send_bytes(data)
        await other.close(code=mine.close_code or 1000, message=b"the other side left")
        return mine

    relay.app.router.add_get("/v1/legs/{session}", serve)
