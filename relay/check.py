"""`auxilio-relay check`: everything that an operator would look at, in one go, with what to do about it."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import ipaddress
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, func, select

from protocol.codec import Record, encode
from protocol.errors import EXIT_CONFIG, EXIT_OK, EXIT_UNAVAILABLE, AuxilioError, ConfigInvalid
from protocol.system_clock import SystemClock
from protocol.text import escape
from protocol.units import size_text
from relay import config
from relay.certificate import is_for, read_certificate, server_context
from relay.store.documents import list_organisations
from relay.store.engine import Database, integrity, is_owned, open_database
from relay.store.migrate import HEAD, revision
from relay.store.tables import devices, documents

DAY_S = 86_400
WARN_CERTIFICATE_S = 21 * DAY_S
LEAST_FREE_BYTES = 256 * 1024 * 1024
WARN_FREE_BYTES = 2 * 1024 * 1024 * 1024
BUILT_AT = 1_763_856_000
"""November 2025: a clock that shows less is not set."""

CONNECT_WITHIN_S = 5.0
CLOCK_SLACK_S = 3600

ENOUGH_FILES = 8192

State = Literal["ok", "warning", "fail"]


class Finding(Record, frozen=True, kw_only=True):
    """what: the thing that was looked at.  status: the exit status that a failure of it gives."""

    what: str
    state: State
    message: str
    hint: str = ""
    status: int = EXIT_OK


def _ok(what: str, message: str) -> Finding:
    return Finding(what=what, state="ok", message=message)


def _warning(what: str, message: str, hint: str) -> Finding:
    return Finding(what=what, state="warning", message=message, hint=hint)


def _fail(what: str, message: str, hint: str, status: int = EXIT_CONFIG) -> Finding:
    return Finding(what=what, state="fail", message=message, hint=hint, status=status)


def check(given: argparse.Namespace) -> int:
    worst = EXIT_OK
    for finding in _look(given.dir):
        if given.json:
            print(encode(finding).decode("utf-8"))
        else:
            print(f"{finding.state:<8} {finding.what:<12} {escape(finding.message)}")
            if finding.hint:
                print(f"{'':21} {escape(finding.hint)}")
        worst = worst or finding.status
    return worst


def _look(folder: Path) -> Iterator[Finding]:
    try:
        settings = config.load(folder)
    except ConfigInvalid as exc:
        yield _fail("config", exc.message, exc.hint)
        return
    yield _ok("config", str(folder / config.CONFIG_NAME))
    for what, look in _LOOKS.items():
        try:
            yield from look(settings)
        except AuxilioError as exc:
            yield _fail(what, exc.message, exc.hint, exc.exit_status)


def _look_at_certificate(settings: config.Config) -> Iterator[Finding]:
    if settings.certificate is None or settings.key is None:
        yield _ok("certificate", "none: a reverse proxy does TLS")
        return
    server_context(settings.certificate, settings.key)
    facts = read_certificate(settings.certificate)
    now = SystemClock().now()
    left_s = facts.not_after - now
    if now < facts.not_before or left_s <= 0:
        hint = "Consoles and agents that pin the key go on; those that rely on a public CA do not."
        yield _fail("certificate", "it is not valid at this time", hint)
    elif left_s < WARN_CERTIFICATE_S:
        yield _warning("certificate", f"it expires in {left_s / DAY_S:.0f} days", "Renew it with the same key.")
    else:
        yield _ok("certificate", f"valid for {left_s / DAY_S:.0f} days, pin {facts.pin}")
    unnamed = [name for name in settings.names if not is_for(facts, name.rpartition(":")[0])]
    if unnamed:
        hint = "That is well for who pins the key. A public CA's certificate must name every [server] name."
        yield _warning("certificate", f"it does not name {', '.join(unnamed)}", hint)
    if settings.key.stat().st_mode & 0o077:
        yield _warning("certificate", f"{settings.key} can be read by others", f"chmod 600 {settings.key}")


def _look_at_database(settings: config.Config) -> Iterator[Finding]:
    path = settings.database
    if not path.exists():
        yield _fail("database", f"there is no {path}", "`auxilio-relay init` makes it; a backup restores it.")
        return
    found, damage, newest, served = asyncio.run(_ask(path))
    if found != HEAD:
        hint = "`auxilio-relay run` brings it up." if found is None else "It is another release's."
        yield _warning("database", f"schema {found or 'none'}, this release has {HEAD}", hint)
    elif damage:
        yield _fail("database", f"damaged: {damage[:200]}", "Restore a backup (docs/relay.md, Backup).")
    else:
        yield _ok("database", f"{path}, schema {found}, {size_text(path.stat().st_size)}")
        if not served:
            hint = "`auxilio-relay organisation add FINGERPRINT`; an admin's `auxilio authority show --id` prints it."
            yield _warning("database", "no organisation is served", hint)
    now = SystemClock().now()
    if newest > now + CLOCK_SLACK_S or now < BUILT_AT:
        yield _fail("clock", "it is behind what is in the database", "Set it: signatures are judged by it.")
    else:
        yield _ok("clock", "plausible (agents and consoles report it when theirs differ)")


async def _ask(path: Path) -> tuple[str | None, str, int, int]:
    """The schema's revision, what is damaged (or ""), the newest instant, and how many organisations are served."""
    database: Database = await open_database(path)

    def read(connection: Connection) -> tuple[str, int, int]:
        instants = [
            connection.execute(select(func.max(column))).scalar() or 0
            for column in (devices.c.last_seen_at, documents.c.accepted_at)
        ]
        return integrity(connection), max(instants), len(list_organisations(connection))

    try:
        found = await revision(database)
        return (found, *(await database.read(read) if found == HEAD else ("", 0, 0)))
    finally:
        database.close()


