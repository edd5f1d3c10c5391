"""One agent's WebSocket, from the challenge to the end.

    challenge -> hello within HELLO_WITHIN_S -> welcome, what it lacks -> messages both ways -> goodbye

Two coroutines a link: one reads and answers, one sends, pings and watches the deadlines. The order of checks of a
hello: its shape, its own key's signature, the audience, the device, the policy's revocations.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import msgspec
from aiohttp import WSMsgType, web

from protocol.codec import MAX_MESSAGE_BYTES, decode, encode
from protocol.errors import AuxilioError, PeerFault, Refused, Unavailable
from protocol.ids import DeviceId, OrganisationId, device_id
from protocol.keys import parse_public_line
from protocol.link import (
    VERSIONS,
    Challenge,
    Documents,
    Goodbye,
    Held,
    Hello,
    Nonces,
    Ping,
    Pong,
    ReportAck,
    ReportMissing,
    ReportSent,
    SamplesAck,
    SamplesSent,
    SessionAccepted,
    SessionAway,
    SessionEnded,
    SessionRefused,
    SessionWaiting,
    ToRelay,
    UnknownMessage,
    Welcome,
)
from protocol.liveness import PERIOD_S, Liveness, SendPing
from protocol.login import NONCE_BYTES, LinkStatement, check_audience
from protocol.statement import LINK, Signed, open_by_key
from protocol.system_clock import Clock
from relay import logs
from relay.admission import Buckets
from relay.authorities import Authorities, Organisation
from relay.link_words import hashes_of, message_of, order_of, seen_of
from relay.links import REVOKED_RETURN_S, Link, Links
from relay.logins import make_token
from relay.metrics import Metrics
from relay.reports import Accepted, Reports
from relay.samples import SamplesFull, accept_samples
from relay.sessions import Sessions
from relay.splice import close_reason
from relay.stopping import Restarting, Stopping
from relay.store import devices
from relay.store.devices import DeviceKey
from relay.store.store import Store, storable_number

HELLO_WITHIN_S = 10.0
SEND_WITHIN_S = 60.0
"""For one message to be taken by the socket. A device that reads nothing for so long is gone."""

GOODBYE_WITHIN_S = 5.0
MAX_LINK_STATEMENT_BYTES = 4 * 1024
MESSAGES_PER_S, MESSAGE_BURST = 20.0, 400.0
"""Of one link. A spool of a week's reports is sent at this pace; more is not read until its turn."""

FAULT_RETURN_S = 30.0
REFUSED, GOING_AWAY, FAULT = 4003, 1001, 1002


