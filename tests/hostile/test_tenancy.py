"""Two organisations on one relay: whatever the one asks for of the other is answered as what does not exist.

A matrix, made from the table of routes: every route and method, asked by the other's technician, device, join token
and ticket and by nobody, for everything that the victim has there, and for the same of an organisation that the relay
never heard of. Both are answered alike, byte by byte; the victim's rows stay as they were; and nothing that names the
victim is in what came back.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl

import aiohttp
import pytest
import pytest_asyncio

from protocol.codec import Record
from protocol.link import ToAgent, ToRelay
from relay.http.call import Route
from relay.http.routes import ROUTES
from tests.support.relay_world import relay_world
from tests.support.tenancy import Names, Tenant, nowhere, rows, settle
from tests.support.tenancy_asks import CASES, Ask, Asker, Reply, paths, route_key
from tests.support.tenancy_messages import MESSAGES, answers, greeting, hellos

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOMY = "[limits]\nrequests_per_s = 1000.0\nrequest_burst = 1000000.0\n"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")

CLOCK = re.compile(r'"time":[0-9.]+')

PUBLIC = "/v1/organisations/{organisation}"
"""What begins so is open to whoever knows an organisation's fingerprint, since devices must join and people log in."""


class Matrix:
    def __init__(self, victim: Tenant, other: Tenant, nobody: Names, asker: Asker) -> None:
        self.victim = victim
        self.other = other
        self.nobody = nobody
        self.asker = asker
        self.cells = 0

    async def both(self, route: Route, path: dict[str, str], twin: dict[str, str]) -> None:
        """Ask for what is the victim's, and for what nobody has; fail where the answers differ, or give anything."""
        case, (victim, nobody) = CASES[route_key(route)], (self.victim.names, self.nobody)
        asked = [
            (them, fill(route.path, at), case(self.other, them, at)) for them, at in ((victim, path), (nobody, twin))
        ]
        for number in range(len(asked[0][2])):
            for caller, bearer in self.other.callers.items():
                replies = []
                for them, target, asks in asked:
                    reply = await self.asker.ask(route.method, target, bearer, asks[number])
                    where = f"{caller}: {route.method} {target} {asks[number].what}"
                    assert reply.status >= 400 or caller in asks[number].granted, where
                    replies.append(blank(reply, them))
                    self.cells += 1
                assert replies[0] == replies[1], where

    async def as_a_stranger(self, route: Route, caller: str, ask: Ask, path: dict[str, str]) -> None:
        """What is open to strangers gives our people and devices no more than strangers."""
        stranger, ours = [
            await self.asker.ask(route.method, fill(route.path, path), bearer, ask)
            for bearer in (None, self.other.callers[caller])
        ]
        assert said(ours) == said(stranger), f"{caller}: {route_key(route)} {ask.what}"
        assert ours.status >= 400 or ask.granted or ask.what == "theirs", f"{caller}: {route_key(route)} {ask.what}"
        self.cells += 1


def fill(template: str, values: dict[str, str]) -> str:
    return re.sub(r"{([a-z0-9_]+)}", lambda found: values[found.group(1)], template)


def blank(reply: Reply, them: Names) -> tuple[object, ...]:
    """What can be compared: without the names that were asked for, and the relay's clock."""
    body = them.blank(CLOCK.sub('"time":0', reply.body.decode("utf-8", "replace")))
    clock = '"time":0' in body
    headers = tuple((n, them.blank(v)) for n, v in reply.headers if not (clock and n == "Content-Length"))
    return reply.status, headers, body


def said(reply: Reply) -> object:
    """Status, and the code of an error; a challenge and a clock are other ones each time."""
    told = json.loads(reply.body) if reply.body else {}
    return reply.status, told.get("code"), sorted(told)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def matrix():
    async with relay_world(ROOMY) as world:
        theirs = await world.second_organisation()
        victim, other = await asyncio.gather(settle(world), settle(theirs))
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connector = aiohttp.TCPConnector(ssl=context)
        async with aiohttp.ClientSession(world.relay.url, connector=connector, auto_decompress=False) as http:
            listening = [asyncio.ensure_future(tenant.listen()) for tenant in (victim, other)]
            yield Matrix(victim, other, nowhere(world), Asker(http))
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)
        victim.close()
        other.close()
        await theirs.close()


async def test_every_route_that_the_relay_serves_has_its_case(matrix: Matrix) -> None:
    served = await matrix.asker.ask("GET", "/v1/openapi.json", None, Ask())
    told = {
        f"{method.upper()} {path}"
        for path, operations in json.loads(served.body)["paths"].items()
        for method in operations
    }
    assert told == {route_key(route) for route in ROUTES} == set(CASES)


