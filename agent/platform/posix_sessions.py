"""A POSIX system as a session needs it: agent.session.host.Host."""

from __future__ import annotations

import ipaddress

from agent.platform import posix_accounts, posix_child, posix_network, posix_process
from agent.platform.posix_child import Children, PosixChild
from agent.session.host import Account, Launch, Process


class PosixHost:
    def __init__(self) -> None:
        self._children = Children()

    def account(self, principal: str) -> Account:
        return posix_accounts.resolve(principal)

    def somebody_present(self) -> bool:
        return bool(posix_accounts.present_users())

    def gateways(self) -> list[tuple[str, int]]:
        return posix_network.gateways()

    def is_own_address(self, address: str) -> bool:
        return ipaddress.ip_address(address).is_loopback or posix_network.source_address(address) == address

    def room_for_sessions(self) -> int:
        return posix_child.room()

    def start(self, launch: Launch) -> Process:
        return posix_process.start(launch)

    def start_own(self, command: tuple[str, ...]) -> Process:
        return posix_process.start_own(command)

    async def start_child(self) -> PosixChild:
        return await self._children.start()

    def close(self) -> None:
        self._children.close()
