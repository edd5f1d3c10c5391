"""What this console was told: its organisation, its relays, its technician's key. Read by every command."""

from __future__ import annotations

import msgspec

from console.home import Home
from protocol.codec import Record
from protocol.errors import BadMessage, ConfigInvalid
from protocol.ids import OrganisationId, parse_organisation_id
from protocol.policy import Relay
from transport.ways import Ways

FILE = "settings.json"


class Settings(Record, frozen=True, kw_only=True):
    """relays: as logged in to, the one in use first.  key: a private key file, or a fingerprint in ssh-agent.

    proxy: as transport.proxy.check_setting returns it; None leaves it to the environment.
    """

    organisation: OrganisationId | None = None
    relays: tuple[Relay, ...] = ()
    key: str | None = None
    proxy: str | None = None

    @property
    def ways(self) -> Ways:
        return Ways(self.proxy)


def load_settings(home: Home) -> Settings:
    settings = home.read_record(FILE, Settings)
    return settings or Settings()


def save_settings(home: Home, settings: Settings) -> None:
    home.write_record(FILE, settings)


def use_relay(settings: Settings, relay: Relay) -> Settings:
    """The same settings with `relay` as the one in use."""
    others = tuple(known for known in settings.relays if known.url != relay.url)
    return msgspec.structs.replace(settings, relays=(relay, *others))


def adopt_organisation(settings: Settings, organisation: str) -> OrganisationId:
    """The organisation that this console works for from now on, if it works for no other one.

    Raises ConfigInvalid (another_organisation, usage).
    """
    try:
        parsed = parse_organisation_id(organisation)
    except BadMessage as exc:
        raise ConfigInvalid(exc.message, hint=exc.hint, code="bad_organisation") from exc
    if settings.organisation not in (None, parsed):
        raise another_organisation()
    return parsed


def another_organisation() -> ConfigInvalid:
    return ConfigInvalid(
        "this console works for another organisation",
        code="another_organisation",
        hint="Give each organisation a folder of its own: auxilio --home DIR ...",
    )


def known_organisation(settings: Settings) -> OrganisationId:
    if settings.organisation is None:
        raise ConfigInvalid(
            "this console does not know its organisation yet",
            code="not_set_up",
            hint="`auxilio login RELAY --organisation FINGERPRINT`, or `auxilio authority init` to begin one.",
        )
    return settings.organisation


def relay_in_use(settings: Settings) -> Relay:
    if not settings.relays:
        raise ConfigInvalid(
            "this console is logged in to no relay",
            code="not_logged_in",
            hint="auxilio login https://HOST:PORT --pin PIN",
        )
    return settings.relays[0]
