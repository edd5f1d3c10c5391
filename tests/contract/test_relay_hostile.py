"""What strangers, other organisations' people and devices, and our own with less right, get from a real relay: a no.

Every route of the table is asked by everybody, so that a route that is added is asked too.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
import time
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
import yarl

from protocol.api import (
    Device,
    DevicePage,
    LoginAnswer,
    LoginNonce,
    Mail,
    Published,
    PublishPolicy,
    SessionNonce,
    SessionStarted,
    StartSession,
)
from protocol.certificate import parse_certificate
from protocol.codec import encode
from protocol.errors import AuxilioError, Refused
from protocol.ids import DeviceId, TokenId, random_id
from protocol.keys import line_blob, public_line
from protocol.link import PolicyNumber, ReportMissing, ReportSent
from protocol.login import LoginStatement
from protocol.revocation import Revocations, RevokedDevice, RevokedKeyId, RevokedToken
from protocol.statement import LOGIN, Signed, seal_statement
from relay.http.routes import ROUTES
from tests.support.organisation import DAY_S, Organisation, TechnicianKey, new_key
from tests.support.relay_world import FakeDevice, World, blob_name, relay_world, sections, until
from transport.blobs import get_blob, put_blob
from transport.websocket import ConnectionEnded, connect

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG = "[limits]\nrequests_per_s = 1000.0\nrequest_burst = 100000.0\n"
GARBAGE = (b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 20_000, b'{"payload":1}', b'{"payload":"%"}', b"{}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world():
    async with relay_world(LONG) as world:
        yield world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(world: World):
    """A client that says what the test wants, with no care for what is allowed."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(world.relay.url, connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as made:
        yield made


def path_of(route, **named: str) -> str:
    values = {
        "organisation": "a" * 52,
        "device": "aaaaa-aaaaa-aaaaa-aaaaa",
        "session": "a" * 26,
        "sha256": "0" * 64,
        "fingerprint": "0" * 64,
        "name": "memory",
        **named,
    }
    return re.sub(r"{([a-z0-9]+)}", lambda found: values[found.group(1)], route.path)


def bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


async def refused(awaitable: Any) -> AuxilioError:
    with pytest.raises(AuxilioError) as exc:
        await awaitable
    return exc.value


# -- who may ask -----------------------------------------------------------------------------------------------------

CLOSED = [route for route in ROUTES if route.who != "stranger"]


@pytest.mark.parametrize("route", CLOSED, ids=lambda r: f"{r.method} {r.path}")
@pytest.mark.parametrize("token", [None, "x", "A" * 43, "A" * 5000, "not ascii é"], ids=repr)
async def test_nobody_gets_in_without_a_good_token(http, route, token: str | None) -> None:
    headers = {} if token is None else {"Authorization": f"Bearer {token}".encode().decode("latin-1")}
    async with http.request(route.method, path_of(route), headers=headers, data=b"{}") as answer:
        assert answer.status == 401
        if route.method != "HEAD":
            assert (await answer.json())["code"] == "unauthorized"


@pytest.mark.parametrize("route", ROUTES, ids=lambda r: f"{r.method} {r.path}")
async def test_every_route_takes_any_path_and_body_without_failing(world: World, http, route) -> None:
    _, client = await world.technician()
    for named in (
        {},
        dict.fromkeys(("organisation", "device", "session", "sha256", "fingerprint", "name"), "..%2f..%2fetc%2fpasswd"),
        dict.fromkeys(("organisation", "device", "session", "sha256", "fingerprint", "name"), "%00'%22;--"),
    ):
        for body in GARBAGE if route.body is not None else (b"",):
            answer = http.request(route.method, path_of(route, **named), headers=bearer(client.bearer), data=body)
            async with asyncio.timeout(60), answer as got:
                assert got.status < 500, (route.path, named, body, got.status)
                if route.path == "/v1/events" and got.status == 200:
                    break
                if got.status >= 400 and route.method != "HEAD" and got.status != 416:
                    told = await got.json()
                    assert told["code"] and told["message"] and "Traceback" not in told["message"]


