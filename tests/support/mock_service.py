"""A service of python-dbusmock's on a bus of a test: the objects and properties that the test gives it, served by
another implementation of D-Bus than the one we read it with."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from dbus_fast import Variant

from agent.facts.sources.dbus import Service, ask_service
from tests.support.agent_process import wait_until
from tests.support.modem_bus import PrivateBus, end

PYTHON = "/usr/bin/python3"
"""Debian's, which has Debian's python3-dbusmock."""

MOCK = "org.freedesktop.DBus.Mock"


def need_dbusmock() -> None:
    """Skip the test module where it is missing; in CI that is a failure."""
    if not Path("/usr/lib/python3/dist-packages/dbusmock").exists():
        pytest.skip("needs python3-dbusmock", allow_module_level=True)


class MockService:
    """It is on the bus when `with` begins. arguments: to dbusmock after the bus."""

    def __init__(self, bus: PrivateBus, name: str, *arguments: str) -> None:
        self._bus, self.name, self._arguments = bus, name, arguments
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [PYTHON, "-m", "dbusmock", "--session", *self._arguments]
        self._process = subprocess.Popen(command, env=self._bus.environment, stdin=subprocess.DEVNULL)
        wait_until(lambda: self._bus.has(self.name), f"{self.name} is on the bus")
        return self

    def call(self, path: str, member: str, signature: str, *body: Any, interface: str = MOCK) -> Any:
        async def question(service: Service) -> Any:
            return await service.call(path, interface, member, signature, body)

        return ask_service(self.name, question, self._bus.address)

    def add(self, root: str, path: str, interfaces: Mapping[str, Mapping[str, Variant]]) -> None:
        """An object with these interfaces. root: whose mock makes it."""
        first, *others = interfaces
        methods: Sequence[Any] = ()
        self.call(root, "AddObject", "ssa{sv}a(ssss)", path, first, dict(interfaces[first]), list(methods))
        for name in others:
            self.call(path, "AddProperties", "sa{sv}", name, dict(interfaces[name]))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end(self._process)
