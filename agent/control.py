"""How commands on the device talk to the agent that runs there: one JSON line each way over a Unix socket.

Who may ask what is decided by the kernel's word on the peer: root and the agent's own account everything; somebody
who is logged in may look, allow and deny. A process inside a technician's session may not answer for the customer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import msgspec

from agent.state import SYSTEM_STATE
from protocol.codec import Strict, decode, encode
from protocol.errors import AuxilioError, BadMessage, Refused, Unavailable

log = logging.getLogger(__name__)

Command = Literal["status", "allow", "deny", "revoke", "leave", "import_policy"]

MAX_LINE_BYTES = 8 * 1024 * 1024
"""A policy bundle, in base64."""

ANSWER_S = 60.0
MAX_PEERS = 32

CUSTOMER_COMMANDS = frozenset({"status", "allow", "deny", "revoke"})
SYSTEM_SOCKET = Path("/run/auxilio-agent/control.sock")
"""Where those who are logged in reach the system's agent: its state directory is closed to them."""


class ControlRequest(Strict, frozen=True, kw_only=True):
    """argument: a session's id, or JSON of what is imported; "" where the command needs none."""

    command: Command
    argument: str = ""


class ControlAnswer(Strict, frozen=True, kw_only=True):
    """Either result, or code, message and hint."""

    result: dict[str, Any] | None = None
    code: str = ""
    message: str = ""
    hint: str = ""


class AgentNotRunning(Unavailable):
    code = "agent_not_running"
    default_hint = "Start it with `auxilio-agent run`, or as a service."


class Peer(msgspec.Struct, frozen=True):
    """What the kernel says of the process at the other end."""

    pid: int
    uid: int


Handler = Callable[[ControlRequest, Peer], Awaitable[dict[str, Any]]]


def socket_path(state: Path) -> Path:
    return SYSTEM_SOCKET if state == SYSTEM_STATE else state / "control.sock"


def check_peer(
    request: ControlRequest, peer: Peer, *, own_uid: int, present_uids: frozenset[int], inside: bool
) -> None:
    """Refuse what this peer may not ask. inside: its process descends from a technician's session."""
    if inside and request.command in ("allow", "deny", "leave", "import_policy"):
        raise Refused("a technician's session cannot answer for the customer", code="inside_session")
    if peer.uid in (0, own_uid):
        return
    if request.command not in CUSTOMER_COMMANDS:
        raise Refused("only the system's administrator may do this", code="not_admin", hint="Run it as root.")
    if peer.uid not in present_uids:
        raise Refused("only somebody who is logged in at this device may do this", code="not_present")


class ControlServer:
    """Listens while it is entered."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._peers = 0

    async def start(self) -> None:
        """Raises Unavailable where the socket cannot be made."""
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._path.unlink(missing_ok=True)  # a leftover: the state directory's lock says that nobody else runs
            self._server = await asyncio.start_unix_server(self._serve, str(self._path), limit=MAX_LINE_BYTES)
            # Who may ask is checked by credentials; a state directory of 0700 guards it besides.
            os.chmod(self._path, 0o666)  # noqa: S103  # whoever is logged in must reach it
        except OSError as exc:
            raise Unavailable(
                f"the control socket {self._path} cannot be made: {exc.strerror or exc}",
                code="no_control_socket",
                hint="A path of more than 100 characters is too long for a socket: use a shorter --state.",
            ) from exc

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._peers >= MAX_PEERS:
            writer.close()
            return
        self._peers += 1
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await self._answer(await reader.readline(), writer)
                writer.write(encode(answer) + b"\n")
                await writer.drain()
        except (OSError, TimeoutError, ValueError, asyncio.LimitOverrunError):
            log.info("a command went away without its answer")
        finally:
            self._peers -= 1
            writer.close()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> ControlAnswer:
        from agent.platform import peer_of

        try:
            request = decode(line, ControlRequest, limit=MAX_LINE_BYTES)
            pid, uid = peer_of(writer.get_extra_info("socket"))
            return ControlAnswer(result=await self._handler(request, Peer(pid, uid)))
        except AuxilioError as exc:
            return ControlAnswer(code=exc.reason, message=exc.message, hint=exc.hint)
        except Exception:
            log.exception("a command failed")
            return ControlAnswer(code="bug", message="the agent met an error of its own; its log says more")


def ask(path: Path, command: Command, argument: str = "", *, timeout_s: float = ANSWER_S) -> dict[str, Any]:
    """Ask the running agent. Raises AgentNotRunning, Refused or Unavailable with the agent's own words."""
    if not hasattr(socket, "AF_UNIX"):
        raise AgentNotRunning("this system has no way to talk to the agent yet")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(timeout_s)
            link.connect(str(path))
            link.sendall(encode(ControlRequest(command=command, argument=argument)) + b"\n")
            line = _read_line(link)
    except (FileNotFoundError, ConnectionRefusedError) as exc:
        raise AgentNotRunning("the agent is not running") from exc
    except OSError as exc:
        raise Unavailable(f"the agent cannot be asked: {exc.strerror or exc}", code="agent_unreachable") from exc
    answer = decode(line, ControlAnswer, limit=MAX_LINE_BYTES)
    if answer.code or answer.result is None:
        raise Refused(answer.message or "the agent gave no answer", code=answer.code or "no_answer", hint=answer.hint)
    return answer.result


def _read_line(link: socket.socket) -> bytes:
    data = bytearray()
    while not data.endswith(b"\n"):
        piece = link.recv(65536)
        if not piece:
            raise BadMessage("the agent hung up", code="agent_unreachable")
        data += piece
        if len(data) > MAX_LINE_BYTES:
            raise BadMessage("the agent's answer is too long")
    return bytes(data)