@pytest.mark.parametrize("route", [r for r in ROUTES if r.body is not None], ids=lambda r: f"{r.method} {r.path}")
async def test_an_oversized_body_is_not_read(world: World, http, route) -> None:
    _, client = await world.technician()
    path = path_of(route, organisation=world.organisation.id)
    too_much = route.body_limit + 1
    async with http.request(route.method, path, headers=bearer(client.bearer), data=b" " * too_much) as answer:
        assert answer.status in (400, 404, 413)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/relay/",
        "//v1/relay",
        "/v1/../v1/relay",
        "/v1/%2e%2e/relay",
        "/metrics",
        "/healthz",
        "/v1/blobs/" + "0" * 64 + "/x",
        "/v1/blobs/" + "0" * 63,
        "/v1/blobs/" + "G" * 64,
        "/v1/blobs/..%2f..%2frelay.sqlite",
    ],
)
async def test_there_is_nothing_anywhere_else(http, path: str) -> None:
    async with http.get(yarl.URL(str(http._base_url).rstrip("/") + path, encoded=True)) as answer:
        assert answer.status in (401, 404)
        assert "code" in await answer.json()


# -- other organisations, other scopes -------------------------------------------------------------------------------


def device_requests(device: str) -> list[tuple[str, str]]:
    return [
        (route.method, path_of(route, device=device))
        for route in ROUTES
        if "{device}" in route.path and route.method == "GET"
    ] + [("POST", f"/v1/devices/{device}/sessions/nonce")]


async def test_another_organisations_device_answers_exactly_as_none(world: World, http) -> None:
    device = await world.device("clinic")
    other = await world.second_organisation()
    _, theirs = await other.technician()
    async with device.linked() as link:
        await link.send_report(1, sections())
        for method, path in device_requests(device.id):
            answers = []
            for which in (device.id, "bbbbb-bbbbb-bbbbb-bbbbb"):
                async with http.request(
                    method, path.replace(device.id, which), headers=bearer(theirs.bearer), data=b"{}"
                ) as answer:
                    kept = {k: v for k, v in answer.headers.items() if k not in ("Date",)}
                    answers.append((answer.status, await answer.read(), kept))
            assert answers[0] == answers[1], path
            assert answers[0][0] == 404
    page = await theirs.request("GET", "/v1/devices", DevicePage)
    assert page.total == 0
    await other.close()


async def test_another_organisations_blobs_documents_and_sessions_do_not_exist(world: World) -> None:
    device = await world.device("clinic")
    technician, client = await world.technician()
    other = await world.second_organisation()
    _, theirs = await other.technician()
    async with device.linked() as link:
        made = sections("secret-host")
        await link.send_report(1, made)
        started = await world.start_session(technician, client, device.id)
        for name in [blob_name(data) for data in made.values()] + [
            blob_name(encode(world.organisation.policies[-1])),
            blob_name(encode(world.organisation.charters[0])),
        ]:
            assert (await refused(get_blob(theirs, name))).reason == "not_found"
            assert await get_blob(client, name)
        for method in ("GET", "DELETE"):
            assert (
                await refused(theirs.request(method, f"/v1/sessions/{started.session}", None))
            ).reason == "not_found"
    await other.close()


async def test_a_technician_sees_what_is_in_their_scope_and_the_rest_does_not_exist(world: World, http) -> None:
    clinic, kiosk = await world.device("clinic"), await world.device("kiosk")
    technician, client = await world.technician("bea", scope="tag:kiosk", may="shell")
    async with clinic.linked() as link, kiosk.linked():
        made = sections("in-the-clinic")
        await link.send_report(1, made)
        page = await client.request("GET", "/v1/devices", DevicePage, query={"limit": 500})
        assert kiosk.id in {d.id for d in page.devices} and clinic.id not in {d.id for d in page.devices}
        for method, path in device_requests(clinic.id):
            async with http.request(method, path, headers=bearer(client.bearer), data=b"{}") as answer:
                assert answer.status == 404, path
        assert (await refused(get_blob(client, blob_name(made["system"])))).reason == "not_found"
        assert (await refused(world.start_session(technician, client, clinic.id))).reason == "not_found"


async def test_a_provisional_device_is_seen_by_who_may_approve_it_and_by_who_has_all(world: World) -> None:
    device = await world.device(suggested=("site=lima",))
    for scope, may, sees in (
        ("tag:site=lima", "shell,approve", True),
        ("tag:site=lima", "shell", False),
        ("tag:site=oslo", "shell,approve", False),
        ("all", "shell", True),
    ):
        _, client = await world.technician("p", scope=scope, may=may)
        page = await client.request("GET", "/v1/devices", DevicePage, query={"selector": f"id:{device.id}"})
        assert page.total == int(sees), (scope, may)


