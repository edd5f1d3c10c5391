"""auxilio device approve|tag|remove"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from console.authority.change import Change, change_policy
from console.authority.policies import revoke
from console.cli import in_loop
from console.commands.options import assume_yes, confirm, passphrase_file, passphrases, say, usage_errors
from console.device_name import is_host_name, without_suffix
from console.device_records import check_enrolment, next_record, seal_record
from console.fleet import JudgedDevice, fetch_device
from console.history import check_continues
from console.home import Home
from console.listing import Listing
from console.remembered_names import RememberedNames
from console.render import print_pairs, when
from console.resolving import resolve
from console.settings import known_organisation, load_settings
from console.signed_in import Desk, signed_in
from protocol.errors import Refused, Untrusted, UsageInvalid
from protocol.ids import DeviceId, parse_device_id
from protocol.revocation import Revocations
from protocol.selector import parse, parse_tag, to_text
from protocol.system_clock import SystemClock
from protocol.text import escape


@click.group()
def device() -> None:
    """Vouch for devices: approve, tag, remove. Needs the right `approve`; removing needs the policy key.

    `forget` is for every technician, and about this console alone.

    \b
    Example:
      auxilio device approve k3m7x-... --tag clinic
    """


@device.command()
@click.argument("device")
@click.option(
    "--tag",
    "tags",
    multiple=True,
    help="The tags it gets; repeatable. [its own, those of the device that it continues, or its join token's]",
)
@click.option("--no-tags", is_flag=True, help="No tags at all.")
@click.option(
    "--continues", metavar="DEVICE", help="The id that this machine had before it was reinstalled; its history goes on."
)
@assume_yes
@passphrase_file
@click.pass_obj
@in_loop
async def approve(
    home: Home,
    device: str,
    tags: tuple[str, ...],
    no_tags: bool,
    continues: str | None,
    yes: bool,
    passphrase_file: Path | None,
) -> None:
    """Sign a provisional device's record, once you know that its id is the one on its own screen.

    \b
    Example:
      auxilio device approve k3m7x-abcde-fghij-klmno --tag clinic --tag site=madrid
      auxilio device approve k3m7x-abcde-fghij-klmno --continues qw5rt-...
    """
    if tags and no_tags:
        raise UsageInvalid("either --tag or --no-tags", hint="auxilio device approve --help")
    with usage_errors():
        wanted, old = parse_device_id(device), parse_device_id(continues) if continues else None
        named = tuple(sorted({parse_tag(tag) for tag in tags}))
    async with signed_in(home, passphrases(passphrase_file), say) as desk:
        judged = await fetch_device(desk, wanted)
        if judged.record is not None and old is None:
            raise Refused(
                f"{judged.id} is approved already",
                code="already_approved",
                hint="`auxilio device tag` changes its tags.",
            )
        continued = None if old is None else await _continued(desk, judged, old)
        enrolment = check_enrolment(judged, desk.trust, desk.clock.now())
        for warning in enrolment.warnings:
            say(warning)
        if judged.record_fault is not None:
            say(f"its present record does not hold: {judged.record_fault}")
        suggested = enrolment.tags if continued is None else (judged if judged.record is not None else continued).tags
        chosen = () if no_tags else named or suggested
        print_pairs(
            [
                ("device", judged.id),
                ("calls itself", enrolment.statement.hostname),
                ("joined", f"{when(judged.told.enrolled_at)}, with token {enrolment.statement.token}"),
                ("tags", " ".join(chosen) or "-"),
                *([] if continued is None else [("continues", f"{continued.id}: {' '.join(continued.tags) or '-'}")]),
            ]
        )
        confirm("Is this the id that the device itself shows, and shall it have these tags?", yes)
        await _publish(desk, judged, chosen, enrolment.statement.sealing_key, continues=old)
    if old is not None:
        say(f"{old} stays a device of its own until `auxilio device remove {old}`")


async def _continued(desk: Desk, new: JudgedDevice, old: DeviceId) -> JudgedDevice:
    """The device that `new` is to continue. Raises Refused, Untrusted."""
    judged = await fetch_device(desk, old)
    if judged.record_fault is not None:
        raise Untrusted(f"the record of {old} does not verify: {judged.record_fault}", code="bad_record")
    await check_continues(desk, new.id, judged)
    return judged


@device.command()
@click.argument("device")
@click.argument("changes", nargs=-1, required=True, metavar="[+TAG|-TAG]...")
@passphrase_file
@click.pass_obj
@in_loop
async def tag(home: Home, device: str, changes: tuple[str, ...], passphrase_file: Path | None) -> None:
    """Change an approved device's tags: +TAG adds, -TAG takes away (after --, since it begins with a hyphen).

    \b
    Example:
      auxilio device tag k3m7x +kiosk
      auxilio device tag k3m7x -- -kiosk +site=lugo
    """
    async with signed_in(home, passphrases(passphrase_file), say) as desk:
        judged = await fetch_device(desk, await resolve(desk, device))
        if judged.record is None:
            raise Refused(
                f"{judged.id} is {judged.state}: it has no tags to change", code="provisional", hint="Approve it first."
            )
        tags = changed_tags(judged.tags, changes)
        if tags == judged.tags:
            say(f"{judged.id} has these tags already: {' '.join(tags) or '-'}")
            return
        await _publish(desk, judged, tags, judged.record.record.sealing_key, continues=judged.continues)


@device.command()
@click.argument("selector", nargs=-1)
@click.option("--everything", is_flag=True, help="Also records that a certificate of your own CA signed.")
@passphrase_file
@click.pass_obj
@in_loop
async def resign(home: Home, selector: tuple[str, ...], everything: bool, passphrase_file: Path | None) -> None:
    """Sign records anew, with the same tags: those that another technician CA than yours stands behind.

    When a technician CA is replaced, this comes between the two steps: a record counts only while the CA of its
    signer is in the charter.

    \b
    Example:
      auxilio device resign
    """
    with usage_errors():
        query = to_text(parse(" ".join(selector))) if selector else ""
    done = 0
    async with signed_in(home, passphrases(passphrase_file), say) as desk:
        own = desk.identity.certificate.ca.blob
        listing = Listing(desk, query)
        async for judged in listing.rows():
            if judged.record is None or (judged.record.signer.certificate.ca.blob == own and not everything):
                continue
            record = judged.record.record
            await _publish(desk, judged, record.tags, record.sealing_key, continues=record.continues)
            done += 1
        listing.finish()
    say(f"{done} records were signed anew")


def changed_tags(tags: Iterable[str], changes: Iterable[str]) -> tuple[str, ...]:
    """Sorted. Raises UsageInvalid, BadMessage (not a tag)."""
    new = set(tags)
    for change in changes:
        if change[:1] not in ("+", "-"):
            raise UsageInvalid(f"+{change} or -{change}?", hint="auxilio device tag --help")
        with usage_errors():
            name = parse_tag(change[1:])
        if change.startswith("+"):
            new.add(name)
        else:
            new.discard(name)
    return tuple(sorted(new))


async def _publish(
    desk: Desk, judged: JudgedDevice, tags: tuple[str, ...], sealing_key: str, *, continues: DeviceId | None
) -> None:
    record = next_record(
        judged, desk.trust, tags=tags, sealing_key=sealing_key, continues=continues, now=desk.clock.now()
    )
    await desk.relay.put_record(judged.id, seal_record(desk, record))
    await fetch_device(desk, judged.id)  # remembered as verified from now on
    say(f"record {record.number} of {judged.id}: {' '.join(tags) or 'no tags'}")


@device.command()
@click.argument("device")
@assume_yes
@passphrase_file
@click.pass_obj
@in_loop
async def remove(home: Home, device: str, yes: bool, passphrase_file: Path | None) -> None:
    """Remove a device for good, by a revocation: its link and sessions end, its key is never accepted again.

    \b
    Example:
      auxilio device remove k3m7x-abcde-fghij-klmno
    """
    with usage_errors():
        removed = parse_device_id(device)
    known_organisation(load_settings(home))
    confirm(f"Remove {removed} for good?", yes)

    def revocations(old: Revocations) -> Revocations:
        return revoke(old, since=int(SystemClock().now()), devices=(removed,))

    await change_policy(home, passphrases(passphrase_file), say, Change(revocations=revocations), send=True)


@device.command()
@click.argument("remembered", metavar="NAME")
@click.pass_obj
def forget(home: Home, remembered: str) -> None:
    """Forget which device a NAME meant here, once you know why it moved to another; it is looked up anew.

    \b
    Example:
      auxilio device forget dana-laptop
    """
    wanted = without_suffix(remembered)
    if not is_host_name(wanted) or not RememberedNames(home).forget(wanted):
        raise Refused(
            f"no name is remembered as {escape(remembered, limit=60)}",
            code="no_such_name",
            hint="Only a host name, or the beginning of an id, that was used here is remembered.",
        )
    say(f"{wanted} is forgotten")
