"""What the supervisor and a session's child say to each other, over one socketpair of AF_UNIX SEQPACKET.

JSON, one message a packet, told apart by `type`; descriptors travel beside a message (SCM_RIGHTS), from the
supervisor to the child only. The supervisor holds the device key and the right to be anybody; the child holds the
network and the SSH parser. So the supervisor treats the child as a stranger: bounded, typed, and a message that is
out of turn ends the session.

    child                               supervisor
      |  Ready -------------------------->  |   everything is imported, privilege is gone
      |  <-------------------------- Start  |   what to dial, which key to admit, which host key to show
      |  Joined ------------------------->  |   both legs are spliced; SSH begins
      |  Sign --------------------------->  |   the exchange hash, once
      |  <------------------------- Signed  |
      |  Authenticated ------------------>  |
      |  Open --------------------------->  |   per channel: checked against the policy as it is now
      |  <----------- Opened + descriptors  |   or Denied
      |  Connect ------------------------>  |   per forward: likewise; Opened + a socket, or Denied
      |  Signal, Hangup -> ... <--- Exited  |
      |  <------------------------- Finish  |   say why, then leave
      |  Leaving ------------------------>  |
"""

from __future__ import annotations

import re

from protocol.codec import Record, decode
from protocol.errors import BadMessage
from protocol.forward import MAX_HOST_CHARS, MAX_PORT
from transport.proxy import Proxy

MAX_IPC_BYTES = 128 * 1024
"""One packet: below Linux's default socket buffer (208 KiB), above a long command in JSON."""

MAX_COMMAND_CHARS = 64 * 1024
"""Of one exec request. Linux takes 128 KiB in one argument; JSON may need twice the characters."""

MAX_MODES = 64
MAX_ENVIRONMENT = 32
MAX_CONNECTING = 32
"""Forwards that are being connected at one time; a browser opens six to a host. A client that wants more is refused."""

HASH_SIZES = frozenset({32, 48, 64})
"""Exchange hashes are SHA-256, SHA-384 or SHA-512. An SSHSIG to be signed is never this short."""

REFUSED_STATUS = 254
"""Exit status of a channel that was refused: below ssh's own 255, above what programs use."""


class Terminal(Record, frozen=True, kw_only=True):
    """A pseudo-terminal as the client asked for it (RFC 4254, 6.2). Sizes in characters and pixels, 0: unknown.

    modes: (opcode, value) of RFC 4254 section 8, at most MAX_MODES.
    """

    name: str
    columns: int
    rows: int
    width: int
    height: int
    modes: tuple[tuple[int, int], ...] = ()


# -- child to supervisor ------------------------------------------------------------------------------------------


class Ready(Record, frozen=True, kw_only=True, tag="ready"):
    pass


class Joined(Record, frozen=True, kw_only=True, tag="joined"):
    pass


class Away(Record, frozen=True, kw_only=True, tag="away"):
    """The leg was lost; SSH waits for a Resume."""


class Back(Record, frozen=True, kw_only=True, tag="back"):
    """There is another leg."""


class Sign(Record, frozen=True, kw_only=True, tag="sign"):
    """exchange_hash: of HASH_SIZES bytes."""

    exchange_hash: bytes


class Authenticated(Record, frozen=True, kw_only=True, tag="authenticated"):
    """The client proved the one key that is admitted. client: its version line, for the log."""

    client: str


class Open(Record, frozen=True, kw_only=True, tag="open"):
    """A client's request for a process. kind: "shell", "exec", "sftp" or "look".  command: of an exec."""

    channel: int
    kind: str
    command: str | None
    terminal: Terminal | None
    environment: dict[str, str]


class Connect(Record, frozen=True, kw_only=True, tag="connect"):
    """A client's request for a TCP connection from the device to `host`, port `port`: as it came, up to the bounds."""

    channel: int
    host: str
    port: int


class TurnedDown(Record, frozen=True, kw_only=True, tag="turned_down"):
    """The child said no by itself to something that this release never serves: for the log. what: "forward", ..."""

    what: str
    detail: str


class Signal(Record, frozen=True, kw_only=True, tag="signal"):
    """name: of RFC 4254 section 6.10, without SIG."""

    channel: int
    name: str


class Hangup(Record, frozen=True, kw_only=True, tag="hangup"):
    """The channel is closed: its process has nobody to talk to."""

    channel: int


class Leaving(Record, frozen=True, kw_only=True, tag="leaving"):
    """The child's last words. reason: closed, lost or failed."""

    reason: str
    message: str


# -- supervisor to child ------------------------------------------------------------------------------------------


