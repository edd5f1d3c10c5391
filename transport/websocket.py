"""A WebSocket to a relay: for the link (text messages) and for legs (binary ones). Bounded both ways.

picows does the framing, transport.dial the way there, asyncio's own TLS the rest. picows would use aiofastnet's TLS by
itself, which drives OpenSSL directly and so passes by the pinned handshake of transport.tls: it is switched off here,
and a test holds that no byte of the request, which carries the bearer, leaves before the pin was checked.

Reading waits for its reader: past HIGH_WATER_BYTES of undelivered messages the socket is not read any more. Writing
never blocks; `writable` waits until what was written is nearly gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Self

import msgspec
import picows

from protocol.codec import MAX_MESSAGE_BYTES
from protocol.errors import AuxilioError, BadMessage, PeerFault, Unavailable
from protocol.text import escape
from transport.dial import dial
from transport.failures import checked_bearer, network_errors, refused_answer
from transport.fragments import BINARY, CONTINUATION, TEXT, Fragments, Message, MessageTooLarge, too_large
from transport.http import TIMEOUT_S
from transport.relay_address import RelayAddress
from transport.tls import client_context

HIGH_WATER_BYTES = 1024 * 1024
"""Of messages that nobody has taken yet, or of bytes that the socket has not taken yet."""

LOW_WATER_BYTES = 256 * 1024
"""Where it goes on. Some hysteresis, so that a fast line is not stopped and started for each message."""

MAX_WAITING = 4096
"""Messages that nobody has taken yet: empty ones have no bytes, and a million of them are not free."""

CLOSE_WITHIN_S = 2.0
"""For what was written and the closing handshake. A relay that does not read must not keep us."""

NORMAL, GOING_AWAY, PROTOCOL_ERROR, ABNORMAL, TOO_BIG = 1000, 1001, 1002, 1006, 1009

MAX_REASON_BYTES = 123
"""RFC 6455, section 5.5."""

_quiet = logging.Logger("picows", level=logging.CRITICAL)
"""picows logs what strangers send, unescaped, at ERROR. What matters of it is in the errors raised here."""


class Closed(msgspec.Struct, frozen=True):
    """How a connection ended. code: RFC 6455 section 7.4; 1006 if it just broke.  reason: escaped, for people."""

    code: int
    reason: str


class ConnectionEnded(Unavailable):
    """The other side closed the WebSocket, or it broke."""

    code = "connection_ended"

    def __init__(self, closed: Closed) -> None:
        super().__init__(closed.reason or f"the relay closed the connection ({closed.code})")
        self.close_code = closed.code
        self.close_reason = closed.reason


_KINDS = {picows.WSMsgType.TEXT: TEXT, picows.WSMsgType.BINARY: BINARY, picows.WSMsgType.CONTINUATION: CONTINUATION}

Handler = Callable[[Message], None]


class Connection:
    """An open WebSocket. Made by `connect`; closed by `close`, by the relay, or by leaving `async with`."""

    def __init__(self, max_message_bytes: int) -> None:
        self._fragments = Fragments(max_message_bytes)
        self._socket: picows.WSTransport | None = None
        self._handler: Handler | None = None
        self._on_writable: Callable[[], None] | None = None
        self._messages: deque[Message] = deque()
        self._held = 0  # bytes in _messages
        self._reading = True
        self._wake_reader = asyncio.Event()
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._ended = asyncio.Event()
        self._fault: PeerFault | None = None
        self._close_said: Closed | None = None
        self._close_heard: Closed | None = None
        self._watch: asyncio.Task[None] | None = None
        self.closed: Closed | None = None
        self._heard = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        await self.wait_closed()

    @property
    def is_unopened(self) -> bool:
        return self._socket is None

    @property
    def addresses(self) -> tuple[str, str] | None:
        """Our IP address and the relay's, or a proxy's; None once there is no socket to ask."""
        if self._socket is None or self.closed is not None:
            return None
        ours = self._socket.underlying_transport.get_extra_info("sockname")
        theirs = self._socket.underlying_transport.get_extra_info("peername")
        return (str(ours[0]), str(theirs[0])) if ours and theirs else None

    # -- sending ------------------------------------------------------------------------------------------------

    def send_text(self, text: str) -> None:
        self._send(picows.WSMsgType.TEXT, text.encode())

    def send_binary(self, data: bytes) -> None:
        self._send(picows.WSMsgType.BINARY, data)

    def ping(self) -> None:
        """Ask for a sign of life, which `heard` tells."""
        if self._may_write.is_set():
            self._send(picows.WSMsgType.PING, b"")

    def heard(self) -> bool:
        """Whether anything came since this was last asked."""
        heard, self._heard = self._heard, False
        return heard

    @property
    def is_writable(self) -> bool:
        return self._may_write.is_set() or self.closed is not None

    async def writable(self) -> None:
        """Return when more may be sent without piling up here, or when the connection has ended."""
        await self._may_write.wait()

    def _send(self, kind: picows.WSMsgType, data: bytes) -> None:
        """Send, or do nothing once the connection is closing: its end is told by `receive` and `closed`."""
        if self.closed is None and self._close_said is None and self._socket is not None:
            self._socket.send(kind, data)

    # -- receiving ----------------------------------------------------------------------------------------------

    async def receive(self) -> Message:
        """The next message: text as str, binary as bytes.

        Raises ConnectionEnded when there is none any more, and PeerFault if the relay broke WebSocket's rules.
        """
        while not self._messages:
            ended = self.closed or self._close_said
            if ended is not None:
                raise self._fault or ConnectionEnded(ended)
            self._wake_reader.clear()
            await self._wake_reader.wait()
        message = self._messages.popleft()
        self._held -= len(message)
        if not self._reading and self._held <= LOW_WATER_BYTES:
            self.resume_reading()
        return message

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        """Messages until the connection was closed normally (1000, 1001); any other end is raised."""
        try:
            return await self.receive()
        except ConnectionEnded as exc:
            if exc.close_code in (NORMAL, GOING_AWAY):
                raise StopAsyncIteration from None
            raise

    def listen(self, handler: Handler, on_writable: Callable[[], None] | None = None) -> None:
        """From now on hand each message to `handler` as it arrives, those that wait first.

        handler: must not block; a PeerFault that it raises closes the connection with 1002 and becomes its end.
        on_writable: called when the socket takes more again.  The listener bounds its own memory.
        """
        self._handler = handler
        self._on_writable = on_writable
        waiting, self._messages, self._held = self._messages, deque(), 0
        for message in waiting:
            self._deliver(message)
        self.resume_reading()

    def pause_reading(self) -> None:
        """Read no more from the socket. What was read already may still be delivered (some 256 KiB)."""
        if self._reading and self._socket is not None and self.closed is None:
            self._reading = False
            self._socket.underlying_transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._reading and self._socket is not None and self.closed is None:
            self._reading = True
            self._socket.underlying_transport.resume_reading()

    # -- ending -------------------------------------------------------------------------------------------------

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Say goodbye; what was sent before still goes out. Hang up when the relay answers, or CLOSE_WITHIN_S later.

        Hanging up at once would be wrong: bytes of the relay's that we never read make the kernel reset the
        connection, and the reset may overtake what we sent last.
        """
        if self.closed is not None or self._close_said is not None:
            return
        self._close_said = Closed(code, reason)
        self._may_write.set()
        self._messages.clear()
        self._wake_reader.set()
        if self._socket is not None:
            self._say_close(code, reason)
            self.resume_reading()
            asyncio.get_running_loop().call_later(CLOSE_WITHIN_S, self.abort)

    def abort(self) -> None:
        """Hang up at once."""
        if self._close_said is None:
            self._close_said = Closed(ABNORMAL, "")
        if self.closed is None and self._socket is not None:
            self._socket.disconnect(graceful=False)

    async def wait_closed(self) -> Closed:
        """Wait until it has ended, and return how. The reason is also in `closed` from then on."""
        await self._ended.wait()
        assert self.closed is not None
        return self.closed

    @property
    def fault(self) -> PeerFault | None:
        """What the relay did that ended the connection, if it broke the rules."""
        return self._fault

    def _say_close(self, code: int, reason: str) -> None:
        said = reason.encode("utf-8", "replace")[:MAX_REASON_BYTES].decode("utf-8", "ignore")
        # Not by send_close, whose codes are an enumeration: RFC 6455 leaves 4000-4999 to applications.
        if self._socket is not None:
            self._socket.send(picows.WSMsgType.CLOSE, code.to_bytes(2, "big") + said.encode())

    def _fail(self, fault: PeerFault) -> None:
        self._fault = fault
        self.close(TOO_BIG if isinstance(fault, MessageTooLarge) else PROTOCOL_ERROR, fault.message)

    # -- driven by picows ---------------------------------------------------------------------------------------

    def _on_connected(self, socket: picows.WSTransport) -> None:
        self._socket = socket
        socket.underlying_transport.set_write_buffer_limits(high=HIGH_WATER_BYTES, low=LOW_WATER_BYTES)
        if self._close_said is not None:  # given up while dialling
            self.abort()
        self._watch = asyncio.get_running_loop().create_task(self._watch_end(socket))

    async def _watch_end(self, socket: picows.WSTransport) -> None:
        try:
            await socket.wait_disconnected()
        except picows.WSProtocolError as exc:
            self._fault = self._fault or PeerFault(f"the relay broke WebSocket's rules: {escape(str(exc), limit=200)}")
        finally:
            self.closed = self._close_said or self._close_heard or Closed(ABNORMAL, "")
            self._ended.set()
            self._may_write.set()
            self._wake_reader.set()

    def _on_frame(self, socket: picows.WSTransport, frame: picows.WSFrame) -> None:
        kind = frame.msg_type
        self._heard = True
        if kind is picows.WSMsgType.CLOSE:
            self._on_close(socket, frame.get_payload_as_bytes())
        elif self._close_said is not None or self._fault is not None or kind is picows.WSMsgType.PONG:
            return
        elif kind is picows.WSMsgType.PING:
            # Not while the relay does not read: answers to a flood of pings would pile up here.
            if self._may_write.is_set():
                self._send(picows.WSMsgType.PONG, frame.get_payload_as_bytes())
        else:
            self._on_data(frame)

    def _on_data(self, frame: picows.WSFrame) -> None:
        try:
            if frame.rsv1 or frame.rsv2 or frame.rsv3:
                raise BadMessage("a WebSocket extension that was not agreed on")
            if frame.payload_size > self._fragments.limit:  # picows lets through what it has read whole
                raise too_large(self._fragments.limit)
            message = self._fragments.add(_KINDS[frame.msg_type], frame.fin, frame.get_payload_as_bytes())
        except PeerFault as exc:
            self._fail(exc)
            return
        if message is not None:
            self._deliver(message)

    def _deliver(self, message: Message) -> None:
        if self._handler is not None:
            try:
                self._handler(message)
            except PeerFault as exc:
                self._fail(exc)
            return
        self._messages.append(message)
        self._held += len(message)
        if self._held > HIGH_WATER_BYTES or len(self._messages) > MAX_WAITING:
            self.pause_reading()
        self._wake_reader.set()

    def _on_close(self, socket: picows.WSTransport, payload: bytes) -> None:
        code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
        self._close_heard = Closed(code, escape(payload[2:].decode("utf-8", "replace"), limit=MAX_REASON_BYTES))
        if self._close_said is None:
            self._say_close(NORMAL, "")
        socket.disconnect()
        asyncio.get_running_loop().call_later(CLOSE_WITHIN_S, socket.disconnect, False)

    def _on_write_paused(self) -> None:
        self._may_write.clear()

    def _on_write_resumed(self) -> None:
        self._may_write.set()
        if self._on_writable is not None:
            self._on_writable()


