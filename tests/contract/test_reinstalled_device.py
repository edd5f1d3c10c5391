"""A machine that was reinstalled: its history goes on with its new id where an admin signs that, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.agent_process import AgentProcess
from tests.support.console_world import ConsoleWorld
from tests.support.device_world import named


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleWorld]:
    with ConsoleWorld(tmp_path_factory.mktemp("reinstalled")) as world:
        yield world


def _agent(world: ConsoleWorld, name: str) -> tuple[AgentProcess, str]:
    """Provisional, on a host that is always called so."""
    agent = AgentProcess(world.folder / name)
    agent.prefix = named("dana-laptop")
    world.agents.append(agent)
    device = agent.join(world.admin.json("join-token", "create", "--tag", "suggested")["join_token"])
    agent.start()
    agent.wait_reported()
    return agent, device


def test_the_history_of_a_reinstalled_machine_goes_on_with_its_new_id(world: ConsoleWorld) -> None:
    agent, old = _agent(world, "old")
    world.admin.run("device", "approve", old, "--tag", "free", "--tag", "clinic", "--yes")
    agent.wait_status(lambda status: not status["provisional"], "it has its record")
    assert world.admin.out("ssh", "dana-laptop", "-p", "before", "--", "uname -n") == "dana-laptop\n"
    agent.stop()
    agent, new = _agent(world, "new")

    said = world.admin.run("device", "approve", new, "--continues", old, "--yes").stderr.decode()
    assert f"auxilio device remove {old}" in said
    agent.wait_status(lambda status: not status["provisional"], "it has its record")
    assert agent.status()["tags"] == ["clinic", "free"], "those of the old one, not those that the token suggests"
    line, _ = world.admin.fails("device", "approve", old, "--continues", new, "--yes", status=3)
    assert "a continuation of" in line

    done = world.admin.run("ssh", "dana-laptop", "-p", "after", "--", "uname -n")
    assert done.stdout == b"dana-laptop\n"
    assert f"{new} continues it, by ada's word" in done.stderr.decode()
    world.admin.run("device", "remove", old, "--yes")
    shown = world.admin.json("show", "dana-laptop", "--history")
    assert (shown["id"], shown["continues"]) == (new, old)
    assert [(one["id"], one["state"]) for one in shown["history"]] == [(old, "removed")]
    assert shown["history"][0]["sections"]["system"]["hostname"] == "dana-laptop"
    assert shown["history"][0]["report_fault"] is None and shown["history"][0]["section_faults"] == {}
    assert [(s["device"], s["purpose"]) for s in shown["sessions"]] == [(new, "after"), (old, "before")]
    world.admin.run("device", "tag", new, "+kiosk")  # whose record says it again
    text = world.admin.out("show", new, "system", "--history")
    assert old in text and "before" in text and "removed" in text