class Start(Record, frozen=True, kw_only=True, tag="start"):
    """relay_url, pin: as in the policy.  proxy: to dial it through.  host_key, admitted_key: SSH public key blobs.

    account: as the request names it, which is what SSH's user has to be called.
    session: names the leg.  ticket: bearer for it.  max_channels: at one time.
    resume_for_s: for which SSH waits for another leg.
    """

    relay_url: str
    pin: str | None
    session: str
    ticket: str
    host_key: bytes
    admitted_key: bytes
    account: str
    max_channels: int
    resume_for_s: float
    proxy: Proxy | None = None


class Resume(Record, frozen=True, kw_only=True, tag="resume"):
    """Another leg of the same session, as in Start; the one before is of no more use."""

    relay_url: str
    pin: str | None
    ticket: str
    proxy: Proxy | None = None


class Doubt(Record, frozen=True, kw_only=True, tag="doubt"):
    """The network changed: is the leg still there?"""


class Signed(Record, frozen=True, kw_only=True, tag="signed"):
    """signature: SSH signature blob by the device key."""

    signature: bytes


class Opened(Record, frozen=True, kw_only=True, tag="opened"):
    """Beside it: the terminal's master; standard input, output and error of the process; or a forward's socket."""

    channel: int


class Denied(Record, frozen=True, kw_only=True, tag="denied"):
    channel: int
    code: str
    message: str
    hint: str


class Exited(Record, frozen=True, kw_only=True, tag="exited"):
    """status: 0-255, or None where `signal` (without SIG) ended the process."""

    channel: int
    status: int | None
    signal: str | None
    core_dumped: bool


class Finish(Record, frozen=True, kw_only=True, tag="finish"):
    """The session is over. message: for the technician."""

    reason: str
    message: str


FromChild = (
    Ready | Joined | Away | Back | Sign | Authenticated | Open | Connect | TurnedDown | Signal | Hangup | Leaving
)
ToChild = Start | Resume | Doubt | Signed | Opened | Denied | Exited | Finish


def decode_from_child(packet: bytes) -> FromChild:
    """Raises BadMessage; the child is a stranger."""
    message: FromChild = decode(packet, FromChild, limit=MAX_IPC_BYTES)  # type: ignore[arg-type]  # a union
    if isinstance(message, Sign) and len(message.exchange_hash) not in HASH_SIZES:
        raise BadMessage("what is to be signed is no exchange hash")
    if isinstance(message, Open):
        _check_open(message)
    if isinstance(message, Connect) and (len(message.host) > MAX_HOST_CHARS or not 1 <= message.port <= MAX_PORT):
        raise BadMessage("no host and port to connect to")
    return message


TERMINAL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}\Z")
"""Names of terminfo entries; one with a slash in it would be a path (terminfo(5))."""

LOCALE_NAME = re.compile(r"(LANG|LANGUAGE|LC_[A-Z]{1,32})\Z")
LOCALE_VALUE = re.compile(r"[A-Za-z0-9@._:-]{1,64}\Z")
"""What a client may set, as in Debian's sshd_config (AcceptEnv LANG LC_*). No slash: glibc would take it as a path.

The child leaves out what is something else; that the supervisor believes no child is what keeps LD_PRELOAD away from a
process that starts with the agent's privilege."""


def _check_open(message: Open) -> None:
    if message.kind not in ("shell", "exec", "sftp", "look") or (message.kind == "exec") != (
        message.command is not None
    ):
        raise BadMessage("neither a shell, nor a command, nor files, nor a look")
    if message.kind in ("sftp", "look") and message.terminal is not None:
        raise BadMessage("files, or a look, on a terminal")
    if message.command is not None and (len(message.command) > MAX_COMMAND_CHARS or "\0" in message.command):
        raise BadMessage("the command is too long, or contains a NUL")
    if len(message.environment) > MAX_ENVIRONMENT:
        raise BadMessage("too large an environment")
    if not all(LOCALE_NAME.match(name) and LOCALE_VALUE.match(value) for name, value in message.environment.items()):
        raise BadMessage("an environment of more than a locale")
    if message.terminal is not None and not TERMINAL_NAME.match(message.terminal.name):
        raise BadMessage("no name of a terminal")
    if message.terminal is not None and len(message.terminal.modes) > MAX_MODES:
        raise BadMessage("too many terminal modes")


def decode_to_child(packet: bytes) -> ToChild:
    message: ToChild = decode(packet, ToChild, limit=MAX_IPC_BYTES)  # type: ignore[arg-type]  # a union
    return message
