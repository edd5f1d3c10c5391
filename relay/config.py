"""The relay's configuration: one TOML file in one directory, every key checked, a mistake named with its place.

Paths in it are relative to its directory. What is not written has a default that is right for a single relay.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from protocol.errors import ConfigInvalid
from protocol.text import escape

CONFIG_NAME = "relay.toml"
MAX_CONFIG_BYTES = 256 * 1024
HINT = "docs/relay.md explains every key; `auxilio-relay check` looks at the whole installation."

_NAME = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]{0,252}[a-z0-9])?):([0-9]{1,5})\Z")


EVERYWHERE = "*"
"""As a host to listen at: every address of the machine, of both families."""


class Address(msgspec.Struct, frozen=True):
    """Where to listen. host: an IP address, a name, or EVERYWHERE.  port 0: whichever is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """names: "host:port" by which agents and consoles dial; the first is told to agents that did not say.

    tls=False: a reverse proxy does TLS, and only trusted_proxies (addresses or networks) are served.
    drain_s: how long a request for a session may still be answered once the relay was told to stop.
    """

    listen: str = "*:8443"  # a relay is there to be reached
    names: list[str]
    tls: bool = True
    certificate: str = "certificate.pem"
    key: str = "key.pem"
    trusted_proxies: list[str] = []
    drain_s: float = 60.0  # service managers kill after 90 s


class Admin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    listen: str = "127.0.0.1:9643"


