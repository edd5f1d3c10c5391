"""Structured logs: one JSON object a line on standard error, and no secret in any.

What is logged is chosen field by field where it is logged: never a token, ticket, nonce, key, header, query or body.
Texts that came from outside are ASCII-escaped, so that no log viewer obeys them.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from typing import TextIO

MAX_FIELD_CHARS = 512
MAX_TRACE_CHARS = 8_000

_logger = logging.getLogger("auxilio.relay")


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "at": round(record.created, 3),
            "level": record.levelname.lower(),
            "event": record.getMessage()[:MAX_FIELD_CHARS],
        }
        extra = getattr(record, "fields", None)
        if isinstance(extra, dict):
            fields.update({str(name): _bounded(value) for name, value in extra.items()})
        if record.name != _logger.name:
            fields["logger"] = record.name
        if record.exc_info and record.exc_info[0] is not None:
            fields["trace"] = "".join(traceback.format_exception(*record.exc_info))[-MAX_TRACE_CHARS:]
        return json.dumps(fields, ensure_ascii=True, separators=(",", ":"))


def _bounded(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)[:MAX_FIELD_CHARS]


def set_up(level: str, stream: TextIO | None = None) -> None:
    """level: debug, info, warning, error. Everything that any library logs comes out in the same form."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    _logger.setLevel(level.upper())


def debug(event: str, **fields: object) -> None:
    _logger.debug(event, extra={"fields": fields})


def info(event: str, **fields: object) -> None:
    _logger.info(event, extra={"fields": fields})


def warning(event: str, **fields: object) -> None:
    _logger.warning(event, extra={"fields": fields})


def bug(event: str, error: BaseException, **fields: object) -> None:
    """An error that nobody expected: with its traceback, which holds code and no values."""
    _logger.error(event, exc_info=(type(error), error, error.__traceback__), extra={"fields": fields})
