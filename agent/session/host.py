"""What a session needs of the operating system: accounts, processes, and a child without privilege.

Only the shapes; agent/platform/ does the work.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol

import msgspec

from agent.session.ipc import Terminal
from protocol.policy import FilesRule


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account of the device. groups: supplementary ones, its primary group included."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    shell: str


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """A process to be started as `account`.

    command: run by the account's shell; None: the shell itself, as a login shell.
    files: serve files below this folder instead, over input and output.
    environment: what the client may set, over the account's own.  session: the session's id, in its environment.
    """

    account: Account
    command: str | None
    files: FilesRule | None = None
    terminal: Terminal | None
    environment: dict[str, str]
    session: str


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """How a process ended. status: 0-255, or None where a signal (without SIG) ended it."""

    status: int | None = None
    signal: str | None = None
    core_dumped: bool = False


class Process(Protocol):
    """One process that a technician asked for."""

    @property
    def pid(self) -> int: ...

    def take_descriptors(self) -> tuple[int, ...]:
        """The terminal's master, or input, output and error; the caller closes them. Once."""

    def take_notes(self) -> int | None:
        """Where the file worker writes down what it is asked (agent.files.worker); the caller closes it. Once."""

    async def wait(self) -> Exit:
        """Return when the process has exited. It stays a zombie until `end`, so that its pid is nobody else's."""

    def signal(self, name: str) -> bool:
        """Send a signal (RFC 4254, without SIG) to its process group; False: no such signal, or it is gone."""

    def leaves_behind(self) -> bool:
        """After `end`: whether something that it began is still in its session (setsid)."""

    async def end(self, *, everything: bool) -> None:
        """Hang up, kill what stays, and reap.

        everything: not only its process group but whatever is still in the session (setsid) that it began.
        """


class Child(Protocol):
    """The unprivileged process that speaks SSH. Starting and privileged until it says Ready."""

    @property
    def pid(self) -> int: ...

    @property
    def sock(self) -> socket.socket: ...

    @property
    def errors(self) -> asyncio.Future[str]:
        """What it wrote to standard error, bounded; done when it has exited."""

    def confined(self) -> bool:
        """Whether the kernel says that it has no privilege. Asked once, when it says that it is ready."""

    async def end(self, grace_s: float) -> None:
        """Wait `grace_s` for it to exit by itself, then kill and reap it."""


class Host(Protocol):
    def account(self, principal: str) -> Account:
        """The account that `admin`, `user` or a literal principal means here and now.

        Raises Refused with code user_not_logged_in, no_such_account, not_root, account_expired or no_login_shell.
        """

    def somebody_present(self) -> bool:
        """Whether somebody is logged in at the device itself."""

    def gateways(self) -> list[tuple[str, int]]:
        """The device's default gateways, the one in use first: address, and index of the interface. IPv4 first."""

    def is_own_address(self, address: str) -> bool:
        """Whether a connection to `address` stays on this machine."""

    def room_for_sessions(self) -> int:
        """For how many more sessions there is memory, without whoever sits at the device feeling it."""

    def start(self, launch: Launch) -> Process:
        """Raises Unavailable where no process or terminal can be made."""

    def start_own(self, command: tuple[str, ...]) -> Process:
        """Start a command of the agent's own, as the agent. Nothing in it is a client's. Raises Unavailable."""

    async def start_child(self) -> Child:
        """Raises Unavailable."""

    def close(self) -> None:
        """No session is left, and none comes."""
