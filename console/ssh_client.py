"""Our own SSH client: a shell or a command on a device, over a leg, with its host key checked against its id.

The host key is the device key, and the id is its hash: nothing is asked and nothing is remembered; another key ends
the attempt. The user is admitted by an ephemeral key that the signed session request names. This is the console's one
module that imports asyncssh, and only commands that open a session import it.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Protocol

import asyncssh
import msgspec

from console.escape_keys import HELP, EscapeKeys
from console.pump import Output, chunks
from protocol.errors import EXIT_PIPE, AuxilioError, PeerFault, Refused, Unavailable, Untrusted
from protocol.ids import DeviceId, device_id
from protocol.text import escape
from transport.leg import Leg

CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com")
"""AEAD alone; AES-GCM first, at twice the speed where the processor helps."""

KEX = ("curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256")

NEVER_REKEY_BYTES = 2**40
"""The device's supervisor signs one exchange hash a session; AES-GCM's bound is far away."""

WINDOW_BYTES = 16 * 1024 * 1024
PACKET_BYTES = 128 * 1024
"""Over a relay 30 ms away, 2 MiB would hold a channel to 60 MB/s."""

LOGIN_WITHIN_S = 60.0
MAX_SAID_BYTES = 1000

EXIT_OWN = 255
"""Of our own failures, as ssh has it."""

REFUSED_CHANNEL = 254


class Command(msgspec.Struct, frozen=True):
    """line: the command, or None for a shell.  pty: with a terminal on the device.  term: its type."""

    line: str | None
    pty: bool
    term: str = "xterm-256color"


class _Client(asyncssh.SSHClient):
    """Judges the host key. mismatch: the id of the key that was shown instead."""

    def __init__(self, device: DeviceId) -> None:
        self._device = device
        self.mismatch: DeviceId | None = None
        self.lost: Exception | None = None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        shown = device_id(key.public_data)
        if shown != self._device:
            self.mismatch = shown
            return False
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = exc


class _Writes(Protocol):
    def write(self, data: bytes) -> None: ...


class _Session(asyncssh.SSHClientSession[bytes]):
    """One channel: its data to our output, its end to `ended`."""

    def __init__(self, out: _Writes, err: _Writes) -> None:
        self._out, self._err = out, err
        self._writable = asyncio.Event()
        self._writable.set()
        self.ended = asyncio.Event()
        self.exit_status: int | None = None

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        (self._err if datatype == asyncssh.EXTENDED_DATA_STDERR else self._out).write(data)

    def exit_status_received(self, status: int) -> None:
        self.exit_status = status & 0xFF

    def exit_signal_received(self, signal_name: str, core_dumped: bool, msg: str, lang: str) -> None:
        number = getattr(signal, f"SIG{signal_name}", None) if signal_name.isalnum() else None
        self.exit_status = 128 + int(number) if number is not None else EXIT_OWN

    def eof_received(self) -> bool:
        return True  # the device's output is done, ours may go on until the process there ends

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        self.ended.set()

    async def writable(self) -> None:
        await self._writable.wait()


def ephemeral_key() -> asyncssh.SSHKey:
    """A key for one session: one touch of a hardware key signs the request, and none the login."""
    return asyncssh.generate_private_key("ssh-ed25519")


async def connect(leg: Leg, device: DeviceId, key: asyncssh.SSHKey, user: str) -> asyncssh.SSHClientConnection:
    """SSH on `leg`. Raises Untrusted (host_key) for another host's key, Refused (not_admitted), Unavailable."""
    client = _Client(device)
    try:
        connection = await asyncssh.connect(
            device,
            22,
            tunnel=leg,
            config=None,
            client_factory=lambda: client,
            known_hosts=([], [], []),  # none is known beforehand; _Client decides
            username=user,
            client_keys=[key],
            client_certs=[],
            agent_path=None,
            agent_forwarding=False,
            preferred_auth="publickey",
            server_host_key_algs=["ssh-ed25519"],
            kex_algs=list(KEX),
            encryption_algs=list(CIPHERS),
            compression_algs=["none"],
            rekey_bytes=NEVER_REKEY_BYTES,
            rekey_seconds=0,
            login_timeout=LOGIN_WITHIN_S,
            keepalive_interval=0,  # the leg notices that its connection is gone, and may outlive it
        )
    except (asyncssh.Error, OSError) as exc:
        raise _connect_failure(exc, client, leg, device) from exc
    if not connection._strict_kex:  # asyncssh has no public name for it; see Terrapin, CVE-2023-48795
        connection.abort()
        raise Untrusted("the device does not speak strict key exchange", code="no_strict_kex", hint="Update its agent.")
    return connection