async def test_a_record_by_somebody_without_the_right_or_the_scope_is_refused(world: World) -> None:
    device = await world.device("clinic")
    _, client = await world.technician("admin")
    organisation = world.organisation
    path = f"/v1/devices/{device.id}/record"
    for by, tags, code in (
        (organisation.technician("cas", may="shell"), ("clinic",), "no_right"),
        (organisation.technician("dan", scope="tag:kiosk"), ("kiosk",), "out_of_scope"),  # taking it over by re-tagging
        (organisation.technician("eva", ca=organisation.enrolment_ca), ("clinic",), "wrong_ca"),
    ):
        record = organisation.record(device.id, *tags, number=2, by=by)
        assert (await refused(client.request("PUT", path, None, body=record))).reason == code
    other = await world.device("clinic")
    record = organisation.record(other.id, "clinic", number=2)
    assert (await refused(client.request("PUT", path, None, body=record))).reason == "wrong_device"
    lower = organisation.record(device.id, "kiosk", number=1)
    assert (await refused(client.request("PUT", path, None, body=lower))).reason == "record_changed"
    await world.approve(device.id, "clinic", "vip", number=2)


# -- logins ----------------------------------------------------------------------------------------------------------


async def statement(world: World, technician: TechnicianKey, **changes: Any) -> Signed:
    path = f"/v1/organisations/{world.organisation.id}/login/nonce"
    nonce = await world.stranger.request("POST", path, LoginNonce)
    fields = {
        "organisation": world.organisation.id,
        "relay": world.address.dialled_name,
        "nonce": nonce.nonce,
        "issued_at": int(time.time()),
    }
    return seal_statement(technician.signer, LOGIN, encode(LoginStatement(**{**fields, **changes})))


async def log_in(world: World, signed: Signed) -> LoginAnswer:
    return await world.stranger.request(
        "POST", f"/v1/organisations/{world.organisation.id}/login", LoginAnswer, body=signed
    )


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"relay": "evil.example:443"}, "wrong_relay"),
        ({"organisation": "b" * 52}, "wrong_organisation"),
        ({"nonce": "A" * 43}, "wrong_nonce"),
        ({"nonce": ""}, "wrong_nonce"),
        ({"issued_at": int(time.time()) - 3600}, "clock_differs"),
        ({"issued_at": 2**62}, "clock_differs"),
        ({"issued_at": -(2**80)}, "clock_differs"),
    ],
)
async def test_a_login_for_another_relay_occasion_or_time_is_refused(world: World, changes, code: str) -> None:
    signed = await statement(world, world.organisation.technician(), **changes)
    assert (await refused(log_in(world, signed))).reason == code


async def test_a_login_is_good_once(world: World) -> None:
    signed = await statement(world, world.organisation.technician())
    await log_in(world, signed)
    assert (await refused(log_in(world, signed))).reason == "wrong_nonce"


async def test_a_nonce_of_another_organisation_logs_nobody_in(world: World) -> None:
    other = await world.second_organisation()
    nonce = await world.stranger.request("POST", f"/v1/organisations/{other.organisation.id}/login/nonce", LoginNonce)
    signed = await statement(world, world.organisation.technician(), nonce=nonce.nonce)
    assert (await refused(log_in(world, signed))).reason == "wrong_nonce"
    await other.close()


async def test_people_of_the_wrong_kind_do_not_log_in(world: World) -> None:
    organisation = world.organisation
    for technician, code in (
        (Organisation().technician(), "wrong_ca"),
        (organisation.technician(ca=organisation.enrolment_ca), "wrong_ca"),
        (organisation.technician(valid_s=90 * DAY_S), "too_long_lived"),
        (organisation.technician(since_s=-3600), "not_yet_valid"),
        (organisation.technician(since_s=200 * DAY_S), "expired"),
    ):
        assert (await refused(log_in(world, await statement(world, technician)))).reason == code


