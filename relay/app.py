"""One relay process: everything wired together, started, and ended in order.

lock the database -> migrate -> bind -> say ready -> serve
stop: nothing new is begun -> sessions have their time -> no new connections, goodbye to every agent -> what is queued
      is committed -> gone.  A second signal ends the process as SIGKILL would: what was acknowledged is committed.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
from aiohttp import web

from protocol.codec import encode
from protocol.errors import AuxilioError, ConfigInvalid, Unavailable
from protocol.system_clock import SystemClock
from relay import logs
from relay.admission import Buckets, Crowd
from relay.authorities import Authorities
from relay.certificate_files import CertificateFiles
from relay.config import Address, Config
from relay.events import Events
from relay.http import admin
from relay.http.listener import Listener
from relay.http.routes import application
from relay.inventories import Inventories
from relay.link_driver import LinkDriver
from relay.links import Links
from relay.logins import Logins
from relay.metrics import Metrics
from relay.nonces import LoginNonces
from relay.quotas import Quotas
from relay.release import RELEASE
from relay.reports import Reports
from relay.samples import expire
from relay.services import Services
from relay.sessions import Sessions
from relay.stopping import REASON, Stopping
from relay.store import devices, people
from relay.store import sessions as session_rows
from relay.store.engine import Database, open_database, owned
from relay.store.migrate import migrate
from relay.store.store import Store
from relay.uploads import Uploads, sweep

MIB = 1024 * 1024
SEEN_PERIOD_S = 60.0
"""How often it is written down that devices which are online still are: what a crash may forget."""

SWEEP_PERIOD_S = 600.0
EXPIRE_PERIOD_S = 300.0
"""How often old samples are looked for: little goes each time, and none is kept much longer than it was to be."""

STOP_WITHIN_S = 10.0
"""For agents to take their goodbye and legs to close; then they are cut."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

GREETING_TOTAL, GREETING_PER_ADDRESS = 1_024, 256
"""Links that have not said hello yet, each for at most ten seconds."""


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What `--ready-file` holds once the relay serves, as JSON. admin: URL.  names: as agents dial."""

    url: str
    admin: str
    names: tuple[str, ...]
    pin: str | None
    pid: int


async def run(config: Config, *, ready_file: Path | None = None) -> None:
    """Serve until SIGINT or SIGTERM. Raises ConfigInvalid, Unavailable where it cannot start."""
    with owned(config.database):
        database = await open_database(config.database)
        try:
            if await migrate(database):
                logs.info("migrated")
            await _run(config, database, ready_file)
        finally:
            database.close()


async def _run(config: Config, database: Database, ready_file: Path | None) -> None:
    metrics, store = Metrics(), Store(database)
    files = _certificate_files(config, metrics)
    listener = Listener(config, metrics, (lambda: files.context) if files else None)
    async with AsyncExitStack() as started:
        started.push_async_callback(listener.close)
        await _bind(listener, config)
        await started.enter_async_context(_writing(store))
        services = _wire(config, store, metrics, listener.port)
        now = services.clock.now()
        await store.write(devices.all_offline)
        await store.write(lambda c: session_rows.end_all(c, now))
        await services.inventories.look_behind()
        await listener.start(application(services))
        admin_runner, admin_port = await _serve_admin(services, config.admin)
        started.push_async_callback(admin_runner.cleanup)
        services.link_driver.guarded_ports = (admin_port,)
        ready = _ready(config, services, listener.port, admin_port, files)
        await _serve(services, listener, files, ready, ready_file)
    logs.info("stopped")


async def _serve(
    services: Services, listener: Listener, files: CertificateFiles | None, ready: Ready, ready_file: Path | None
) -> None:
    stop = asyncio.Event()
    _on_signals(stop, files)
    jobs = [
        listener.serve(),
        services.sessions.run(),
        services.inventories.run(),
        _every(SEEN_PERIOD_S, lambda: _write_seen(services)),
        _every(SWEEP_PERIOD_S, lambda: _sweep(services)),
        _every(EXPIRE_PERIOD_S, lambda: _expire_samples(services)),
        *([files.watch()] if files else []),
    ]
    async with asyncio.TaskGroup() as tasks:
        work = [tasks.create_task(job) for job in jobs]
        if ready_file is not None:
            _write_ready(ready_file, ready)
        logs.info("ready", url=ready.url, admin=ready.admin, pin=ready.pin, release=RELEASE)
        await stop.wait()
        await _drain(services)
        await _say_goodbye(services, listener)
        for task in work:
            task.cancel()


def _wire(config: Config, store: Store, metrics: Metrics, port: int) -> Services:
    clock = SystemClock()
    names = tuple(name.removesuffix(":0") + f":{port}" if name.endswith(":0") else name for name in config.names)
    authorities = Authorities(store, clock)
    events = Events(secrets.token_hex(4))
    uniform = random.SystemRandom().uniform
    stopping = Stopping(clock)
    links = Links(store, events, metrics, clock, uniform)
    authorities.on_change(links.announce)
    inventories = Inventories(store)
    sessions = Sessions(store, authorities, links, events, metrics, clock, secrets.token_bytes, stopping)
    logins = Logins(
        store,
        authorities,
        clock,
        names=frozenset(names),
        nonces=LoginNonces(secrets.token_bytes(32)),
        entropy=secrets.token_bytes,
    )
    driver = LinkDriver(
        store=store,
        authorities=authorities,
        links=links,
        sessions=sessions,
        reports=Reports(store, inventories, kept=config.store.reports_kept),
        metrics=metrics,
        clock=clock,
        names=frozenset(names),
        uniform=uniform,
        entropy=secrets.token_bytes,
        stopping=stopping,
    )
    uploads = Uploads(
        config.database.with_name(config.database.name + ".uploads"),
        store,
        clock,
        per_owner_bytes=config.store.blobs_per_device_mib * MIB,
        per_organisation_bytes=config.store.blobs_per_organisation_mib * MIB,
        total_bytes=config.store.blobs_total_mib * MIB,
    )
    return Services(
        config=config,
        names=names,
        clock=clock,
        entropy=secrets.token_bytes,
        store=store,
        authorities=authorities,
        events=events,
        metrics=metrics,
        logins=logins,
        links=links,
        sessions=sessions,
        inventories=inventories,
        link_driver=driver,
        uploads=uploads,
        quotas=Quotas(metrics, clock),
        strangers=Buckets(per_s=config.limits.requests_per_s, burst=config.limits.request_burst),
        greeting=Crowd(total=GREETING_TOTAL, per_key=GREETING_PER_ADDRESS),
        stopping=stopping,
    )


def _certificate_files(config: Config, metrics: Metrics) -> CertificateFiles | None:
    """Raises ConfigInvalid where they are no pair."""
    if config.certificate is None or config.key is None:
        return None
    return CertificateFiles(config.certificate, config.key, metrics, SystemClock())


# -- starting -------------------------------------------------------------------------------------------------------


async def _bind(listener: Listener, config: Config) -> None:
    try:
        await listener.bind()
    except OSError as exc:
        raise Unavailable(
            f"cannot listen at {config.listen}: {exc.strerror or exc}",
            code="cannot_listen",
            hint="Is another program there, or does the port need privilege? [server] listen names the address.",
        ) from exc


async def _serve_admin(services: Services, address: Address) -> tuple[web.AppRunner, int]:
    runner = web.AppRunner(admin.application(services), access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, address.host, address.port).start()
    except OSError as exc:
        await runner.cleanup()
        raise Unavailable(
            f"cannot listen at {address}: {exc.strerror or exc}",
            code="cannot_listen",
            hint="[admin] listen names the address.",
        ) from exc
    return runner, int(runner.addresses[0][1])


@asynccontextmanager
async def _writing(store: Store) -> AsyncIterator[None]:
    """The writer runs within the block, and has committed everything when it is left."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(store.writer.run())
        try:
            yield
        finally:
            store.writer.close()


