"""Keys in ssh-agent: listed, and asked to sign (draft-ietf-sshm-ssh-agent, OpenSSH's PROTOCOL.agent). Bounded.

A signature is verified here before it is used: an agent that answers with another key's is found out at once.
"""

from __future__ import annotations

import os
import socket

import msgspec

from protocol.errors import BadMessage, ConfigInvalid, PeerFault, Refused, Unavailable, Untrusted
from protocol.keys import fingerprint, parse_public_key, verify
from protocol.sshwire import Reader, string, u32
from protocol.text import escape

SOCKET_VARIABLE = "SSH_AUTH_SOCK"

MAX_ANSWER_BYTES = 256 * 1024  # OpenSSH's own bound
MAX_KEYS = 512

ANSWER_WITHIN_S = 10.0
SIGN_WITHIN_S = 120.0
"""A person may have to find the security key, touch it, or confirm in a window."""

FAILURE = 5
REQUEST_IDENTITIES = 11
IDENTITIES_ANSWER = 12
SIGN_REQUEST = 13
SIGN_RESPONSE = 14


class AgentKey(msgspec.Struct, frozen=True):
    """blob: key or certificate, of any kind, also ones that we do not accept.  comment: escaped."""

    blob: bytes
    comment: str


class SshAgent:
    """One ssh-agent, dialled anew for each request: agents come and go."""

    def __init__(self, path: str) -> None:
        self.path = path

    def list_keys(self) -> list[AgentKey]:
        """Raises Unavailable (no_ssh_agent) or PeerFault."""
        reader = Reader(self._ask(bytes([REQUEST_IDENTITIES]), IDENTITIES_ANSWER, ANSWER_WITHIN_S))
        try:
            count = reader.u32()
            if count > MAX_KEYS:
                raise PeerFault(f"ssh-agent claims to hold {count} keys")
            return [AgentKey(reader.string(), _comment(reader.string())) for _ in range(count)]
        except BadMessage as exc:
            raise PeerFault(f"ssh-agent's answer is malformed: {exc.message}") from exc

    def sign(self, public: bytes, data: bytes) -> bytes:
        """The SSH signature blob by the plain key `public` over `data`. Raises Refused, Unavailable, PeerFault."""
        request = bytes([SIGN_REQUEST]) + string(public) + string(data) + u32(0)
        reader = Reader(self._ask(request, SIGN_RESPONSE, SIGN_WITHIN_S))
        try:
            signature = reader.string(4096)
            reader.done()
            verify(parse_public_key(public), signature, data)
        except (BadMessage, Untrusted) as exc:
            raise PeerFault(f"ssh-agent's signature is no good: {exc.message}") from exc
        return signature

    def _ask(self, request: bytes, expected: int, within_s: float) -> bytes:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
                agent.settimeout(within_s)
                agent.connect(self.path)
                agent.sendall(string(request))
                length = int.from_bytes(_exactly(agent, 4), "big")
                if not 1 <= length <= MAX_ANSWER_BYTES:
                    raise PeerFault(f"ssh-agent answers with {length} bytes")
                answer = _exactly(agent, length)
        except (OSError, EOFError) as exc:
            raise Unavailable(
                f"ssh-agent at {self.path} does not answer: {exc}",
                code="no_ssh_agent",
                hint="`ssh-add -l` shows whether it runs.",
            ) from exc
        if answer[0] == FAILURE:
            raise Refused(
                "ssh-agent refused", code="ssh_agent_refused", hint="Is it locked, or was the confirmation declined?"
            )
        if answer[0] != expected:
            raise PeerFault(f"ssh-agent answered with message {answer[0]}, where {expected} is due")
        return answer[1:]


class AgentSigner:
    """A RawSigner whose key is in ssh-agent."""

    def __init__(self, agent: SshAgent, public: bytes) -> None:
        self._agent = agent
        self.public = public

    def sign_raw(self, data: bytes) -> bytes:
        return self._agent.sign(self.public, data)


def running_agent() -> SshAgent | None:
    """The ssh-agent of this environment, or None."""
    path = os.environ.get(SOCKET_VARIABLE)
    return SshAgent(path) if path and hasattr(socket, "AF_UNIX") else None


def agent_signer(public: bytes) -> AgentSigner | None:
    """A signer for the plain key `public`, if an ssh-agent runs and holds it."""
    agent = running_agent()
    if agent is None:
        return None
    try:
        held = any(key.blob == public for key in agent.list_keys())
    except (Unavailable, Refused, PeerFault):
        return None  # a file may serve as well; its own error says more than a dead socket
    return AgentSigner(agent, public) if held else None


def agent_key(name: str) -> bytes:
    """The plain key in ssh-agent whose fingerprint is `name`. Raises ConfigInvalid, Unavailable, BadMessage."""
    agent = running_agent()
    if agent is None:
        raise Unavailable("no ssh-agent runs here", code="no_ssh_agent", hint='eval "$(ssh-agent)"; ssh-add KEY')
    wanted = name if name.startswith("SHA256:") else f"SHA256:{name}"
    for key in agent.list_keys():
        if fingerprint(key.blob) == wanted:
            return parse_public_key(key.blob).blob
    raise ConfigInvalid(
        f"ssh-agent holds no key {escape(name, limit=80)}", code="no_such_key", hint="`ssh-add -l` lists what it holds."
    )


def _exactly(agent: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        chunk = agent.recv(count - len(data))
        if not chunk:
            raise EOFError("it closed the connection")
        data += chunk
    return bytes(data)


def _comment(raw: bytes) -> str:
    return escape(raw.decode("utf-8", "replace"), limit=80)
