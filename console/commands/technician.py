"""auxilio technician add|list|renew|revoke"""

from __future__ import annotations

from pathlib import Path

import click

from console.authority.change import Change, change_policy
from console.authority.issue import (
    DEFAULT_LIFE_S,
    issue_technician,
    parse_grant,
    renew_all,
    to_renew,
)
from console.authority.ledger import IssuedCertificate, Ledger
from console.authority.policies import revoke
from console.authority.publishing import adopt_from_relays
from console.authority.store import Store, open_store
from console.cli import in_loop
from console.commands.options import DURATION, as_json, passphrase_file, passphrases, say, usage_errors
from console.home import Home, write_file
from console.keys import read_public
from console.mailbox import keep_own, post_or_tell
from console.render import print_json, print_table, when
from console.settings import load_settings
from protocol.errors import Refused, UsageInvalid
from protocol.keys import fingerprint
from protocol.policy import DAY_S
from protocol.revocation import Revocations
from protocol.system_clock import SystemClock

EXPIRING_S = 3 * DAY_S
"""`renew --expiring`: run on a Friday, it covers the Monday."""


@click.group()
def technician() -> None:
    """The people who help: certificates with rights and scope. For admins.

    \b
    Example:
      auxilio technician add ana --key ana.pub --may shell,files --scope 'tag:clinic' --as admin --valid 7d
    """