async def test_an_expired_certificate_opens_the_mailbox_and_nothing_else(world: World, http) -> None:
    key = new_key()
    old = world.organisation.technician("fay", key=key, since_s=8 * DAY_S)
    answer = await log_in(world, await statement(world, old))
    assert answer.scope == "mailbox" and answer.certificate is None
    for route in CLOSED:
        async with http.request(route.method, path_of(route), headers=bearer(answer.token), data=b"{}") as got:
            assert got.status == (404 if route.path == "/v1/mailbox" else 403), route.path
    new = world.organisation.technician("fay", key=key)
    line = public_line(new.certificate)
    fingerprint = blob_name(line_blob(new.public_line))
    _, admin = await world.technician("admin")
    await admin.request("PUT", f"/v1/mailbox/{fingerprint}", None, body=Mail(certificate=line + " a comment"))
    mailbox = world.client(answer.token)
    assert (await mailbox.request("GET", "/v1/mailbox", Mail)).certificate == line
    assert (await log_in(world, await statement(world, old))).certificate == line
    # Somebody else's key, a certificate of no CA of ours, an older one: not taken.
    body = Mail(certificate=line)
    assert (await refused(admin.request("PUT", f"/v1/mailbox/{'0' * 64}", None, body=body))).reason == "wrong_key"
    foreign = Mail(certificate=public_line(Organisation().technician(key=key).certificate))
    path = f"/v1/mailbox/{fingerprint}"
    assert (await refused(admin.request("PUT", path, None, body=foreign))).reason == "wrong_ca"
    older = Mail(certificate=public_line(world.organisation.technician(key=key, valid_s=DAY_S).certificate))
    assert (await refused(admin.request("PUT", path, None, body=older))).reason == "mail_older"


# -- sessions and legs -----------------------------------------------------------------------------------------------


async def test_a_session_request_is_used_once_and_only_as_it_was_signed(world: World) -> None:
    device = await world.device("clinic")
    technician, client = await world.technician("gil")
    organisation = world.organisation
    base = f"/v1/devices/{device.id}/sessions"
    async with device.linked() as link:

        async def ask(by: TechnicianKey = technician, **changes: Any) -> Any:
            nonce = (await client.request("POST", f"{base}/nonce", SessionNonce)).nonce
            _, signed = organisation.session_request(by, device.id, changes.pop("nonce", nonce), **changes)
            return await client.request("POST", base, SessionStarted, body=StartSession(request=signed))

        for by, changes, code in (
            (organisation.technician("hal"), {}, "wrong_technician"),
            (organisation.technician("gil", may="files"), {}, "no_right"),
            (organisation.technician("gil", scope="tag:kiosk"), {}, "out_of_scope"),
            (technician, {"nonce": "A" * 43}, "nonce_unknown"),
            (technician, {"device": DeviceId("aaaaa-aaaaa-aaaaa-aaaaa")}, "wrong_device"),
            (technician, {"organisation": "b" * 52}, "wrong_organisation"),
            (technician, {"account": "postgres"}, "wrong_principal"),
            (technician, {"expires_at": organisation.now - 1, "issued_at": organisation.now - 60}, "request_expired"),
        ):
            assert (await refused(ask(by, **changes))).reason == code
        started = await ask()
        await link.offer()
        assert (await refused(ask(session=started.session))).reason == "session_known"
        nonce = (await client.request("POST", f"{base}/nonce", SessionNonce)).nonce
        _, signed = organisation.session_request(technician, device.id, nonce)
        body = StartSession(request=signed)
        await client.request("POST", base, SessionStarted, body=body)
        assert (await refused(client.request("POST", base, SessionStarted, body=body))).reason == "nonce_unknown"
        edited = Signed(payload=signed.payload.replace(b'"a test"', b'"a tost"'), signature=signed.signature)
        body = StartSession(request=edited)
        assert (await refused(client.request("POST", base, SessionStarted, body=body))).reason == "bad_signature"


async def test_a_ticket_opens_one_leg_and_a_third_leg_does_not_exist(world: World) -> None:
    device = await world.device("clinic")
    technician, client = await world.technician()
    async with device.linked() as link:
        started = await world.start_session(technician, client, device.id)
        offer = await link.offer()
        path = f"/v1/legs/{started.session}"
        first = await connect(world.address, path, bearer=started.ticket)
        second = await connect(world.address, path, bearer=offer.ticket)
        for ticket in (started.ticket, offer.ticket, "A" * 43, None):
            error = await refused(connect(world.address, path, bearer=ticket))
            assert error.reason == "bad_ticket"
        other = f"/v1/legs/{random_id(os.urandom(16))}"
        assert (await refused(connect(world.address, other, bearer=started.ticket))).reason == "bad_ticket"
        for leg in (first, second):
            assert await leg.receive() == '{"type":"spliced"}'
            leg.close()


