"""Errors that say whose fault it is, in one line, with the next thing to do.

Every error that a person or a program may meet is an `AuxilioError`. It carries a stable `code` (for programs and
tests), a message of one line and a `hint`: the next thing to do. Its class says whose fault it is, and therefore
with which status a command ends. Whatever is not an `AuxilioError` is a bug of ours.
"""

from __future__ import annotations

from typing import ClassVar

EXIT_OK = 0
EXIT_BUG = 1
EXIT_USAGE = 2  # as click and argparse do
EXIT_REFUSED = 3
EXIT_UNAVAILABLE = 4
EXIT_PEER = 5
EXIT_CONFIG = 6
EXIT_PARTIAL = 7  # some of many: each that failed was told
EXIT_WARNINGS = 8  # a diagnosis: something will not work, or works badly
EXIT_BROKEN = 9  # a diagnosis: something does not work
EXIT_INTERRUPTED = 130  # as a shell reports a program that Ctrl-C ended
EXIT_PIPE = 141  # ... and one whose reader left


class AuxilioError(Exception):
    """The root of all errors that we expect.

    message: one line, for a person.  hint: the next thing to do, or "".
    code: stable, snake_case; part of the protocol where an error crosses the wire.
    exit_status: the status with which a command ends, documented in docs/commands.md.
    """

    code: ClassVar[str] = "error"
    default_hint: ClassVar[str] = ""
    exit_status: ClassVar[int] = EXIT_BUG

    def __init__(self, message: str, *, hint: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint
        self.reason = code or self.code


class PeerFault(AuxilioError):
    """The other side sent something that the protocol does not allow. Nothing it sent was used."""

    code = "peer_fault"
    exit_status = EXIT_PEER


class BadMessage(PeerFault):
    """Bytes that are too long, malformed, or of another shape than the type that was due."""

    code = "bad_message"


class Untrusted(PeerFault):
    """A signature, certificate, pin or key that does not prove what it claims."""

    code = "untrusted"


class Refused(AuxilioError):
    """Somebody who may decide said no: a device, a relay, a policy or a customer."""

    code = "refused"
    exit_status = EXIT_REFUSED


class Unavailable(AuxilioError):
    """It may work later: no network, no such device online, a full disk."""

    code = "unavailable"
    exit_status = EXIT_UNAVAILABLE


class RelayUnreachable(Unavailable):
    code = "relay_unreachable"
    default_hint = "Check the address and the network; the relay's operator can run `auxilio-relay check`."


class ConfigInvalid(AuxilioError):
    """A file, option or token on this machine that cannot be used as it is."""

    code = "config_invalid"
    exit_status = EXIT_CONFIG


class UsageInvalid(ConfigInvalid):
    """An argument that cannot mean anything; the command ends as its option parser would."""

    code = "usage_invalid"
    exit_status = EXIT_USAGE


OWN_PACKAGES = frozenset({"agent", "console", "guidance", "protocol", "relay", "transport"})


def missing_extra(error: ModuleNotFoundError, extra: str) -> ConfigInvalid | None:
    """What to say where Auxilio was installed without one of its extras; None where a module of our own is missing."""
    package = (error.name or "").partition(".")[0]
    if not package or package in OWN_PACKAGES:
        return None
    return ConfigInvalid(
        f"the Python package {package} is not installed here",
        code="extra_missing",
        hint=f"Install Auxilio with its extra `{extra}`: pip install 'auxilio[{extra}]'",
    )