@technician.command()
@click.argument("name")
@click.option("--key", "key_file", type=click.Path(path_type=Path), required=True, help="Their public key, FILE.pub.")
@click.option("--may", required=True, help="Rights, of: view shell files forward screen run approve; comma-separated.")
@click.option("--scope", required=True, help="Devices, as a selector over tags: 'tag:clinic', or all.")
@click.option("--as", "accounts", multiple=True, required=True, help="Accounts: admin, user, or names; repeatable.")
@click.option("--valid", "life_s", type=DURATION, default=DEFAULT_LIFE_S, help="Life: 7d unless said, 30d at most.")
@click.option("--out", type=click.Path(path_type=Path), help="Where the certificate goes [FILE-cert.pub].")
@passphrase_file
@as_json
@click.pass_obj
@in_loop
async def add(
    home: Home,
    name: str,
    key_file: Path,
    may: str,
    scope: str,
    accounts: tuple[str, ...],
    life_s: int,
    out: Path | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Issue a certificate for a technician's public key; hand them the file that it writes.

    \b
    Example:
      auxilio technician add ana --key ana.pub --may shell,files --scope 'tag:clinic' --as admin --valid 7d
    """
    with usage_errors():
        grant = parse_grant(name, may, scope, accounts, life_s)
    key = read_public(key_file)
    store = open_store(home)
    source = passphrases(passphrase_file)
    issued = issue_technician(store, store.signer("technician_ca", source), grant, key, _now())
    written = write_certificate(out or certificate_path(key_file), issued)
    if load_settings(home).relays:
        await post_or_tell(store, home, source, say, [issued])
    if as_json:
        print_json({**_record(issued, store), "file": str(written)})
    else:
        say(
            f"{name} may {grant.may} on {grant.scope} as {','.join(grant.principals)} until {when(issued.valid_before)}"
        )
        print(written)


def certificate_path(key_file: Path) -> Path:
    """Where ssh-keygen would put the certificate of this key: beside it, NAME-cert.pub."""
    return Path(str(key_file).removesuffix(".pub") + "-cert.pub")


def write_certificate(path: Path, issued: IssuedCertificate) -> Path:
    write_file(path.absolute(), f"{issued.certificate} {issued.name}\n".encode(), private_folder=False)
    return path


@technician.command("list")
@as_json
@click.pass_obj
def list_command(home: Home, as_json: bool) -> None:
    """List the certificates that this authority issued, oldest first.

    \b
    Example:
      auxilio technician list --json
    """
    store = open_store(home)
    issued = Ledger(store.folder).certificates()
    if as_json:
        print_json([_record(each, store) for each in issued])
        return
    print_table(
        ("name", "may", "scope", "as", "until", "state", "serial"),
        [(e.name, e.may, e.scope, e.principals, when(e.valid_before), _state(e, store), str(e.serial)) for e in issued],
    )


@technician.command()
@click.argument("names", nargs=-1)
@click.option("--expiring", is_flag=True, help="Only certificates that end within 3 days.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Also write NAME-cert.pub files there.")
@passphrase_file
@click.pass_obj
@in_loop
async def renew(
    home: Home, names: tuple[str, ...], expiring: bool, out: Path | None, passphrase_file: Path | None
) -> None:
    """Issue the same again: for NAMES, for everyone, or for those whose certificates are expiring.

    The new certificates wait in the mailbox of every relay of the policy. A console whose own ends within 48 hours
    looks there by itself; `auxilio login` does so at any time.

    \b
    Example:
      auxilio technician renew --expiring
    """
    store = open_store(home)
    for note in await adopt_from_relays(store, home):
        say(note)  # whom another admin revoked meanwhile gets nothing
    now = _now()
    known = Ledger(store.folder).certificates()
    due = to_renew(known, store, now=now, within_s=EXPIRING_S if expiring else None, names=frozenset(names))
    missing = set(names) - {each.name for each in due}
    if missing and not expiring:
        raise Refused(
            f"no certificate of {sorted(missing)[0]} can be renewed",
            code="not_renewable",
            hint="`auxilio technician list` shows names and who was revoked.",
        )
    if not due:
        say("nobody's certificate is due")
        return
    source = passphrases(passphrase_file)
    issued = renew_all(store, store.signer("technician_ca", source), due, now)
    keep_own(home, issued)
    for each in issued:
        say(f"{each.name}: until {when(each.valid_before)}")
        if out is not None:
            print(write_certificate(out / f"{each.name}-cert.pub", each))
    failure = await post_or_tell(store, home, source, say, issued)
    if failure is not None and out is None:
        raise failure


@technician.command("revoke")
@click.argument("name")
@click.option(
    "--key", "key", metavar="FINGERPRINT", help="Only this key of theirs (a lost laptop); the name stays good."
)
@click.option("--compromised", is_flag=True, help="The key was stolen: what it signed before is void, too.")
@passphrase_file
@click.pass_obj
@in_loop
async def revoke_command(
    home: Home, name: str, key: str | None, compromised: bool, passphrase_file: Path | None
) -> None:
    """End a technician's access everywhere, at once: a policy is published, and their live sessions end.

    \b
    Example:
      auxilio technician revoke ana
      auxilio technician revoke ana --key SHA256:... --compromised
    """
    store = open_store(home)
    issued = Ledger(store.folder).certificates(name)
    keys = {each.key for each in issued}
    if key is not None and key not in keys:
        raise UsageInvalid(f"no key {key} of {name} is known", hint="auxilio technician list --json")
    if not issued:
        say(f"no certificate of {name} was issued here; the name is revoked all the same")
    revoked = {key} if key is not None else keys
    since = None if compromised else _now()

    def revocations(old: Revocations) -> Revocations:
        names = () if key is not None else (name,)
        return revoke(old, since=since, names=names, keys=sorted(revoked))

    await change_policy(home, passphrases(passphrase_file), say, Change(revocations=revocations), send=True)


def _record(issued: IssuedCertificate, store: Store) -> dict[str, object]:
    return {
        "name": issued.name,
        "serial": issued.serial,
        "key": issued.key,
        "may": issued.may.split(","),
        "scope": issued.scope,
        "as": issued.principals.split(","),
        "valid_after": issued.valid_after,
        "valid_before": issued.valid_before,
        "state": _state(issued, store),
        "certificate": issued.certificate,
    }


def _state(issued: IssuedCertificate, store: Store) -> str:
    revocations = store.policy.policy.revocations
    if revocations.certificate_revoked(ca=issued.ca, serial=issued.serial, key=issued.key, key_id=issued.name):
        return "revoked"
    if issued.ca not in {fingerprint(ca) for ca in store.charter.keys("technician_cas")}:
        return "CA retired"
    return "expired" if _now() >= issued.valid_before else "valid"


def _now() -> int:
    return int(SystemClock().now())