class _Listener(picows.WSListener):
    """What picows calls; a Connection does the rest."""

    def __init__(self, connection: Connection) -> None:
        self._to = connection

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self._to._on_connected(transport)

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        self._to._on_frame(transport, frame)

    def pause_writing(self) -> None:
        self._to._on_write_paused()

    def resume_writing(self) -> None:
        self._to._on_write_resumed()


async def connect(
    address: RelayAddress,
    path: str,
    *,
    bearer: str | None = None,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    timeout_s: float = TIMEOUT_S,
) -> Connection:
    """Open a WebSocket at `path` of the relay.

    bearer: ticket or token, if one is due.  timeout_s: for dialling, TLS and the upgrade together.
    Raises RelayUnreachable, Untrusted (wrong_pin, bad_certificate), or what the relay's refusal of the upgrade means.
    """
    connection = Connection(max_message_bytes)
    headers = {} if bearer is None else {"Authorization": f"Bearer {checked_bearer(bearer)}"}
    try:
        with network_errors(address):
            async with asyncio.timeout(timeout_s):
                await picows.ws_connect(
                    lambda request, response: _Listener(connection),
                    f"wss://{address.dialled_name}{path}",
                    ssl_context=client_context(address.pin),
                    websocket_handshake_timeout=timeout_s,
                    logger_name=_quiet,
                    enable_auto_pong=False,
                    max_frame_size=max_message_bytes,
                    extra_headers=headers,
                    max_redirects=0,
                    use_aiofastnet=False,
                    server_hostname=address.host,
                    ssl_shutdown_timeout=CLOSE_WITHIN_S,
                    socket_factory=lambda url: dial(address),
                )
            if connection.is_unopened:
                raise ConnectionResetError("closed during the upgrade")
    except picows.WSHandshakeError as exc:
        connection.abort()
        raise _refused_upgrade(exc, address) from exc
    except BaseException:
        connection.abort()
        raise
    return connection


def _refused_upgrade(error: picows.WSHandshakeError, address: RelayAddress) -> AuxilioError:
    if error.response is not None and error.response.status != 101:
        headers = [(name.lower(), value) for name, value in error.response.headers.items()]
        return refused_answer(error.response.status, error.raw_body or b"", headers)
    return PeerFault(
        f"{address.dialled_name} does not speak WebSocket as it should: {escape(str(error), limit=200)}",
        hint="A proxy in between may not let WebSockets through.",
    )
