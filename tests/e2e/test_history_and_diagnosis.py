"""`auxilio show DEVICE --since` and `auxilio diagnose DEVICE`: real agent, real relay, real console."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from typing import Any

import pytest

from protocol.codec import decode, encode
from protocol.errors import EXIT_BROKEN, EXIT_OK, EXIT_REFUSED, EXIT_WARNINGS
from protocol.samples import METRICS
from protocol.sections.connectivity import RUNGS
from protocol.statement import Signed
from tests.support.agent_process import wait_until
from tests.support.samples_kept import counted, raw_instants
from tests.support.world import World

BLOCKS = set("▁▂▃▄▅▆▇█")
LOOKED = (EXIT_OK, EXIT_WARNINGS, EXIT_BROKEN)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Its device measures every second, and everything else of its samples is as much faster. It is attended."""
    world = World.begin("clinic")
    try:
        world.agent.stop()
        world.agent.run_arguments = ("--sample-every", "1")
        world.agent.start()
        world.agent.wait_linked()
        yield world
    finally:
        world.end()


def kept(world: World) -> list[int]:
    return raw_instants(world.relay.database, world.device)


def shown(world: World, since: str = "1h") -> dict[str, Any]:
    told: dict[str, Any] = world.console_json("show", world.device, "--since", since, "--json")
    return told


# -- history ---------------------------------------------------------------------------------------------------------


def test_what_the_device_measures_is_drawn_and_given_as_json_and_csv(world: World) -> None:
    wait_until(lambda: len(kept(world)) >= 10, "some batches are at the relay")
    drawn = world.console("show", world.device, "--since", "10m")
    assert "measured and signed by the device" in drawn
    for metric in ("cpu_percent", "memory_percent", "disk_free_bytes"):
        assert f"\n{metric}: " in drawn
    assert set(drawn) & BLOCKS and "without a relay" not in drawn
    told = shown(world)
    assert told["signed"] and told["step_s"] == 0 and told["unverified_batches"] == 0
    assert len(told["samples"]) >= 10 and told["units"]["memory_percent"] == "%"
    assert all(0 <= sample["memory_percent"] <= 100 for sample in told["samples"])
    rows = list(csv.reader(io.StringIO(world.console("show", world.device, "--since", "1h", "--csv"))))
    assert rows[0] == ["at", *METRICS] and len(rows) - 1 >= len(told["samples"])
    assert [int(row[0]) for row in rows[1:]] == sorted({int(row[0]) for row in rows[1:]})


def test_before_the_last_two_days_it_is_the_relays_word_and_is_said_to_be(world: World) -> None:
    wait_until(lambda: kept(world), "a batch is at the relay")
    drawn = world.console("show", world.device, "--since", "7d")
    assert "rolled up by the relay: its word" in drawn and "\nmemory_percent: " in drawn
    told = shown(world, "7d")
    assert not told["signed"] and told["step_s"] == 300
    cell = told["samples"][-1]["memory_percent"]
    assert cell["count"] > 0 and cell["least"] <= cell["mean"] <= cell["most"]


def test_while_the_relay_is_away_samples_wait_and_afterwards_each_is_there_once(world: World) -> None:
    before = wait_until(lambda: kept(world), "a batch is at the relay")
    asyncio.run(world.relay.stop())
    world.agent.wait_status(lambda s: not s["linked"], "the relay is away")
    # Longer than what counts as an outage.
    away = world.agent.wait_status(lambda s: s["spool"]["samples"] >= 30, "samples wait in the spool")
    asyncio.run(world.relay.start())
    world.agent.wait_linked()
    wait_until(lambda: len(kept(world)) >= len(before) + away["spool"]["samples"], "what waited has arrived")
    instants = kept(world)
    assert instants[: len(before)] == before and instants == sorted(set(instants))
    assert max(later - earlier for earlier, later in pairwise(instants)) < 15, "none was lost while it was away"
    assert counted(world.relay.database, world.device, 300) == counted(world.relay.database, world.device, 3600)
    told = wait_until(lambda: t if (t := shown(world))["outages"] else None, "the outage is reported")
    assert told["outages"][0]["from_at"] < told["outages"][0]["until_at"]
    drawn = world.console("show", world.device, "--since", "10m")
    assert "x: without a relay" in drawn and "╰" in drawn


