"""The ways in which this relay says no to a request, each with the HTTP status it becomes.

What belongs to another organisation is NotFound, in the very words of what does not exist.
"""

from __future__ import annotations

from typing import ClassVar

from protocol.errors import AuxilioError, BadMessage, Refused, Unavailable, Untrusted


class NotFound(Refused):
    code = "not_found"
    status: ClassVar[int] = 404


class Unauthorized(Refused):
    """No bearer token, or one that is not (or no longer) good. It never says which of these."""

    code = "unauthorized"
    default_hint = "Log in with `auxilio login`."
    status: ClassVar[int] = 401


class Forbidden(Refused):
    """The bearer is known and may not do this."""

    code = "forbidden"
    status: ClassVar[int] = 403


class Conflict(Refused):
    """What the request builds on has changed meanwhile."""

    code = "conflict"
    status: ClassVar[int] = 409


class TooLarge(BadMessage):
    code = "too_large"
    status: ClassVar[int] = 413


class TooMany(Unavailable):
    """A bound on strangers or on one party is reached. retry_after_s: when it is worth coming back."""

    code = "too_many_requests"
    status: ClassVar[int] = 429

    def __init__(self, message: str, *, retry_after_s: float = 1.0, hint: str = "", code: str | None = None) -> None:
        super().__init__(message, hint=hint, code=code)
        self.retry_after_s = retry_after_s


class Busy(TooMany):
    """The relay itself has no room now, whoever asks."""

    code = "busy"
    status: ClassVar[int] = 503


class Quota(TooMany):
    """One organisation has its share of what all share; the others still have theirs. what: blobs or searches."""

    code = "quota"
    status: ClassVar[int] = 507

    def __init__(self, message: str, *, organisation: str, what: str, hint: str, retry_after_s: float) -> None:
        super().__init__(message, retry_after_s=retry_after_s, hint=hint)
        self.organisation = organisation
        self.what = what


class DeviceOffline(Unavailable):
    code = "device_offline"
    default_hint = "`auxilio show DEVICE` says since when, and why."
    status: ClassVar[int] = 503


class StoreFailed(Unavailable):
    """The database did not take it; nothing of the request was kept."""

    code = "store_failed"
    status: ClassVar[int] = 503


class StoreFull(StoreFailed):
    code = "store_full"
    default_hint = "The relay's operator must free disk space: `auxilio-relay check` says where."
    status: ClassVar[int] = 507


_BY_CLASS = ((BadMessage, 400), (Untrusted, 403), (Refused, 403), (Unavailable, 503))


def status_of(error: AuxilioError) -> int:
    """The HTTP status that `error` is answered with."""
    own = getattr(error, "status", None)
    if isinstance(own, int):
        return own
    return next((status for class_, status in _BY_CLASS if isinstance(error, class_)), 500)


def device_not_found() -> NotFound:
    return NotFound("there is no such device", hint="`auxilio devices` lists the devices that you may see.")


def organisation_not_found() -> NotFound:
    return NotFound(
        "this relay does not serve that organisation",
        hint="Its operator can add it: `auxilio-relay organisation add FINGERPRINT`.",
    )


def session_not_found() -> NotFound:
    return NotFound("there is no such session")


def blob_not_found() -> NotFound:
    return NotFound("there is no such blob")
