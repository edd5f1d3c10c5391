"""What a failure of the network or an answer of a relay means, as one of our errors. Decides; does nothing.

Whatever a relay said is untrusted text: bounded and escaped here, once, before it becomes a message for a person.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import h11

from protocol.codec import decode
from protocol.error_body import ErrorBody
from protocol.errors import AuxilioError, BadMessage, PeerFault, Refused, RelayUnreachable, Unavailable
from protocol.text import escape
from transport.relay_address import RelayAddress
from transport.tls import untrusted

MAX_ERROR_BYTES = 16 * 1024

MAX_RETRY_AFTER_S = 3600.0
"""A relay may ask for patience, not for silence."""

_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")

_BEARER = re.compile(r"[A-Za-z0-9._~+/=-]{1,8192}\Z")


class RelayTimeout(RelayUnreachable):
    """The relay was dialled and did not answer within the deadline."""

    code = "relay_timeout"


class RelayCut(RelayUnreachable):
    """The connection was made, and closed or reset before its time."""

    code = "relay_cut"


class RelayFailed(Unavailable):
    """The relay answered that it cannot just now. retry_after_s: what it asked for, or None."""

    code = "relay_failed"
    default_hint = "Try again in a minute; the relay's operator can look into its log."

    def __init__(self, message: str, *, hint: str | None = None, code: str | None = None) -> None:
        super().__init__(message, hint=hint, code=code)
        self.retry_after_s: float | None = None


@contextmanager
def network_errors(address: RelayAddress) -> Iterator[None]:
    """Turn what the network and its parsers raise into our errors. Bugs stay what they are."""
    try:
        yield
    except (OSError, EOFError, h11.RemoteProtocolError) as exc:
        raise network_failure(exc, address) from exc


def network_failure(error: BaseException, address: RelayAddress) -> AuxilioError:
    """The error to raise in place of `error`, met while dialling or talking to `address`."""
    name = address.dialled_name
    match error:
        case AuxilioError():
            return error
        case ssl.SSLError():
            return untrusted(error, name) or RelayUnreachable(
                f"no TLS with {name}: {error.reason or 'the connection was cut'}",
                hint="Is it the relay's address and port, and is nothing in between that breaks TLS?",
            )
        case TimeoutError():
            return RelayTimeout(f"{name} did not answer in time")
        case socket.gaierror():
            return RelayUnreachable(f"the name {address.host} cannot be resolved ({error.strerror or error})")
        case ConnectionRefusedError():
            return RelayUnreachable(f"nothing listens at {name} (connection refused)")
        case ConnectionError() | EOFError():
            return RelayCut(f"{name} closed the connection")
        case OSError():
            return RelayUnreachable(f"{name} cannot be reached: {escape(error.strerror or str(error), limit=200)}")
        case _:
            return PeerFault(f"{name} does not speak HTTP as it should: {escape(str(error), limit=200)}")


def refused_answer(status: int, body: bytes, headers: Iterable[tuple[str, str]] = ()) -> AuxilioError:
    """The error that an HTTP answer with a status other than 2xx means.

    429, 408, 425 and 5xx: RelayFailed, it may work later.  Other 4xx: Refused.  Anything else: PeerFault.
    code, message and hint are the relay's, where its body has them. headers: names in lower case.
    """
    said = _error_body(body)
    if status in (408, 425, 429) or 500 <= status <= 599:
        failed = RelayFailed(
            said.message or f"the relay answered {status}", hint=said.hint or None, code=said.code or None
        )
        failed.retry_after_s = _retry_after_s(headers)
        return failed
    if 400 <= status <= 499:
        code = said.code or {401: "unauthorized", 403: "forbidden", 404: "not_found"}.get(status, "refused")
        return Refused(said.message or f"the relay answered {status}", hint=said.hint or None, code=code)
    return PeerFault(
        f"the relay answered {status}, which means nothing here",
        code="unexpected_status",
        hint="Is something else listening at the relay's address?",
    )


def checked_bearer(bearer: str) -> str:
    """A token that may stand in a header. Tickets come from a relay, which may be hostile."""
    if not _BEARER.match(bearer):
        raise BadMessage("a token or ticket with characters that none has")
    return bearer


def _error_body(body: bytes) -> ErrorBody:
    try:
        said = decode(body, ErrorBody, limit=MAX_ERROR_BYTES)
    except BadMessage:
        return ErrorBody(code="", message="")
    code = said.code if _CODE.match(said.code) else ""
    return ErrorBody(code=code, message=escape(said.message), hint=escape(said.hint))


def _retry_after_s(headers: Iterable[tuple[str, str]]) -> float | None:
    for name, value in headers:
        if name == "retry-after" and re.fullmatch(r"[0-9]{1,6}", value):
            return min(float(value), MAX_RETRY_AFTER_S)
    return None
