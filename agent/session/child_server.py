"""The SSH server of one session: one client key, one host key that is not here, channels that start nothing.

Strict key exchange, AEAD ciphers, no compression. The host key's owner, the supervisor, signs one exchange hash a
session, so keys are never exchanged twice: a second signature could be for somebody else's connection.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable, Coroutine

import asyncssh
from asyncssh.encryption import get_encryption_algs
from asyncssh.kex import get_kex_algs
from asyncssh.public_key import SSHKeyPair

from agent.session.child_channel import Channel, Surroundings
from agent.session.child_forward import Forward
from agent.session.child_tunnel import Tunnel
from agent.session.endpoint import Endpoint
from agent.session.ipc import (
    HASH_SIZES,
    MAX_CONNECTING,
    Authenticated,
    Connect,
    Sign,
    Start,
    TurnedDown,
    decode_to_child,
)
from agent.session.ipc import Signed as SignedMessage
from protocol.errors import AuxilioError
from protocol.forward import MAX_HOST_CHARS, MAX_PORT
from protocol.text import escape
from transport.leg import Leg

KEX = ("mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256")
CIPHERS = ("aes256-gcm@openssh.com", "aes128-gcm@openssh.com")
"""No chacha20-poly1305, although it is an AEAD: it is half as fast, it is what Terrapin broke, and stock ssh, which
prefers it, exchanges keys anew after 1 GiB of it (64 GiB with AES-GCM: packet.c, max_blocks_in/out)."""

MACS = ("hmac-sha2-256-etm@openssh.com",)  # SSH wants one named; AEAD ciphers do not use it

NEVER_REKEY_BYTES = 1 << 40
"""We start no second key exchange. A terabyte is 2^36 blocks: an advantage of 2^-57 against AES-GCM, the margin that
TLS 1.3 keeps (RFC 8446, section 5.5). A client that wants new keys sooner gets a session more."""

LOGIN_WITHIN_S = 60
KEEPALIVE_S = 300
KEEPALIVE_MISSED = 3
"""Of a client that is there and does not answer, such as one that was stopped: it holds a customer's shell for twenty
minutes. That a connection is gone, the leg notices; and for as long as it may come back, SSH must not give up."""

WINDOW_BYTES = 2 * 1024 * 1024
"""What a client may send ahead on one channel: 20 MB/s over 100 ms, and ten channels stay within a child's memory."""

FORWARD_WINDOW_BYTES = 1024 * 1024
MAX_FORWARDS = 64
"""At one time. Each is two of the child's descriptors, and a window of memory where the device's side is slow."""

MAX_PACKET_BYTES = 128 * 1024
SIGN_WITHIN_S = 10.0

SESSION_OVER = asyncssh.DISC_SERVICE_NOT_AVAILABLE
"""With DISC_BY_APPLICATION, a client of asyncssh would show no reason."""


class SupervisorKey(SSHKeyPair):
    """The device key, as far as this process has it: its public half, and somebody to ask."""

    _key_type = "supervisor"

    def __init__(self, blob: bytes, endpoint: Endpoint, is_strict: Callable[[], bool]) -> None:
        """is_strict: whether the client agreed to strict key exchange; asked before anything is signed."""
        (length,) = struct.unpack(">I", blob[:4])
        algorithm = blob[4 : 4 + length]
        super().__init__(algorithm, algorithm, (algorithm,), (algorithm,), blob, None)
        self._endpoint = endpoint
        self._is_strict = is_strict
        self._used = False

    def sign(self, data: bytes) -> bytes:
        if self._used:
            raise asyncssh.KeyExchangeFailed("this device exchanges keys once a session; start another session")
        if len(data) not in HASH_SIZES:
            raise asyncssh.KeyExchangeFailed("not an exchange hash")
        if not self._is_strict():
            raise asyncssh.KeyExchangeFailed("this device wants strict key exchange; update the SSH client")
        self._used = True
        try:
            packet = self._endpoint.exchange(Sign(exchange_hash=data), "signed", SIGN_WITHIN_S)
            reply = decode_to_child(packet)
        except AuxilioError as exc:
            raise asyncssh.KeyExchangeFailed(exc.message) from exc
        assert isinstance(reply, SignedMessage)
        return reply.signature


