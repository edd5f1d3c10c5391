"""How commands on the device talk to the agent that runs there: one JSON line each way over a Unix socket.

Who may ask what is decided by the kernel's word on the peer: root and the agent's own account everything; somebody
who is logged in may look, allow and deny. A process inside a technician's session may not answer for the customer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import msgspec

from agent.state import SYSTEM_STATE, storage_failed
from protocol.codec import Strict, decode, encode
from protocol.errors import EXIT_REFUSED, AuxilioError, BadMessage, Refused, Unavailable

log = logging.getLogger(__name__)

Command = Literal["status", "log", "allow", "deny", "revoke", "leave", "import_policy", "proxy"]

MAX_LINE_BYTES = 8 * 1024 * 1024
"""A policy bundle, in base64, from those who may bring one."""

MAX_CUSTOMER_LINE_BYTES = 4096
READ_BYTES = 64 * 1024
ANSWER_S = 60.0
ASKS_WITHIN_S = 5.0
"""A command says what it wants as soon as it is there."""

MAX_PEERS_OF_ONE = 8
"""Connections of one account at a time, and of all technicians' sessions together: nobody keeps the customer from
answering by holding them all."""

MAX_UNKNOWN_PEERS = 16
"""Connections of all accounts that may ask nothing, and are told so."""

CUSTOMER_COMMANDS = frozenset({"status", "log", "allow", "deny", "revoke"})
SYSTEM_SOCKET = Path("/run/auxilio-agent/control.sock")
"""Where those who are logged in reach the system's agent: its state directory is closed to them."""


class ControlRequest(Strict, frozen=True, kw_only=True):
    """argument: a session's id, JSON of what is imported, a proxy's setting; "" where the command needs none."""

    command: Command
    argument: str = ""


class ControlAnswer(Strict, frozen=True, kw_only=True):
    """Either result, or code, message, hint and exit status."""

    result: dict[str, Any] | None = None
    code: str = ""
    message: str = ""
    hint: str = ""
    status: int = EXIT_REFUSED


class Answered(AuxilioError):
    """The running agent's refusal, in its words, with the exit status that it would have had here."""

    def __init__(self, answer: ControlAnswer) -> None:
        super().__init__(
            answer.message or "the agent gave no answer", hint=answer.hint, code=answer.code or "no_answer"
        )
        self.exit_status = answer.status  # type: ignore[misc]  # of this one, not of the class


class AgentNotRunning(Unavailable):
    code = "agent_not_running"
    default_hint = "Start it with `auxilio-agent run`, or as a service."


class Peer(msgspec.Struct, frozen=True):
    """What the kernel said of the process at the other end when it connected.

    inside: it descends from a technician's session, or is gone, so that nobody can tell.
    """

    uid: int
    inside: bool


Handler = Callable[[ControlRequest, Peer], Awaitable[dict[str, Any]]]


def socket_path(state: Path) -> Path:
    return SYSTEM_SOCKET if state == SYSTEM_STATE else state / "control.sock"


def check_peer(request: ControlRequest, peer: Peer, *, own_uid: int, present_uids: frozenset[int]) -> None:
    """Refuse what this peer may not ask."""
    if peer.inside and request.command in ("allow", "deny", "leave", "import_policy"):
        raise Refused("a technician's session cannot answer for the customer", code="inside_session")
    if peer.uid in (0, own_uid):
        return
    if request.command not in CUSTOMER_COMMANDS:
        raise Refused("only the system's administrator may do this", code="not_admin", hint="Run it as root.")
    if peer.uid not in present_uids:
        raise Refused("only somebody who is logged in at this device may do this", code="not_present")