def _connect_failure(error: Exception, client: _Client, leg: Leg, device: DeviceId) -> AuxilioError:
    if client.mismatch is not None:
        return Untrusted(
            f"what answered is not {device}: its host key is that of {client.mismatch}",
            code="host_key",
            hint="Something between here and the device pretends to be it. Tell your admin; do not go on.",
        )
    if isinstance(error, asyncssh.PermissionDenied):
        return Refused("the device did not admit this session's key", code="not_admitted", hint="auxilio-agent log")
    if isinstance(error, asyncssh.HostKeyNotVerifiable | asyncssh.KeyExchangeFailed | asyncssh.ProtocolError):
        return PeerFault(f"no SSH with the device: {escape(str(error), limit=200)}", code="ssh_failed")
    return Unavailable(f"the session ended: {leg.ended or escape(str(error), limit=200)}", code="session_lost")


async def run(connection: asyncssh.SSHClientConnection, leg: Leg, command: Command) -> int:
    """Run a shell or command with our standard input, output and error; return its exit status.

    A signal that ended it is 128 + its number. Raises Unavailable (session_lost), Refused (channel_refused).
    """
    channel: asyncssh.SSHClientChannel[bytes] | None = None

    def heed(room: bool) -> None:
        if channel is not None:
            (channel.resume_reading if room else channel.pause_reading)()

    terminal = _terminal(command)
    out, err = Output(1, heed), Output(2, heed)
    session = _Session(out, err)
    try:
        channel, _ = await connection.create_session(
            lambda: session,
            command.line,
            encoding=None,
            window=WINDOW_BYTES,
            max_pktsize=PACKET_BYTES,
            request_pty="force" if terminal else False,
            term_type=terminal.type if terminal else None,
            term_size=terminal.size if terminal else (),
            term_modes=terminal.modes if terminal else (),
        )
    except asyncssh.ChannelOpenError as exc:
        raise Refused(
            f"the device refused: {escape(exc.reason, limit=300)}", code="channel_refused", hint="auxilio show DEVICE"
        ) from exc
    out.on_broken = err.on_broken = lambda error: channel.abort()
    with ExitStack() as stack:
        _local_terminal(stack, channel, command)
        async with asyncio.TaskGroup() as tasks:
            typing = tasks.create_task(_type(channel, session, leg, command.pty))
            await session.ended.wait()
            typing.cancel()
        await out.drain()
        await err.drain()
    if out.broken is not None:
        return EXIT_PIPE
    if session.exit_status is None:
        raise Unavailable(f"the session ended: {leg.ended or 'the device closed it'}", code="session_lost", hint="")
    return session.exit_status


class _Said:
    """The beginning of what a subsystem says on its standard error."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data = (self.data + data)[:MAX_SAID_BYTES]


class _Heard:
    """What comes, for whoever listens."""

    def __init__(self) -> None:
        self.on_data: Callable[[bytes], None] = lambda data: None

    def write(self, data: bytes) -> None:
        self.on_data(data)


class Subsystem:
    """A channel of bytes both ways. What comes before `listen` is called is lost: do so before the loop turns."""

    def __init__(
        self,
        channel: asyncssh.SSHClientChannel[bytes],
        session: _Session,
        leg: Leg,
        heard: _Heard,
        said: _Said,
    ) -> None:
        self._channel, self._session, self._leg, self._heard, self._said = channel, session, leg, heard, said

    def listen(self, on_data: Callable[[bytes], None]) -> None:
        self._heard.on_data = on_data

    def write(self, data: bytes) -> None:
        """Raises OSError once the channel is closed."""
        self._channel.write(data)

    async def writable(self) -> None:
        await self._leg.writable()
        await self._session.writable()

    async def ended(self) -> AuxilioError:
        """Why, once it has ended: in the device's words, where it said any."""
        await self._session.ended.wait()
        said = escape(self._said.data.decode("utf-8", "replace").strip().removeprefix("auxilio: "), limit=300)
        if self._session.exit_status == REFUSED_CHANNEL:
            return Refused(f"the device refused: {said}", code="channel_refused", hint="auxilio show DEVICE")
        why = said or self._leg.ended or "the device closed it"
        return Unavailable(f"the session ended: {why}", code="session_lost", hint="")