def _ready(config: Config, services: Services, port: int, admin_port: int, files: CertificateFiles | None) -> Ready:
    return Ready(
        url=f"https://{services.names[0]}" if services.names else f"https://{config.listen.host}:{port}",
        admin=f"http://{Address(config.admin.host, admin_port)}",
        names=services.names,
        pin=files.facts.pin if files else None,
        pid=os.getpid(),
    )


def _write_ready(path: Path, ready: Ready) -> None:
    """Whoever waits for the file never sees half of it."""
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_bytes(encode(ready) + b"\n")
        partial.replace(path)
    except OSError as exc:
        raise ConfigInvalid(f"cannot write {path}: {exc.strerror}", hint="--ready-file names it.") from exc


def _on_signals(stop: asyncio.Event, files: CertificateFiles | None) -> None:
    """SIGTERM and Ctrl-C stop it, once; SIGHUP looks at the certificate's files."""
    loop = asyncio.get_running_loop()

    def stop_once() -> None:
        stop.set()
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop_once)
    loop.add_signal_handler(signal.SIGHUP, files.reload if files else lambda: logs.info("nothing_to_reload"))


# -- while it runs --------------------------------------------------------------------------------------------------


async def _every(period_s: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do `work` every `period_s`; what it cannot do now it does next time."""
    while True:
        await asyncio.sleep(period_s)
        try:
            await work()
        except AuxilioError as exc:
            logs.warning("periodic_work_failed", reason=exc.reason, error=exc.message)


async def _write_seen(services: Services) -> None:
    now = services.clock.now()
    await services.store.write(lambda c: devices.all_seen(c, now))


async def _sweep(services: Services) -> None:
    now = services.clock.now()
    services.uploads.expire()
    services.uploads.recount()
    await services.inventories.look_behind()
    await services.inventories.drop_unused()
    await services.store.write(lambda c: people.drop_expired_logins(c, now))
    dropped = await sweep(services.store, services.clock)
    if dropped:
        logs.info("swept", blobs=dropped)


async def _expire_samples(services: Services) -> None:
    dropped = await expire(services.store, services.clock.now())
    if dropped:
        logs.info("samples_expired", rows=dropped)


# -- stopping -------------------------------------------------------------------------------------------------------


async def _drain(services: Services) -> None:
    """Begin nothing new, and let what is being asked for come to its end. Links stay: a revocation still reaches every
    device. Sessions that stand are not waited for: they go on at the next process."""
    drain_s = services.config.drain_s
    services.stopping.begin(drain_s)
    services.metrics.draining.set(1)
    logs.info("draining", links=len(services.links), sessions=len(services.sessions), within_s=drain_s)
    if not await services.sessions.wait_begun(drain_s):
        logs.warning("requests_left")


async def _say_goodbye(services: Services, listener: Listener) -> None:
    logs.info("stopping", links=len(services.links))
    listener.stop_listening()
    services.sessions.restart()
    services.links.goodbye(REASON)
    services.events.close()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(services.links.wait_empty(STOP_WITHIN_S))
        tasks.create_task(services.sessions.wait_over(STOP_WITHIN_S))
