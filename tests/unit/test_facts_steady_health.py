"""What moves all the time in health, heat, services, events and printers says nothing new; what happened does."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.facts.steady import settle
from agent.facts.steady_health import warmth
from protocol.sections.devices import Devices, Printer
from protocol.sections.events import Event, Events
from protocol.sections.health import DiskHealth, Health
from protocol.sections.services import FailedService, Services
from protocol.sections.temperatures import Fan, Sensor, Temperatures


def disk(**fields: Any) -> Health:
    return Health(disks=(DiskHealth(name="sda", passed=True, **fields),))


def test_a_disk_that_grows_older_by_an_hour_says_nothing_new_and_one_that_fails_does() -> None:
    first = settle(None, disk(power_on_hours=20_000, temperature_c=41, written=10**13, logged_errors=212, pending=0))
    later = disk(power_on_hours=20_001, temperature_c=43, written=10**13 + 10**9, logged_errors=213, pending=0)
    assert settle(first, later) == first
    assert settle(first, disk(power_on_hours=20_001, temperature_c=41, pending=1)) != first
    assert first.disks[0].temperature_c == 40


def test_a_disk_that_went_to_sleep_keeps_what_it_said_awake() -> None:
    awake = settle(None, disk(reallocated=12, temperature_c=40))
    asleep = Health(disks=(DiskHealth(name="sda", asleep=True),))
    assert settle(awake, asleep) == awake
    assert settle(None, asleep) == asleep


@given(st.integers(-40, 120), st.lists(st.integers(-2, 2), max_size=20))
def test_a_temperature_that_trembles_is_said_at_most_twice(centre: int, tremors: list[int]) -> None:
    said: list[int | None] = [None]
    for tremor in tremors:
        now = warmth(said[-1], centre + tremor)
        assert now is not None and abs(now - (centre + tremor)) < 7.5
        if now != said[-1]:
            said.append(now)
    assert len(said) <= 3


def test_a_fan_that_rests_is_no_news_and_one_that_is_broken_is() -> None:
    def heat(celsius: int, **fan: Any) -> Temperatures:
        return Temperatures(
            sensors=(Sensor(chip="k10temp", celsius=celsius),), fans=(Fan(chip="n", label="CPU", **fan),)
        )

    first = settle(None, heat(52, turns=True))
    assert settle(first, heat(53, turns=False)) == first
    assert settle(first, heat(53, turns=False, fault=True)) != first
    assert settle(first, heat(71, turns=True)).sensors[0].celsius == 70


def test_events_are_told_by_the_hour_and_a_flood_by_steps() -> None:
    def events(count: int, at: int) -> Events:
        return Events(events=(Event(kind="disk", subject="sda", count=count, last_at=at),))

    first = settle(None, events(1000, 7200 + 10))
    assert first.events[0].last_at == 7200
    assert settle(first, events(1010, 7200 + 3000)) == first
    assert settle(first, events(2000, 7200 + 3000)) != first
    assert settle(first, events(1010, 10_800)) != first, "an hour later, it goes on"


def test_a_service_that_is_restarted_for_ever_is_told_by_steps() -> None:
    def services(restarts: int) -> Services:
        return Services(restarting=(FailedService(name="x.service", restarts=restarts),))

    first = settle(None, services(100))
    assert settle(first, services(103)) == first
    assert settle(first, services(140)) != first


def test_a_printer_that_prints_is_no_news_and_one_that_stops_is() -> None:
    def printer(state: Any, waiting: int = 0) -> Devices:
        return Devices(printers=(Printer(name="Office", state=state, waiting=waiting),))

    first = settle(None, printer("idle"))
    assert settle(first, printer("printing")) == first
    assert settle(first, printer("stopped")) != first
    assert settle(first, printer("printing", 3)).printers[0].waiting == 3
