"""What SQL selects is what `matches` selects: for any selector, any scope and any fleet, page by page."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from protocol.certificate import parse_certificate
from protocol.facts import installed_by_name
from protocol.sections.findings import Finding
from protocol.sections.software import Package, Software
from protocol.selector import Facts, Selector, matches, parse
from protocol.technician import Technician, read_technician
from relay.store import listing
from tests.support.effort import LONG
from tests.support.organisation import Organisation
from tests.support.store_world import A, B, add_device, fresh_store

TAGS = ("clinic", "site=madrid", "site=lima", "kiosk")
NAMES = ("linux", "debian", "debian-12", "windows")
HOSTS = ("PC-1", "pc-22", "Kasse_1", "100%", "back\\slash", "ñandú")
SOFTWARE: tuple[tuple[Package, ...] | None, ...] = (
    None,
    (),
    (Package(name="firefox", version="115.2"),),
    (Package(name="Firefox", version="130.0", system="msi"), Package(name="vim", version="9")),
    (Package(name="firefox", version="115.2"), Package(name="firefox", version="130.0", source="snap")),
    (Package(name="firefox", version="", system="files"),),
    (Package(name="firefox", version="", system="files"), Package(name="firefox", version="115.2^20", system="rpm")),
)
FINDINGS: tuple[tuple[Finding, ...] | None, ...] = (
    None,
    (),
    (Finding(code="no-signal", severity="error"),),
    (Finding(code="disk-full", severity="warning", subject="/"), Finding(code="no-signal", severity="info")),
)
TERMS = (
    "all",
    "online",
    "provisional",
    "tag:clinic",
    "tag:site=madrid",
    "tag:none",
    "os:debian",
    "os:windows",
    "ram<4GiB",
    "ram>=4GiB",
    "ram<=4294967296B",
    "ram>999TiB",
    "slots-free>0",
    "slots-free<=1",
    "slots-free=0",
    "slots-free!=2",
    "host:pc-*",
    "host:*",
    "host:?c-?",
    'host:"100%"',
    'host:"Kasse_1"',
    'host:"back*"',
    "finding:no-signal",
    "software:firefox",
    "software:firefox<128",
    "software:firefox!=115.2",
    "software:firefox>115.2",
    "software:Firefox>=115.2",
    "software:vim<=9",
    "software:emacs",
    "finding:disk-full",
    "signal<-110dBm",
    "signal>=-110dBm",
    "signal<=-110dBm",
    "id:aaaaa",
    "id:a",
)


def fleet(seed: int, size: int = 40) -> list[tuple[dict, Facts, frozenset[str]]]:
    """Devices as rows, as facts, and their suggested tags; every fact may be unknown."""
    luck = random.Random(seed)
    made = []
    for number in range(size):
        letter = "abcdefghijklmnopqrstuvwxyz234567"
        id_ = "-".join("".join(luck.choice(letter[:3] if number % 3 else letter) for _ in range(5)) for _ in range(4))
        tags = None if luck.random() < 0.3 else tuple(luck.sample(TAGS, luck.randint(0, 3)))
        suggested = tuple(luck.sample(TAGS, luck.randint(0, 2)))
        row = {
            "device": id_,
            "tags": tags,
            "suggested": suggested,
            "os": tuple(luck.sample(NAMES, luck.randint(0, 3))),
            "hostname": luck.choice((None, *HOSTS)),
            "ram": luck.choice((None, 2 << 30, 4 << 30, 16 << 30)),
            "slots_free": luck.choice((None, 0, 1, 2)),
            "online": luck.random() < 0.5,
            "signal": luck.choice((None, -120, -110, -80)),
            "software": luck.choice(SOFTWARE),
            "findings": luck.choice(FINDINGS),
        }
        facts = Facts(
            id=id_,
            tags=frozenset(tags or ()),
            provisional=tags is None,
            online=row["online"],
            hostname=row["hostname"],
            os=row["os"],
            ram_bytes=row["ram"],
            slots_free=row["slots_free"],
            signal_dbm=row["signal"],
            software=None if row["software"] is None else installed_by_name(Software(packages=row["software"])),
            findings=None if row["findings"] is None else frozenset(finding.code for finding in row["findings"]),
        )
        made.append((row, facts, frozenset(suggested)))
    return made


def technician(scope: str, may: str = "shell") -> Technician:
    organisation = Organisation()
    return read_technician(parse_certificate(organisation.technician(scope=scope, may=may).certificate))


def expected(devices, who: Technician, selector: Selector) -> list[str]:
    return sorted(
        facts.id
        for row, facts, suggested in devices
        if listing.may_see(who, facts.id, facts.tags or frozenset(), None if row["tags"] is not None else suggested)
        and matches(selector, facts)
    )


def pages(connection: Connection, who: Technician, selector: Selector, limit: int) -> tuple[list[str], set[int]]:
    found: list[str] = []
    totals = set()
    after = None
    while True:
        page = listing.list_devices(connection, A, who, selector, after=after, limit=limit)
        found += [row.id for row in page.rows]
        totals.add(page.total)
        assert len(page.rows) <= limit
        if page.next is None:
            return found, totals
        after = page.next


SELECTORS = st.recursive(
    st.sampled_from(TERMS),
    lambda inner: st.one_of(
        inner.map(lambda text: f"not ({text})"),
        st.lists(inner, min_size=2, max_size=4).map(lambda parts: "(" + ") (".join(parts) + ")"),
        st.lists(inner, min_size=2, max_size=4).map(lambda parts: "(" + ") or (".join(parts) + ")"),
    ),
    max_leaves=8,
)
SCOPES = ("all", "tag:clinic", "not tag:clinic", "tag:site=madrid or tag:kiosk")


@pytest.fixture(scope="module")
def everybody() -> list[Technician]:
    return [technician(scope, may) for scope, may in itertools.product(SCOPES, ("shell", "shell,approve"))]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000), texts=st.lists(SELECTORS, min_size=8, max_size=8))
async def test_every_selector_selects_in_the_database_what_it_selects_in_memory(
    everybody: list[Technician], seed: int, texts: list[str]
) -> None:
    devices = fleet(seed)
    async with fresh_store() as (store, _):

        def fill(connection: Connection) -> None:
            for row, _facts, _suggested in devices:
                add_device(connection, A, **row)
                add_device(connection, B, **row)  # another organisation's: never seen
            add_device(connection, A, "zzzzz-zzzzz-zzzzz-zzzzz", tags=("clinic",), revoked=True)

        await store.write(fill)
        for text, who in zip(texts, everybody, strict=True):
            selector = parse(text)
            wanted = expected(devices, who, selector)
            found, totals = await store.read(lambda c, who=who, s=selector: pages(c, who, s, 7))
            assert found == wanted, (text, who.scope)
            assert totals == {len(wanted)}


async def test_every_single_term_and_its_negation_agree(everybody: list[Technician]) -> None:
    devices = fleet(7, 60)
    async with fresh_store() as (store, _):
        await store.write(lambda c: [add_device(c, A, **row) for row, _, _ in devices])
        for term, negated in itertools.product(TERMS, (False, True)):
            selector = parse(f"not {term}" if negated else term)
            found, _ = await store.read(lambda c, s=selector: pages(c, everybody[0], s, 50))
            assert found == expected(devices, everybody[0], selector), (term, negated)


async def test_a_selector_as_long_as_it_may_be_is_answered(everybody: list[Technician]) -> None:
    async with fresh_store() as (store, _):
        await store.write(lambda c: add_device(c, A, "aaaaa-aaaaa-aaaaa-aaaaa", tags=("clinic",)))
        for text in (" ".join(["all"] * 1000), " or ".join(["tag:a"] * 450), "not " * 30 + "tag:clinic"):
            selector = parse(text)
            page = await store.read(
                lambda c, s=selector: listing.list_devices(c, A, everybody[0], s, after=None, limit=5)
            )
            assert page.total in (0, 1)


async def test_a_page_of_many_devices_does_not_read_them_all(everybody: list[Technician]) -> None:
    letters = "abcdefghij" if LONG else "abcdef"
    ids = ["-".join(parts) for parts in itertools.product(*([[5 * c for c in letters]] * 4))]
    async with fresh_store() as (store, database):

        def fill(connection: Connection) -> None:
            for number, id_ in enumerate(ids):
                add_device(connection, A, id_, tags=("clinic",) if number % 10 else ("kiosk",), ram=number)

        await store.write(fill)
        statements: list[str] = []

        def count(connection: Connection):
            from sqlalchemy import event

            event.listen(connection, "before_cursor_execute", lambda *args: statements.append(args[2]))
            return listing.list_devices(
                connection, A, everybody[0], parse("tag:kiosk ram>1KiB"), after="aaaaa", limit=20
            )

        page = await database.read(count)
        assert (len(page.rows), page.total) == (20, sum(n % 10 == 0 and n > 1024 for n in range(len(ids))))
        assert len(statements) <= 3
