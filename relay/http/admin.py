"""Health, readiness and metrics, on a port of their own that is not for the internet."""

from __future__ import annotations

import asyncio
import shutil

from aiohttp import web
from sqlalchemy import Connection, insert, update

from protocol.errors import AuxilioError
from relay.services import Services
from relay.store.engine import WAL_BYTES
from relay.store.tables import probes

READY_WITHIN_S = 5.0


LEAST_FREE_BYTES = WAL_BYTES
"""Below it the disk counts as full, although small writes may still find room in what the log takes already."""


def probe(connection: Connection, now: float) -> None:
    """A write of another value each time: the lock is taken and the disk is written to, as for anything else."""
    value = {"at": int(now * 1000)}
    if not connection.execute(update(probes).where(probes.c.what == "readyz").values(value)).rowcount:
        connection.execute(insert(probes).values(what="readyz", **value))


def application(services: Services) -> web.Application:
    async def healthz(_request: web.Request) -> web.Response:
        """The process answers."""
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        """The database takes a write, and in time: the relay can acknowledge what it is sent. Not once it stops."""
        if services.stopping.has_begun:
            return web.Response(status=503, text="relay_restarting: nothing new is begun here\n")
        if shutil.disk_usage(services.config.database.parent).free < LEAST_FREE_BYTES:
            return web.Response(status=503, text="store_full: the relay's disk is full\n")
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                await services.store.write(lambda connection: probe(connection, services.clock.now()))
        except AuxilioError as exc:
            return web.Response(status=503, text=f"{exc.reason}: {exc.message}\n")
        except TimeoutError:
            return web.Response(status=503, text="the database does not answer\n")
        return web.Response(text="ready\n")

    async def metrics(_request: web.Request) -> web.Response:
        writer = services.store.writer
        services.metrics.store_queued.set(writer.queued)
        services.metrics.store_commits.set(writer.commits)
        services.metrics.inventories_behind.set(len(services.inventories))
        return web.Response(
            body=services.metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    app = web.Application(client_max_size=1024)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    return app
