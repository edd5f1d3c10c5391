"""What an agent says over its link, as the relay takes it: typed, bounded, and fit for a database."""

from __future__ import annotations

from aiohttp import WSMessage, WSMsgType

from protocol.authority import MAX_FORKS
from protocol.errors import BadMessage
from protocol.ids import Sha256, parse_sha256
from protocol.link import Hello, PolicyNumber, ToRelay, UnknownMessage, decode_to_relay
from relay.store.devices import Seen
from relay.store.store import storable, storable_number


def message_of(received: WSMessage) -> ToRelay | UnknownMessage:
    """Raises BadMessage; ConnectionError where the socket ended instead."""
    if received.type is WSMsgType.TEXT:
        return decode_to_relay(received.data)
    if received.type is WSMsgType.ERROR:
        raise BadMessage("not a WebSocket message, or a message that is too long")
    if received.type is WSMsgType.BINARY:
        raise BadMessage("binary data on a link")
    raise ConnectionResetError("the link ended before hello")


def seen_of(hello: Hello, address: str) -> Seen:
    return Seen(
        address=address,
        agent=storable(hello.agent, 64),
        charter=storable_number(hello.charter),
        policy=order_of(hello.policy),
        offline_reason=storable(hello.offline_reason, 300),
        offline_since_at=storable_number(hello.offline_since_at),
        forks=hashes_of(hello.forks),
    )


def order_of(policy: PolicyNumber) -> PolicyNumber:
    return PolicyNumber(epoch=storable_number(policy.epoch), number=storable_number(policy.number))


def hashes_of(claimed: tuple[Sha256, ...]) -> tuple[Sha256, ...]:
    """Raises BadMessage."""
    return tuple(parse_sha256(name) for name in claimed[:MAX_FORKS])
