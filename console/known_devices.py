"""Devices whose records this console has verified before: ids by prefix, and what of them may not go back."""

from __future__ import annotations

import msgspec

from console.device_name import MAX_NAME_CHARS, is_host_name
from console.home import Home
from protocol.codec import Record
from protocol.device_record import HeldRecord, facts_of
from protocol.errors import Untrusted
from protocol.ids import DeviceId, Sha256
from protocol.selector import matches

FILE = "devices.json"

MAX_KNOWN = 20_000
"""Kept by this console; beyond it the longest known are forgotten, and judged by the relay's answer alone again."""


class KnownDevice(Record, frozen=True, kw_only=True):
    """number, sha256, tags, issued_at: of the highest device record seen.

    hostname, system, report: what it called itself, in which section, by the highest of its reports that was looked
    at for that; "" and 0 where none was.
    """

    device: DeviceId
    number: int
    sha256: Sha256
    tags: tuple[str, ...]
    issued_at: int
    hostname: str = ""
    system: str = ""
    report: int = 0


class KnownDevices:
    def __init__(self, home: Home) -> None:
        self._home = home
        self._known = self._read()
        self._changed = False

    def _read(self) -> dict[DeviceId, KnownDevice]:
        entries = self._home.read_record(FILE, tuple[KnownDevice, ...]) or ()
        return {entry.device: entry for entry in entries}

    def with_prefix(self, prefix: str) -> set[DeviceId]:
        return {device for device in self._known if device.startswith(prefix)}

    def hostnames(self, beginning: str = "") -> list[str]:
        """Of the devices whose reports were looked at. Names that nobody can type are left out."""
        begun = (entry.hostname for entry in self._known.values() if entry.hostname.startswith(beginning))
        return [hostname for hostname in begun if is_host_name(hostname)]

    def hostname(self, device: DeviceId, system: Sha256) -> str | None:
        """What the device's section `system` calls it; None where that was not looked at yet."""
        known = self._known.get(device)
        return known.hostname if known is not None and known.system == system else None

    def note_hostname(self, device: DeviceId, report: int, system: Sha256, hostname: str) -> None:
        """What an approved device calls itself in its report numbered so.

        Raises Untrusted (report_rolled_back) where a later report of it was seen before: it may be called so no more.
        """
        known = self._known.get(device)
        if known is None:
            return
        if report < known.report:
            raise Untrusted(
                f"the relay hands out report {report}, but report {known.report} was seen here before",
                code="report_rolled_back",
            )
        name = hostname.lower()[: MAX_NAME_CHARS + 1]  # a longer one is nobody's to type
        new = msgspec.structs.replace(known, hostname=name, system=system, report=report)
        self._changed = self._changed or new != known
        self._known[device] = new

    def number(self, device: DeviceId) -> int:
        """The highest record number of `device` that was verified here; 0 for none."""
        known = self._known.get(device)
        return known.number if known else 0

    def judge(self, record: HeldRecord) -> None:
        """Remember `record`.

        Raises Untrusted: record_rolled_back where a higher one of the device was seen before; record_taken_over where
        the device would refuse it, since its signer's scope does not cover the tags that it had (or it is back-dated).
        """
        device, number = record.record.device, record.record.number
        known = self._known.get(device)
        if known is not None and (number < known.number or (number == known.number and record.sha256 != known.sha256)):
            raise Untrusted(
                f"the relay hands out record {number} of {device}, but record {known.number} was seen here before",
                code="record_rolled_back",
                hint="Its tags may be old. `auxilio device approve` signs a new record above both.",
            )
        if known is not None and number > known.number:
            _check_succession(known, record)
        if known is None or number > known.number:
            self._known.pop(device, None)
            self._known[device] = KnownDevice(
                device=device,
                number=number,
                sha256=record.sha256,
                tags=record.record.tags,
                issued_at=record.record.issued_at,
                hostname=known.hostname if known else "",
                system=known.system if known else "",
                report=known.report if known else 0,
            )
            self._changed = True

    def save(self) -> None:
        if not self._changed:
            return
        for device, entry in self._read().items():  # another command may have seen a newer one meanwhile
            known = self._known.get(device)
            if known is None or entry.number > known.number:
                self._known[device] = entry
        self._home.write_record(FILE, tuple(self._known.values())[-MAX_KNOWN:])
        self._changed = False


def _check_succession(known: KnownDevice, record: HeldRecord) -> None:
    covers = matches(record.signer.scope, facts_of(known.device, known.tags))
    if not covers or record.record.issued_at < known.issued_at:
        raise Untrusted(
            f"record {record.record.number} of {known.device} is by somebody who had no say over it, or back-dated",
            code="record_taken_over",
            hint="`auxilio device approve`, by an admin whose scope covers its tags, signs one above it.",
        )
