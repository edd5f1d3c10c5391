"""The link's sockets and timers. link.py and protocol.liveness decide what to do; `Owner`, what messages mean.

dial -> Challenge -> Hello -> Welcome -> messages both ways, pings both ways -> ended, for a reason
"""

from __future__ import annotations

import asyncio
import logging
import random
import statistics
from collections import deque
from typing import Protocol, TypeVar

from agent import platform
from agent.link import Dial, LinkMachine, State, has_moved
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
from protocol.liveness import NAP_S, Dead, Liveness
from protocol.policy import Relay
from protocol.system_clock import Clock
from transport.relay_address import RelayAddress
from transport.websocket import Connection, connect

log = logging.getLogger(__name__)

HANDSHAKE_S = 30.0
"""From the first byte to Welcome: a satellite link with a lossy day needs a third of it."""

M = TypeVar("M", Challenge, Welcome)

LONGEST_SLEEP_S = 60.0

LOOK_S = 3.0
"""Between two looks at the clock, by which a sleep is noticed. Timers stand still while a machine sleeps: one for the
next ping would go on for its rest after waking."""

LINK_PATH = "/v1/link"

MAX_ROUND_TRIPS = 32
"""That are remembered, of pings that were answered."""


class Owner(Protocol):
    """Whoever gives the link its meaning. Called in the loop; must neither block nor raise."""

    def relays(self) -> tuple[Relay, ...]: ...

    def way(self, relay: Relay) -> RelayAddress:
        """Where to dial it, and through which proxy. May raise ConfigInvalid."""

    def hello(self, challenge: Challenge, relay: RelayAddress) -> Hello:
        """The first message: proves who we are to this very relay. Its offline_* fields are filled in here."""

    def link_up(self, welcome: Welcome, relay: RelayAddress) -> None: ...

    def link_message(self, message: ToAgent) -> None: ...

    def link_down(self, reason: str) -> None: ...

    def refused(self, reason: str, relay: RelayAddress) -> None:
        """The relay said goodbye instead of welcome."""

    @property
    def is_waited_for(self) -> bool:
        """A session waits for the link, and somebody for the session."""
        ...


MAX_UNREAD_CHARS = 4 * 1024 * 1024
"""Waiting for a relay that does not read, besides what the connection holds: then it is left."""


