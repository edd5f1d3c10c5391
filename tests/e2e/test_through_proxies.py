"""Everything through real proxies with credentials: Debian's tinyproxy (HTTP) and microsocks (SOCKS5).

    console, agent, session child  ---->  proxy  ---->  relay
                                            | alone knows the name relay.auxilio.test

The relay's name is in no resolver but the proxies' own: whatever did not go through one of them could not go at all.
"""

from __future__ import annotations

import hashlib
import os
import pwd
from collections.abc import Iterator

import pytest

from tests.support.agent_process import AgentProcess
from tests.support.console_process import ConsoleProcess
from tests.support.console_world import ConsoleWorld
from tests.support.daemons import may_mount, microsocks, need, own_loopback, tinyproxy, with_hosts
from tests.support.relay_process import RelayProcess

need("tinyproxy", "microsocks")
pytestmark = pytest.mark.skipif(not may_mount(), reason="mounting is not allowed here, even in a namespace")

NAME = "relay.auxilio.test"
USER, PASSWORD = "ana", "s3cret-word"
SETTINGS = f'[server]\nlisten = "127.0.0.1:0"\nnames = ["{NAME}:0"]\n'
ACCOUNT = pwd.getpwuid(os.geteuid()).pw_name
PIECE = bytes(range(256)) * 4096


class Proxies:
    def __init__(self, host: str) -> None:
        self.http, self.socks = f"http://{host}:8888", f"socks5://{host}:1080"

    @staticmethod
    def full(url: str, password: str = PASSWORD) -> str:
        return url.replace("://", f"://{USER}:{password}@")


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxies]:
    folder, host = tmp_path_factory.mktemp("proxies"), own_loopback()
    hosts = folder / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {NAME}\n")
    with (
        tinyproxy(folder, host, USER, PASSWORD, with_hosts(hosts)),
        microsocks(folder, host, USER, PASSWORD, with_hosts(hosts)),
    ):
        yield Proxies(host)


@pytest.fixture(scope="module")
def world(proxies: Proxies, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleWorld]:
    """Whose environment names the HTTP proxy."""
    folder = tmp_path_factory.mktemp("world")
    relay = RelayProcess(folder / "relay", settings=SETTINGS)
    with ConsoleWorld(folder, relay=relay, environment={"HTTPS_PROXY": proxies.full(proxies.http)}) as world:
        yield world


def works(console: ConsoleProcess, agent: AgentProcess, device: str) -> None:
    """Link, reports, documents, blobs, and a session whose two legs carry a MiB each way."""
    agent.wait_reported()
    assert device in console.out("devices")
    assert console.json("show", device, "memory")
    command = ("ssh", device, "--account", ACCOUNT, "--", "tee /dev/stderr | sha256sum")
    done = console.run(*command, stdin=PIECE)
    assert done.stdout.split()[0].decode() == hashlib.sha256(PIECE).hexdigest()
    assert done.stderr.endswith(PIECE)


def is_silent(agent: AgentProcess) -> None:
    """No credentials where anybody reads."""
    said = agent.said() + str(agent.status()) + str(agent.journal()) + agent.command("status").stdout
    assert PASSWORD not in said and f"{USER}:" not in said


def test_everything_goes_through_the_http_proxy_that_the_environment_names(
    world: ConsoleWorld, proxies: Proxies
) -> None:
    agent, device = world.agent("free")
    technician = world.technician("ana", account=ACCOUNT)
    works(technician, agent, device)
    assert agent.status()["proxy"] == proxies.http
    assert f"through the proxy {proxies.http}" in agent.command("status").stdout
    assert agent.journal("online")[0]["proxy"] == proxies.http
    is_silent(agent)
    done = agent.command("proxy", "direct")
    assert done.returncode == 0, done.stderr
    agent.wait_status(lambda s: "cannot be resolved" in s["last_failure"], "direct, whatever the environment says")


