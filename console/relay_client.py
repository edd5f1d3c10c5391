"""The relay's REST as typed calls. What it answers is its word and no more: trust.py and fleet.py judge it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from protocol.api import (
    DEFAULT_PAGE,
    MAX_LIST_BYTES,
    Charters,
    Device,
    DevicePage,
    History,
    LoginAnswer,
    LoginNonce,
    Mail,
    Published,
    PublishPolicy,
    RelayInfo,
    SampleSeries,
    Session,
    SessionNonce,
    SessionStarted,
    StartSession,
)
from protocol.errors import PeerFault, Refused
from protocol.fleet import FindingsPage, SoftwarePage
from protocol.ids import DeviceId, OrganisationId, SessionId, Sha256
from protocol.link import PolicyNumber
from protocol.sections.base import MAX_SECTION_BYTES
from protocol.statement import Signed
from transport.blobs import get_blob
from transport.http import RelayClient
from transport.relay_address import RelayAddress

T = TypeVar("T")


class Relay:
    """One relay, for one organisation. Every method raises what transport.http.RelayClient.request does.

    renew: logs in anew; called once where the relay no longer knows the bearer.
    """

    def __init__(self, client: RelayClient, organisation: OrganisationId) -> None:
        self.client = client
        self.organisation = organisation
        self.renew: Callable[[], Awaitable[None]] | None = None
        self._renewing = asyncio.Lock()
        self._home = f"/v1/organisations/{organisation}"

    @property
    def address(self) -> RelayAddress:
        return self.client.address

    # -- for strangers ------------------------------------------------------------------------------------------

    async def info(self) -> RelayInfo:
        return await self.client.request("GET", "/v1/relay", RelayInfo)

    async def charters(self) -> tuple[Signed, ...]:
        """Ascending; () where the relay has none of this organisation."""
        path = f"{self._home}/charters"
        try:
            answer = await self.client.request("GET", path, Charters, limit=MAX_LIST_BYTES)
        except Refused as exc:
            if _nothing_there(exc):
                return ()
            raise
        return answer.charters

    async def policy(self) -> Signed | None:
        try:
            return await self.client.request("GET", f"{self._home}/policy", Signed, limit=MAX_LIST_BYTES)
        except Refused as exc:
            if _nothing_there(exc):
                return None
            raise

    async def publish_charter(self, signed: Signed) -> None:
        await self.client.request("POST", f"{self._home}/charters", None, body=signed)

    async def publish_policy(self, signed: Signed, expected: PolicyNumber | None) -> Published:
        body = PublishPolicy(policy=signed, expected=expected)
        return await self.client.request("POST", f"{self._home}/policy", Published, body=body)

    async def login_nonce(self) -> LoginNonce:
        return await self.client.request("POST", f"{self._home}/login/nonce", LoginNonce)

    async def login(self, signed: Signed) -> LoginAnswer:
        return await self.client.request("POST", f"{self._home}/login", LoginAnswer, body=signed)

    # -- for technicians ----------------------------------------------------------------------------------------

    async def devices(self, selector: str = "", after: str | None = None, limit: int = DEFAULT_PAGE) -> DevicePage:
        query: dict[str, str | int] = {"selector": selector} if selector else {}
        return await self._call("GET", "/v1/devices", DevicePage, query=_paged(query, after, limit))

    async def device(self, device: DeviceId) -> Device:
        answer = await self._call("GET", f"/v1/devices/{device}", Device)
        if answer.id != device:
            raise PeerFault("the relay answered with another device than the one asked for", code="wrong_device")
        return answer

    async def history(self, device: DeviceId) -> History:
        return await self._call("GET", f"/v1/devices/{device}/history", History)

    async def report(self, device: DeviceId, at: int) -> Signed:
        """The device's last report that was collected at `at` or before, of those that are kept."""
        return await self._call("GET", f"/v1/devices/{device}/report", Signed, query={"at": at})

    async def software(self, query: dict[str, str | int], after: str | None, limit: int) -> SoftwarePage:
        """query: package, and selector where it is not all."""
        return await self._call("GET", "/v1/software", SoftwarePage, query=_paged(query, after, limit))

    async def findings(self, query: dict[str, str | int], after: str | None, limit: int) -> FindingsPage:
        """query: of selector, code, severity those that are not all."""
        return await self._call("GET", "/v1/findings", FindingsPage, query=_paged(query, after, limit))

    async def samples(self, device: DeviceId, since_at: int, until_at: int) -> SampleSeries:
        query: dict[str, str | int] = {"since": since_at, "until": until_at}
        return await self._call("GET", f"/v1/devices/{device}/samples", SampleSeries, query=query)

    async def section(self, name: Sha256) -> bytes:
        """A section's bytes, verified against their hash."""
        return await get_blob(self.client, name, limit=MAX_SECTION_BYTES)

    async def put_record(self, device: DeviceId, signed: Signed) -> None:
        await self._call("PUT", f"/v1/devices/{device}/record", None, body=signed)

    async def session_nonce(self, device: DeviceId) -> SessionNonce:
        return await self._call("POST", f"/v1/devices/{device}/sessions/nonce", SessionNonce)

    async def start_session(self, device: DeviceId, signed: Signed, *, resume: bool = False) -> SessionStarted:
        """resume: for one that `signed` began, and whose legs were lost."""
        body = StartSession(request=signed, resume=resume)
        return await self._call("POST", f"/v1/devices/{device}/sessions", SessionStarted, body=body)

    async def session(self, session: SessionId) -> Session:
        return await self._call("GET", f"/v1/sessions/{session}", Session)

    async def end_session(self, session: SessionId) -> None:
        await self._call("DELETE", f"/v1/sessions/{session}", None)

    async def put_mail(self, fingerprint_hex: str, certificate: str) -> None:
        await self._call("PUT", f"/v1/mailbox/{fingerprint_hex}", None, body=Mail(certificate=certificate))

    async def mail(self) -> Mail | None:
        """What waits for the key that is logged in."""
        try:
            return await self._call("GET", "/v1/mailbox", Mail)
        except Refused as exc:
            if _nothing_there(exc):
                return None
            raise

    async def _call(
        self,
        method: str,
        path: str,
        type_: type[T] | None,
        *,
        body: object = None,
        query: dict[str, str | int] | None = None,
    ) -> T:
        bearer = self.client.bearer
        try:
            return await self._once(method, path, type_, body, query)
        except Refused as exc:
            if exc.reason != "unauthorized" or self.renew is None:
                raise
            async with self._renewing:
                if self.client.bearer == bearer:  # else another call has renewed it meanwhile
                    await self.renew()
            return await self._once(method, path, type_, body, query)

    async def _once(
        self, method: str, path: str, type_: type[T] | None, body: object, query: dict[str, str | int] | None
    ) -> T:
        return await self.client.request(  # type: ignore[return-value]  # None is returned for type_ None alone
            method,
            path,
            type_,
            body=body,
            query=query,
            limit=MAX_LIST_BYTES,
        )


def _paged(query: dict[str, str | int], after: str | None, limit: int) -> dict[str, str | int]:
    return {**query, "limit": limit, **({} if after is None else {"after": after})}


def _nothing_there(error: Refused) -> bool:
    return error.reason in {"not_found", "no_policy", "no_charter"}
