"""Dialling a leg: a WebSocket at the relay, until it is spliced to the other one. What it carries is leg.py's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from protocol import leg as leg_messages
from protocol.errors import AuxilioError, BadMessage, PeerFault, Refused
from protocol.ids import SessionId
from protocol.text import escape
from transport.failures import RelayTimeout
from transport.fragments import Message
from transport.patience import patiently
from transport.relay_address import RelayAddress
from transport.websocket import NORMAL, PROTOCOL_ERROR, Connection, connect

SPLICE_WITHIN_S = 90.0
"""For the other leg to arrive, where nobody is asked: a device on a bad line needs several round trips and a child."""

LONGEST_WAIT_S = 900.0
"""For the customer's answer, however long the relay says that it may take."""


async def dial_leg(
    address: RelayAddress,
    session: SessionId,
    ticket: str,
    *,
    on_waiting: Callable[[leg_messages.Waiting], None] | None = None,
    splice_timeout_s: float = SPLICE_WITHIN_S,
) -> Connection:
    """The connection of a leg that is spliced.

    on_waiting: told when the customer is being asked, which prolongs the deadline to LONGEST_WAIT_S.
    Raises Refused in the words of whoever refused (escaped), what transport.websocket.connect raises, and
    ConnectionEnded or RelayTimeout if there never was a splice.
    """
    connection = await patiently(
        lambda: connect(
            address, f"/v1/legs/{session}", bearer=ticket, max_message_bytes=leg_messages.MAX_LEG_MESSAGE_BYTES
        )
    )
    try:
        async with asyncio.timeout(splice_timeout_s) as deadline:
            while not isinstance(said := _control(await connection.receive()), leg_messages.Spliced):
                if isinstance(said, leg_messages.Refused):
                    raise Refused(escape(said.message), hint=escape(said.hint), code=_code(said.code))
                deadline.reschedule(asyncio.get_running_loop().time() + LONGEST_WAIT_S)
                if on_waiting is not None:
                    on_waiting(said)
    except TimeoutError as exc:
        connection.close()
        raise RelayTimeout("the other side of the session never came", hint="Is the device still online?") from exc
    except AuxilioError as exc:
        connection.close(PROTOCOL_ERROR if isinstance(exc, PeerFault) else NORMAL)
        raise
    except BaseException:
        # Cut off in the middle: it may be spliced by now, and a goodbye would end a session that is dialled again.
        connection.abort()
        raise
    return connection


def _control(message: Message) -> leg_messages.LegText:
    if isinstance(message, bytes):
        raise BadMessage("data of a session before its legs were spliced")
    return leg_messages.decode_leg_text(message)


def _code(code: str) -> str:
    return code if code.isascii() and code.isidentifier() and len(code) <= 64 else "refused"