CLOSED = [route for route in ROUTES if not route.path.startswith(PUBLIC)]
OPEN = [route for route in ROUTES if route.path.startswith(PUBLIC)]


@pytest.mark.parametrize("route", CLOSED, ids=route_key)
async def test_what_is_anothers_is_answered_as_what_does_not_exist(matrix: Matrix, route: Route) -> None:
    before = rows(matrix.victim.world.relay.database, matrix.victim.names.organisation.id)
    for path, twin in zip(paths(route.path, matrix.victim.names), paths(route.path, matrix.nobody), strict=True):
        await matrix.both(route, path, twin)
    assert rows(matrix.victim.world.relay.database, matrix.victim.names.organisation.id) == before


@pytest.mark.parametrize("route", OPEN, ids=route_key)
async def test_what_strangers_may_ask_gives_another_organisation_no_more(matrix: Matrix, route: Route) -> None:
    victim = matrix.victim.names
    before = rows(matrix.victim.world.relay.database, victim.organisation.id)
    for path in paths(route.path, victim):
        for ask in CASES[route_key(route)](matrix.other, victim, path):
            for caller in matrix.other.callers:
                await matrix.as_a_stranger(route, caller, ask, path)
    assert rows(matrix.victim.world.relay.database, victim.organisation.id) == before


@pytest.mark.parametrize("template", sorted({route.path for route in ROUTES}))
async def test_methods_that_a_path_does_not_take_tell_nothing_either(matrix: Matrix, template: str) -> None:
    taken = {route.method for route in ROUTES if route.path == template}
    twins = zip(paths(template, matrix.victim.names), paths(template, matrix.nobody), strict=True)
    for path, twin in twins:
        for method in (method for method in METHODS if method not in taken):
            for caller in ("technician", "device"):
                bearer = matrix.other.callers[caller]
                mine = blank(await matrix.asker.ask(method, fill(template, path), bearer, Ask()), matrix.victim.names)
                none = blank(await matrix.asker.ask(method, fill(template, twin), bearer, Ask()), matrix.nobody)
                assert mine == none and mine[0] in (400, 405), (method, path)


# -- the link --------------------------------------------------------------------------------------------------------

HELLOS = 7


async def test_every_message_of_the_link_has_its_case() -> None:
    assert set(MESSAGES) == {*ToRelay.__args__, *ToAgent.__args__}


@pytest.mark.parametrize("type_", MESSAGES, ids=lambda type_: type_.__name__)
async def test_a_message_about_anothers_things_is_as_one_about_nothing(matrix: Matrix, type_: type[Record]) -> None:
    device = await matrix.other.world.device("clinic")
    before = rows(matrix.victim.world.relay.database, matrix.victim.names.organisation.id)
    for number in range(len(MESSAGES[type_](device, matrix.nobody))):
        heard = []
        for them in (matrix.victim.names, matrix.nobody):
            async with device.linked() as link:
                said = await answers(link, MESSAGES[type_](device, them)[number], matrix.asker)
            heard.append([them.blank(text) for text in said])
            matrix.cells += 1
        assert heard[0] == heard[1], number
    assert rows(matrix.victim.world.relay.database, matrix.victim.names.organisation.id) == before


@pytest.mark.parametrize("number", range(HELLOS))
async def test_a_hello_in_anothers_name_is_as_one_in_nobodys(matrix: Matrix, number: int) -> None:
    device = matrix.other.names.device
    assert len(hellos(device, matrix.nobody, "")) == HELLOS
    before = rows(matrix.victim.world.relay.database, matrix.victim.names.organisation.id)
    heard = []
    for them in (matrix.victim.names, matrix.nobody):
        said = await greeting(device, them, number, matrix.asker)
        assert not any("welcome" in text for text in said)
        heard.append([them.blank(text) for text in said])
    assert heard[0] == heard[1]
    assert rows(matrix.victim.world.relay.database, matrix.victim.names.organisation.id) == before


# -- in the end ------------------------------------------------------------------------------------------------------


async def test_after_all_that_the_victim_works_and_nothing_of_it_was_told(matrix: Matrix) -> None:
    assert matrix.cells > 500
    # A fingerprint opens charters and policy; those hold nothing of devices, sessions or blobs.
    assert matrix.asker.told_of(matrix.victim.names) == []
    await matrix.victim.works()
    await matrix.other.works()