class ControlServer:
    """own_uid: the agent's account.  leaders: of the kernel sessions in which technicians' processes run."""

    def __init__(self, path: Path, handler: Handler, *, own_uid: int, leaders: Callable[[], frozenset[int]]) -> None:
        self._path = path
        self._handler = handler
        self._own_uid = own_uid
        self._leaders = leaders
        self._server: asyncio.Server | None = None
        self._peers: Counter[str] = Counter()

    @property
    def is_listening(self) -> bool:
        return self._server is not None

    async def start(self) -> None:
        """Raises Unavailable (disk_full, no_control_socket) or ConfigInvalid where the socket cannot be made."""
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._path.unlink(missing_ok=True)  # a leftover: the state directory's lock says that nobody else runs
            self._server = await asyncio.start_unix_server(self._serve, str(self._path), limit=READ_BYTES)
            # Who may ask is checked by credentials; a state directory of 0700 guards it besides.
            os.chmod(self._path, 0o666)  # noqa: S103  # whoever is logged in must reach it
        except OSError as exc:
            if exc.errno is not None:  # else it is asyncio's word on the path's length
                raise storage_failed(self._path, exc) from exc
            raise Unavailable(
                f"the control socket {self._path} cannot be made: {exc}",
                code="no_control_socket",
                hint="A path of more than 100 characters is too long for a socket: use a shorter --state.",
            ) from exc

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from agent.platform import is_inside, peer_of

        sock = writer.get_extra_info("socket")
        try:
            peer = Peer(uid=peer_of(sock)[1], inside=is_inside(sock, self._leaders))
        except (AuxilioError, OSError):
            writer.close()
            return
        pool, size = self._pool(peer)
        if self._peers[pool] >= size:
            writer.close()
            return
        self._peers[pool] += 1
        try:
            async with asyncio.timeout(ANSWER_S):
                limit = MAX_LINE_BYTES if peer.uid in (0, self._own_uid) else MAX_CUSTOMER_LINE_BYTES
                async with asyncio.timeout(ASKS_WITHIN_S):
                    line = await _read(reader, limit)
                answer = await self._answer(line, limit, peer)
                writer.write(encode(answer) + b"\n")
                await writer.drain()
        except (OSError, TimeoutError):
            log.info("a command went away without its answer")
        finally:
            self._peers[pool] -= 1
            writer.close()

    def _pool(self, peer: Peer) -> tuple[str, int]:
        """With whom a connection shares its places, and how many there are."""
        from agent.platform import present_uids

        if peer.inside:
            return "inside", MAX_PEERS_OF_ONE
        if peer.uid in {0, self._own_uid} | present_uids():
            return f"uid {peer.uid}", MAX_PEERS_OF_ONE
        return "unknown", MAX_UNKNOWN_PEERS

    async def _answer(self, line: bytes, limit: int, peer: Peer) -> ControlAnswer:
        try:
            request = decode(line, ControlRequest, limit=limit)
            return ControlAnswer(result=await self._handler(request, peer))
        except AuxilioError as exc:
            return ControlAnswer(code=exc.reason, message=exc.message, hint=exc.hint, status=exc.exit_status)
        except Exception:
            log.exception("a command failed")
            return ControlAnswer(code="bug", message="the agent met an error of its own; its log says more")


async def _read(reader: asyncio.StreamReader, limit: int) -> bytes:
    """A line, or what came of it: more than `limit` bytes are enough to refuse it by."""
    data = bytearray()
    while not data.endswith(b"\n") and len(data) <= limit:
        piece = await reader.read(READ_BYTES)
        if not piece:
            break
        data += piece
    return bytes(data)


def ask(path: Path, command: Command, argument: str = "", *, timeout_s: float = ANSWER_S) -> dict[str, Any]:
    """Ask the running agent. Raises AgentNotRunning, Unavailable, or Answered with the agent's own words."""
    if not hasattr(socket, "AF_UNIX"):
        raise AgentNotRunning("this system has no way to talk to the agent yet")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(timeout_s)
            link.connect(str(path))
            link.sendall(encode(ControlRequest(command=command, argument=argument)) + b"\n")
            line = _read_line(link)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as exc:
        raise AgentNotRunning("the agent is not running") from exc
    except PermissionError as exc:
        raise storage_failed(path, exc) from exc
    except TimeoutError as exc:
        raise Unavailable(
            f"the agent did not answer within {timeout_s:g} s", code="agent_unreachable", hint="Its log may say why."
        ) from exc
    except OSError as exc:
        raise Unavailable(
            f"the agent cannot be asked: {exc.strerror or exc}",
            code="agent_unreachable",
            hint="A path of more than 100 characters is too long for a socket: use a shorter --state.",
        ) from exc
    answer = decode(line, ControlAnswer, limit=MAX_LINE_BYTES)
    if answer.code or answer.result is None:
        raise Answered(answer)
    return answer.result


def _read_line(link: socket.socket) -> bytes:
    data = bytearray()
    while not data.endswith(b"\n"):
        piece = link.recv(READ_BYTES)
        if not piece:
            raise Unavailable("the agent hung up", code="agent_unreachable", hint="It may just be stopping: try again.")
        data += piece
        if len(data) > MAX_LINE_BYTES:
            raise BadMessage("the agent's answer is too long")
    return bytes(data)
