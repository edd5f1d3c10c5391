"""Asking a service on D-Bus for its objects' properties. Nothing is started for it, and nothing waits without end.

dbus-fast is imported when the first question is asked: machines without a bus never pay for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from agent.facts.source import Missing

T = TypeVar("T")

CALL_S = 3.0
"""For one answer. ModemManager and NetworkManager answer properties from memory, in milliseconds."""

MAX_OBJECTS = 2000

Properties = Mapping[str, Any]
Objects = Mapping[str, Mapping[str, Properties]]

PROPERTIES = "org.freedesktop.DBus.Properties"


class Service:
    """One service on a bus that is connected. Every question raises Missing where it has no answer."""

    def __init__(self, bus: Any, name: str) -> None:
        self._bus = bus
        self._name = name

    async def objects(self, path: str) -> Objects:
        """path: of its ObjectManager. Objects to interfaces to properties."""
        found = await self.call(path, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        return dict(list(found.items())[:MAX_OBJECTS]) if isinstance(found, dict) else {}

    async def properties(self, path: str, interface: str) -> Properties:
        found = await self.call(path, PROPERTIES, "GetAll", "s", [interface])
        return found if isinstance(found, dict) else {}

    async def call(self, path: str, interface: str, member: str, signature: str = "", body: Sequence[Any] = ()) -> Any:
        """The first value of the answer, its variants unpacked; None for none."""
        from dbus_fast import Message, MessageFlag, MessageType
        from dbus_fast.unpack import unpack_variants

        message = Message(
            destination=self._name,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
            flags=MessageFlag.NO_AUTOSTART,
        )
        async with asyncio.timeout(CALL_S):
            reply = await self._bus.call(message)
        if reply.message_type is MessageType.ERROR:
            raise Missing(f"{self._name} says {reply.error_name}: {' '.join(map(str, reply.body))}"[:200])
        return unpack_variants(reply.body[0]) if reply.body else None


def ask_service(name: str, question: Callable[[Service], Awaitable[T]], address: str | None = None) -> T:
    """Connect, ask, and leave. name: of the service.  address: of the bus; the system's by default.

    Raises Missing with the reason: no bus, no such service, no answer in time.
    """
    try:
        return asyncio.run(_ask(name, question, address))
    except TimeoutError:
        raise Missing(f"{name} did not answer within {CALL_S:.0f} s") from None
    except ImportError:
        raise Missing("the package dbus-fast is not installed") from None


async def _ask(name: str, question: Callable[[Service], Awaitable[T]], address: str | None) -> T:
    from dbus_fast import BusType, Message
    from dbus_fast.aio import MessageBus
    from dbus_fast.errors import DBusError, InvalidAddressError

    bus = None
    try:
        try:
            bus = MessageBus(bus_type=BusType.SYSTEM, bus_address=address)
            async with asyncio.timeout(CALL_S):
                await bus.connect()
                asked = Message(
                    destination="org.freedesktop.DBus",
                    path="/org/freedesktop/DBus",
                    interface="org.freedesktop.DBus",
                    member="NameHasOwner",
                    signature="s",
                    body=[name],
                )
                reply = await bus.call(asked)
        except TimeoutError:
            raise  # which is an OSError, too
        except (OSError, EOFError, InvalidAddressError, DBusError) as exc:
            raise Missing(f"there is no system bus: {exc}"[:200]) from None
        if reply is None or not reply.body or reply.body[0] is not True:
            raise Missing(f"{name} does not run")
        return await question(Service(bus, name))
    finally:
        if bus is not None:
            bus.disconnect()
