"""What somebody could ask of a relay about an organisation that is not theirs: every route, every message.

CASES has an entry for each route, MESSAGES for each type of the link's unions; the tests hold both against what the
relay really serves, so that nothing new is left out. `them` is a victim's Names or nobody's; `us` is who asks.
"""

from __future__ import annotations

import base64
import itertools
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from protocol.api import Introduction, Mail, PublishPolicy, StartSession
from protocol.codec import encode
from protocol.ids import OrganisationId, sha256
from protocol.keys import public_line
from protocol.login import LoginStatement
from protocol.statement import LOGIN, Signed, seal_statement
from relay.http.call import Route
from tests.support.tenancy import Names, Tenant

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


@dataclass(frozen=True)
class Ask:
    """One request, but for its path. granted: callers who get what they ask for, which is then their own."""

    what: str = ""
    query: str = ""
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    granted: tuple[str, ...] = ()


Case = Callable[[Tenant, Names, dict[str, str]], list[Ask]]


def plain(_us: Tenant, _them: Names, _path: dict[str, str]) -> list[Ask]:
    return [Ask()]


def everybody(_us: Tenant, _them: Names, _path: dict[str, str]) -> list[Ask]:
    return [Ask(granted=("technician", "mailbox", "device", "join token", "token id", "ticket", "nobody"))]


def _bodies(**bodies: msgspec.Struct) -> list[Ask]:
    return [Ask(what, body=encode(body)) for what, body in bodies.items()]


# -- the organisation ------------------------------------------------------------------------------------------------


def charters(us: Tenant, them: Names, _path: dict[str, str]) -> list[Ask]:
    mine = us.names.organisation
    forged = mine._charter(2, sha256(them.organisation.charters[0].payload))
    return _bodies(mine=mine.charters[0], forged=forged, theirs=them.organisation.charters[0])


def policies(us: Tenant, them: Names, _path: dict[str, str]) -> list[Ask]:
    mine, theirs = us.names.organisation.policies[-1], them.organisation.policies[-1]
    number = them.organisation.policy_number
    return _bodies(
        mine=PublishPolicy(policy=mine, expected=number),
        first=PublishPolicy(policy=mine, expected=None),
        theirs=PublishPolicy(policy=theirs, expected=number),
    )


def enrolments(us: Tenant, them: Names, _path: dict[str, str]) -> list[Ask]:
    organisation, token = us.names.organisation, us.names.token
    key = us.names.device.key
    return _bodies(
        ours=organisation.enrolment(token, key),
        named=organisation.enrolment(token, key, organisation=them.organisation.id),
        their_token=organisation.enrolment(token, key, organisation=them.organisation.id, token=them.token_id),
        copied=them.organisation.enrolment(them.token, key, device_key=them.organisation.line(them.device.key)),
    )


def introductions(us: Tenant, them: Names, _path: dict[str, str]) -> list[Ask]:
    organisation, token, key = us.names.organisation, us.names.token, us.names.device.key
    ours = organisation.enrolment(token, key)
    named = organisation.enrolment(token, key, organisation=them.organisation.id)
    return _bodies(
        ours=Introduction(enrolment=ours, record=us.names.record),
        named=Introduction(enrolment=named, record=us.names.record),
        their_record=Introduction(enrolment=ours, record=them.record),
    )


def logins(us: Tenant, them: Names, _path: dict[str, str]) -> list[Ask]:
    def statement(organisation: OrganisationId) -> Signed:
        relay, at = us.world.address.dialled_name, int(time.time())
        login = LoginStatement(organisation=organisation, relay=relay, nonce=them.nonce, issued_at=at)
        return seal_statement(us.names.technician.signer, LOGIN, encode(login))

    return _bodies(ours=statement(us.names.organisation.id), theirs=statement(them.organisation.id))


# -- devices ---------------------------------------------------------------------------------------------------------


def lists(_us: Tenant, them: Names, _path: dict[str, str]) -> list[Ask]:
    selectors = [
        f"id:{them.device.id}",
        f"tag:{them.mark}-tag",
        f"host:{them.mark}-host",
        f"host:{them.mark}*",
        f"software:{them.mark}-package",
        f"id:{them.device.id} or tag:{them.mark}-suggested",
        f"software:{them.mark}-package<2 or id:{them.device.id}",
        f"finding:{them.mark}-finding",
    ]
    queries = [f"selector={quote(selector)}" for selector in selectors]
    queries.append(f"selector={quote(selectors[1])}&after={them.device.id}")
    return [Ask(query, query=query, granted=("technician",)) for query in queries]


