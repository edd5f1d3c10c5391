"""The links that stand: sending to devices, telling whom the policy changed, and letting everybody go at the end."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from functools import partial

from sqlalchemy import Connection

from protocol.api import Event
from protocol.codec import encode
from protocol.ids import DeviceId, OrganisationId, Sha256
from protocol.link import Documents, Goodbye, PolicyNumber, ToAgent
from protocol.system_clock import Clock
from relay import logs
from relay.authorities import Organisation
from relay.events import Events
from relay.farewell import return_times, window_s
from relay.logins import token_hash
from relay.metrics import Metrics
from relay.nonces import NoncePool
from relay.presence import Presence, Replaced, WentOnline
from relay.store import devices
from relay.store.devices import CameOnline, Seen
from relay.store.store import Store

MAX_OUTBOX = 256
"""Messages that wait for one device. More means that it does not read; it is cut, and comes back."""

REVOKED_GRACE_S = 10.0
"""A device that is removed may still fetch the policy that says so."""

REVOKED_RETURN_S = 3600.0

Key = tuple[OrganisationId, DeviceId]


class Link:
    """One device's link. relay: our name, as the device dialled it.  device_key: its public line.

    record: number of the device record that it holds; record_told: of the newest one that it was told of.
    records_put: of Links, before that one was read.
    """

    def __init__(
        self,
        key: Key,
        *,
        relay: str,
        device_key: str,
        seen: Seen,
        record: int,
        record_told: int,
        records_put: int,
        blob_token: str,
    ) -> None:
        self.key = key
        self.relay = relay
        self.device_key = device_key
        self.seen = seen
        self.charter = seen.charter
        self.policy = seen.policy
        self.record = record
        self.record_told = record_told
        self.records_put = records_put
        self.blob_token = blob_token
        self.nonces = NoncePool()
        self.replaced = False
        self._outbox: deque[ToAgent] = deque()
        self._wake = asyncio.Event()
        self._closing: str | None = None

    @property
    def closing(self) -> str | None:
        """Why the link is to end once its outbox is sent; None while it goes on."""
        return self._closing

    def send(self, message: ToAgent) -> None:
        """Queue a message. What is sent to a link that ends is dropped, as what is under way would be."""
        if self._closing is not None:
            return
        if len(self._outbox) >= MAX_OUTBOX:
            self._outbox.clear()
            self.close("outbox_full")
            return
        self._outbox.append(message)
        self._wake.set()

    def close(self, why: str, *, return_after_s: float | None = None) -> None:
        """End the link. return_after_s: say goodbye, and when to come back."""
        if self._closing is not None:
            return
        if return_after_s is not None:
            self._outbox.append(Goodbye(reason=why, return_after_s=return_after_s))
        self._closing = why
        self._wake.set()

    def next_text(self) -> str | None:
        """The next message to send, encoded; None: nothing for now."""
        return encode(self._outbox.popleft()).decode("utf-8") if self._outbox else None

    async def wait(self, timeout_s: float) -> None:
        """Until there is something to send or the link is to end, or for `timeout_s`."""
        try:
            async with asyncio.timeout(max(timeout_s, 0.0)):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()


class Links:
    def __init__(
        self,
        store: Store,
        events: Events,
        metrics: Metrics,
        clock: Clock,
        uniform: Callable[[float, float], float],
    ) -> None:
        self._store = store
        self._events = events
        self._metrics = metrics
        self._clock = clock
        self._uniform = uniform
        self._presence: Presence[Link] = Presence()
        self._tokens: dict[str, Link] = {}
        self._gone_listeners: list[Callable[[Key], None]] = []
        self._changed = asyncio.Event()
        self._came: list[CameOnline] = []
        self._coming = threading.Lock()  # of `_came`, which the store's thread takes
        self.records_put = 0
        """Since the start, of all devices: where it has not moved, no device has a new record."""

    def __len__(self) -> int:
        return len(self._presence)

    def on_gone(self, listener: Callable[[Key], None]) -> None:
        """listener: told in the loop when a device's link ended, replaced ones included."""
        self._gone_listeners.append(listener)

    def get(self, key: Key) -> Link | None:
        return self._presence.link(key)

    def by_blob_token(self, token: str) -> Link | None:
        return self._tokens.get(token_hash(token))

    # -- links come and go ----------------------------------------------------------------------------------------

    def attach(self, link: Link) -> None:
        organisation, device = link.key
        self._tokens[token_hash(link.blob_token)] = link
        now = self._clock.now()
        new = False
        for effect in self._presence.attach(link.key, link):
            if isinstance(effect, Replaced) and isinstance(effect.link, Link):
                effect.link.replaced = True
                effect.link.close("replaced")
                self._tell_gone(link.key)
            elif isinstance(effect, WentOnline):
                new = True
                self._publish("device_online", link.key)
        self._note_online(CameOnline(organisation, device, link.seen, now, new))
        self._metrics.links.set(len(self._presence))

    def detach(self, link: Link, why: str) -> None:
        organisation, device = link.key
        self._tokens.pop(token_hash(link.blob_token), None)
        now = self._clock.now()
        with self._coming:
            self._came = []  # in order: who comes from now on is noted after this
        for _ in self._presence.detach(link.key, link):
            self._store.write_soon(lambda c: devices.went_offline(c, organisation, device, now), "went_offline")
            self._publish("device_offline", link.key, why)
            self._tell_gone(link.key)
        self._changed.set()
        self._metrics.links.set(len(self._presence))
        self._metrics.links_ended.labels(why=why).inc()

    def _note_online(self, came: CameOnline) -> None:
        """With those who come before it is written: after a restart of the relay they are thousands."""
        with self._coming:
            self._came.append(came)
            noted = self._came
            if len(noted) > 1:
                return  # the job that is queued takes it along

        def write(connection: Connection) -> None:
            with self._coming:
                if self._came is noted:
                    self._came = []
            devices.went_online(connection, noted)

        self._store.write_soon(write, "went_online")

    def holds(self, link: Link, charter: int, policy: PolicyNumber, record: int, forks: tuple[Sha256, ...]) -> None:
        """The device says what it holds now."""
        organisation, device = link.key
        link.charter, link.policy, link.record = charter, policy, record
        self._store.write_soon(lambda c: devices.holds(c, organisation, device, charter, policy, forks), "holds")

    # -- what everybody is told -----------------------------------------------------------------------------------

    def announce(self, held: Organisation) -> None:
        """A newer charter or policy: to every device of the organisation at once, and the removed ones go."""
        for link in self._presence.of_organisation(held.id):
            newer = held.newer_than(link.charter, link.policy)
            if newer.charters or newer.policy is not None:
                link.send(newer)
            if link.key[1] in held.revoked_devices:
                leave = partial(link.close, "device_revoked", return_after_s=REVOKED_RETURN_S)
                asyncio.get_running_loop().call_later(REVOKED_GRACE_S, leave)
        self._events.publish(Event(kind="policy_changed", at=int(self._clock.now()), organisation=held.id))

    def announce_record(self, key: Key, record: Sha256) -> None:
        self.records_put += 1
        link = self._presence.link(key)
        if link is not None:
            link.send(Documents(record=record))
        self._publish("record_changed", key)

    def tell_report(self, key: Key, number: int) -> None:
        self._publish("report", key, str(number))

    def goodbye(self, reason: str) -> None:
        """Tell every device when to come back, each at a moment of its own."""
        count = len(self._presence)
        for link, return_after_s in zip(self._presence, return_times(count, self._uniform), strict=True):
            link.close(reason, return_after_s=return_after_s)
        logs.info("goodbye", links=count, window_s=round(window_s(count), 1))

    async def wait_empty(self, timeout_s: float) -> None:
        """Until no link is left, or for `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                while len(self._presence):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            logs.warning("links_left", links=len(self._presence))

    def _tell_gone(self, key: Key) -> None:
        for listener in self._gone_listeners:
            listener(key)

    def _publish(self, kind: str, key: Key, detail: str = "") -> None:
        now = int(self._clock.now())
        self._events.publish(Event(kind=kind, at=now, organisation=key[0], device=key[1], detail=detail))
