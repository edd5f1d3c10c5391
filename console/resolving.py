"""Which device a name means: looked up at the relay, believed by signatures alone, remembered.

    a whole id                       itself; nobody is asked
    a prefix or a host name          the one approved device whose id begins so, or whose signed report says so
    ... that was used here before    the same device as then, or what signed records say continues it, or an error

A relay that hides a device makes a name unknown, or leaves it what it was; it never makes it another device.
"""

from __future__ import annotations

import msgspec

from console.device_name import DeviceName, parse_device_name
from console.fleet import JudgedDevice, fetch_section, judge
from console.history import fetch_history
from console.known_devices import KnownDevices
from console.remembered_names import RememberedNames
from console.signed_in import Desk
from protocol.errors import AuxilioError, Refused, Untrusted
from protocol.ids import DeviceId
from protocol.sections.machine import System
from protocol.text import escape

MAX_CLAIMANTS = 10
"""Devices of one name that are looked at. With more of them the name is of no use anyway."""

MAX_SHOWN = 5


class Claim(msgspec.Struct, frozen=True):
    """A device that a name may mean. how: in words.  judged: None where only this console's memory names it."""

    how: str
    judged: JudgedDevice | None = None


Claims = dict[DeviceId, Claim]


async def resolve(desk: Desk, text: str) -> DeviceId:
    """The device that `text` means: a whole id, or what a prefix or host name means, from now on if not before.

    Raises UsageInvalid; Refused (no_such_device, ambiguous); Untrusted (name_moved).
    """
    name = parse_device_name(text)
    if name.id is not None:
        return name.id
    names = RememberedNames(desk.home)
    remembered = names.device(name.text)
    try:
        claims = await _claims(desk, name)
    except AuxilioError:
        if remembered is None:
            raise
        return remembered  # whatever the relay withholds; what matters is judged again where the device is reached
    claims = await _latest(desk, claims)
    if remembered is not None and len(claims) == 1:
        remembered = await _followed(desk, name, remembered, next(iter(claims.items())))
    device = decide(name, remembered, claims)
    if device != names.device(name.text):
        names.remember(name.text, device)
    return device


async def _latest(desk: Desk, claims: Claims) -> Claims:
    """Without those that another of them continues: a machine that was reinstalled keeps its name."""
    old: set[DeviceId] = set()
    for claim in claims.values():
        if (
            claim.judged is not None
            and claim.judged.record is not None
            and claim.judged.record.record.continues in claims
        ):
            old |= {before.id for before in (await fetch_history(desk, claim.judged))[0]}
    return {device: claim for device, claim in claims.items() if device not in old}


async def _followed(desk: Desk, name: DeviceName, remembered: DeviceId, claim: tuple[DeviceId, Claim]) -> DeviceId:
    """What the name meant, or the device that continues that one by records that were signed."""
    device, judged = claim[0], claim[1].judged
    if device == remembered or judged is None or judged.record is None or judged.continues is None:
        return remembered
    before, _ = await fetch_history(desk, judged)
    if remembered not in {old.id for old in before}:
        return remembered
    desk.say(f"{name.text} was {remembered}; {device} continues it, by {judged.record.signer.name}'s word")
    return device


def decide(name: DeviceName, remembered: DeviceId | None, claims: Claims) -> DeviceId:
    """remembered: what the name meant before.  claims: by approved devices.  Raises as `resolve`."""
    if not claims and remembered is not None:
        return remembered
    if not claims:
        raise _nobody(name)
    if len(claims) > 1:
        raise _ambiguous(name, remembered, claims)
    (device,) = claims
    if remembered in (None, device):
        return device
    raise Untrusted(
        f"{name.text} was {remembered} when it was used here before, and is now {device} ({claims[device].how})",
        code="name_moved",
        hint="Somebody may pretend to be it. Use an id; or, once you know why it moved: "
        f"`auxilio device forget {name.text}`.",
    )


def _nobody(name: DeviceName) -> Refused:
    which = f"begins with {name.prefix}, or is called {name.text}" if name.prefix else f"is called {name.text}"
    return Refused(
        f"no approved device {which}",
        code="no_such_device",
        hint="`auxilio devices` lists them. A provisional device has to be named by its full id.",
    )


def _ambiguous(name: DeviceName, remembered: DeviceId | None, claims: Claims) -> Refused:
    shown = sorted(claims, key=lambda device: (device != remembered, device))[:MAX_SHOWN]
    told = [
        f"{device} ({claims[device].how}{', what it meant before' if device == remembered else ''})" for device in shown
    ]
    more = f" and {len(claims) - MAX_SHOWN} more" if len(claims) > MAX_SHOWN else ""
    return Refused(
        f"{name.text} could be: {', '.join(told)}{more}", code="ambiguous", hint="Name the one that you mean by its id."
    )


async def _claims(desk: Desk, name: DeviceName) -> Claims:
    known = KnownDevices(desk.home)
    claims: Claims = {}
    if name.prefix is not None:
        revoked = desk.trust.authority.revocations.device_revoked
        claims = {device: Claim("by its id") for device in known.with_prefix(name.prefix) if not revoked(device)}
    page = await desk.relay.devices(_query(name), limit=MAX_CLAIMANTS)
    for told in page.devices[:MAX_CLAIMANTS]:
        judged = judge(told, desk.trust, known)
        # A stranger can make a key whose id begins so, and be called anything: an approved device alone may be meant.
        if judged.record is None or judged.revoked:
            continue
        if name.prefix is not None and judged.id.startswith(name.prefix):
            claims[judged.id] = Claim("by its id", judged)
        elif name.fits_host(hostname := await _hostname(desk, judged, known)):
            claims[judged.id] = Claim(f"called {hostname.lower()}", judged)
    known.save()
    return claims


def _query(name: DeviceName) -> str:
    """The selector by which a relay finds it. Names hold nothing that a selector or its patterns would mind."""
    hosts = f"host:{name.text} or host:{name.text}.*"
    return hosts if name.bare_prefix is None else f"id:{name.bare_prefix} or {hosts}"


async def _hostname(desk: Desk, judged: JudgedDevice, known: KnownDevices) -> str:
    """What the device calls itself, signed by it; "" where that cannot be told. Remembered until it says otherwise."""
    report = judged.report
    ref = report.sections.get("system") if report else None
    if report is None or ref is None:
        if judged.report_fault is not None:
            desk.say(f"{judged.id} is left out: {judged.report_fault}")
        return ""
    held = known.hostname(judged.id, ref.sha256)
    try:
        if held is None:
            section = await fetch_section(desk, "system", ref)
            held = section.hostname if isinstance(section, System) else ""
        known.note_hostname(judged.id, report.number, ref.sha256, held)
    except AuxilioError as exc:
        desk.say(f"{judged.id} is left out, since its report cannot be read: {escape(exc.message)}")
        return ""
    return held
