"""The OpenAPI 3.1 document, made from the table of routes and the records' own types."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from protocol.api import ErrorBody
from relay.http.call import Route
from relay.release import RELEASE

_REF = "#/components/schemas/{name}"


def document(routes: Iterable[Route]) -> dict[str, Any]:
    routes = tuple(routes)
    types = list(dict.fromkeys([t for r in routes for t in (r.body, r.answer) if _is_struct(t)] + [ErrorBody]))
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    by_type = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Auxilio relay",
            "version": RELEASE,
            "description": "What consoles and integrations ask. Believe the signatures in it, not the relay.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "login": {"type": "http", "scheme": "bearer", "description": "Of POST .../login, or of a link."}
            },
        },
    }


def _is_struct(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct)


def _operation(route: Route, by_type: dict[Any, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": f"{route.method.lower()}_{route.handler.__name__}",
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"{([a-z0-9]+)}", route.path)
        ]
        + [
            {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
            for name, text in route.query.items()
        ],
        "responses": {
            "default": {"description": "It did not work: why, and what to do", "content": _json(by_type[ErrorBody])},
        },
    }
    if _is_struct(route.answer):
        content = _json(by_type[route.answer]) | ({"text/csv": {"schema": {"type": "string"}}} if route.csv else {})
        operation["responses"]["200"] = {"description": "It worked", "content": content}
    elif route.answer is None and route.body is not None:
        operation["responses"]["204"] = {"description": "It worked"}
    else:
        operation["responses"]["200"] = {"description": "It worked"}
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": _json(by_type[route.body])}
    if route.who != "stranger":
        operation["security"] = [{"login": []}]
    return operation


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
