"""An organisation that moves to another relay need not let its devices join anew: each brings what it joined with, and
the record by which an admin vouched for it. A device that nobody vouched for yet has to join there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from agent.documents import Documents
from agent.journal import FileJournal
from agent.membership import ENROLMENT
from agent.state import StateDir
from protocol.api import Introduction
from protocol.errors import AuxilioError
from protocol.ids import OrganisationId
from protocol.statement import Signed
from transport.http import RelayClient
from transport.relay_address import RelayAddress

log = logging.getLogger(__name__)

UNKNOWN = "unknown_device"
"""A relay's goodbye to a device that it does not know."""


class Introducer:
    """`run` until cancelled."""

    def __init__(
        self,
        state: StateDir,
        documents: Documents,
        organisation: OrganisationId,
        journal: FileJournal,
        introduced: Callable[[], None],
    ) -> None:
        """introduced: told when a relay knows us now."""
        self._state = state
        self._documents = documents
        self._organisation = organisation
        self._journal = journal
        self._introduced = introduced
        self._wanted: asyncio.Queue[RelayAddress] = asyncio.Queue(1)

    def unknown_at(self, relay: RelayAddress) -> None:
        if not self._wanted.full():
            self._wanted.put_nowait(relay)

    async def run(self) -> None:
        while True:
            relay = await self._wanted.get()
            enrolment, record = self._state.read_as(ENROLMENT, Signed), self._documents.record
            if enrolment is None or record is None:
                log.info("%s does not know this device, and nobody has vouched for it", relay.dialled_name)
                continue
            body = Introduction(enrolment=enrolment, record=record.signed)
            try:
                async with RelayClient(relay) as client:
                    await client.request("POST", f"/v1/organisations/{self._organisation}/introduce", None, body=body)
            except AuxilioError as exc:
                self._journal.record("not_introduced", relay=relay.dialled_name, code=exc.reason)
            else:
                self._journal.record("introduced", relay=relay.dialled_name)
                self._introduced()
