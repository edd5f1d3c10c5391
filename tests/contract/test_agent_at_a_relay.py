"""A real agent at a real relay: joining, the link, the organisation's documents, and commands on the device."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol.api import Published, PublishPolicy
from protocol.charter import PolicyBase
from protocol.codec import encode
from protocol.errors import EXIT_CONFIG, EXIT_PEER, EXIT_REFUSED, EXIT_UNAVAILABLE
from protocol.ids import DeviceId, sha256
from protocol.policy import PolicyBundle, Relay
from protocol.revocation import Revocations, RevokedToken
from protocol.statement import Signed
from tests.support.agent_process import WITHIN_S, AgentProcess, wait_until
from tests.support.organisation import Organisation
from tests.support.relay_process import RelayProcess
from tests.support.relay_world import World

NO_RELAY = Relay(url="https://127.0.0.1:9", pin="sha256:" + "0" * 64)


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    """One for all tests of this file; each has an organisation of its own there."""
    made = RelayProcess()
    asyncio.run(made.init())
    asyncio.run(made.start())
    yield made
    asyncio.run(made.stop())
    shutil.rmtree(made.folder)


@pytest.fixture
async def world(relay: RelayProcess) -> AsyncIterator[World]:
    organisation = Organisation(Relay(url=relay.url, pin=relay.pin))
    await relay.add_organisation(organisation.id)
    made = World(relay, organisation)
    await organisation.publish(made.stranger)
    yield made
    await made.close()


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[AgentProcess]:
    made = AgentProcess(tmp_path / "agent")
    yield made
    await asyncio.to_thread(made.kill)


async def run(agent: AgentProcess, *arguments: str, **given: Any) -> subprocess.CompletedProcess[str]:
    done = await asyncio.to_thread(agent.command, *arguments, **given)
    assert "Traceback" not in done.stderr, done.stderr
    return done


async def refused(agent: AgentProcess, status: int, *arguments: str, **given: Any) -> str:
    """Run a command that is to fail with `status`, in one line and a hint; return these."""
    done = await run(agent, *arguments, **given)
    assert done.returncode == status, (done.returncode, done.stderr)
    lines = done.stderr.splitlines()
    assert lines[0].startswith("auxilio-agent: ") and len(lines) <= 2
    assert all(line.startswith("hint: ") for line in lines[1:])
    return done.stderr


async def until(agent: AgentProcess, condition: Callable[[dict[str, Any]], Any], what: str) -> dict[str, Any]:
    return await asyncio.to_thread(agent.wait_status, condition, what)


async def joined(world: World, agent: AgentProcess, *tags: str) -> DeviceId:
    device = DeviceId(await asyncio.to_thread(agent.join, world.organisation.join_token(tags=tags).text()))
    agent.start()
    await asyncio.to_thread(agent.wait_linked)
    return device


async def publish(world: World, **changes: Any) -> Signed:
    """The next policy, at the relay."""
    before = world.organisation.policy_number
    signed = world.organisation.publish_policy(**changes)
    path = f"/v1/organisations/{world.organisation.id}/policy"
    await world.stranger.request("POST", path, Published, body=PublishPolicy(policy=signed, expected=before))
    return signed


# -- joining ------------------------------------------------------------------------------------------------------


async def test_a_device_joins_links_and_is_provisional_until_its_record_comes(
    world: World, agent: AgentProcess
) -> None:
    device = await joined(world, agent, "clinic")
    status = await until(agent, lambda s: s["linked"], "linked")
    assert status["device"] == device and status["organisation"] == world.organisation.id
    assert status["provisional"] and status["tags"] == [] and status["relay"] == world.relay.url
    await world.approve(device, "clinic", "site=madrid")
    status = await until(agent, lambda s: not s["provisional"], "the record is there")
    assert status["tags"] == ["clinic", "site=madrid"]
    modes = {path.name: path.stat().st_mode & 0o777 for path in agent.state.iterdir()}
    assert modes["device_key"] == modes["sealing_key"] == modes["spool.sqlite"] == modes["journal.jsonl"] == 0o600
    assert agent.state.stat().st_mode & 0o777 == 0o700


async def test_a_second_join_and_a_second_agent_are_refused_with_a_hint(world: World, agent: AgentProcess) -> None:
    await joined(world, agent)
    said = await refused(agent, EXIT_CONFIG, "join", world.organisation.join_token().text())
    assert "already joined" in said and "leave" in said
    said = await refused(agent, EXIT_CONFIG, "run")
    assert "already running" in said and "--state" in said
    agent.stop()
    said = await refused(agent, EXIT_CONFIG, "join", "-", stdin=world.organisation.join_token().text())
    assert "already joined" in said


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: "hello", "not a join token"),
        (lambda text: text[:-40], "damaged or cut short"),
        (lambda text: text[: len(text) // 2] + "\x00" + text[len(text) // 2 :], "damaged"),
        (lambda text: "", "not a join token"),
    ],
)
async def test_a_spoilt_token_is_named_as_such(agent: AgentProcess, spoil: Callable[[str], str], said: str) -> None:
    text = Organisation(NO_RELAY).join_token().text()
    assert said in await refused(agent, EXIT_CONFIG, "join", "--file", "-", stdin=spoil(text))
    assert not agent.state.exists()


async def test_why_a_join_fails_is_said_and_it_can_be_tried_again_with_the_same_key(
    world: World, agent: AgentProcess
) -> None:
    good = world.organisation.join_token(uses=1)
    unreachable = world.organisation.join_token(NO_RELAY)
    other_pin = world.organisation.join_token(Relay(url=world.relay.url, pin=NO_RELAY.pin))
    expired = world.organisation.join_token(valid_s=10, since_s=3600)
    revoked = world.organisation.join_token()
    foreign = Organisation(*world.organisation.join_token().relays).join_token()
    await publish(world, revocations=Revocations(tokens=(RevokedToken(token=token_id(revoked.certificate)),)))

    assert "127.0.0.1:9" in await refused(agent, EXIT_UNAVAILABLE, "join", unreachable.text())
    key = (agent.state / "device_key").read_bytes()
    assert "pin" in await refused(agent, EXIT_PEER, "join", other_pin.text())
    assert "expired" in await refused(agent, EXIT_CONFIG, "join", expired.text())
    assert "revoked" in await refused(agent, EXIT_REFUSED, "join", revoked.text())
    await run(agent, "join", good.text())
    assert (agent.state / "device_key").read_bytes() == key
    assert json.loads((agent.state / "membership.json").read_bytes())["organisation"] == world.organisation.id

    other = AgentProcess(agent.state.parent / "other")
    assert "no uses left" in await refused(other, EXIT_REFUSED, "join", good.text())
    assert "auxilio-agent: " in await refused(other, EXIT_REFUSED, "join", foreign.text())


def token_id(certificate: str) -> Any:
    from protocol.certificate import parse_certificate
    from protocol.keys import line_blob

    return parse_certificate(line_blob(certificate)).key_id


async def test_a_join_that_is_killed_anywhere_can_be_repeated_and_uses_the_token_once(
    world: World, agent: AgentProcess
) -> None:
    """strace kills the agent at its n-th rename: the moments between which its files change."""
    token = world.organisation.join_token(uses=1).text()
    for rename in range(1, 40):
        done = subprocess.run(
            ["strace", "-f", "-qq", "-e", "trace=rename", "-e", f"inject=rename:signal=KILL:when={rename}",
             sys.executable, "-m", "agent.main", "join", token, "--state", str(agent.state)],
            capture_output=True, check=False, env=agent.environment, timeout=WITHIN_S,
        )  # fmt: skip
        if done.returncode == 0:
            break
        status = await run(agent, "status", "--json")
        assert status.returncode in (0, EXIT_CONFIG), status.stderr
        if status.returncode == 0:
            break
    assert rename > 4
    agent.start()
    await asyncio.to_thread(agent.wait_linked)


async def test_another_organisation_never_sees_the_key_that_was_made_for_this_one(
    world: World, agent: AgentProcess
) -> None:
    first = await joined(world, agent)
    assert (await run(agent, "leave")).returncode == 0
    second = await world.second_organisation()
    assert await joined(second, agent) != first
    await second.close()


async def test_leaving_ends_the_agent_and_forgets_everything_but_the_log(world: World, agent: AgentProcess) -> None:
    await joined(world, agent)
    done = await run(agent, "leave")
    assert done.returncode == 0 and "left" in done.stdout
    assert agent.process is not None and agent.process.wait(WITHIN_S) == 0
    assert {path.name for path in agent.state.iterdir() if path.is_file()} == {"journal.jsonl", "lock"}
    assert not list((agent.state / "charters").iterdir())
    assert [entry["event"] for entry in agent.journal()][-2:] == ["left", "stopped"]
    assert "has not joined" in await refused(agent, EXIT_CONFIG, "leave")


# -- the link -----------------------------------------------------------------------------------------------------


async def test_the_agent_is_back_after_the_relay_was_killed_and_says_why_it_was_offline(
    world: World, agent: AgentProcess
) -> None:
    device = await joined(world, agent, "clinic")
    _, client = await world.technician()
    await world.relay.kill()
    status = await until(agent, lambda s: not s["linked"], "it noticed")
    assert status["offline_reason"] and status["since_at"]
    await world.relay.start()
    status = await until(agent, lambda s: s["linked"], "it came back")
    assert status["offline_reason"] and status["last_failure"] == ""
    _, client = await world.technician()
    shown = await client.request("GET", f"/v1/devices/{device}", dict[str, Any])
    assert shown["presence"]["offline_reason"] == status["offline_reason"]
    assert (await run(agent, "status")).stdout.count(status["offline_reason"]) == 1


async def test_a_relay_that_restarts_is_met_again_when_it_said(world: World, agent: AgentProcess) -> None:
    await joined(world, agent)
    await world.relay.restart()
    await asyncio.to_thread(wait_until, lambda: len(agent.journal("online")) == 2, "it came back")
    assert "relay_restarting" in agent.journal("offline")[0]["reason"]


async def test_two_relays_are_tried_in_turn(world: World, agent: AgentProcess) -> None:
    await publish(world, relays=(NO_RELAY, Relay(url=world.relay.url, pin=world.relay.pin)))
    await joined(world, agent)


async def test_sigterm_and_ctrl_c_end_it_cleanly(world: World, agent: AgentProcess) -> None:
    await joined(world, agent)
    for number in (signal.SIGTERM, signal.SIGINT):
        assert agent.process is not None
        agent.process.send_signal(number)
        assert agent.process.wait(WITHIN_S) == 0
        assert agent.journal()[-1]["event"] == "stopped"
        assert "Traceback" not in agent.said() and not (agent.state / "control.sock").exists()
        agent.start()
        await asyncio.to_thread(agent.wait_linked)


# -- documents ----------------------------------------------------------------------------------------------------


async def test_a_new_policy_and_charter_reach_a_linked_device_and_one_that_was_away(
    world: World, agent: AgentProcess
) -> None:
    await joined(world, agent)
    await publish(world, max_session_s=3600)
    await until(agent, lambda s: s["policy"]["number"] == 2, "policy 2 while linked")
    agent.stop()
    await publish(world, max_session_s=1800)
    charter = world.organisation.next_charter()
    path = f"/v1/organisations/{world.organisation.id}/charters"
    await world.stranger.request("POST", path, Published, body=charter)
    agent.start()
    await until(agent, lambda s: s["policy"]["number"] == 3 and s["charter"] == 2, "both after it was away")
    agent.kill()
    done = await run(agent, "status", "--json")
    status = json.loads(done.stdout)
    assert not status["running"] and status["policy"]["number"] == 3 and status["charter"] == 2


async def test_a_policy_moves_a_device_from_its_relay_to_another(world: World, agent: AgentProcess) -> None:
    await joined(world, agent)
    async with RelayProcess() as second:
        elsewhere = World(second, world.organisation)
        await second.add_organisation(world.organisation.id)
        await world.organisation.publish(elsewhere.stranger)
        device = agent.status()["device"]
        await enrol_at(second, world, agent)
        await publish(world, relays=(Relay(url=second.url, pin=second.pin),))
        status = await until(agent, lambda s: s["linked"] and s["relay"] == second.url, "it moved")
        assert status["offline_reason"] == "the policy names other relays" and status["device"] == device
        await elsewhere.close()
        agent.stop()


async def enrol_at(second: RelayProcess, world: World, agent: AgentProcess) -> None:
    """Let the second relay know the device: relays of one organisation share what they know, these two do not yet."""
    from protocol.signing import load_private_key
    from transport.http import RelayClient
    from transport.relay_address import parse_address

    key: Any = load_private_key((agent.state / "device_key").read_bytes())
    signed = world.organisation.enrolment(world.organisation.join_token(), key)
    async with RelayClient(parse_address(second.url, second.pin)) as client:
        path = f"/v1/organisations/{world.organisation.id}/enrol"
        await client.request("POST", path, dict[str, Any], body=signed)


async def test_a_policy_is_imported_by_a_running_and_by_a_stopped_agent(
    world: World, agent: AgentProcess, tmp_path: Path
) -> None:
    await joined(world, agent)
    organisation = world.organisation
    file = tmp_path / "policy.bundle"

    def carry(policy: Signed) -> None:
        file.write_bytes(encode(PolicyBundle(charters=tuple(organisation.charters), policy=policy)))

    carry(organisation.publish_policy(max_session_s=60))
    done = await run(agent, "policy", "import", str(file))
    assert done.returncode == 0 and "2" in done.stdout and agent.status()["policy"]["number"] == 2
    agent.stop()
    carry(organisation.publish_policy(max_session_s=61))
    assert (await run(agent, "policy", "import", str(file))).returncode == 0
    assert agent.status()["policy"]["number"] == 3
    carry(organisation.policies[0])
    assert "not newer" in (await run(agent, "policy", "import", str(file))).stdout
    carry(Organisation(NO_RELAY).policies[0])
    await refused(agent, EXIT_PEER, "policy", "import", str(file))
    file.write_bytes(b"\xff\xfe")
    await refused(agent, EXIT_CONFIG, "policy", "import", str(file))
    await refused(agent, EXIT_CONFIG, "policy", "import", str(tmp_path / "none"))
    assert agent.status()["policy"]["number"] == 3


async def test_a_fork_of_the_policy_is_kept_out_and_reported_and_a_policy_base_resolves_it(
    world: World, agent: AgentProcess, tmp_path: Path
) -> None:
    await joined(world, agent)
    organisation = world.organisation
    await publish(world)
    await until(agent, lambda s: s["policy"]["number"] == 2, "policy 2")
    held = organisation.policies.pop()
    organisation.last_policy = None
    thief = organisation.publish_policy(relays=(NO_RELAY,))
    base_policy = held
    file = tmp_path / "fork"
    # Same number, other content: by a thief of the policy key.
    thief = renumbered(organisation, 2)
    file.write_bytes(encode(PolicyBundle(charters=tuple(organisation.charters), policy=thief)))
    assert "contradicts" in await refused(agent, EXIT_REFUSED, "policy", "import", str(file))
    assert agent.status()["forks"] == [sha256(thief.payload)]
    agent.stop()
    assert agent.status()["forks"] == [sha256(thief.payload)]
    organisation.next_charter(policy_base=PolicyBase(number=2, sha256=sha256(base_policy.payload)))
    file.write_bytes(encode(PolicyBundle(charters=tuple(organisation.charters), policy=base_policy)))
    assert (await run(agent, "policy", "import", str(file))).returncode == 0
    status = agent.status()
    assert status["forks"] == [] and status["policy"] == {"epoch": 2, "number": 2}


def renumbered(organisation: Organisation, number: int) -> Signed:
    """A policy with a number of one's choice."""
    import msgspec

    from protocol.policy import policy_payload
    from protocol.signing import KeySigner
    from protocol.statement import POLICY, seal_statement

    assert organisation.last_policy is not None
    policy = msgspec.structs.replace(organisation.last_policy, number=number, relays=(NO_RELAY,))
    return seal_statement(KeySigner(organisation.policy_key), POLICY, policy_payload(policy))


# -- what it costs ------------------------------------------------------------------------------------------------


async def test_an_idle_agent_carries_no_ssh_and_no_server_and_takes_no_time(world: World, agent: AgentProcess) -> None:
    agent.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    await joined(world, agent)
    await asyncio.to_thread(agent.wait_reported)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in agent.said().splitlines() if "|" in line}
    assert {"agent", "msgspec", "picows", "cryptography"} <= imported
    heavy = {"asyncssh", "aiohttp", "sqlalchemy", "alembic", "click", "rich", "uvloop", "hypothesis"}
    assert not imported & heavy

    def cpu_s() -> float:
        fields = Path(f"/proc/{agent.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = cpu_s()
    await asyncio.sleep(5.0)  # a measurement of a span, not a wait for something
    assert cpu_s() - before < 0.1