class LinkDriver:
    """names: "host:port" by which this relay is dialled.  entropy: n random bytes."""

    def __init__(
        self,
        *,
        store: Store,
        authorities: Authorities,
        links: Links,
        sessions: Sessions,
        reports: Reports,
        metrics: Metrics,
        clock: Clock,
        names: frozenset[str],
        uniform: Callable[[float, float], float],
        entropy: Callable[[int], bytes],
        stopping: Stopping,
    ) -> None:
        self._store = store
        self._authorities = authorities
        self._links = links
        self._sessions = sessions
        self._reports = reports
        self._metrics = metrics
        self._clock = clock
        self._names = names
        self._uniform = uniform
        self._entropy = entropy
        self._stopping = stopping
        self.guarded_ports: tuple[int, ...] = ()
        """Of this machine, that an agent on it forwards nobody to: those of the operators."""

    async def serve(self, request: web.Request, address: str, hello_done: Callable[[], None]) -> web.WebSocketResponse:
        """address: where the agent comes from.  hello_done: called once, when it is no stranger any more, or gone."""
        socket = web.WebSocketResponse(
            max_msg_size=MAX_MESSAGE_BYTES + 1, compress=False, timeout=GOODBYE_WITHIN_S, writer_limit=16 * 1024
        )
        with contextlib.ExitStack() as greeting:
            greeting.callback(hello_done)
            await socket.prepare(request)
            link, why = None, ""
            try:
                link = await self._greet(socket, address)
            except TimeoutError:
                why = "no_hello"
            except AuxilioError as exc:
                why = exc.reason
                logs.info("link_refused", address=address, reason=exc.reason, error=exc.message)
                await self._refuse(socket, exc)
            except ConnectionError:
                why = "lost"
        if link is None:
            self._metrics.links_ended.labels(why="refused").inc()
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(GOODBYE_WITHIN_S):
                    await socket.close(code=REFUSED, message=close_reason(why))
            return socket
        await self._run(socket, link)
        return socket

    # -- hello ----------------------------------------------------------------------------------------------------

    async def _greet(self, socket: web.WebSocketResponse, address: str) -> Link:
        self._stopping.refuse()
        nonce = make_token(self._entropy(NONCE_BYTES))
        challenge = Challenge(nonce=nonce, relay_time=int(self._clock.now()), versions=VERSIONS)
        async with asyncio.timeout(HELLO_WITHIN_S):
            await socket.send_str(encode(challenge).decode("utf-8"))
            hello = message_of(await socket.receive())
        if not isinstance(hello, Hello):
            raise PeerFault("a link begins with hello", code="no_hello")
        records_put = self._links.records_put
        held, key, statement = await self._identify(hello, nonce)
        self._stopping.refuse()  # the goodbyes may have been said meanwhile
        link = Link(
            (held.id, key.id),
            relay=statement.relay,
            device_key=key.line,
            seen=seen_of(hello, address),
            record=hello.record,
            record_told=key.record_number,
            records_put=records_put,
            blob_token=make_token(self._entropy(NONCE_BYTES)),
        )
        link.send(
            Welcome(
                version=hello.version,
                heartbeat_s=PERIOD_S,
                blob_token=link.blob_token,
                charter=held.authority.charter_number,
                policy=held.authority.policy_order,
                record=key.record_number,
                report=key.report_number,
                samples=key.samples_number,
                guarded_ports=self.guarded_ports,
            )
        )
        newer = held.newer_than(hello.charter, hello.policy)
        if key.record_number > hello.record:
            newer = msgspec.structs.replace(newer, record=key.record_blob)
        if newer != Documents():
            link.send(newer)
        return link

    async def _identify(self, hello: Hello, nonce: str) -> tuple[Organisation, DeviceKey, LinkStatement]:
        """Who it is, proved. A device that is not known here is refused as an organisation that is not.

        Nothing is looked up before the signature and its audience are good: else whoever has copied a device's public
        key, or something that it signed elsewhere, could find out by our answer whether it is enrolled here.
        """
        if hello.version not in VERSIONS:
            raise Refused("a protocol version that this relay does not speak", code="unknown_version")
        # Read before it is verified, only to know whose signature it has to be.
        claimed = decode(hello.statement.payload, LinkStatement, limit=MAX_LINK_STATEMENT_BYTES)
        blob = parse_public_line(claimed.device_key).blob
        opened = open_by_key(hello.statement, namespace=LINK, keys={blob}, limit=MAX_LINK_STATEMENT_BYTES)
        statement = decode(opened.payload, LinkStatement, limit=MAX_LINK_STATEMENT_BYTES)
        check_audience(statement, organisation=statement.organisation, names=self._names, nonce=nonce)
        device = device_id(blob)
        held, key = await self._look_up(statement.organisation, device)
        if parse_public_line(key.line).blob != blob:
            raise _unknown_device()
        if key.revoked or device in held.revoked_devices:
            raise Refused("the device was removed from the organisation", code="device_revoked")
        return held, key, statement

    async def _look_up(self, organisation: OrganisationId, device: DeviceId) -> tuple[Organisation, DeviceKey]:
        try:
            held = await self._authorities.get(organisation)
        except Refused as exc:
            raise _unknown_device() from exc
        key = await self._store.look_up(lambda c: devices.find_key(c, organisation, device))
        if key is None:
            raise _unknown_device()
        # The newest by now: what was published while we read is not announced to a link that does not stand yet.
        return self._authorities.held(organisation) or held, key

    async def _refuse(self, socket: web.WebSocketResponse, error: AuxilioError) -> None:
        return_after_s = REVOKED_RETURN_S if error.reason == "device_revoked" else FAULT_RETURN_S
        if isinstance(error, Restarting):
            return_after_s = error.retry_after_s
        goodbye = Goodbye(reason=error.reason, return_after_s=return_after_s)
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(GOODBYE_WITHIN_S):
                await socket.send_str(encode(goodbye).decode("utf-8"))

    # -- the link stands ------------------------------------------------------------------------------------------

    async def _run(self, socket: web.WebSocketResponse, link: Link) -> None:
        liveness = Liveness(self._clock.monotonic(), self._uniform)
        self._links.attach(link)
        logs.info("link_up", organisation=link.key[0], device=link.key[1], address=link.seen.address)
        why = "lost"
        try:
            await self._catch_up(link)
            async with asyncio.TaskGroup() as tasks:
                sender = tasks.create_task(self._send(socket, link, liveness))
                why = await self._read(socket, link, liveness)
                if link.closing is not None:
                    why = link.closing
                else:
                    sender.cancel()
        except* ConnectionError:
            why = link.closing or "lost"
        finally:
            self._links.detach(link, why)
            logs.info("link_down", organisation=link.key[0], device=link.key[1], why=why)

    async def _catch_up(self, link: Link) -> None:
        """Announce a record that was approved between the hello and the link's standing."""
        if link.records_put == self._links.records_put:
            return
        try:
            key = await self._store.look_up(lambda c: devices.find_key(c, *link.key))
        except Unavailable as exc:
            link.close(exc.reason, return_after_s=FAULT_RETURN_S)
            return
        if key is not None and key.record_number > link.record_told:
            link.send(Documents(record=key.record_blob))

    async def _send(self, socket: web.WebSocketResponse, link: Link, liveness: Liveness) -> None:
        """Send what is queued, ping, and end the link when that is asked or the other end is dead."""
        while True:
            while (text := link.next_text()) is not None:
                try:
                    async with asyncio.timeout(SEND_WITHIN_S):
                        await socket.send_str(text)
                except TimeoutError:
                    link.close("not_reading")
                    _cut(socket)
                    return
            if link.closing is not None:
                break
            deadline = liveness.next_deadline()
            await link.wait(0.0 if deadline is None else deadline - self._clock.monotonic())
            for effect in liveness.on_tick(self._clock.monotonic()):
                if isinstance(effect, SendPing):
                    link.send(Ping(id=effect.id))
                else:
                    link.close("silent")
                    _cut(socket)
                    return
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(GOODBYE_WITHIN_S):
                code = FAULT if link.closing == "fault" else GOING_AWAY
                await socket.close(code=code, message=close_reason(link.closing))
        _cut(socket)

    async def _read(self, socket: web.WebSocketResponse, link: Link, liveness: Liveness) -> str:
        """Read until the link ends; return why it did."""
        pace = Buckets(per_s=MESSAGES_PER_S, burst=MESSAGE_BURST, limit=1)
        while True:
            received = await socket.receive()
            if received.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED):
                return "closed" if received.type is WSMsgType.CLOSE else "lost"
            now = self._clock.monotonic()
            liveness.heard(now)
            try:
                await self._hear(link, message_of(received), liveness)
            except Unavailable as exc:
                # The store did not take it: the agent keeps what it has, comes back and sends it again.
                logs.warning("link_paused", device=link.key[1], reason=exc.reason)
                link.close(exc.reason, return_after_s=FAULT_RETURN_S)
                return exc.reason
            except AuxilioError as exc:
                logs.warning("link_fault", device=link.key[1], reason=exc.reason, error=exc.message)
                link.close(exc.reason, return_after_s=FAULT_RETURN_S)
                return "fault"
            if (wait_s := pace.take("", now)) > 0.0:
                await asyncio.sleep(wait_s)

    async def _hear(self, link: Link, message: ToRelay | UnknownMessage, liveness: Liveness) -> None:
        match message:
            case Ping(id=id_):
                link.send(Pong(id=id_))
            case Pong(id=id_):
                liveness.on_pong(id_, self._clock.monotonic())
            case ReportSent(report=signed):
                await self._report(link, signed)
            case SamplesSent(samples=signed):
                await self._samples(link, signed)
            case Nonces(nonces=nonces, valid_s=valid_s):
                link.nonces.add(nonces, valid_s, self._clock.monotonic())
            case Held():
                charter, record = storable_number(message.charter), storable_number(message.record)
                self._links.holds(link, charter, order_of(message.policy), record, hashes_of(message.forks))
                if message.refused:
                    logs.warning("documents_refused", device=link.key[1], refused=" ".join(message.refused[:8]))
            case SessionWaiting() | SessionAccepted() | SessionRefused() | SessionAway() | SessionEnded():
                self._sessions.hear(link.key, message)
            case UnknownMessage():
                self._metrics.unknown_messages.inc()
            case Hello():
                raise PeerFault("a second hello", code="second_hello")

    async def _samples(self, link: Link, signed: Signed) -> None:
        organisation, device = link.key
        try:
            number, is_new = await accept_samples(
                self._store, organisation, device, link.device_key, signed, now=self._clock.now()
            )
        except AuxilioError as exc:
            if isinstance(exc, SamplesFull):
                self._metrics.quota_refusals.labels(what="samples").inc()
            self._metrics.samples.labels(outcome="refused").inc()
            raise
        self._metrics.samples.labels(outcome="committed" if is_new else "known").inc()
        link.send(SamplesAck(number=number))

    async def _report(self, link: Link, signed: Signed) -> None:
        try:
            outcome = await self._reports.accept(link.key, link.device_key, signed, self._clock.now())
        except AuxilioError:
            self._metrics.reports.labels(outcome="refused").inc()
            raise
        if not isinstance(outcome, Accepted):
            number, missing = outcome
            self._metrics.reports.labels(outcome="incomplete").inc()
            link.send(ReportMissing(number=number, sha256s=missing.sha256s))
            return
        self._metrics.reports.labels(outcome="committed" if outcome.is_new else "known").inc()
        link.send(ReportAck(number=outcome.number))
        if outcome.is_latest:
            self._links.tell_report(link.key, outcome.number)


def _unknown_device() -> Refused:
    return Refused("this relay does not know the device", code="unknown_device")


def _cut(socket: web.WebSocketResponse) -> None:
    request = socket._req
    if request is not None and request.transport is not None:
        request.transport.abort()