@asynccontextmanager
async def subsystem(connection: asyncssh.SSHClientConnection, leg: Leg, name: str) -> AsyncIterator[Subsystem]:
    """Raises Refused (channel_refused)."""
    heard, said = _Heard(), _Said()
    session = _Session(heard, said)
    try:
        channel, _ = await connection.create_session(
            lambda: session, subsystem=name, encoding=None, window=WINDOW_BYTES, max_pktsize=PACKET_BYTES
        )
    except asyncssh.ChannelOpenError as exc:
        raise Refused(
            f"the device refused: {escape(exc.reason, limit=300)}", code="channel_refused", hint="auxilio show DEVICE"
        ) from exc
    # A writer waits until everything is on its way: no more than one of its writes is buffered.
    channel.set_write_buffer_limits(high=0, low=0)
    try:
        yield Subsystem(channel, session, leg, heard, said)
    finally:
        channel.abort()


async def _type(channel: asyncssh.SSHClientChannel[bytes], session: _Session, leg: Leg, keyboard: bool) -> None:
    """Our standard input to the device, no faster than leg and channel take it."""
    keys = EscapeKeys() if keyboard and sys.stdin.isatty() else None
    with suppress(OSError):  # the channel closed meanwhile; `run` sees its end
        async for data in chunks(0):
            await leg.writable()
            await session.writable()
            if keys is not None:
                data, actions = keys.feed(data)
                if "help" in actions:
                    sys.stderr.buffer.write(HELP)
                    sys.stderr.flush()
                if "disconnect" in actions:
                    channel.abort()
                    return
            channel.write(data)
        channel.write_eof()


class _Terminal(msgspec.Struct, frozen=True):
    type: str
    size: tuple[int, int, int, int] = (80, 24, 0, 0)
    modes: dict[int, int] = {}


def _terminal(command: Command) -> _Terminal | None:
    """The terminal to ask for: ours, where we have one."""
    if not command.pty:
        return None
    if not sys.stdin.isatty():
        return _Terminal(command.term)
    from console import terminal_posix

    return _Terminal(command.term, terminal_posix.size(0), terminal_posix.modes(0))


def _local_terminal(stack: ExitStack, channel: asyncssh.SSHClientChannel[bytes], command: Command) -> None:
    """Raw mode and resizes with a terminal; without one, Ctrl-C becomes a signal to the process on the device."""
    if command.pty and sys.stdin.isatty():
        from console import terminal_posix

        stack.enter_context(terminal_posix.raw(0))
        _on_signal(stack, terminal_posix.RESIZED, lambda: channel.change_terminal_size(*terminal_posix.size(0)))
        _on_signal(stack, terminal_posix.HANGUP, channel.abort)
        _on_signal(stack, signal.SIGTERM, channel.abort)
        return
    pressed: list[None] = []

    def tell(name: str) -> None:
        with suppress(OSError):
            channel.send_signal(name)

    def interrupt() -> None:
        if pressed:
            channel.abort()  # a second time: whoever presses again wants out
        else:
            tell("INT")
        pressed.append(None)

    _on_signal(stack, signal.SIGINT, interrupt)
    _on_signal(stack, signal.SIGTERM, lambda: tell("TERM"))


def _on_signal(stack: ExitStack, number: int, action: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(number, action)
    except NotImplementedError:
        return  # Windows' loops have none; Ctrl-C ends us there
    stack.callback(loop.remove_signal_handler, number)