class _Ended(Exception):
    """This connection is over. return_after_s: where the relay said when to come back.  ours: it is not to blame."""

    def __init__(self, reason: str, return_after_s: float | None = None, *, ours: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.return_after_s = return_after_s
        self.ours = ours


class _Refused(_Ended):
    """A goodbye in the place of a welcome."""

    def __init__(self, goodbye: Goodbye) -> None:
        super().__init__(f"the relay said goodbye: {goodbye.reason[:200]}", goodbye.return_after_s)
        self.code = goodbye.reason


class LinkDriver:
    """Keeps one link for as long as `run` runs."""

    def __init__(self, owner: Owner, clock: Clock, *, last: str = "") -> None:
        """last: the URL of the relay that served before."""
        self._owner = owner
        self._clock = clock
        self._connection: Connection | None = None
        self._liveness: Liveness | None = None
        self._wake = asyncio.Event()
        self._cut = asyncio.Event()
        self._cut_reason, self._cut_is_ours = "", False
        self._unread = 0
        self.address: RelayAddress | None = None
        self.machine = LinkMachine(random.uniform, clock.monotonic(), clock.now(), last=last)
        self.unknown_messages = 0
        self._pinged: tuple[int, float] | None = None
        self._round_trips_s: deque[float] = deque(maxlen=MAX_ROUND_TRIPS)

    def take_latency_ms(self) -> float | None:
        """The median time from a ping to its answer, of the pings since this was asked last; None where there was none.
        The pings go anyway, so that to know it costs nothing."""
        round_trips = list(self._round_trips_s)
        self._round_trips_s.clear()
        return statistics.median(round_trips) * 1000 if round_trips else None

    @property
    def linked(self) -> bool:
        return self.machine.state is State.LINKED

    @property
    def peer_address(self) -> str | None:
        """The IP address at the other end of the connection: the relay's, or its proxy's."""
        addresses = self._connection.addresses if self._connection is not None else None
        return addresses[1] if addresses is not None else None

    def send(self, message: ToRelay) -> None:
        """Send, or drop where there is no link: whatever must arrive is kept by whoever sends it."""
        if self._connection is None or not self.linked:
            return
        text = encode(message).decode("utf-8")
        if self._connection.is_writable:
            self._unread = 0
        elif isinstance(message, Pong):
            return  # a relay that pings and does not read shall not fill our memory
        else:
            self._unread += len(text)
            if self._unread > MAX_UNREAD_CHARS:
                self._end("the relay does not read")
                return
        try:
            self._connection.send_text(text)
        except AuxilioError as exc:
            log.info("a message could not be sent: %s", exc)

    def hurry(self) -> None:
        """Dial now, if we are waiting to."""
        self.machine.hurry(self._clock.monotonic())
        self._wake.set()

    def reconsider(self) -> None:
        """A new policy is in force, or another way was set: leave a relay that is not named any more, or is reached
        otherwise now, and wait for none that is gone."""
        if self.machine.must_leave(self._owner.relays()):
            self._end("the policy names other relays")
        elif self.address is not None and self._way_is_another(self.address):
            self._end("another way to the relay was set", ours=True)
        self.hurry()

    def _way_is_another(self, address: RelayAddress) -> bool:
        if self.machine.state is State.WAITING or self.machine.relay is None:
            return False
        try:
            return self._owner.way(self.machine.relay) != address
        except AuxilioError:
            return True

    def network_changed(self) -> None:
        """Dial now, if we are waiting; else see at once whether the link can still stand."""
        self.machine.on_network_changed(self._clock.monotonic())
        self._wake.set()
        self.doubt()

    def session_lost(self) -> None:
        """A session's leg broke, and goes on once it is offered over the link: dial now, or see whether it stands."""
        self.hurry()
        self.doubt()

    def doubt(self) -> None:
        """See at once whether the link can still stand."""
        now = self._clock.monotonic()
        if self._connection is None or self._liveness is None:
            return
        addresses = self._connection.addresses
        if addresses is not None and has_moved(addresses[0], platform.source_address(addresses[1])):
            self._end("the network changed", ours=True)
            return
        log.info("something changed, but not the way to the relay: asking it")
        self._liveness.probe(now)

    def _woke(self, slept_s: float) -> None:
        now = self._clock.monotonic()
        if slept_s >= NAP_S:
            self.machine.on_network_changed(now)
            self._wake.set()
        if self._liveness is not None:
            for effect in self._liveness.woke(slept_s, now):
                if isinstance(effect, Dead):
                    self._end(effect.reason, ours=True)

    def _end(self, reason: str, *, ours: bool = False) -> None:
        """ours: the reason lies on this side, so there is no need to wait before the next dial."""
        self._cut_reason, self._cut_is_ours = reason, ours
        self._cut.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_linked())
            tasks.create_task(self._watch_sleep())

    async def _keep_linked(self) -> None:
        while True:
            dial = self.machine.on_tick(self._owner.relays(), self._clock.monotonic())
            if dial is None:
                await self._sleep(self.machine.next_deadline())
                continue
            ended = await self._attempt(dial)
            was_linked = self.linked
            self._connection, self._liveness, self.address, self._pinged = None, None, None, None
            now = self._clock.monotonic()
            self.machine.on_ended(
                ended.reason,
                now,
                self._clock.now(),
                return_after_s=ended.return_after_s,
                ours=ended.ours,
                waited_for=self._owner.is_waited_for,
            )
            if ended.ours:
                self.machine.on_network_changed(now)
            log.info("offline: %s", ended.reason)
            if was_linked:
                self._owner.link_down(ended.reason)

    async def _watch_sleep(self) -> None:
        while True:
            began = self._clock.monotonic()
            await asyncio.sleep(LOOK_S)
            self._woke(self._clock.monotonic() - began - LOOK_S)

    async def _attempt(self, dial: Dial) -> _Ended:
        """One connection, from dialling to its end."""
        self._cut.clear()
        try:
            # What works is in the group's body: a group that is cut short while it is being left leaves a cancellation
            # on our account (`Task.cancelling`), and Python 3.11.2 takes every later time-out of this task for that.
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._wait_cut())
                await self._serve(dial)
        except ExceptionGroup as group:
            error = _first(group)
            if isinstance(error, _Ended):
                return error
            if isinstance(error, AuxilioError):
                return _Ended(error.message)
            # A bug of ours must not cost the device its link for good.
            log.error("the link ended by a bug of ours", exc_info=error)
            return _Ended(f"internal error: {type(error).__name__}")
        return _Ended("the connection ended")

    async def _wait_cut(self) -> None:
        await self._cut.wait()
        raise _Ended(self._cut_reason, ours=self._cut_is_ours)

    async def _sleep(self, deadline: float | None) -> None:
        """Until `deadline`, or until somebody hurries."""
        wait_s = LONGEST_SLEEP_S if deadline is None else max(0.0, deadline - self._clock.monotonic())
        self._wake.clear()
        try:
            async with asyncio.timeout(wait_s + 0.01):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _serve(self, dial: Dial) -> None:
        """One connection, from dialling to its end. Always raises: _Ended or AuxilioError."""
        relay = self.address = self._owner.way(dial.relay)
        async with await connect(relay, LINK_PATH) as connection:
            try:
                await self._talk(connection, relay)
            except BaseException:
                if self._cut.is_set() or self._liveness_is_over():
                    connection.abort()  # there is nobody to say goodbye to
                raise

    def _liveness_is_over(self) -> bool:
        return self._liveness is not None and self._liveness.next_deadline() is None

    async def _talk(self, connection: Connection, relay: RelayAddress) -> None:
        welcome = await self._handshake(connection, relay)
        self._connection = connection
        self.machine.on_welcome(self._clock.monotonic(), self._clock.now())
        log.info("linked to %s", relay.dialled_name)
        liveness = Liveness(self._clock.monotonic(), random.uniform, period_s=welcome.heartbeat_s)
        self._liveness = liveness
        self._owner.link_up(welcome, relay)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch(connection, liveness))
                await self._read(connection, liveness)
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
        except _Refused as exc:
            self._owner.refused(exc.code, relay)
            raise
        except TimeoutError as exc:
            raise RelayUnreachable(f"{relay.dialled_name} did not complete the handshake") from exc

    async def _expect(self, connection: Connection, type_: type[M]) -> M:
        text = await connection.receive()
        message = decode_to_agent(text if isinstance(text, str) else "")
        if isinstance(message, Goodbye):
            raise _Refused(message)
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
                self._note_round_trip(message.id)
                if liveness.on_pong(message.id, self._clock.monotonic()):
                    log.info("the relay answered: the link stands")
            elif isinstance(message, Goodbye):
                self._owner.link_message(message)
                raise _Ended(f"the relay said goodbye: {message.reason[:200]}", message.return_after_s)
            else:
                self._owner.link_message(message)
        raise _Ended(_why(connection))

    async def _watch(self, connection: Connection, liveness: Liveness) -> None:
        while (deadline := liveness.next_deadline()) is not None:
            await self._sleep(deadline)
            for effect in liveness.on_tick(self._clock.monotonic()):
                if isinstance(effect, Dead):
                    raise _Ended(effect.reason)
                self._pinged = (effect.id, self._clock.monotonic())
                self.send(Ping(id=effect.id))

    def _note_round_trip(self, id: int) -> None:
        if self._pinged is not None and self._pinged[0] == id:
            self._round_trips_s.append(self._clock.monotonic() - self._pinged[1])
            self._pinged = None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended the link; the others only followed from it."""
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found


def _why(connection: Connection) -> str:
    closed = connection.closed
    if closed is None or not closed.reason:
        return "the relay closed the link"
    return f"the relay closed the link: {closed.reason}"
