"""auxilio policy show|edit|publish|export"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import msgspec

from console.authority.change import Change, change_policy, publish_all
from console.authority.policies import Editable, editable, from_text, to_text, with_settings
from console.authority.publishing import adopt_from_relays
from console.authority.store import has_store, open_store
from console.cli import in_loop
from console.commands.authority import read_relays, unattended_rules
from console.commands.options import DURATION, as_json, passphrase_file, passphrases, say
from console.home import Home, write_file
from console.render import print_heading, print_json, print_pairs, print_table, when
from console.settings import known_organisation, load_settings
from console.trust import load_trust, order_text
from protocol.codec import encode
from protocol.errors import ConfigInvalid, UsageInvalid
from protocol.policy import DEFAULT_POLICY_LIFE_S, ConsentRule, HeldPolicy, Policy, PolicyBundle
from protocol.revocation import Revocations
from protocol.system_clock import SystemClock


@click.group()
def policy() -> None:
    """The signed rules that devices enforce: relays, consent, revocations. Everybody may look, admins change.

    \b
    Example:
      auxilio policy edit --unattended tag:server --publish
    """


@policy.command()
@as_json
@click.pass_obj
def show(home: Home, as_json: bool) -> None:
    """Show the policy that is in force here.

    \b
    Example:
      auxilio policy show --json
    """
    held = _held(home)
    if as_json:
        print_json(json.loads(held.signed.payload))
        return
    rules = held.policy
    print_pairs(
        [
            ("policy", order_text(held.order)),
            ("issued", when(rules.issued_at)),
            ("expires", when(rules.expires_at)),
            *(("relay", f"{relay.url} {relay.pin or '(WebPKI)'}") for relay in rules.relays),
            ("longest certificate", f"{rules.max_certificate_s // 3600} h"),
            ("longest session", f"{rules.max_session_s // 3600} h"),
            *(("forward", target) for target in rules.forward),
            *(("files", f"{r.where}: {r.root} {'read and write' if r.write else 'read only'}") for r in rules.files),
        ]
    )
    print_heading("Consent (the first rule that matches; else attended, asked for 60 s)")
    print_table(("devices", "mode", "nobody present", "waits"), [_consent_row(rule) for rule in rules.consent])
    print_heading("Revoked")
    print_table(("what", "which", "since"), _revoked_rows(rules.revocations))
    warning = load_trust(home, known_organisation(load_settings(home))).expiry_warning(SystemClock().now())
    if warning:
        say(warning)


def _held(home: Home) -> HeldPolicy:
    """An admin's own, which may not be published yet; else what the relay handed out and verified."""
    if has_store(home):
        return open_store(home).policy
    return load_trust(home, known_organisation(load_settings(home))).policy


def _consent_row(rule: ConsentRule) -> tuple[str, str, str, str]:
    if rule.mode == "unattended":
        return rule.where, rule.mode, "-", "-"
    return rule.where, rule.mode, rule.nobody_present, f"{rule.wait_s} s"


def _revoked_rows(revocations: Revocations) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, int | None]] = [("technician", e.key_id, e.since) for e in revocations.key_ids]
    rows += [("key", e.key, e.since) for e in revocations.keys]
    rows += [("certificate", f"{e.serial} of {e.ca}", e.since) for e in revocations.serials]
    rows += [("join token", e.token, e.since) for e in revocations.tokens]
    rows += [("device", e.device, e.since) for e in revocations.devices]
    return [(what, which, "always" if since is None else when(since)) for what, which, since in rows]


@policy.command()
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set one field; repeatable.")
@click.option("--relay", "relays", multiple=True, metavar="URL", help="The relays, all of them; repeatable.")
@click.option("--pin", "pins", multiple=True, help="Their pins, in the same order.")
@click.option("--unattended", multiple=True, metavar="SELECTOR", help="Add devices where nobody is asked.")
@click.option("--valid", "life_s", type=DURATION, default=DEFAULT_POLICY_LIFE_S, help="Life of the new policy [90d].")
@click.option("--renew", is_flag=True, help="Change nothing but the date.")
@click.option("--publish", "send", is_flag=True, help="Bring it to every relay at once.")
@passphrase_file
@click.pass_obj
@in_loop
async def edit(
    home: Home,
    settings: tuple[str, ...],
    relays: tuple[str, ...],
    pins: tuple[str, ...],
    unattended: tuple[str, ...],
    life_s: int,
    renew: bool,
    send: bool,
    passphrase_file: Path | None,
) -> None:
    """Sign the next policy: by options, or in $EDITOR where none is given.

    \b
    Example:
      auxilio policy edit --set max_certificate_s=14d --unattended tag:server --publish
      auxilio policy edit --renew --publish
    """
    entries = read_relays(relays, pins)
    rules = unattended_rules(unattended)

    def fields(held: Policy) -> Editable:
        if not (settings or entries or rules or renew):
            return _edited(editable(held))
        new = with_settings(editable(held), settings)
        if entries:
            new = msgspec.structs.replace(new, relays=entries)
        return msgspec.structs.replace(new, consent=(*rules, *(r for r in new.consent if r not in rules)))

    store = await change_policy(
        home, passphrases(passphrase_file), say, Change(fields=fields, life_s=life_s), send=send
    )
    if not send:
        say(f"policy {order_text(store.authority.policy_order)} is signed; `auxilio policy publish` puts it in force")


def _edited(fields: Editable) -> Editable:
    """What a person made of it in their editor. What cannot be used stays in a file that is named."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor or not sys.stdin.isatty():
        raise UsageInvalid(
            "nothing to change was given",
            hint="--set NAME=VALUE, --relay, --unattended, --renew; or set $EDITOR and use a terminal.",
        )
    handle, name = tempfile.mkstemp(prefix="auxilio-policy-", suffix=".json")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(to_text(fields))
    done = subprocess.run([*shlex.split(editor), name], check=False)
    if done.returncode != 0:
        raise ConfigInvalid(f"{editor} ended with status {done.returncode}", code="editor_failed", hint=name)
    try:
        edited = from_text(Path(name).read_text(encoding="utf-8", errors="replace"))
    except ConfigInvalid as exc:
        raise type(exc)(exc.message, code=exc.reason, hint=f"{exc.hint} Your text is in {name}") from exc
    Path(name).unlink()
    if edited == fields:
        raise UsageInvalid("nothing was changed", hint="--renew signs the same rules with a new date.")
    return edited


@policy.command()
@click.pass_obj
@in_loop
async def publish(home: Home) -> None:
    """Bring charters and policy to every relay that the policy names.

    \b
    Example:
      auxilio policy publish
    """
    store = open_store(home)
    for note in await adopt_from_relays(store, home):
        say(note)
    await publish_all(store, home, say)


@policy.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_obj
def export(home: Home, file: Path) -> None:
    """Write charters and policy to FILE, to be carried by hand: `auxilio-agent policy import FILE`.

    \b
    Example:
      auxilio policy export policy.bundle
    """
    store = open_store(home)
    bundle = PolicyBundle(charters=tuple(store.charters), policy=store.policy.signed)
    write_file(file.absolute(), encode(bundle) + b"\n", private_folder=False)
    say(f"policy {order_text(store.authority.policy_order)} is in {file}")
