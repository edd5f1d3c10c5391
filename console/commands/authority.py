"""auxilio authority init|show|rotate"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from console.authority.change import publish_all
from console.authority.founder import certify_founder
from console.authority.initialise import Plan, initialise
from console.authority.publishing import adopt_from_relays
from console.authority.rotate import Rotation, Step, rotate
from console.authority.store import Role, Store, describe_keys, open_store
from console.cli import in_loop
from console.commands.options import DURATION, as_json, passphrase_file, passphrases, say, usage_errors
from console.home import Home
from console.listing import Listing
from console.passphrase import Passphrases
from console.render import print_json, print_pairs, print_table, when
from console.settings import another_organisation, load_settings, save_settings
from console.signed_in import signed_in
from console.trust import load_trust, order_text
from protocol.errors import AuxilioError, Refused, UsageInvalid
from protocol.keys import fingerprint, parse_public_line
from protocol.policy import DEFAULT_POLICY_LIFE_S, ConsentRule, Relay
from protocol.selector import parse, tags_only, to_text
from protocol.system_clock import SystemClock
from transport.relay_address import parse_address

ROLE_NAMES: dict[str, Role] = {
    "root": "root",
    "spare-root": "spare_root",
    "policy": "policy",
    "technician-ca": "technician_ca",
    "enrolment-ca": "enrolment_ca",
}


@click.group()
def authority() -> None:
    """The organisation's keys: who may do what. For admins.

    \b
    Example:
      auxilio authority init --relay https://relay.example:443 --pin sha256:...
    """


@authority.command()
@click.option(
    "--relay", "relays", multiple=True, metavar="URL", help="A relay's address, https://HOST:PORT; repeatable."
)
@click.option("--pin", "pins", multiple=True, metavar="PIN", help="Its pin, one for each --relay, in the same order.")
@click.option("--unattended", multiple=True, metavar="SELECTOR", help="Devices where nobody is asked; repeatable.")
@click.option("--valid", "life_s", type=DURATION, default=DEFAULT_POLICY_LIFE_S, help="Life of policy 1 [90d].")
@click.option("--technician", metavar="NAME", help="Make yourself the first technician, who may do everything.")
@click.option("--key", metavar="FILE", help="Your key for that [the first in ~/.ssh; else one is made].")
@click.option("--no-passphrase", is_flag=True, help="Leave the private keys unprotected on this disk.")
@passphrase_file
@click.option("--root-agent", metavar="FINGERPRINT", help="Use a key in ssh-agent as root.")
@click.option("--spare-root-agent", metavar="FINGERPRINT", help="... as the spare root.")
@click.option("--policy-agent", metavar="FINGERPRINT", help="... as the policy key.")
@click.option("--technician-ca-agent", metavar="FINGERPRINT", help="... as the technician CA.")
@click.option("--enrolment-ca-agent", metavar="FINGERPRINT", help="... as the enrolment CA.")
@as_json
@click.pass_obj
def init(
    home: Home,
    /,
    relays: tuple[str, ...],
    pins: tuple[str, ...],
    unattended: tuple[str, ...],
    life_s: int,
    technician: str | None,
    key: str | None,
    no_passphrase: bool,
    passphrase_file: Path | None,
    as_json: bool,
    **agents: str | None,
) -> None:
    """Begin an organisation: root and spare, policy key, technician CA, enrolment CA, charter 1, policy 1.

    \b
    Example:
      auxilio authority init --relay https://relay.example:443 --pin sha256:... --technician ana
    """
    settings = load_settings(home)
    if key is not None and technician is None:
        raise UsageInvalid("--key is of a --technician", hint="--technician NAME makes you the first one.")
    if settings.organisation is not None:
        raise another_organisation()
    in_agent: dict[Role, str] = {}
    for name, role in ROLE_NAMES.items():
        chosen = agents[f"{name.replace('-', '_')}_agent"]
        if chosen is not None:
            in_agent[role] = chosen
    plan = Plan(
        issued_at=int(SystemClock().now()),
        policy_life_s=life_s,
        relays=read_relays(relays, pins),
        consent=unattended_rules(unattended),
        agents=in_agent,
        passphrase=_passphrase(no_passphrase, passphrase_file, len(in_agent) == len(ROLE_NAMES)),
    )
    store = initialise(home, plan)
    organisation = store.authority.organisation
    load_trust(home, organisation).accept(store.charters, store.policy.signed)
    settings = msgspec.structs.replace(settings, organisation=organisation)
    if technician is not None:
        path = certify_founder(home, store, technician, key, passphrases(passphrase_file), plan)
        settings = msgspec.structs.replace(settings, key=str(path))
    save_settings(home, settings)
    if as_json:
        print_json({"organisation": organisation, "folder": str(store.folder), "key": settings.key})
        return
    print_pairs([("organisation", organisation), ("folder", str(store.folder))])
    say("the relay's operator admits it with: auxilio-relay organisation add " + organisation)
    say("then: auxilio login" if technician is not None else "then: auxilio policy publish")
    _tell_offline(store)


def _passphrase(no_passphrase: bool, file: Path | None, all_in_agent: bool) -> bytes | None:
    if no_passphrase or all_in_agent:
        if no_passphrase:
            say("NO PASSPHRASE: whoever can read these files is the organisation")
        return None
    return passphrases(file).choose("Passphrase for the new private keys")


def _tell_offline(store: Store) -> None:
    files = [str(store.folder / key.file) for key in store.keys if key.file and key.role in ("root", "spare_root")]
    if files:
        say("move these offline now, to two places, and remove them here; they are needed once in years:")
        for file in files:
            say(f"  {file}")


def read_relays(urls: tuple[str, ...], pins: tuple[str, ...]) -> tuple[Relay, ...]:
    """Raises UsageInvalid, ConfigInvalid (bad_relay_address, bad_pin)."""
    if pins and len(pins) != len(urls):
        raise UsageInvalid("as many --pin as --relay, in the same order", hint="Leave out all pins to trust WebPKI.")
    addresses = [parse_address(url, pins[i] if pins else None) for i, url in enumerate(urls)]
    return tuple(Relay(url=address.url, pin=address.pin) for address in addresses)


def unattended_rules(selectors: tuple[str, ...]) -> tuple[ConsentRule, ...]:
    rules = []
    for text in selectors:
        with usage_errors():
            tree = parse(text)
        if not tags_only(tree):
            raise UsageInvalid("--unattended selects by signed tags alone", hint="--unattended tag:server")
        rules.append(ConsentRule(where=to_text(tree), mode="unattended"))
    return tuple(rules)


@authority.command()
@click.option("--id", "only_id", is_flag=True, help="Print the organisation's fingerprint and nothing else.")
@as_json
@click.pass_obj
def show(home: Home, only_id: bool, as_json: bool) -> None:
    """Show the organisation's fingerprint, its keys, and which charter and policy are in force.

    \b
    Example:
      auxilio authority show --json
    """
    store = open_store(home)
    if only_id:
        print(store.authority.organisation)
        return
    policy = store.policy.policy
    keys = [
        {
            "role": key.role,
            "fingerprint": fingerprint(parse_public_line(key.public).blob),
            "public": key.public,
            "private": whereabouts,
            "retiring": key.retiring,
        }
        for key, whereabouts in describe_keys(store)
    ]
    facts = {
        "organisation": store.authority.organisation,
        "charter": store.charter.charter.number,
        "policy": order_text(store.authority.policy_order),
        "policy_expires_at": policy.expires_at,
        "relays": [{"url": relay.url, "pin": relay.pin} for relay in policy.relays],
        "forks": list(load_trust(home, store.authority.organisation).authority.forks),
        "folder": str(store.folder),
    }
    if as_json:
        print_json({**facts, "keys": keys})
        return
    print_pairs(
        [
            ("organisation", store.authority.organisation),
            ("charter", str(store.charter.charter.number)),
            ("policy", f"{facts['policy']}, until {when(policy.expires_at)}"),
            *(("relay", f"{relay.url} {relay.pin or '(WebPKI)'}") for relay in policy.relays),
            *(("FORK", fork) for fork in load_trust(home, store.authority.organisation).authority.forks),
            ("folder", str(store.folder)),
        ]
    )
    print_table(
        ("role", "fingerprint", "private key", ""),
        [(str(k["role"]), str(k["fingerprint"]), str(k["private"]), "retiring" if k["retiring"] else "") for k in keys],
    )


@authority.command("rotate")
@click.argument("role", type=click.Choice(list(ROLE_NAMES)))
@click.option("--finish", is_flag=True, help="Second step: drop the old key.")
@click.option("--compromised", is_flag=True, help="The old key was stolen: drop it at once, in one step.")
@click.option("--force", is_flag=True, help="Finish, although devices would lose their records.")
@click.option("--root", "root_file", type=click.Path(path_type=Path), help="The offline root's file, to sign with.")
@click.option("--agent", metavar="FINGERPRINT", help="The new key is in ssh-agent.")
@click.option("--no-passphrase", is_flag=True, help="Leave the new private key unprotected on this disk.")
@passphrase_file
@click.pass_obj
@in_loop
async def rotate_command(
    home: Home,
    role: str,
    finish: bool,
    compromised: bool,
    force: bool,
    root_file: Path | None,
    agent: str | None,
    no_passphrase: bool,
    passphrase_file: Path | None,
) -> None:
    """Replace the key of a role, in two steps: begin, then --finish when devices and people have followed.

    \b
    Example:
      auxilio authority rotate technician-ca --root /media/vault/root
      auxilio technician renew
      auxilio login; auxilio device resign
      auxilio authority rotate technician-ca --root /media/vault/root --finish
    """
    if finish and compromised:
        raise UsageInvalid("either --finish or --compromised", hint="auxilio authority rotate --help")
    step: Step = "finish" if finish else "compromised" if compromised else "begin"
    store = open_store(home)
    for note in await adopt_from_relays(store, home):
        say(note)
    source = passphrases(passphrase_file)
    if finish and role == "technician-ca" and not force:
        await _check_records(home, store, source)
    new = None if finish or agent else _passphrase(no_passphrase, passphrase_file, False)
    plan = Rotation(
        role=ROLE_NAMES[role],
        step=step,
        now=int(SystemClock().now()),
        passphrase=new,
        root_file=root_file,
        agent=agent,
    )
    for line in rotate(store, plan, source):
        say(line)
    await publish_all(store, home, say)


async def _check_records(home: Home, store: Store, source: Passphrases) -> None:
    """Refuse to finish while devices' records rest on the CA that would be dropped. Raises Refused (records_left)."""
    leaving = {parse_public_line(k.public).blob for k in store.keys if k.role == "technician_ca" and k.retiring}
    left = []
    try:
        async with signed_in(home, source, say) as desk:
            listing = Listing(desk)
            async for judged in listing.rows():
                if judged.record is not None and judged.record.signer.certificate.ca.blob in leaving:
                    left.append(judged.id)
    except AuxilioError as exc:
        raise Refused(
            f"whether devices rest on the old CA cannot be seen: {exc.message}",
            code="records_unknown",
            hint="`auxilio login` as somebody who sees all devices; or --force, and approve again what loses its own.",
        ) from exc
    if left:
        raise Refused(
            f"the records of {len(left)} devices rest on the old CA, {left[0]} for one",
            code="records_left",
            hint="`auxilio technician renew`, `auxilio login`, `auxilio device resign`; then finish.",
        )
