"""What a device was before: the devices that signed records say it continues, after reinstallations of one machine.

    NEW --its record continues--> OLD --its record continues--> OLDER      each link signed by somebody who had a say

A relay hands these devices out and is not believed: a link is the newer device's record, by a technician whose scope
covers the older device's tags as well. What is withheld ends the chain, and is said.
"""

from __future__ import annotations

from console.fleet import JudgedDevice, judge
from console.known_devices import KnownDevices
from console.signed_in import Desk
from protocol.api import MAX_CONTINUED, Device, Session
from protocol.device_record import facts_of
from protocol.errors import Refused
from protocol.ids import DeviceId
from protocol.selector import matches
from protocol.technician import Technician


async def fetch_history(desk: Desk, judged: JudgedDevice) -> tuple[list[JudgedDevice], tuple[Session, ...]]:
    """The devices that `judged` continues, the latest first, and the sessions of all of them, by the relay's word.

    Raises what the relay client does, and PeerFault (wrong_key).
    """
    answer = await desk.relay.history(judged.id)
    known = KnownDevices(desk.home)
    before = _follow(desk, judged, answer.devices, known)
    known.save()
    mine = {judged.id, *(device.id for device in before)}
    return before, tuple(session for session in answer.sessions if session.device in mine)


def _follow(desk: Desk, judged: JudgedDevice, told: tuple[Device, ...], known: KnownDevices) -> list[JudgedDevice]:
    by_id = {device.id: device for device in told[:MAX_CONTINUED]}
    chain, seen = [judged], {judged.id}
    while (record := chain[-1].record) is not None and (old := chain[-1].continues) is not None:
        if old in seen or len(chain) > MAX_CONTINUED:
            desk.say(f"{chain[-1].id} is said to continue {old}: that is a circle")
            break
        if old not in by_id:
            desk.say(f"{chain[-1].id} continues {old}, of which the relay shows nothing")
            break
        before = judge(by_id[old], desk.trust, known)
        if not covers(record.signer, before):
            desk.say(f"{record.signer.name} had no say over {old}, which {chain[-1].id} is said to continue")
            break
        seen.add(old)
        chain.append(before)
    return chain[1:]


def covers(signer: Technician, old: JudgedDevice) -> bool:
    """Whether a technician may say that another device continues `old`."""
    return matches(signer.scope, facts_of(old.id, old.tags if old.record is not None else None))


async def check_continues(desk: Desk, new: DeviceId, old: JudgedDevice) -> None:
    """Before a record is signed by which `new` continues `old`. Raises Refused (out_of_scope, continues_itself)."""
    if not covers(desk.identity.technician, old):
        raise Refused(f"{old.id} is outside your scope: its history is not yours to continue", code="out_of_scope")
    before, _ = await fetch_history(desk, old)
    if new in {old.id, *(device.id for device in before)}:
        raise Refused(f"{old.id} was itself a continuation of {new}", code="continues_itself")
