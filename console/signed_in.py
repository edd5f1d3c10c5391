"""The common beginning of every command that talks to the relay: settings, trust, identity, login.

async with signed_in(home, passphrases) as desk:      desk.relay, desk.trust, desk.identity
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from console.home import Home
from console.identity import Identity, load_identity
from console.login import Token, cached_token, log_in, take_mail
from console.passphrase import Passphrases
from console.relay_client import Relay
from console.settings import Settings, known_organisation, load_settings, relay_in_use, save_settings, use_relay
from console.trust import Trust, load_trust
from protocol.errors import ConfigInvalid, Refused, Unavailable
from protocol.policy import Relay as RelayEntry
from protocol.system_clock import SystemClock
from transport.http import RelayClient

Say = Callable[[str], None]


class Desk:
    """A technician at work. say: how a warning reaches the person."""

    def __init__(
        self, home: Home, settings: Settings, relay: Relay, trust: Trust, passphrases: Passphrases, say: Say
    ) -> None:
        self.home = home
        self.settings = settings
        self.relay = relay
        self.trust = trust
        self.passphrases = passphrases
        self.clock = SystemClock()
        self.say = say
        self._identity: Identity | None = None
        relay.renew = self._renew

    @property
    def identity(self) -> Identity:
        if self._identity is None:
            self._identity = self._load_identity()
        return self._identity

    def _load_identity(self) -> Identity:
        rules = self.trust.authority.technician_rules()
        return load_identity(self.home, self.settings, rules, self.clock.now())

    async def refresh(self) -> None:
        """Fetch charters and policy, and believe what verifies."""
        self.trust.accept(await self.relay.charters(), await self.relay.policy())
        self.tell_warnings()

    async def ensure_login(self) -> None:
        """A token kept from before, or a login. Raises Refused (expired) where only the mailbox would open."""
        token = cached_token(self.home, self.relay.address, self.identity, self.clock.now())
        if token is None:
            await self._renew()
            return
        self.relay.client.bearer = token.bearer
        if self.identity.warning(self.clock.now()) is not None:
            await self._look_into_mailbox()

    async def _look_into_mailbox(self) -> None:
        """Our certificate ends soon: take its successor, or say so. That the relay cannot be asked is for whatever
        the command does next to say."""
        now, rules = self.clock.now(), self.trust.authority.technician_rules()
        try:
            mail = await self.relay.mail()
        except Unavailable:
            mail = None
        if mail is not None and take_mail(self.home, mail.certificate, self.identity, rules, now):
            self._renewed()
            await log_in(self.home, self.relay, self.identity, rules, self.passphrases, now)
        self._warn()

    def _renewed(self) -> None:
        """There is another certificate than a moment ago."""
        old, self._identity = self.identity.technician, None
        new = self.identity.technician
        self.say(f"a renewed certificate of {new.name} came out of the mailbox")
        if (old.rights, old.principals, old.scope) != (new.rights, new.principals, new.scope):
            self.say("it does not grant what the one before did: `auxilio login` shows what it grants")

    def _warn(self) -> None:
        warning = self.identity.warning(self.clock.now())
        if warning is not None:
            self.say(warning)

    async def log_in(self) -> Token:
        """Refresh what is trusted, log in; after that, `identity` is what the mailbox may have made of it."""
        await self.refresh()
        self._identity = None
        rules = self.trust.authority.technician_rules()
        token = await log_in(self.home, self.relay, self.identity, rules, self.passphrases, self.clock.now())
        if self._load_identity().certificate.serial != self.identity.certificate.serial:
            self._renewed()
            token = await log_in(self.home, self.relay, self.identity, rules, self.passphrases, self.clock.now())
        self._warn()
        return token

    async def _renew(self) -> None:
        if (await self.log_in()).scope != "full":
            raise Refused(
                "your certificate has expired, and the mailbox holds no newer one",
                code="expired",
                hint="Ask an admin to run `auxilio technician renew --expiring`, then `auxilio login`.",
            )

    def tell_warnings(self) -> None:
        while self.trust.warnings:
            self.say(self.trust.warnings.pop(0))


def open_desk(home: Home, settings: Settings, entry: RelayEntry, passphrases: Passphrases, say: Say) -> Desk:
    """A desk at the relay `entry`, before any login. The caller closes desk.relay.client."""
    organisation = known_organisation(settings)
    client = RelayClient(settings.ways.to(entry.url, entry.pin))
    return Desk(home, settings, Relay(client, organisation), load_trust(home, organisation), passphrases, say)


@asynccontextmanager
async def signed_in(home: Home, passphrases: Passphrases, say: Say) -> AsyncIterator[Desk]:
    """A desk at the relay in use, logged in. Raises ConfigInvalid (not_set_up, not_logged_in, ...) and Refused."""
    settings = load_settings(home)
    desk = await desk_somewhere(home, settings, passphrases, say)
    async with desk.relay.client:
        if desk.trust.authority.charter is None:
            raise ConfigInvalid("no login was made yet", code="not_logged_in", hint="auxilio login RELAY")
        await desk.ensure_login()
        if desk.settings != settings:
            save_settings(home, desk.settings)  # the next command dials it first
        yield desk


async def desk_somewhere(home: Home, settings: Settings, passphrases: Passphrases, say: Say) -> Desk:
    """A desk at the relay in use, or where that one is not to be had, at another that the signed policy names.

    Only an absence is passed over. One that is not the relay it should be is an error at once.  Raises Unavailable.
    """
    first = relay_in_use(settings)
    policy = load_trust(home, known_organisation(settings)).authority.policy
    others = [entry for entry in (policy.policy.relays if policy else ()) if entry.url != first.url]
    missed: list[Unavailable] = []
    for entry in (first, *others):
        desk = open_desk(home, use_relay(settings, entry), entry, passphrases, say)
        if not others:
            return desk
        try:
            await desk.relay.info()
        except Unavailable as exc:
            missed.append(exc)
            await desk.relay.client.close()
        except BaseException:
            await desk.relay.client.close()
            raise
        else:
            if missed:
                say(f"{missed[0].message}; going on at {entry.url}")
            return desk
    raise missed[0]