@pytest.mark.parametrize("say", ["text", "early", "huge"])
async def test_a_leg_that_breaks_the_rules_ends(world: World, say: str) -> None:
    device = await world.device("clinic")
    technician, client = await world.technician()
    async with device.linked() as link:
        started = await world.start_session(technician, client, device.id)
        await link.offer()
        leg = await connect(world.address, f"/v1/legs/{started.session}", bearer=started.ticket)
        if say == "text":
            leg.send_text("{}")
        else:
            leg.send_binary(b"x" * (10 if say == "early" else 300 * 1024))
        with pytest.raises(ConnectionEnded):
            while True:
                await leg.receive()

        async def over() -> bool:
            shown = await client.request("GET", f"/v1/sessions/{started.session}", dict[str, Any])
            return shown["state"] == "ended"

        await until(over, "the session is over")


async def test_a_web_page_may_open_neither_link_nor_leg(http) -> None:
    for path in ("/v1/link", "/v1/legs/" + "a" * 26):
        headers = {
            "Origin": "https://evil.example",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec-WebSocket-Version": "13",
        }
        async with http.get(path, headers=headers) as answer:
            assert answer.status == 403


# -- links -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"statement": {"relay": "evil.example:443"}}, "wrong_relay"),
        ({"statement": {"nonce": "A" * 43}}, "wrong_nonce"),
        ({"statement": {"organisation": "b" * 52}}, "unknown_device"),
        ({"version": 99}, "unknown_version"),
    ],
)
async def test_a_hello_for_another_occasion_is_refused_with_a_goodbye(world: World, changes, code: str) -> None:
    device = await world.device("clinic")
    link = await device.dial()
    with pytest.raises(AssertionError, match=code):
        await link.greet(**changes)


async def test_a_device_that_never_enrolled_or_uses_anothers_key_is_unknown(world: World) -> None:
    with pytest.raises(AssertionError, match="unknown_device"):
        await (await FakeDevice(world, new_key()).dial()).greet()
    device = await world.device("clinic")
    thief = FakeDevice(world, new_key())
    link = await thief.dial()
    with pytest.raises(AssertionError, match=r"unknown_signer"):
        await link.greet(statement={"device_key": Organisation.line(device.key)})


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"type":"report"}',
        '{"type":"hello"}',
        '{"type":"ping","id":"x"}',
        '{"type":"nonces","nonces":[],"valid_s":null}',
        "[" * 60_000,
        '"\ud83d"',
        "x" * 70_000,
    ],
    ids=range(8),
)
async def test_a_malformed_message_ends_that_link_alone(world: World, text: str) -> None:
    device, bystander = await world.device("clinic"), await world.device("clinic")
    async with bystander.linked() as other, device.linked() as link:
        link.connection.send_text(text.encode("utf-8", "surrogatepass").decode("utf-8", "replace"))
        with pytest.raises(ConnectionEnded):
            while True:
                await link.receive()
        assert (await other.send_report(1, sections())).number == 1


async def test_numbers_beyond_every_database_do_no_harm(world: World) -> None:
    device = await world.device("clinic")
    _, client = await world.technician()
    big = 2**70
    async with device.linked(
        charter=big, policy=PolicyNumber(epoch=big, number=big), record=big, offline_since_at=-big
    ) as link:
        link.connection.send_text(f'{{"type":"nonces","nonces":["a"],"valid_s":{big}}}')
        link.connection.send_text(f'{{"type":"pong","id":{big}}}')
        link.connection.send_text('{"type":"of tomorrow","x":1}')
        assert (await link.send_report(1, sections())).number == 1
        shown = await client.request("GET", f"/v1/devices/{device.id}", Device)
        assert shown.presence.online
    async with device.linked() as link:
        link.send(ReportSent(report=device.report(big, {})))
        assert (await link.goodbye()).reason == "bad_message"


