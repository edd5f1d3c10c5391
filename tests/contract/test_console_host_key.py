"""Our SSH client in front of hosts that are not the device: another key is the end, before a byte of ours is sent."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncssh
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from console.ssh_client import connect, ephemeral_key
from protocol.errors import AuxilioError, PeerFault, Refused, Untrusted
from protocol.ids import DeviceId, SessionId, device_id, random_id
from protocol.signing import private_key_pem, public_blob
from tests.support.splice import add_legs
from tests.support.tls_relay import HttpRelay
from transport.leg import Leg, open_leg


class _Server(asyncssh.SSHServer):
    """Lets in everybody with a key, and counts them."""

    def __init__(self, admitted: list[str]) -> None:
        self._admitted = admitted

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        self._admitted.append(username)
        return True


@asynccontextmanager
async def host(key: Ed25519PrivateKey, admitted: list[str], **options: Any) -> AsyncIterator[Leg]:
    """Our end of a leg at whose other end an SSH server with the host key `key` is."""
    relay = HttpRelay()
    add_legs(relay)
    async with relay:
        session = SessionId(random_id(secrets.token_bytes(16)))
        ours, theirs = await asyncio.gather(
            open_leg(relay.address, session, "ticket"), open_leg(relay.address, session, "ticket")
        )
        host_key = asyncssh.import_private_key(private_key_pem(key))

        async def serve() -> None:
            with suppress(asyncssh.Error, OSError):
                await asyncssh.connect_reverse(
                    "device",
                    22,
                    tunnel=theirs,
                    config=None,
                    server_factory=lambda: _Server(admitted),
                    server_host_keys=[host_key],
                    **options,
                )

        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(serve())
            try:
                yield ours
            finally:
                serving.cancel()
                for leg in (ours, theirs):
                    leg.abort()
                    await leg.wait_closed()


def _device(key: Ed25519PrivateKey) -> DeviceId:
    return device_id(public_blob(key))


async def test_the_devices_own_key_is_accepted() -> None:
    key, admitted = Ed25519PrivateKey.generate(), list[str]()
    async with host(key, admitted) as leg:
        connection = await connect(leg, _device(key), ephemeral_key(), "admin")
        assert connection.get_extra_info("send_cipher").endswith("-gcm@openssh.com")
        connection.abort()
    assert set(admitted) == {"admin"}


async def test_another_key_is_a_hard_failure_and_nobody_is_authenticated() -> None:
    key, admitted = Ed25519PrivateKey.generate(), list[str]()
    async with host(key, admitted) as leg:
        with pytest.raises(Untrusted) as caught:
            await connect(leg, _device(Ed25519PrivateKey.generate()), ephemeral_key(), "admin")
    assert caught.value.reason == "host_key"
    assert _device(key) in caught.value.message
    assert admitted == []


async def test_a_host_that_cannot_do_better_than_cbc_is_refused() -> None:
    key, admitted = Ed25519PrivateKey.generate(), list[str]()
    async with host(key, admitted, encryption_algs=["aes256-ctr", "aes256-cbc"]) as leg:
        with pytest.raises(AuxilioError) as caught:
            await connect(leg, _device(key), ephemeral_key(), "admin")
    assert isinstance(caught.value, PeerFault)
    assert admitted == []


async def test_a_host_that_does_not_admit_our_key_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    key = Ed25519PrivateKey.generate()
    monkeypatch.setattr(_Server, "validate_public_key", lambda self, username, shown: False)
    async with host(key, []) as leg:
        with pytest.raises(Refused) as caught:
            await connect(leg, _device(key), ephemeral_key(), "admin")
    assert caught.value.reason == "not_admitted"
