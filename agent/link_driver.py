"""The link's sockets and timers. link.py and protocol.liveness decide what to do; `Owner`, what messages mean.

dial -> Challenge -> Hello -> Welcome -> messages both ways, pings both ways -> ended, for a reason
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Protocol, TypeVar

from agent.link import Dial, LinkMachine, State
from protocol.codec import encode
from protocol.errors import AuxilioError, PeerFault, RelayUnreachable
from protocol.link import (
    VERSIONS,
    Challenge,
    Goodbye,
    Hello,
    Ping,
    Pong,
    ToAgent,
    ToRelay,
    UnknownMessage,
    Welcome,
    decode_to_agent,
)
from protocol.liveness import Dead, Liveness
from protocol.policy import Relay
from protocol.system_clock import Clock
from transport.relay_address import RelayAddress, parse_address
from transport.websocket import Connection, connect

log = logging.getLogger(__name__)

HANDSHAKE_S = 30.0
"""From the first byte to Welcome: a satellite link with a lossy day needs a third of it."""

M = TypeVar("M", Challenge, Welcome)

LINK_PATH = "/v1/link"


class Owner(Protocol):
    """Whoever gives the link its meaning. Called in the loop; must neither block nor raise."""

    def relays(self) -> tuple[Relay, ...]: ...

    def hello(self, challenge: Challenge, relay: RelayAddress) -> Hello:
        """The first message: proves who we are to this very relay. Its offline_* fields are filled in here."""

    def link_up(self, welcome: Welcome, relay: RelayAddress) -> None: ...

    def link_message(self, message: ToAgent) -> None: ...

    def link_down(self, reason: str) -> None: ...


class _Ended(Exception):
    """This connection is over. return_after_s: where the relay said when to come back."""

    def __init__(self, reason: str, return_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.return_after_s = return_after_s


class LinkDriver:
    """Keeps one link for as long as `run` runs."""

    def __init__(self, owner: Owner, clock: Clock) -> None:
        self._owner = owner
        self._clock = clock
        self._connection: Connection | None = None
        self._wake = asyncio.Event()
        self.machine = LinkMachine(random.uniform, clock.monotonic(), clock.now())
        self.unknown_messages = 0

    @property
    def linked(self) -> bool:
        return self.machine.state is State.LINKED

    def send(self, message: ToRelay) -> None:
        """Send, or drop where there is no link: whatever must arrive is kept by whoever sends it."""
        if self._connection is None or not self.linked:
            return
        try:
            self._connection.send_text(encode(message).decode("utf-8"))
        except AuxilioError as exc:
            log.info("a message could not be sent: %s", exc)

    def hurry(self) -> None:
        """Dial now, if we are waiting to."""
        self.machine.hurry(self._clock.monotonic())
        self._wake.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            dial = self.machine.on_tick(self._owner.relays(), self._clock.monotonic())
            if dial is None:
                await self._sleep()
                continue
            was_linked = False
            try:
                await self._serve(dial)
            except _Ended as ended:
                was_linked = self.linked
                reason, return_after_s = ended.reason, ended.return_after_s
            except AuxilioError as exc:
                was_linked = self.linked
                reason, return_after_s = exc.message, None
            self._connection = None
            self.machine.on_ended(reason, self._clock.monotonic(), self._clock.now(), return_after_s=return_after_s)
            log.info("offline: %s", reason)
            if was_linked:
                self._owner.link_down(reason)

    async def _sleep(self) -> None:
        deadline = self.machine.next_deadline()
        wait_s = 60.0 if deadline is None else max(0.0, deadline - self._clock.monotonic())
        self._wake.clear()
        try:
            async with asyncio.timeout(wait_s + 0.01):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _serve(self, dial: Dial) -> None:
        """One connection, from dialling to its end. Always raises: _Ended or AuxilioError."""
        relay = parse_address(dial.relay.url, dial.relay.pin)
        async with await connect(relay, LINK_PATH) as connection:
            welcome = await self._handshake(connection, relay)
            self._connection = connection
            self.machine.on_welcome(self._clock.monotonic(), self._clock.now())
            log.info("linked to %s", relay.dialled_name)
            liveness = Liveness(self._clock.monotonic(), random.uniform, period_s=welcome.heartbeat_s)
            self._owner.link_up(welcome, relay)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._read(connection, liveness))
                    tasks.create_task(self._watch(connection, liveness))
            except ExceptionGroup as group:
                raise _first(group) from group

    async def _handshake(self, connection: Connection, relay: RelayAddress) -> Welcome:
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                challenge = await self._expect(connection, Challenge)
                if not set(challenge.versions) & set(VERSIONS):
                    raise PeerFault("the relay speaks no version of the protocol that this agent knows")
                hello = self._owner.hello(challenge, relay)
                connection.send_text(encode(hello).decode("utf-8"))
                return await self._expect(connection, Welcome)
        except TimeoutError as exc:
            raise RelayUnreachable(f"{relay.dialled_name} did not complete the handshake") from exc

    async def _expect(self, connection: Connection, type_: type[M]) -> M:
        text = await connection.receive()
        message = decode_to_agent(text if isinstance(text, str) else "")
        if isinstance(message, Goodbye):
            raise _Ended(f"the relay said goodbye: {message.reason[:200]}", message.return_after_s)
        if not isinstance(message, type_):
            raise PeerFault(f"the relay sent {type(message).__name__} where {type_.__name__} is due")
        return message

    async def _read(self, connection: Connection, liveness: Liveness) -> None:
        async for text in connection:
            if not isinstance(text, str):
                raise PeerFault("the relay sent a binary message on the link")
            liveness.heard(self._clock.monotonic())
            message = decode_to_agent(text)
            if isinstance(message, UnknownMessage):
                self.unknown_messages += 1
            elif isinstance(message, Ping):
                self.send(Pong(id=message.id))
            elif isinstance(message, Pong):
                liveness.on_pong(message.id, self._clock.monotonic())
            elif isinstance(message, Goodbye):
                raise _Ended(f"the relay said goodbye: {message.reason[:200]}", message.return_after_s)
            else:
                self._owner.link_message(message)
        raise _Ended(_why(connection))

    async def _watch(self, connection: Connection, liveness: Liveness) -> None:
        while (deadline := liveness.next_deadline()) is not None:
            await asyncio.sleep(max(0.0, deadline - self._clock.monotonic()) + 0.01)
            for effect in liveness.on_tick(self._clock.monotonic()):
                if isinstance(effect, Dead):
                    raise _Ended(effect.reason)
                self.send(Ping(id=effect.id))


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended the link; the others only followed from it."""
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found


def _why(connection: Connection) -> str:
    closed = connection.closed
    if closed is None or not closed.reason:
        return "the relay closed the link"
    return f"the relay closed the link: {closed.reason}"