def test_a_batch_that_the_relay_changed_is_not_shown(world: World) -> None:
    wait_until(lambda: kept(world), "a batch is at the relay")
    whole = shown(world)
    with closing(sqlite3.connect(world.relay.database, timeout=30)) as db:
        number, data = db.execute("SELECT number, signed FROM sample_batches ORDER BY number LIMIT 1").fetchone()
        signed = decode(data, Signed)
        forged = Signed(payload=signed.payload.replace(b'"number":', b'"number": '), signature=signed.signature)
        with db:
            db.execute("UPDATE sample_batches SET signed = ? WHERE number = ?", (encode(forged), number))
    try:
        done = world.run(world.auxilio("show", world.device, "--since", "1h", "--json"))
        told = json.loads(done.stdout)
        assert told["unverified_batches"] == 1 and b"NOT SHOWN" in done.stderr
        gone = {sample["at"] for sample in whole["samples"]} - {sample["at"] for sample in told["samples"]}
        assert gone and min(gone) == whole["samples"][0]["at"]
    finally:
        with closing(sqlite3.connect(world.relay.database, timeout=30)) as db, db:
            db.execute("UPDATE sample_batches SET signed = ? WHERE number = ?", (data, number))


@pytest.mark.parametrize("arguments", [("memory", "--since", "1h"), ("--csv",), ("--since", "1h", "--csv", "--json")])
def test_options_that_do_not_go_together_are_said_to(world: World, arguments: tuple[str, ...]) -> None:
    assert "--since" in world.console("show", world.device, *arguments, status=2)


# -- diagnose --------------------------------------------------------------------------------------------------------


def test_a_device_looks_at_itself_when_a_technician_asks_and_the_customer_is_not_asked(world: World) -> None:
    done = world.run(world.auxilio("diagnose", world.device))
    assert done.returncode in LOOKED, done.stderr
    looked_at = [line.split()[-1] for line in done.stderr.decode().splitlines() if line.startswith("looked at ")]
    assert {"memory", "storage", "gateway", "dns", "relay"} <= set(looked_at)
    lines = done.stdout.decode().splitlines()
    assert [line.split()[0] for line in lines if line.split()[:1] and line.split()[0] in RUNGS] == list(RUNGS)
    (opened,) = world.wait_journal("channel_open")[-1:]
    assert opened["kind"] == "look" and world.agent.journal("consent_asked") == []


def test_as_json_it_is_what_the_devices_own_command_says(world: World) -> None:
    done = world.run(world.auxilio("diagnose", world.device, "--json"))
    assert done.returncode in LOOKED and done.stderr == b""
    told = json.loads(done.stdout)
    own = world.agent.command("diagnose", "--json")
    said = json.loads(own.stdout)
    assert told["id"] == world.device and told["relay"] == world.relay.url == said["relay"]
    assert told["status"] == said["status"] and done.returncode == own.returncode
    assert told.keys() - {"id"} == said.keys()
    assert told["sections"].keys() == said["sections"].keys()
    assert [rung["name"] for rung in told["sections"]["connectivity"]["rungs"]] == list(RUNGS)
    assert [f["code"] for f in told["findings"]] == [f["code"] for f in said["findings"]]


def test_who_may_view_may_look_and_nothing_else_and_who_may_not_is_refused(world: World) -> None:
    world.technician("viewer", may="view")
    viewer = world.login("viewer")
    done = viewer.run(viewer.auxilio("diagnose", world.device, "--json"))
    assert done.returncode in LOOKED, done.stderr
    assert viewer.run(viewer.auxilio("ssh", world.device, "--", "true")).returncode == 255
    world.technician("writer", may="files,shell")
    writer = world.login("writer")
    assert "no right to view" in writer.console("diagnose", world.device, status=EXIT_REFUSED)
    world.technician("elsewhere", may="view", scope="tag:other")
    elsewhere = world.login("elsewhere")
    elsewhere.console("diagnose", world.device, status=EXIT_REFUSED)


def test_a_device_looks_no_more_often_than_is_good_for_it(world: World) -> None:
    said = ""
    for _ in range(8):
        done = world.run(world.auxilio("diagnose", world.device, "--json"))
        if done.returncode == EXIT_REFUSED:
            said = done.stderr.decode()
            break
    assert "often enough" in said and "hint: " in said
    assert world.wait_journal("channel_refused")[-1]["code"] == "too_soon"
