"""Devices by host name and by the beginning of an id: `auxilio` and stock ssh, and real agents with such names."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from tests.support.agent_process import AgentProcess, wait_until
from tests.support.device_world import named
from tests.support.world import World


class Office(World):
    """Two approved devices: `dana` (world.device) and `eva`, each in a UTS namespace with its name."""

    def __init__(self) -> None:
        super().__init__()
        self.eva, self.eva_device = AgentProcess(self.folder / "agent-eva"), ""
        self.agent.prefix, self.eva.prefix = named("dana-laptop"), named("eva-laptop")

    def furnish(self) -> None:
        dana_device = self.device
        self._make_device(self.eva, ("lab",))
        self.eva_device, self.device = self.device, dana_device
        self.wait_called(self.device, "dana-laptop")
        self.wait_called(self.eva_device, "eva-laptop")

    def rename(self, agent: AgentProcess, device: str, name: str) -> None:
        """Start the agent anew on a host of this name, and wait until the relay knows."""
        agent.stop()
        agent.prefix = named(name)
        agent.start()
        self.wait_called(device, name)

    def wait_called(self, device: str, name: str) -> None:
        wait_until(lambda: self._called(device) == name, f"{device} reported that it is called {name}")

    def _called(self, device: str) -> str:
        with sqlite3.connect(f"file:{self.relay.database}?mode=ro", uri=True, timeout=10) as database:
            query = "SELECT hostname FROM devices WHERE id = ? AND online AND hostname_key IS NOT NULL"
            row = database.execute(query, (device,)).fetchone()
        return row[0] if row else ""

    def end(self) -> None:
        self.eva.stop()
        super().end()


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    world = Office.begin("lab")
    assert isinstance(world, Office)
    try:
        world.furnish()
        yield world
    finally:
        world.end()


def test_a_device_is_shown_and_reached_by_its_host_name(office: Office) -> None:
    assert office.console_json("show", "Dana-Laptop", "system", "--json")["id"] == office.device
    assert office.console("ssh", "eva-laptop", "--", "uname -n") == "eva-laptop\n"


def test_stock_ssh_reaches_a_device_by_host_name_and_by_the_beginning_of_its_id(office: Office) -> None:
    for host, name in (
        ("DANA-laptop.auxilio", "dana-laptop"),
        (f"{office.eva_device[:8]}.auxilio", "eva-laptop"),
        (f"admin@{office.device}.auxilio", "dana-laptop"),
    ):
        done = office.run(office.stock_ssh(host, "uname -n; cat"), stdin=b"given\n")
        assert (done.returncode, done.stdout) == (0, f"{name}\ngiven\n".encode()), done.stderr


def test_stock_ssh_refuses_what_answers_under_a_name_with_another_key(office: Office) -> None:
    office.console("show", "dana-laptop")  # remembered, whichever test runs first
    proxy = " ".join(office.auxilio("proxy", office.eva_device, "--account", "admin"))
    done = office.run(office.stock_ssh("-o", f"ProxyCommand={proxy}", "dana-laptop.auxilio", "true"))
    assert done.returncode == 255
    assert b"this is not the key of dana-laptop.auxilio" in done.stderr
    assert b"Host key verification failed" in done.stderr


def test_a_device_that_takes_anothers_name_captures_nothing_and_the_reason_is_told(office: Office) -> None:
    office.console("show", "dana-laptop")
    office.rename(office.eva, office.eva_device, "dana-laptop")
    for done in (
        office.run(office.stock_ssh("dana-laptop.auxilio", "true")),
        office.run(office.auxilio("ssh", "dana-laptop", "--", "true")),
    ):
        assert done.returncode == 255
        said = done.stderr.decode()
        assert f"{office.device} (called dana-laptop, what it meant before)" in said
        assert office.eva_device in said
    office.rename(office.agent, office.device, "old-laptop")
    done = office.run(office.stock_ssh("dana-laptop.auxilio", "true"))
    assert done.returncode == 255
    assert f"dana-laptop was {office.device} when it was used here before".encode() in done.stderr
    assert b"auxilio device forget dana-laptop" in done.stderr
    office.console("device", "forget", "dana-laptop")
    assert office.console("ssh", "dana-laptop", "--", "uname -n") == "dana-laptop\n"
    assert office.console_json("show", "dana-laptop", "system", "--json")["id"] == office.eva_device