def packages(_us: Tenant, them: Names, _path: dict[str, str]) -> list[Ask]:
    package, device = f"{them.mark}-package", f"selector={quote(f'id:{them.device.id}')}"
    queries = [
        f"package={package}",
        f"package={quote(f'{package}<2')}&{device}",
        f"package={package}&after={them.device.id}",
        f"package={package}&format=csv",
    ]
    return [Ask(query, query=query, granted=("technician",)) for query in queries]


def findings(_us: Tenant, them: Names, _path: dict[str, str]) -> list[Ask]:
    queries = [
        f"code={them.mark}-finding",
        f"selector={quote(f'id:{them.device.id}')}",
        f"selector={quote(f'finding:{them.mark}-finding')}",
        f"code={them.mark}-finding&after=0:{them.mark}-finding:{them.device.id}:",
        f"code={them.mark}-finding&format=csv",
    ]
    return [Ask(query, query=query, granted=("technician",)) for query in queries]


def old_reports(_us: Tenant, _them: Names, _path: dict[str, str]) -> list[Ask]:
    return [Ask(query, query=query) for query in ("", f"at={int(time.time()) + 3600}", "at=1")]


def records(us: Tenant, them: Names, path: dict[str, str]) -> list[Ask]:
    ours, theirs = us.names.organisation, them.organisation
    device: Any = path["device"]
    return _bodies(
        copied=them.record,
        ours=ours.record(device, "clinic", number=2, by=us.names.technician),
        named=ours.record(device, "clinic", number=2, by=us.names.technician, organisation=theirs.id),
    )


def sessions(us: Tenant, them: Names, path: dict[str, str]) -> list[Ask]:
    ours, who = us.names.organisation, us.names.technician
    device: Any = path["device"]
    signed = [
        them.request,
        ours.session_request(who, device, them.nonce)[1],
        ours.session_request(who, device, them.nonce, them.session)[1],
        ours.session_request(who, device, us.names.nonce, them.session, organisation=them.organisation.id)[1],
    ]
    return [Ask(str(i), body=encode(StartSession(request=request))) for i, request in enumerate(signed)]


def session_lists(_us: Tenant, them: Names, _path: dict[str, str]) -> list[Ask]:
    queries = (f"device={them.device.id}", f"device={them.device.id}&state=live")
    return [Ask(query, query=query, granted=("technician",)) for query in queries]


# -- what has a name of its own --------------------------------------------------------------------------------------


def uploads(_us: Tenant, them: Names, path: dict[str, str]) -> list[Ask]:
    """To go on with somebody's upload is refused; to upload the same bytes is everybody's right, and all are taken."""
    data = them.content[path["sha256"]]
    last = len(data) - 1
    owners = ("technician", "device")
    return [
        Ask("goes on", body=data[-1:], headers={"Content-Range": f"bytes {last}-{last}/{last + 1}"}),
        Ask("claims", body=b"x" * 8),
        Ask("whole", body=data, granted=owners),
    ]


def mail(us: Tenant, them: Names, _path: dict[str, str]) -> list[Ask]:
    """A certificate for their key, by our CA, is mail in our own organisation; by theirs, it is nobody's here."""
    ours = us.names.organisation.technician("guest", key=them.technician.key)
    wrong = us.names.organisation.technician("guest")
    return [
        Ask("ours", body=encode(Mail(certificate=public_line(ours.certificate))), granted=("technician",)),
        Ask("another key", body=encode(Mail(certificate=public_line(wrong.certificate)))),
        Ask("copied", body=encode(Mail(certificate=public_line(them.technician.certificate)))),
    ]


def fetched_mail(_us: Tenant, _them: Names, _path: dict[str, str]) -> list[Ask]:
    return [Ask(granted=("technician",))]


def streams(_us: Tenant, them: Names, _path: dict[str, str]) -> list[Ask]:
    return [Ask("from theirs", headers={"Last-Event-ID": them.event}, granted=("technician",))]


