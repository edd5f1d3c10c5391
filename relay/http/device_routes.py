"""Devices as technicians see them: within their scope, and everything else as if it did not exist."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row

from protocol.api import (
    DEFAULT_PAGE,
    MAX_PAGE,
    Device,
    DevicePage,
    History,
    SectionHead,
    SessionNonce,
    SessionStarted,
    StartSession,
)
from protocol.codec import Record
from protocol.device_record import PUBLISH_WITHIN_S, HeldRecord, check_fresh, may_replace, open_record
from protocol.errors import AuxilioError, BadMessage
from protocol.ids import DeviceId
from protocol.selector import parse
from protocol.statement import Signed
from relay import history, logs
from relay.authorities import Organisation
from relay.failures import Conflict, Forbidden, NotFound, device_not_found
from relay.http.authority_routes import MAX_SMALL_SIGNED_BYTES
from relay.http.call import Call, Route
from relay.store import devices, listing
from relay.store.documents import read_signed
from relay.store.reports import latest_reports, report_at
from relay.store.store import MAX_NUMBER


class SectionAnswer(Record, frozen=True, kw_only=True):
    """Where a section's bytes are (GET /v1/blobs/{sha256}), and the signed report that names it."""

    section: SectionHead
    report: Signed


async def list_devices(call: Call) -> DevicePage:
    selector = parse(call.query("selector") or "all")
    limit = call.query_number("limit", DEFAULT_PAGE, least=1, most=MAX_PAGE)
    after = call.query("after") or None
    if after is not None and len(after) > 64:
        raise BadMessage("not a page's `next`")
    login, now = call.login, call.services.clock.now()

    def job(connection: Connection) -> DevicePage:
        page = listing.list_devices(
            connection, login.organisation, login.technician, selector, after=after, limit=limit
        )
        shown = listing.present(connection, login.organisation, page.rows, now)
        return DevicePage(devices=shown, next=page.next, total=page.total)

    return await call.services.store.search(login.organisation, job)


async def show_device(call: Call) -> Device:
    login, device, now = call.login, call.device(), call.services.clock.now()

    def job(connection: Connection) -> Device:
        row = visible_row(connection, call, device)
        return listing.present(connection, login.organisation, (row,), now)[0]

    return await call.services.store.read(job)


def visible_row(connection: Connection, call: Call, device: DeviceId) -> Row[Any]:
    """Raises NotFound, in the same words for "none", "another organisation's" and "out of your scope"."""
    login = call.login
    row = devices.find_row(connection, login.organisation, device)
    if row is None or not listing.visible(connection, login.technician, login.organisation, row):
        raise device_not_found()
    return row


async def show_history(call: Call) -> History:
    login, device, now = call.login, call.device(), call.services.clock.now()

    def job(connection: Connection) -> History:
        row = visible_row(connection, call, device)
        return history.history(connection, login.organisation, login.technician, row, now)

    return await call.services.store.read(job)


async def show_section(call: Call) -> SectionAnswer:
    device, name = call.device(), call.request.match_info["name"]

    def job(connection: Connection) -> SectionAnswer:
        visible_row(connection, call, device)
        report = latest_reports(connection, call.login.organisation, [device]).get(device)
        sections = () if report is None else report.sections
        section = next((head for head in sections if head.name == name), None)
        if report is None or section is None:
            raise NotFound("the device has reported no such section", code="no_section")
        return SectionAnswer(section=section, report=report.signed)

    return await call.services.store.read(job)


async def show_report(call: Call) -> Signed:
    """As it was at an instant: the devices' reports are kept for some time."""
    device, at = call.device(), call.query_number("at", MAX_NUMBER, most=MAX_NUMBER)

    def job(connection: Connection) -> Signed | None:
        visible_row(connection, call, device)
        return report_at(connection, call.login.organisation, device, at)

    found = await call.services.store.read(job)
    if found is None:
        raise NotFound(
            "no report of the device is kept from then or before",
            code="no_report",
            hint="[store] reports_kept in the relay's configuration is how many are.",
        )
    return found


async def show_record(call: Call) -> Signed:
    device = call.device()
    row = await call.services.store.read(lambda c: visible_row(c, call, device))
    if row.record is None:
        raise NotFound("the device is provisional: it has no record yet", code="no_record")
    return read_signed(row.record)


