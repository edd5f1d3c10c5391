"""The whole fleet at once: who has a package, and what is wrong where. Within the technician's scope, page by page.

`format=csv` is every page in turn, as one table for a spreadsheet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from aiohttp import web
from sqlalchemy import Connection

from protocol.api import DEFAULT_PAGE, MAX_PAGE
from protocol.errors import BadMessage
from protocol.fleet import MAX_ROWS_EACH, FindingsPage, SoftwarePage
from protocol.sections.findings import SEVERITIES
from protocol.selector import Selector, Software, parse
from protocol.text import csv_line
from relay import fleet
from relay.fleet import FindingsAsked, SoftwareAsked
from relay.http.call import CHUNK_WITHIN_S, Call, Route
from relay.http.serving import SECURITY_HEADERS
from relay.store.findings import CODE, Place

P = TypeVar("P", SoftwarePage, FindingsPage)

MAX_AFTER_CHARS = 400


async def search_software(call: Call) -> SoftwarePage | web.StreamResponse:
    asked = SoftwareAsked(term=_package(call), selector=_selector(call))
    after = call.query("after") or None
    if after is not None and len(after) > 64:
        raise BadMessage("not a page's `next`")
    login, now = call.login, call.services.clock.now()

    rows_each = None if _wants_csv(call) else MAX_ROWS_EACH  # nothing in a table could say that there are more

    async def page(after: str | None, limit: int) -> SoftwarePage:
        def job(connection: Connection) -> SoftwarePage:
            return fleet.search_software(
                connection, login, asked, after=after, limit=limit, now=now, rows_each=rows_each
            )

        return await call.services.store.search(login.organisation, job)

    if _wants_csv(call):
        columns = ("device", "hostname", "name", "version", "system", "source")
        return await _stream(call, columns, page, lambda found: [_cells(row, columns) for row in found.rows])
    return await page(after, _limit(call))


async def list_findings(call: Call) -> FindingsPage | web.StreamResponse:
    asked = FindingsAsked(selector=_selector(call), code=_code(call), rank=_rank(call))
    login, now = call.login, call.services.clock.now()

    async def page(after: str | None, limit: int) -> FindingsPage:
        place = None if after is None else _place(after)

        def job(connection: Connection) -> FindingsPage:
            return fleet.list_findings(connection, login, asked, after=place, limit=limit, now=now)

        return await call.services.store.search(login.organisation, job)

    if _wants_csv(call):
        columns = ("device", "hostname", "severity", "code", "subject", "since_at")
        return await _stream(call, columns, page, lambda found: [_cells(row, columns) for row in found.rows])
    return await page(call.query("after") or None, _limit(call))


# -- what was asked -------------------------------------------------------------------------------------------------


def _selector(call: Call) -> Selector:
    return parse(call.query("selector") or "all")


def _limit(call: Call) -> int:
    return call.query_number("limit", DEFAULT_PAGE, least=1, most=MAX_PAGE)


def _package(call: Call) -> Software:
    """Raises BadMessage."""
    term = parse(f"software:{call.query('package')}")
    if not isinstance(term, Software):
        raise BadMessage("package is one package's name, and may go on with a comparison: openssl<3.0.14")
    return term


def _code(call: Call) -> str | None:
    code = call.query("code")
    if code and not CODE.match(code):
        raise BadMessage("not a finding's code")
    return code or None


def _rank(call: Call) -> int:
    severity = call.query("severity") or SEVERITIES[-1]
    if severity not in SEVERITIES:
        raise BadMessage(f"severity is one of: {' '.join(SEVERITIES)}")
    return SEVERITIES.index(severity)


def _place(after: str) -> Place:
    """Raises BadMessage."""
    rank, *rest = after.split(":", 3)
    if len(after) > MAX_AFTER_CHARS or len(rest) != 3 or not (rank.isascii() and rank.isdigit() and len(rank) == 1):
        raise BadMessage("not a page's `next`")
    return Place(int(rank), *rest)


def _wants_csv(call: Call) -> bool:
    wanted = call.query("format", "json")
    if wanted not in ("json", "csv"):
        raise BadMessage("format is json or csv")
    return wanted == "csv"


# -- a table --------------------------------------------------------------------------------------------------------


def _cells(row: object, columns: Sequence[str]) -> list[object]:
    return [getattr(row, column) for column in columns]


async def _stream(
    call: Call,
    columns: Sequence[str],
    page: Callable[[str | None, int], Awaitable[P]],
    rows: Callable[[P], list[list[object]]],
) -> web.StreamResponse:
    """The first page is read before anything is said, so that a refusal is an HTTP answer."""
    found: P = await page(None, MAX_PAGE)
    answer = web.StreamResponse(headers={**SECURITY_HEADERS, "Content-Disposition": "attachment"})
    answer.content_type, answer.charset = "text/csv", "utf-8"
    await answer.prepare(call.request)
    await _write(answer, [columns, *rows(found)])
    while found.next is not None:
        found = await page(found.next, MAX_PAGE)
        await _write(answer, rows(found))
    await answer.write_eof()
    return answer


async def _write(answer: web.StreamResponse, lines: Sequence[Sequence[object]]) -> None:
    async with asyncio.timeout(CHUNK_WITHIN_S):
        await answer.write("".join(csv_line(line) for line in lines).encode("utf-8"))


_PAGES = {
    "selector": "of the devices, docs/selectors.md; `all` where it is missing",
    "after": "the `next` of the page before",
    "limit": f"on a page, at most {MAX_PAGE}",
    "format": "`csv`: all pages as one table; else `json`",
}

ROUTES = (
    Route(
        method="GET",
        path="/v1/software",
        who="technician",
        handler=search_software,
        answer=SoftwarePage,
        csv=True,
        summary="Which devices in your scope have a package, in which versions",
        query={"package": "its name, which may go on with a comparison: `openssl<3.0.14`", **_PAGES},
    ),
    Route(
        method="GET",
        path="/v1/findings",
        who="technician",
        handler=list_findings,
        answer=FindingsPage,
        csv=True,
        summary="What devices in your scope found wrong with themselves, worst first",
        query={"code": "this finding alone", "severity": "so bad or worse: error, warning, info", **_PAGES},
    ),
)
