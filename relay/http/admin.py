"""Health, readiness and metrics, on a port of their own that is not for the internet."""

from __future__ import annotations

import asyncio

from aiohttp import web
from sqlalchemy import Connection, update

from protocol.errors import AuxilioError
from relay.services import Services
from relay.store.tables import organisations

READY_WITHIN_S = 5.0


def probe(connection: Connection) -> None:
    """A write that changes nothing: the lock is taken and the disk is written to, as for anything else."""
    connection.execute(update(organisations).where(organisations.c.id == "").values(added_at=0))


def application(services: Services) -> web.Application:
    async def healthz(_request: web.Request) -> web.Response:
        """The process answers."""
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        """The database takes a write, and in time: the relay can acknowledge what it is sent."""
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                await services.store.write(probe)
        except AuxilioError as exc:
            return web.Response(status=503, text=f"{exc.reason}: {exc.message}\n")
        except TimeoutError:
            return web.Response(status=503, text="the database does not answer\n")
        return web.Response(text="ready\n")

    async def metrics(_request: web.Request) -> web.Response:
        writer = services.store.writer
        services.metrics.store_queued.set(writer.queued)
        services.metrics.store_commits.set(writer.commits)
        return web.Response(
            body=services.metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    app = web.Application(client_max_size=1024)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    return app
