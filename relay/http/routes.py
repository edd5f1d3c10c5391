"""The table of everything that this relay answers to."""

from __future__ import annotations

from functools import cache

from aiohttp import web

from relay.http import authority_routes, blob_routes, device_routes, fleet_routes, sample_routes, session_routes
from relay.http.call import Call, Route
from relay.http.openapi import document
from relay.http.serving import errors_of_http, handler
from relay.services import Services
from relay.uploads import MAX_BLOB_BYTES


async def openapi(_call: Call) -> dict[str, object]:
    return _document()


@cache
def _document() -> dict[str, object]:
    return document(ROUTES)


ROUTES: tuple[Route, ...] = (
    *authority_routes.ROUTES,
    *device_routes.ROUTES,
    *fleet_routes.ROUTES,
    *sample_routes.ROUTES,
    *session_routes.ROUTES,
    *blob_routes.ROUTES,
    Route(
        method="GET",
        path="/v1/openapi.json",
        who="stranger",
        handler=openapi,
        answer=dict,
        summary="This document",
    ),
)


def application(services: Services) -> web.Application:
    app = web.Application(middlewares=[errors_of_http], client_max_size=MAX_BLOB_BYTES)
    for route in ROUTES:
        app.router.add_route(route.method, route.path, handler(route, services))
    return app