def legs(_us: Tenant, _them: Names, _path: dict[str, str]) -> list[Ask]:
    return [Ask("no upgrade"), Ask("upgrade", headers=UPGRADE)]


_O, _D = "/v1/organisations/{organisation}", "/v1/devices/{device}"

CASES: dict[str, Case] = {
    "GET /v1/relay": everybody,
    "GET /v1/openapi.json": everybody,
    f"GET {_O}/charters": everybody,
    f"POST {_O}/charters": charters,
    f"GET {_O}/policy": everybody,
    f"POST {_O}/policy": policies,
    f"POST {_O}/enrol": enrolments,
    f"POST {_O}/introduce": introductions,
    f"POST {_O}/login/nonce": everybody,
    f"POST {_O}/login": logins,
    "GET /v1/mailbox": fetched_mail,
    "PUT /v1/mailbox/{fingerprint}": mail,
    "GET /v1/devices": lists,
    "GET /v1/software": packages,
    "GET /v1/findings": findings,
    f"GET {_D}": plain,
    f"GET {_D}/sections/{{name}}": plain,
    f"GET {_D}/history": plain,
    f"GET {_D}/record": plain,
    f"GET {_D}/report": old_reports,
    f"GET {_D}/samples": plain,
    f"GET {_D}/samples.csv": plain,
    f"PUT {_D}/record": records,
    f"POST {_D}/sessions/nonce": plain,
    f"POST {_D}/sessions": sessions,
    "GET /v1/sessions": session_lists,
    "GET /v1/sessions/{session}": plain,
    "DELETE /v1/sessions/{session}": plain,
    "GET /v1/events": streams,
    "GET /v1/link": plain,
    "GET /v1/legs/{session}": legs,
    "GET /v1/blobs/{sha256}": plain,
    "HEAD /v1/blobs/{sha256}": plain,
    "PUT /v1/blobs/{sha256}": uploads,
}


def paths(template: str, them: Names) -> Iterator[dict[str, str]]:
    """Values for the parameters of a route's path: every combination. A parameter without values is a KeyError."""
    found = re.findall(r"{([a-z0-9_]+)}", template)
    for values in itertools.product(*(them.values[name] for name in found)):
        yield dict(zip(found, values, strict=True))


# -- asking ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reply:
    """status; headers without the date; body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Asker:
    """Sends what it is told to, and remembers every byte that came back, with what was sent for it."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http
        self.received: list[tuple[str, str]] = []

    async def ask(self, method: str, path: str, bearer: str | None, ask: Ask) -> Reply:
        target = f"{path}?{ask.query}" if ask.query else path
        headers = {**ask.headers, **({} if bearer is None else {"Authorization": f"Bearer {bearer}"})}
        url = URL(str(self._http._base_url).rstrip("/") + target, encoded=True)
        async with self._http.request(method, url, headers=headers, data=ask.body or None) as answer:
            if answer.status == 200 and answer.content_type == "text/event-stream":
                body = await answer.content.readuntil(b"\n\n")
            else:
                body = await answer.read()
            kept = tuple(sorted((k, v) for k, v in answer.headers.items() if k != "Date"))
        self.hear(f"{target} {headers} {readable(ask.body)}", f"{kept} {readable(body)}")
        return Reply(answer.status, kept, body)

    def hear(self, sent: str, received: str) -> None:
        self.received.append((sent, received))

    def told_of(self, them: Names) -> list[str]:
        """What was received that tells of `them`, other than what was sent for it."""
        return [
            f"{word} in {received[:500]}"
            for sent, received in self.received
            for word in them.words
            if word in received and word not in sent
        ]


_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{24,}={0,2}")


def readable(data: bytes, depth: int = 3) -> str:
    """`data` as text, and whatever is in base64 in it as text too."""
    text = data.decode("utf-8", "replace")
    if depth:
        for found in _BASE64.findall(data):
            bare = found.rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
            if len(bare) % 4 != 1:
                text += " " + readable(base64.b64decode(bare + b"=" * (-len(bare) % 4)), depth - 1)
    return text


def route_key(route: Route) -> str:
    return f"{route.method} {route.path}"