async def test_a_report_for_somebody_else_or_by_somebody_else_is_not_taken(world: World) -> None:
    device, other = await world.device("clinic"), await world.device("clinic")
    for signed, code in (
        (other.report(1, {}), "unknown_signer"),
        (device.report(1, {}, device=other.id), "wrong_device"),
        (device.report(1, {}, organisation="b" * 52), "wrong_organisation"),
        (device.report(0, {}), "bad_message"),
    ):
        async with device.linked() as link:
            link.send(ReportSent(report=signed))
            assert (await link.goodbye()).reason == code


async def test_hostile_sections_are_kept_as_signed_and_never_searched(world: World) -> None:
    device = await world.device("clinic")
    _, client = await world.technician()
    hostile = {
        "system": b'{"hostname":"\\u0000\\u001b[2J<script>","family":"' + b"x" * 5000 + b'"}',
        "memory": b'{"total":99999999999999999999999999}',
        "software": b"[" * 10_000,
        "of_tomorrow": b"\xff\x00",
    }
    async with device.linked() as link:
        await link.send_report(1, hostile)
        shown = await client.request("GET", f"/v1/devices/{device.id}", Device)
        assert {head.name for head in shown.sections} == set(hostile)
        for head in shown.sections:
            assert await get_blob(client, head.sha256) == hostile[head.name]
        page = await client.request(
            "GET", "/v1/devices", DevicePage, query={"selector": f"id:{device.id} not software:x"}
        )
        assert page.total == 0  # unknown, not "has none"


# -- blobs -----------------------------------------------------------------------------------------------------------


async def test_whoever_knows_only_a_hash_gets_no_content_by_claiming_it(world: World) -> None:
    owner, thief = await world.device("clinic"), await world.device("clinic")
    made = sections("the-owners-secret")
    async with owner.linked() as theirs, thief.linked() as link:
        await theirs.send_report(1, made)
        link.send(ReportSent(report=thief.report(1, made)))
        answer = await link.next(ReportMissing)
        assert set(answer.sha256s) == {blob_name(data) for data in made.values()}
        for data in made.values():
            assert (await refused(get_blob(link.blobs, blob_name(data)))).reason == "not_found"


async def test_a_blob_with_another_hash_or_size_is_not_kept(world: World, http) -> None:
    device = await world.device("clinic")
    async with device.linked() as link:
        token = link.blobs.bearer
        name = blob_name(b"right")
        for headers, data, status in (
            ({}, b"wrong", 400),
            ({"Content-Range": "bytes 0-4/5"}, b"wrong", 400),
            ({"Content-Range": "bytes 3-4/5"}, b"ht", 409),
            ({"Content-Range": "bytes 0-4/3"}, b"right", 400),
            ({"Content-Range": "bytes 0-9/10"}, b"right", 400),
            ({"Content-Range": "bytes */5"}, b"right", 400),
            ({"Content-Range": "bytes 0-4/99999999999999"}, b"right", 413),
            ({"Content-Range": "bytes 0-2/5"}, b"rig", 202),
            ({"Content-Range": "bytes 4-4/5"}, b"t", 409),
            ({"Content-Range": "bytes 3-4/5"}, b"ht", 201),
            ({}, b"anything: it is here", 200),
        ):
            async with http.put(f"/v1/blobs/{name}", headers=bearer(token) | headers, data=data) as answer:
                assert answer.status == status, (headers, await answer.text())
                if status == 409:
                    assert answer.headers["Upload-Offset"] == ("3" if "4-4" in str(headers) else "0")
        async with http.get(f"/v1/blobs/{name}", headers=bearer(token) | {"Range": "bytes=3-"}) as answer:
            assert (answer.status, await answer.read()) == (206, b"ht")
            assert answer.headers["Content-Range"] == "bytes 3-4/5"
        for header, status in (
            ("bytes=5-", 416),
            ("bytes=1-2", 200),
            ("lines=1-", 200),
            ("bytes=" + "9" * 40 + "-", 200),
        ):
            async with http.get(f"/v1/blobs/{name}", headers=bearer(token) | {"Range": header}) as answer:
                assert answer.status == status
        assert await put_blob(link.blobs, b"") == blob_name(b"")
        assert await get_blob(link.blobs, blob_name(b"")) == b""