def without_environment(world: ConsoleWorld) -> dict[str, str]:
    return dict.fromkeys(world.environment, "")


def test_everything_goes_through_the_socks_proxy_that_was_set(world: ConsoleWorld, proxies: Proxies) -> None:
    agent = AgentProcess(world.folder / "agent-socks", without_environment(world))
    world.agents.append(agent)
    token = world.admin.json("join-token", "create", "--tag", "free")["join_token"]
    away = agent.command("join", "-", stdin=token)
    assert away.returncode == 4 and "cannot be resolved" in away.stderr, "there is no other way"

    done = agent.command("proxy", "-", stdin=f"{proxies.full(proxies.socks)}\n")
    assert done.returncode == 0 and proxies.socks in done.stdout, done.stderr
    kept = agent.state / "way.json"
    assert PASSWORD in kept.read_text() and kept.stat().st_mode & 0o077 == 0
    device = agent.join(token)
    agent.start()
    agent.wait_linked()
    world.admin.run("device", "approve", device, "--yes")
    agent.wait_status(lambda status: not status["provisional"], "the agent has its record")

    world.technician("eva", account=ACCOUNT)
    console = ConsoleProcess(world.folder / "home-socks", without_environment(world))
    login = ("login", world.relay.url, "--pin", world.relay.pin, "--organisation", world.organisation)
    given = ("--key", str(world.folder / "key-eva"), "--proxy", "-")
    console.run(*login, *given, stdin=f"{proxies.full(proxies.socks)}\n")
    works(console, agent, device)
    assert agent.status()["proxy"] == proxies.socks
    assert agent.command("proxy").stdout.strip().endswith(proxies.socks)
    is_silent(agent)


def test_a_new_setting_holds_at_once_and_a_wrong_one_says_what_is_wrong(world: ConsoleWorld, proxies: Proxies) -> None:
    [agent] = [agent for agent in world.agents if agent.state.name == "agent-socks"]
    for url in (proxies.http, proxies.socks):
        done = agent.command("proxy", proxies.full(url, "wrong-word"))
        assert done.returncode == 0, done.stderr
        agent.wait_status(lambda s: "user and password" in s["last_failure"], "the proxy's refusal shows")
        right = agent.command("proxy", proxies.full(url))
        assert right.returncode == 0, right.stderr
        agent.wait_status(lambda s, url=url: s["linked"] and s["proxy"] == url, "linked through the right one")
    assert agent.status()["offline_reason"] == "another way to the relay was set"
    assert [entry["proxy"] for entry in agent.journal("proxy_set")] == [proxies.http] * 2 + [proxies.socks] * 2
    assert "wrong-word" not in agent.said()
    agent.command("proxy", "environment")
    agent.wait_status(lambda s: "cannot be resolved" in s["last_failure"], "it names none")
    refused = agent.command("proxy", "https://ana:secret@proxy")
    assert refused.returncode == 6 and "secret" not in refused.stderr and "hint:" in refused.stderr


@pytest.mark.parametrize("kind", ["http", "socks"])
def test_the_console_says_what_a_proxy_wants(world: ConsoleWorld, proxies: Proxies, kind: str) -> None:
    url = getattr(proxies, kind)
    console = ConsoleProcess(world.folder / f"home-wrong-{kind}", without_environment(world))
    login = ("login", world.relay.url, "--pin", world.relay.pin, "--organisation", world.organisation, "--proxy")
    line, hint = console.fails(*login, url, status=4)
    assert "wants a user and a password" in line and "user:password@" in hint
    line, hint = console.fails(*login, proxies.full(url, "wrong-word"), status=4)
    assert "does not accept the user and password" in line and "wrong-word" not in f"{line} {hint}"
    if kind == "http":
        line, hint = console.fails(*login, proxies.full(proxies.socks).replace("socks5:", "http:"), status=4)
        assert "proxy" in line and "socks5://" in hint
    assert not (console.home / "settings.json").exists(), "only what worked is remembered"