def _look_at_disk(settings: config.Config) -> Iterator[Finding]:
    folder = settings.database.parent
    free = shutil.disk_usage(folder).free
    text = f"{size_text(free)} free at {folder}"
    if free < LEAST_FREE_BYTES:
        yield _fail("disk", text, "Free some: nothing can be acknowledged once it is full.", EXIT_UNAVAILABLE)
    elif free < WARN_FREE_BYTES:
        yield _warning("disk", text, "It will not last.")
    else:
        yield _ok("disk", text)


def _look_at_ports(settings: config.Config) -> Iterator[Finding]:
    running = is_owned(settings.database)
    for what, address in (("port", settings.listen), ("admin port", settings.admin)):
        if running:
            yield _ask_running(settings, what, address)
        elif address.port == 0 or (error := _cannot_bind(address)) is None:
            yield _ok(what, f"{address} is free; the relay is not running")
        else:
            hint = "Another program is there, or the port needs privilege."
            yield _fail(what, f"cannot listen at {address}: {error}", hint, EXIT_UNAVAILABLE)


def _cannot_bind(address: config.Address) -> str | None:
    host = None if address.host == config.EVERYWHERE else address.host
    try:
        family, kind, _, _, where = socket.getaddrinfo(
            host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except OSError as exc:
        return exc.strerror or str(exc)
    return None


def _ask_running(settings: config.Config, what: str, address: config.Address) -> Finding:
    """Whether the relay that runs answers at `address`, with the certificate of the configuration."""
    if address.port == 0:
        return _ok(what, "the relay is running, at a port that the system chose")
    ours = {"0.0.0.0": "127.0.0.1", "::": "::1", config.EVERYWHERE: "localhost"}  # noqa: S104  # compared, not bound
    host = ours.get(address.host, address.host)
    try:
        with socket.create_connection((host, address.port), timeout=CONNECT_WITHIN_S) as plain:
            if what != "port" or settings.certificate is None:
                return _ok(what, f"the relay is running, and {address} answers")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            # Not trusted, only compared with the file: an expired or private one is to be recognised too.
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with context.wrap_socket(plain, server_hostname=host) as tls:
                shown = tls.getpeercert(binary_form=True) or b""
    except OSError as exc:
        hint = "A relay holds the database; does it listen elsewhere (run --listen)? Its log says."
        return _fail(what, f"{address} does not answer: {exc}", hint, EXIT_UNAVAILABLE)
    pem = settings.certificate.read_text(encoding="ascii", errors="replace")
    expected = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem[: pem.index("-----END CERTIFICATE-----") + 26]))
    if hashlib.sha256(shown).digest() != expected.digest():
        hint = "It takes the new one by itself, or at SIGHUP; if it cannot, its log says why."
        return _warning(what, "the relay that runs shows another certificate", hint)
    return _ok(what, f"the relay is running, and {address} answers with this certificate")


def _look_at_exposure(settings: config.Config) -> Iterator[Finding]:
    """What could be reached by whom it is not for."""
    host = settings.admin.host
    if host == "localhost" or _is_loopback(host):
        yield _ok("exposure", f"the admin port listens at {settings.admin}, for this machine alone")
    else:
        hint = "Whoever reaches it reads the metrics. Let it listen at 127.0.0.1, or behind a firewall."
        yield _warning("exposure", f"the admin port listens at {settings.admin}", hint)
    folder = settings.database.parent
    if folder.stat().st_mode & 0o007:
        yield _warning("exposure", f"{folder} is open to others", f"chmod o= {folder}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _look_at_limits(settings: config.Config) -> Iterator[Finding]:
    """Each link is a file of the process, and each session two."""
    try:
        import resource
    except ImportError:  # not POSIX
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < ENOUGH_FILES:
        hint = "For more devices than that: LimitNOFILE= of its service, or `ulimit -Hn`, for who runs it."
        yield _warning("open files", f"{most} at most, as this check was started", hint)
    else:
        yield _ok("open files", "as many as it takes" if most == resource.RLIM_INFINITY else f"{most} at most")


def _look_at_names(settings: config.Config) -> Iterator[Finding]:
    for name in settings.names:
        host = name.rpartition(":")[0].strip("[]")
        try:
            socket.getaddrinfo(host, None)
        except OSError as exc:
            hint = "Agents and consoles dial this name. Is it in the DNS, as seen from outside?"
            yield _warning("names", f"{host} has no address here: {exc.strerror or exc}", hint)
        else:
            yield _ok("names", f"{name} has an address")


_LOOKS: dict[str, Callable[[config.Config], Iterator[Finding]]] = {
    "certificate": _look_at_certificate,
    "database": _look_at_database,
    "disk": _look_at_disk,
    "port": _look_at_ports,
    "exposure": _look_at_exposure,
    "open files": _look_at_limits,
    "names": _look_at_names,
}
