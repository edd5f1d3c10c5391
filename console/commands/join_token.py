"""auxilio join-token create|list|revoke"""

from __future__ import annotations

from pathlib import Path

import click

from console.authority.change import Change, change_policy
from console.authority.ledger import IssuedToken, Ledger
from console.authority.policies import revoke
from console.authority.store import Store, open_store
from console.authority.tokens import DEFAULT_LIFE_S, DEFAULT_USES, make_token
from console.cli import in_loop
from console.commands.options import DURATION, as_json, passphrase_file, passphrases, say, usage_errors
from console.home import Home
from console.render import print_json, print_table, when
from protocol.errors import UsageInvalid
from protocol.ids import TokenId
from protocol.revocation import Revocations
from protocol.selector import parse_tag
from protocol.system_clock import SystemClock


@click.group("join-token")
def join_token() -> None:
    """What a new device joins with. For admins.

    \b
    Example:
      auxilio join-token create --tag clinic --tag site=madrid --uses 20 --valid 7d
    """


@join_token.command()
@click.option("--tag", "tags", multiple=True, help="A tag to suggest for the devices; repeatable.")
@click.option("--uses", type=int, default=DEFAULT_USES, help="How many devices may join [1].")
@click.option("--valid", "life_s", type=DURATION, default=DEFAULT_LIFE_S, help="How long it works [7d].")
@passphrase_file
@as_json
@click.pass_obj
def create(
    home: Home, tags: tuple[str, ...], uses: int, life_s: int, passphrase_file: Path | None, as_json: bool
) -> None:
    """Make a join token and print it. It is kept nowhere: hand it on now.

    \b
    Example:
      auxilio join-token create --tag clinic --tag site=madrid --uses 20 --valid 7d
    """
    with usage_errors():
        tags = tuple(parse_tag(tag) for tag in tags)
    store = open_store(home)
    ca = store.signer("enrolment_ca", passphrases(passphrase_file))
    new = make_token(store, ca, tags=tags, uses=uses, life_s=life_s, now=_now())
    if as_json:
        print_json({**_record(new.issued, store), "join_token": new.text})
        return
    say(f"token {new.issued.token}: {uses} use(s) until {when(new.issued.not_after_at)}, tags {new.issued.tags or '-'}")
    say("on the device: auxilio-agent join TOKEN")
    print(new.text)


@join_token.command("list")
@as_json
@click.pass_obj
def list_command(home: Home, as_json: bool) -> None:
    """List the join tokens that this authority made.

    \b
    Example:
      auxilio join-token list
    """
    store = open_store(home)
    tokens = Ledger(store.folder).tokens()
    if as_json:
        print_json([_record(token, store) for token in tokens])
        return
    print_table(
        ("token", "tags", "uses", "until", "state"),
        [(t.token, t.tags or "-", str(t.uses), when(t.not_after_at), _state(t, store)) for t in tokens],
    )


@join_token.command("revoke")
@click.argument("token")
@passphrase_file
@click.pass_obj
@in_loop
async def revoke_command(home: Home, token: str, passphrase_file: Path | None) -> None:
    """Revoke a join token by its id, or by enough of its beginning. Devices that joined with it stay.

    \b
    Example:
      auxilio join-token revoke 7q2k
    """
    store = open_store(home)
    found = [known for known in Ledger(store.folder).tokens() if known.token.startswith(token)]
    if len(found) != 1 or not token:
        raise UsageInvalid(
            f"{len(found)} tokens begin with {token!r}", hint="`auxilio join-token list` shows the ids of all."
        )
    revoked = TokenId(found[0].token)

    def revocations(old: Revocations) -> Revocations:
        return revoke(old, since=_now(), tokens=(revoked,))

    await change_policy(home, passphrases(passphrase_file), say, Change(revocations=revocations), send=True)


def _record(token: IssuedToken, store: Store) -> dict[str, object]:
    return {
        "token": token.token,
        "tags": [tag for tag in token.tags.split(",") if tag],
        "uses": token.uses,
        "issued_at": token.issued_at,
        "not_after_at": token.not_after_at,
        "state": _state(token, store),
    }


def _state(token: IssuedToken, store: Store) -> str:
    if store.policy.policy.revocations.token_revoked(TokenId(token.token)):
        return "revoked"
    return "expired" if _now() >= token.not_after_at else "valid"


def _now() -> int:
    return int(SystemClock().now())