async def test_a_blob_token_ends_with_its_link_and_opens_nothing_but_blobs(world: World, http) -> None:
    device = await world.device("clinic")
    async with device.linked() as link:
        token = link.blobs.bearer
        for route in CLOSED:
            if route.who != "bearer":
                async with http.request(route.method, path_of(route), headers=bearer(token), data=b"{}") as answer:
                    assert answer.status == 401, route.path

    async def gone() -> bool:
        async with http.get("/v1/blobs/" + "0" * 64, headers=bearer(token)) as answer:
            return answer.status == 401

    await until(gone, "the token is void")


# -- documents, enrolment --------------------------------------------------------------------------------------------


async def test_documents_are_taken_from_their_signers_alone_and_in_order(world: World) -> None:
    mine = await world.second_organisation()
    organisation, stranger = mine.organisation, mine.stranger
    base = f"/v1/organisations/{organisation.id}"
    foreign = Organisation()
    error = await refused(stranger.request("POST", f"{base}/charters", Published, body=foreign.charters[0]))
    assert error.reason == "chain_broken"
    foreign.policies[0] = foreign.publish_policy()

    async def publish(policy: Signed, expected: PolicyNumber | None) -> Published:
        body = PublishPolicy(policy=policy, expected=expected)
        return await stranger.request("POST", f"{base}/policy", Published, body=body)

    assert (await refused(publish(foreign.policies[-1], organisation.policy_number))).reason == "unknown_signer"
    first, number = organisation.policies[-1], organisation.policy_number
    second = organisation.publish_policy(max_session_s=60)
    assert (await refused(publish(second, None))).reason == "policy_changed"
    assert (await refused(publish(second, PolicyNumber(epoch=0, number=7)))).reason == "policy_changed"
    assert (await publish(second, number)).outcome == "accepted"
    assert (await publish(second, number)).outcome == "known"
    assert (await refused(publish(first, organisation.policy_number))).reason == "policy_lower"
    assert organisation.last_policy is not None
    organisation.last_policy = msgspec.structs.replace(organisation.last_policy, number=1)
    fork = organisation.publish_policy(max_session_s=61)
    assert (await refused(publish(fork, PolicyNumber(epoch=0, number=2)))).reason == "policy_fork"
    await mine.close()


async def test_two_admins_who_publish_at_once_do_not_overwrite_each_other(world: World) -> None:
    mine = await world.second_organisation()
    organisation = mine.organisation
    expected = organisation.policy_number
    base = organisation.last_policy
    drafts = []
    for seconds in range(60, 68):
        organisation.last_policy = base
        drafts.append(organisation.publish_policy(max_session_s=seconds))
    path = f"/v1/organisations/{organisation.id}/policy"
    outcomes = await asyncio.gather(
        *(
            mine.client().request("POST", path, Published, body=PublishPolicy(policy=draft, expected=expected))
            for draft in drafts
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, Published) for outcome in outcomes) == 1
    assert {o.reason for o in outcomes if isinstance(o, Refused)} == {"policy_changed"}
    await mine.close()


async def test_a_join_tokens_uses_are_counted_and_a_lost_answer_costs_none(world: World) -> None:
    organisation = world.organisation
    token = organisation.join_token(uses=2)
    path = f"/v1/organisations/{organisation.id}/enrol"
    first = organisation.enrolment(token, new_key())

    async def join(signed: Signed) -> Any:
        return await world.stranger.request("POST", path, dict[str, Any], body=signed)

    assert await join(first) == await join(first)
    outcomes = await asyncio.gather(
        *(join(organisation.enrolment(token, new_key())) for _ in range(6)), return_exceptions=True
    )
    assert sum(isinstance(outcome, dict) for outcome in outcomes) == 1
    assert {o.reason for o in outcomes if isinstance(o, AuxilioError)} == {"token_used_up"}


async def test_an_enrolment_that_is_not_what_it_says_is_refused(world: World) -> None:
    organisation = world.organisation
    path = f"/v1/organisations/{organisation.id}/enrol"
    key, other = new_key(), new_key()
    token = organisation.join_token()
    stolen = organisation.enrolment(token, key, device_key=Organisation.line(other))  # without holding that key
    for signed, code in (
        (stolen, "unknown_signer"),
        (organisation.enrolment(token, key, organisation="b" * 52), "wrong_organisation"),
        (organisation.enrolment(organisation.join_token(ca=organisation.ca), key), "wrong_ca"),
        (organisation.enrolment(organisation.join_token(since_s=30 * DAY_S), key), "expired"),
        (Organisation().enrolment(Organisation().join_token(), key), "wrong_ca"),
    ):
        assert (await refused(world.stranger.request("POST", path, None, body=signed))).reason == code