class Server(asyncssh.SSHServer):
    """Decides nothing about rights: the supervisor does, for every channel. It admits one key."""

    def __init__(self, start: Start, around: Surroundings) -> None:
        self._start = start
        self._around = around
        self._channels: dict[int, Channel] = {}
        self._forwards: dict[int, Forward] = {}
        self._next = 0
        self.connection: asyncssh.SSHServerConnection | None = None
        self.lost: Exception | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connection = conn

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = exc

    def is_strict(self) -> bool:
        # asyncssh has no public name for it. A release that renames it would end every session, not the strictness.
        return getattr(self.connection, "_strict_kex", False) is True

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """The user's name authorises nothing: the account is in the signed request. But stock ssh shows one key in every
        session of its technician, and what they type for the customer's account shall not arrive in root's shell
        because a relay joined their leg to that of another session of theirs.
        """
        if not hmac.compare_digest(key.public_data, self._start.admitted_key):
            return False
        if username != self._start.account:
            account = escape(self._start.account, limit=64)
            raise asyncssh.IllegalUserName(f"this session was asked for as {account}; another name is refused")
        return True

    def auth_completed(self) -> None:
        assert self.connection is not None
        client = self.connection.get_extra_info("client_version", "")
        self._around.tell(Authenticated(client=str(client)[:128]))

    def session_requested(self) -> Channel:
        if len(self._channels) >= self._start.max_channels:
            raise asyncssh.ChannelOpenError(
                asyncssh.OPEN_RESOURCE_SHORTAGE, f"a session has {self._start.max_channels} channels at most"
            )
        self._next += 1
        channel = Channel(self._next, self._around, self._forget)
        self._channels[self._next] = channel
        return channel

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> tuple[asyncssh.SSHTCPChannel[bytes], Coroutine[None, None, Forward]]:
        assert self.connection is not None
        if len(dest_host) > MAX_HOST_CHARS or not 1 <= dest_port <= MAX_PORT:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "no host and port")
        waiting = sum(not forward.connected for forward in self._forwards.values())
        if len(self._forwards) >= MAX_FORWARDS or waiting >= MAX_CONNECTING:
            raise asyncssh.ChannelOpenError(
                asyncssh.OPEN_RESOURCE_SHORTAGE, f"a session has {MAX_FORWARDS} forwarded connections at most"
            )
        self._next += 1
        forward = Forward(self._next, self._around, self._forget)
        self._forwards[self._next] = forward
        self._around.tell(Connect(channel=self._next, host=dest_host, port=dest_port))
        chan = self.connection.create_tcp_channel(window=FORWARD_WINDOW_BYTES, max_pktsize=MAX_PACKET_BYTES)
        return chan, forward.ready()

    def unix_connection_requested(self, dest_path: str) -> bool:
        """Sockets that are files are never forwarded to: the agent's own, Docker's, the desktop's."""
        self._around.tell(TurnedDown(what="forward", detail=dest_path[:200]))
        raise asyncssh.ChannelOpenError(
            asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "sockets of the file system are not forwarded to"
        )

    def channel(self, number: int) -> Channel | Forward | None:
        return self._channels.get(number) or self._forwards.get(number)

    def say_to_all(self, text: str) -> None:
        for channel in list(self._channels.values()):
            channel.say(text)

    def _forget(self, number: int) -> None:
        self._channels.pop(number, None)
        self._forwards.pop(number, None)


async def serve(leg: Leg, start: Start, key: SupervisorKey, server: Server) -> None:
    """Run SSH on `leg` until the client has authenticated. Raises asyncssh.Error, OSError."""
    known_kex = {name.decode() for name in get_kex_algs()}
    known_ciphers = {name.decode() for name in get_encryption_algs()}
    await asyncssh.connect_reverse(
        tunnel=Tunnel(leg),
        host="relay",
        port=443,
        server_factory=lambda: server,
        server_version="Auxilio",
        server_host_keys=[key],
        kex_algs=[name for name in KEX if name in known_kex],
        encryption_algs=[name for name in CIPHERS if name in known_ciphers],
        mac_algs=list(MACS),
        compression_algs=["none"],
        host_based_auth=False,
        public_key_auth=True,
        kbdint_auth=False,
        password_auth=False,
        gss_host=None,
        gss_kex=False,
        gss_auth=False,
        x11_forwarding=False,
        agent_forwarding=False,
        allow_scp=False,
        line_editor=False,
        encoding=None,
        rekey_bytes=NEVER_REKEY_BYTES,
        rekey_seconds=0,
        login_timeout=LOGIN_WITHIN_S,
        keepalive_interval=max(KEEPALIVE_S, start.resume_for_s),
        keepalive_count_max=KEEPALIVE_MISSED,
        window=WINDOW_BYTES,
        max_pktsize=MAX_PACKET_BYTES,
    )


SSH_ERRORS = (asyncssh.Error, OSError)