class Store(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """reports_kept: of each device, newest first.  *_mib: of blobs."""

    database: str = "relay.sqlite"
    reports_kept: int = 64
    blobs_per_device_mib: int = 256
    blobs_per_organisation_mib: int = 10 * 1024
    blobs_total_mib: int = 20 * 1024


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of strangers: requests_per_s and request_burst for each address; connections for each and in all."""

    connections: int = 60_000
    connections_per_address: int = 4_000
    handshakes: int = 256
    requests_per_s: float = 20.0
    request_burst: float = 600.0


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    level: Literal["debug", "info", "warning", "error"] = "info"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    server: Server
    admin: Admin = Admin()
    store: Store = Store()
    limits: Limits = Limits()
    log: Log = Log()


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What was read, with addresses and paths resolved."""

    folder: Path
    listen: Address
    admin: Address
    names: tuple[str, ...]
    drain_s: float
    certificate: Path | None
    key: Path | None
    trusted_proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
    database: Path
    store: Store
    limits: Limits
    log_level: str


def parse_address(text: str, what: str) -> Address:
    """ "host:port" or "[v6]:port". Raises ConfigInvalid."""
    host, colon, port = text.strip().rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not bare or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigInvalid(
            f"{what}: {escape(text, limit=80)!r} is no address to listen at",
            hint="It looks like *:443 or [::1]:443.",
        )
    return Address(bare, int(port))


def parse_name(text: str) -> str:
    """A "host:port" by which the relay is dialled, in lower case. Raises ConfigInvalid."""
    name = text.strip().lower()
    found = _NAME.match(name)
    if found is None or int(found.group(3)) > 65535:
        raise ConfigInvalid(
            f"{escape(text, limit=80)!r} is no name of a relay",
            hint="Give host:port as consoles and agents dial it, for example relay.example.org:443.",
        )
    return name


def load(folder: Path) -> Config:
    """Read the configuration in `folder`. Raises ConfigInvalid, which names the file and the key."""
    path = folder / CONFIG_NAME
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigInvalid(f"{path} is too large to be a configuration", hint=HINT)
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise ConfigInvalid(
            f"there is no relay in {folder}",
            code="no_relay",
            hint=f"`auxilio-relay init --dir {folder}` makes one; --dir names another directory.",
        ) from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigInvalid(f"cannot read {path}: {escape(str(exc))}", hint=HINT) from exc
    try:
        return _resolve(folder, parse(text))
    except ConfigInvalid as exc:
        raise ConfigInvalid(f"{path}: {exc.message}", hint=exc.hint or HINT, code=exc.reason) from exc


def parse(text: str) -> _File:
    try:
        return msgspec.convert(tomllib.loads(text), _File)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigInvalid(f"not TOML: {escape(str(exc))}", hint=HINT) from exc
    except msgspec.ValidationError as exc:
        raise ConfigInvalid(escape(str(exc)), hint=_nearest(str(exc)) or HINT) from exc
    except RecursionError as exc:
        raise ConfigInvalid("nested too deeply", hint=HINT) from exc


def _nearest(message: str) -> str:
    """The key that somebody who wrote an unknown one probably meant, as a hint."""
    found = re.search(r"unknown field `([^`]+)`", message)
    if found is None:
        return ""
    known = [f for struct in (_File, Server, Admin, Store, Limits, Log) for f in struct.__struct_fields__]
    close = difflib.get_close_matches(found.group(1), known, n=1)
    return f"Did you mean `{close[0]}`? {HINT}" if close else ""


def _resolve(folder: Path, file: _File) -> Config:
    if not file.server.names:
        raise ConfigInvalid("[server] names is empty", hint="List at least one host:port as it is dialled.")
    admin = parse_address(file.admin.listen, "[admin] listen")
    everywhere = admin.host == EVERYWHERE or ipaddress.ip_address(_literal(admin.host)).is_unspecified
    if not admin.is_loopback and everywhere:
        raise ConfigInvalid(
            "[admin] listen is open to everybody, and metrics are not for everybody",
            hint="Use a loopback or private address.",
        )
    proxies = tuple(_network(text) for text in file.server.trusted_proxies)
    if not file.server.tls and not proxies:
        raise ConfigInvalid(
            "[server] tls = false without trusted_proxies",
            hint="List the addresses of the reverse proxy that does TLS.",
        )
    _check_bounds(file)
    tls = file.server.tls
    return Config(
        folder=folder,
        listen=parse_address(file.server.listen, "[server] listen"),
        admin=admin,
        names=tuple(dict.fromkeys(parse_name(name) for name in file.server.names)),
        drain_s=file.server.drain_s,
        certificate=folder / file.server.certificate if tls else None,
        key=folder / file.server.key if tls else None,
        trusted_proxies=proxies,
        database=folder / file.store.database,
        store=file.store,
        limits=file.limits,
        log_level=file.log.level,
    )


def _literal(host: str) -> str:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "127.0.0.1"  # a name: whatever it means, it is not "everywhere"
    return host


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as exc:
        raise ConfigInvalid(
            f"[server] trusted_proxies: {escape(text, limit=60)!r} is no address or network",
            hint="For example 127.0.0.1 or 10.0.0.0/8.",
        ) from exc


def _check_bounds(file: _File) -> None:
    bounds: tuple[tuple[str, float, float, float], ...] = (
        ("[server] drain_s", file.server.drain_s, 0, 3600),
        ("[store] reports_kept", file.store.reports_kept, 2, 100_000),
        ("[store] blobs_per_device_mib", file.store.blobs_per_device_mib, 32, 1 << 20),
        ("[store] blobs_per_organisation_mib", file.store.blobs_per_organisation_mib, 32, 1 << 30),
        ("[store] blobs_total_mib", file.store.blobs_total_mib, 32, 1 << 30),
        ("[limits] connections", file.limits.connections, 16, 10_000_000),
        ("[limits] connections_per_address", file.limits.connections_per_address, 4, 10_000_000),
        ("[limits] handshakes", file.limits.handshakes, 4, 100_000),
        ("[limits] requests_per_s", file.limits.requests_per_s, 0.1, 1e6),
        ("[limits] request_burst", file.limits.request_burst, 1, 1e6),
    )
    for name, value, least, most in bounds:
        if not least <= value <= most:
            raise ConfigInvalid(f"{name} = {value} is out of bounds ({least} to {most})", hint=HINT)


def client_address(config: Config, peer: str, forwarded: str) -> str:
    """Whose request it is: the peer, or where the peer is a trusted proxy, the last address that it vouches for.

    forwarded: all X-Forwarded-For headers, joined by commas: some proxies add one of their own. Addresses further left
    are the client's own claim; what is no address was written by nobody whom we trust, and the hop before it counts.
    """
    vouched = peer
    for claimed in (peer, *reversed(forwarded.split(","))):
        address = claimed.strip()
        if not is_trusted_proxy(config, address):
            return address if _is_address(address) else vouched
        vouched = address
    return peer


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_trusted_proxy(config: Config, address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed.version == network.version and parsed in network for network in config.trusted_proxies)


TEMPLATE = """\
# auxilio-relay. docs/relay.md explains every key; `auxilio-relay check` looks at the whole installation.
# Paths are relative to this directory. Stop and start the relay after a change.

[server]
# Where agents and consoles reach the relay: one port for everything.
listen = "{listen}"

# Every host:port by which it is dialled. A login or link that names another one is refused, since it was signed
# for another relay.
names = [{names}]

# TLS certificate (with its chain) and key, PEM. Agents pin the key: a new certificate for it changes nothing.
certificate = "{certificate}"
key = "{key}"

# Behind a reverse proxy that does TLS itself: tls = false, and who the proxy is. Only it is then served.
# tls = false
# trusted_proxies = ["127.0.0.1"]

# Seconds for which a customer who is being asked may still answer once the relay was told to stop (SIGTERM); sessions
# that stand go on at the next process. A second SIGTERM ends it at once.
# drain_s = 60

[admin]
# /healthz, /readyz and /metrics. Not for the internet.
listen = "{admin}"

[store]
database = "relay.sqlite"

# How many reports of each device are kept; and how many MiB of blobs, of one device, of one organisation and in all.
# The default leaves half to the other organisations; if you serve only one, give it all.
# reports_kept = 64
# blobs_per_device_mib = 256
# blobs_per_organisation_mib = 10240
# blobs_total_mib = 20480

[limits]
# What strangers may ask for. One address can be a whole site's devices behind NAT.
# connections = 60000
# connections_per_address = 4000
# handshakes = 256
# requests_per_s = 20.0
# request_burst = 600.0

[log]
# debug, info, warning or error; one JSON object a line, on standard error.
level = "info"
"""