# -- revocation ------------------------------------------------------------------------------------------------------


async def test_a_revocation_reaches_links_logins_sessions_and_events_at_once(world: World) -> None:
    mine = await world.second_organisation()
    organisation = mine.organisation
    device, removed = await mine.device("clinic"), await mine.device("clinic")
    technician, client = await mine.technician("mal")
    _, admin = await mine.technician("admin")
    token = organisation.join_token()
    token_id = TokenId(parse_certificate(line_blob(token.certificate)).key_id)
    async with device.linked() as link, removed.linked() as lost:
        started = await mine.start_session(technician, client, device.id)
        offer = await link.offer()
        path = f"/v1/legs/{started.session}"
        console = await connect(mine.address, path, bearer=started.ticket)
        child = await connect(mine.address, path, bearer=offer.ticket)
        assert "spliced" in str(await console.receive()) and "spliced" in str(await child.receive())
        expected = organisation.policy_number
        policy = organisation.publish_policy(
            revocations=Revocations(
                key_ids=(RevokedKeyId(key_id="mal"),),
                devices=(RevokedDevice(device=removed.id),),
                tokens=(RevokedToken(token=token_id),),
            )
        )
        began = time.monotonic()
        body = PublishPolicy(policy=policy, expected=expected)
        await mine.stranger.request("POST", f"/v1/organisations/{organisation.id}/policy", Published, body=body)
        documents = await link.receive()
        while type(documents).__name__ != "Documents":
            documents = await link.receive()
        assert await get_blob(link.blobs, documents.policy) == encode(policy)
        for leg in (console, child):
            with pytest.raises(ConnectionEnded) as ended:
                await leg.receive()
            assert ended.value.close_code == 4004
        assert time.monotonic() - began < 5.0  # a second in truth; a busy machine has more
        assert (await refused(client.request("GET", "/v1/devices", DevicePage))).reason == "unauthorized"
        assert (await refused(mine.technician("mal"))).reason == "revoked"
        page = await admin.request("GET", "/v1/devices", DevicePage)
        assert [d.id for d in page.devices] == [device.id]
        enrol = f"/v1/organisations/{organisation.id}/enrol"
        signed = organisation.enrolment(token, new_key())
        assert (await refused(mine.stranger.request("POST", enrol, None, body=signed))).reason == "token_revoked"
        assert (await lost.goodbye()).reason == "device_revoked"
    with pytest.raises(AssertionError, match="device_revoked"):
        await (await removed.dial()).greet()
    await mine.close()


async def test_a_second_link_of_a_device_takes_the_place_of_the_first(world: World) -> None:
    device = await world.device("clinic")
    _, client = await world.technician()
    async with device.linked() as first, device.linked() as second:
        with pytest.raises(ConnectionEnded):
            while True:
                await first.receive()
        assert (await second.send_report(1, sections())).number == 1
        shown = await client.request("GET", f"/v1/devices/{device.id}", Device)
        assert shown.presence.online


# -- the log ---------------------------------------------------------------------------------------------------------


async def test_the_log_holds_no_secret_of_all_this(world: World) -> None:
    device = await world.device("clinic")
    technician, client = await world.technician()
    async with device.linked() as link:
        blob_token = link.blobs.bearer
        nonce = await client.request("POST", f"/v1/devices/{device.id}/sessions/nonce", SessionNonce)
        _, signed = world.organisation.session_request(technician, device.id, nonce.nonce)
        started = await client.request(
            "POST", f"/v1/devices/{device.id}/sessions", SessionStarted, body=StartSession(request=signed)
        )
        offer = await link.offer()
    log = world.relay.log
    assert "session_offered" in log and str(device.id) in log
    for secret in (client.bearer, blob_token, nonce.nonce, started.ticket, offer.ticket):
        assert secret and secret not in log
    assert '"level":"error"' not in log, [line for line in log.splitlines() if '"level":"error"' in line][:3]
    for line in log.splitlines():
        json.loads(line)