async def put_record(call: Call) -> None:
    """A device record replaces a lower one. The signature decides; the login only says who may ask at all."""
    device, services = call.device(), call.services
    row = await services.store.read(lambda c: visible_row(c, call, device))
    held = await services.authorities.get(call.login.organisation)
    new = _open(held, await call.body(Signed), device)
    check_fresh(new.record, services.clock.now(), PUBLISH_WITHIN_S)
    old = None
    if row.record is not None:
        known = read_signed(row.record)
        if known.payload == new.signed.payload:
            return
        old = _reopen(held, known, device)
        if new.record.number <= row.record_number:
            raise Conflict(
                f"record {row.record_number} of this device is in force",
                code="record_changed",
                hint="Somebody changed it meanwhile: look at it and try again.",
            )
        if old is not None and not may_replace(old, new):
            raise Forbidden("the device's present tags are outside the signer's scope", code="out_of_scope")
    await services.store.read(lambda c: history.check_continued(c, held.id, new))
    blob = await services.store.write(lambda c: devices.put_record(c, held.id, new, replaces=row.record_number))
    if blob is None:
        raise Conflict("the device's record changed meanwhile", code="record_changed")
    logs.info("record", organisation=held.id, device=device, number=new.record.number, technician=new.signer.name)
    services.links.announce_record((held.id, device), blob)


def _open(held: Organisation, signed: Signed, device: DeviceId) -> HeldRecord:
    rules = held.authority.technician_rules()
    return open_record(signed, rules=rules, organisation=held.id, device=device)


def _reopen(held: Organisation, signed: Signed, device: DeviceId) -> HeldRecord | None:
    """The record in force, or None where it is void by now (its signer was compromised, its CA left the charter)."""
    try:
        return _open(held, signed, device)
    except AuxilioError:
        return None


async def session_nonce(call: Call) -> SessionNonce:
    return await call.services.sessions.nonce(call.login, call.device())


async def start_session(call: Call) -> SessionStarted:
    device = call.device()
    body = await call.body(StartSession)
    sessions = call.services.sessions
    return await (sessions.resume if body.resume else sessions.start)(call.login, device, body.request)


_DEVICE = "/v1/devices/{device}"

ROUTES = (
    Route(
        method="GET",
        path="/v1/devices",
        who="technician",
        handler=list_devices,
        answer=DevicePage,
        summary="Devices in your scope, by selector, a page at a time",
        query={
            "selector": "docs/selectors.md; `all` where it is missing",
            "after": "the `next` of the page before",
            "limit": f"devices on a page, at most {MAX_PAGE}",
        },
    ),
    Route(
        method="GET",
        path=_DEVICE,
        who="technician",
        handler=show_device,
        answer=Device,
        summary="One device: its record, report and presence",
    ),
    Route(
        method="GET",
        path=f"{_DEVICE}/history",
        who="technician",
        handler=show_history,
        answer=History,
        summary="The devices that this one's records continue, the latest first, and the sessions of all of them",
    ),
    Route(
        method="GET",
        path=f"{_DEVICE}/sections/{{name}}",
        who="technician",
        handler=show_section,
        answer=SectionAnswer,
        summary="One section of a device's last report",
    ),
    Route(
        method="GET",
        path=f"{_DEVICE}/report",
        who="technician",
        handler=show_report,
        answer=Signed,
        summary="A device's last report, or the last one before an instant; its sections are blobs",
        query={"at": "Unix seconds, by the device's clock"},
    ),
    Route(
        method="GET",
        path=f"{_DEVICE}/record",
        who="technician",
        handler=show_record,
        answer=Signed,
        summary="The device record in force",
    ),
    Route(
        method="PUT",
        path=f"{_DEVICE}/record",
        who="technician",
        handler=put_record,
        body=Signed,
        body_limit=MAX_SMALL_SIGNED_BYTES,
        summary="Approve or re-tag a device: a record with a higher number",
    ),
    Route(
        method="POST",
        path=f"{_DEVICE}/sessions/nonce",
        who="technician",
        handler=session_nonce,
        answer=SessionNonce,
        summary="A nonce of the device's, to sign a session request with",
    ),
    Route(
        method="POST",
        path=f"{_DEVICE}/sessions",
        who="technician",
        handler=start_session,
        body=StartSession,
        answer=SessionStarted,
        summary="Offer a signed session request to the device",
    ),
)
