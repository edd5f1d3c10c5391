"""auxilio login RELAY"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from console.authority.publishing import publish
from console.authority.store import has_store, open_store
from console.cli import in_loop
from console.commands.options import DURATION, as_json, passphrase_file, passphrases, say
from console.home import Home
from console.keys import default_key, find_key
from console.login import Token
from console.render import print_json, print_pairs, when
from console.settings import Settings, adopt_organisation, load_settings, relay_in_use, save_settings, use_relay
from console.signed_in import Desk, desk_somewhere, open_desk
from protocol.errors import ConfigInvalid, Refused, Unavailable
from protocol.policy import Relay
from protocol.system_clock import SystemClock
from transport.proxy import MAX_URL_CHARS, check_setting
from transport.relay_address import parse_address

T = TypeVar("T")

TRY_AGAIN_S = 0.5


@click.command()
@click.argument("relay", required=False)
@click.option("--pin", help="The relay's pin, sha256:...; without one it is trusted by its name, as websites are.")
@click.option("--organisation", metavar="FINGERPRINT", help="Whom to trust; once, from your admin.")
@click.option("--key", "key", metavar="FILE", help="Your key: a file, or its fingerprint in ssh-agent.")
@click.option(
    "--proxy",
    metavar="SETTING",
    help="http://[USER:PASSWORD@]HOST:PORT, socks5://..., direct, environment; - reads it.",
)
@click.option("--wait", "wait_s", type=DURATION, default=0, help="Keep trying for so long while no relay answers.")
@passphrase_file
@as_json
@click.pass_obj
@in_loop
async def login(
    home: Home,
    relay: str | None,
    pin: str | None,
    organisation: str | None,
    key: str | None,
    proxy: str | None,
    wait_s: int,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Log in to a relay, fetch the rules, and take a renewed certificate out of the mailbox.

    RELAY is https://HOST:PORT; later logins know it already.

    \b
    Example:
      auxilio login https://relay.example:443 --pin sha256:... --organisation 7hgp... --key ~/.ssh/id_ed25519
    """
    settings = _settled(home, _with_proxy(load_settings(home), proxy), relay, pin, organisation, key)
    secrets = passphrases(passphrase_file)

    async def log_in() -> tuple[Desk, Token]:
        if relay is None:
            desk = await desk_somewhere(home, settings, secrets, say)
        else:
            desk = open_desk(home, settings, relay_in_use(settings), secrets, say)
        async with desk.relay.client:
            return desk, await _log_in(home, desk)

    desk, token = await _patiently(log_in, wait_s)
    # Only what worked is remembered.
    save_settings(home, desk.settings)
    identity = desk.identity
    warning = desk.trust.expiry_warning(desk.clock.now())
    if warning:
        say(warning)
    if token.scope != "full":
        raise Refused(
            "your certificate has expired, and no newer one is in the mailbox",
            code="expired",
            hint="Ask an admin to run `auxilio technician renew --expiring`, then log in again.",
        )
    facts = {
        "relay": desk.relay.address.url,
        "organisation": desk.trust.organisation,
        "technician": identity.name,
        "may": sorted(identity.technician.rights),
        "as": list(identity.technician.principals),
        "certificate_until": identity.certificate.valid_before,
        "token_until": token.expires_at,
    }
    if as_json:
        print_json(facts)
        return
    print_pairs(
        [
            ("logged in", f"{identity.name} at {desk.relay.address.url}"),
            ("may", " ".join(sorted(identity.technician.rights))),
            ("certificate", f"until {when(identity.certificate.valid_before)}"),
        ]
    )


async def _patiently(attempt: Callable[[], Awaitable[T]], wait_s: float) -> T:
    """What `attempt` returns, tried again for `wait_s` seconds while it raises Unavailable."""
    clock = SystemClock()
    until, said = clock.monotonic() + wait_s, False
    while True:
        try:
            return await attempt()
        except Unavailable as exc:
            if clock.monotonic() >= until:
                raise
            if not said:
                say(f"{exc.message}; trying again")
                said = True
        await asyncio.sleep(TRY_AGAIN_S)


async def _log_in(home: Home, desk: Desk) -> Token:
    await _introduce(home, desk)
    await desk.refresh()
    if desk.trust.authority.charter is None:
        raise Refused(
            f"the relay knows nothing of organisation {desk.trust.organisation}",
            code="no_such_organisation",
            hint="Its operator adds it (`auxilio-relay organisation add`), an admin runs `auxilio policy publish`.",
        )
    return await desk.log_in()


async def _introduce(home: Home, desk: Desk) -> None:
    """Whose authority is here need not publish first: a relay that has nothing of it yet is brought it."""
    if not has_store(home) or open_store(home).authority.organisation != desk.trust.organisation:
        return
    if await desk.relay.charters():
        return
    for result in await publish(open_store(home), home):
        if result.error is None:
            say(f"published charter and policy at {result.url}")
        elif parse_address(result.url).dialled_name == desk.relay.address.dialled_name:
            raise result.error
        else:
            say(f"{result.url} has not got them yet: {result.error.message}")


def _with_proxy(settings: Settings, proxy: str | None) -> Settings:
    """proxy: as given; "-" reads it from standard input, so that no list of processes has it."""
    if proxy is None:
        return settings
    text = sys.stdin.readline(MAX_URL_CHARS + 2) if proxy == "-" else proxy
    return msgspec.structs.replace(settings, proxy=check_setting(text))


def _settled(
    home: Home, old: Settings, relay: str | None, pin: str | None, organisation: str | None, key: str | None
) -> Settings:
    """The settings that the arguments make of the old ones. Raises ConfigInvalid."""
    if organisation is None and old.organisation is None and has_store(home):
        organisation = open_store(home).authority.organisation
    settings = old
    if organisation is not None:
        settings = msgspec.structs.replace(settings, organisation=adopt_organisation(settings, organisation))
    settings = use_relay(settings, _relay(home, old, relay, pin))
    if key is not None:
        source = find_key(key)
        named = str(source.path or key)
        settings = msgspec.structs.replace(settings, key=named)
    elif settings.key is None:
        settings = msgspec.structs.replace(settings, key=default_key())
    return settings


def _relay(home: Home, old: Settings, url: str | None, pin: str | None) -> Relay:
    """The relay meant: named, known from before, or the first of the local authority's policy."""
    known = list(old.relays)
    if has_store(home):
        known += open_store(home).policy.policy.relays
    if url is None:
        if pin is not None or not known:
            raise ConfigInvalid("which relay?", code="no_relay", hint="auxilio login https://HOST:PORT --pin PIN")
        return known[0]
    address = parse_address(url, pin)
    for entry in known:
        if entry.url == address.url and pin is None:
            return entry
    return Relay(url=address.url, pin=address.pin)
