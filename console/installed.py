"""What a device has installed, as it signed it: now, or at an instant for which the relay still keeps a report.

That no report lies between the one that is shown and the instant, is the relay's word.
"""

from __future__ import annotations

import msgspec

from console.fleet import JudgedDevice, fetch_section
from console.signed_in import Desk
from protocol.errors import PeerFault, Refused
from protocol.ids import DeviceId
from protocol.report import Report, open_report
from protocol.sections.software import Software


class InstalledSoftware(msgspec.Struct, frozen=True):
    """device, report: whose and which, verified.  software: of that report."""

    device: DeviceId
    report: Report
    software: Software

    @property
    def collected_at(self) -> int:
        return self.report.sections["software"].collected_at


async def fetch_installed(desk: Desk, judged: JudgedDevice, at: int | None) -> InstalledSoftware:
    """at: Unix seconds; None: by its last report.

    Raises Refused (no_report, no_such_section), Untrusted where a signature or hash does not hold, PeerFault where the
    report is of later than `at`.
    """
    report = judged.report if at is None else await _report_at(desk, judged, at)
    if report is None:
        raise Refused(f"no report of {judged.id}: {judged.report_fault or 'it has sent none'}", code="no_report")
    ref = report.sections.get("software")
    if ref is None:
        raise Refused(f"{judged.id} reported no software then", code="no_such_section")
    section = await fetch_section(desk, "software", ref)
    assert isinstance(section, Software)
    return InstalledSoftware(judged.id, report, section)


async def _report_at(desk: Desk, judged: JudgedDevice, at: int) -> Report:
    signed = await desk.relay.report(judged.id, at)
    organisation = desk.trust.organisation
    report = open_report(signed, organisation=organisation, device=judged.id, device_key=judged.device_key)
    if report.collected_at > at:
        raise PeerFault(f"the relay shows a report of {judged.id} of later than asked for", code="wrong_report")
    return report
