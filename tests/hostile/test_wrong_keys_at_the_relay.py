"""The same keys, namespaces and certificates before a relay: who logs in, and who links, by what they sign.

As in test_wrong_keys.py, but over the wire to a relay of its own, with one thing wrong at a time: each attempt is a
request or a connection, and the whole matrix would be ten thousand of them.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from protocol.api import LoginAnswer, LoginNonce
from protocol.codec import encode
from protocol.errors import AuxilioError
from protocol.link import VERSIONS, Challenge, Goodbye, Hello, Welcome
from protocol.login import LinkStatement, LoginStatement
from protocol.policy import Relay
from protocol.statement import LINK, LOGIN
from tests.support.organisation import Organisation
from tests.support.relay_process import RelayProcess
from tests.support.relay_world import FakeDevice, World
from tests.support.wrong_keys import NAMESPACES, Certificate, Holders

pytestmark = pytest.mark.asyncio(loop_scope="module")

NO_LIMIT = "[limits]\nrequests_per_s = 10000.0\nrequest_burst = 1000000.0\n"


class Party(World):
    holders: Holders


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[Party]:
    async with RelayProcess(settings=NO_LIMIT) as relay:
        holders = Holders(Relay(url=relay.url, pin=relay.pin), now=int(time.time()))
        await relay.add_organisation(holders.organisation.id)
        world = Party(relay, holders.organisation)
        world.holders = holders
        await holders.organisation.publish(world.stranger)
        await world.device("clinic", key=holders.device_key)
        yield world
        await world.close()


def one_wrong(holders: Holders, due: str) -> Iterator[tuple[str, str, Certificate | None]]:
    """Key, namespace, certificate: everything in the namespace that is due, and the perfect in every other one."""
    for key, certificates in holders.certificates.items():
        perfect = [c for c in certificates if (c.shape, c.issuer) == ("user", "technician CA")]
        telling = [c for c in certificates if c.shape == "user" or c.issuer in ("technician CA", "enrolment CA", key)]
        for namespace in NAMESPACES:
            for certificate in (None, *(telling if namespace == due else perfect)):
                yield key, namespace, certificate


async def test_only_a_technicians_certificate_logs_in(world: Party) -> None:
    base = f"/v1/organisations/{world.organisation.id}/login"
    client, holders = world.stranger, world.holders

    async def challenge() -> bytes:
        nonce = await client.request("POST", f"{base}/nonce", LoginNonce)
        statement = LoginStatement(
            organisation=world.organisation.id,
            relay=world.address.dialled_name,
            nonce=nonce.nonce,
            issued_at=int(time.time()),
        )
        return encode(statement)

    payload, scopes = await challenge(), set()
    for key, namespace, certificate in one_wrong(holders, LOGIN):
        attempt = holders.sign(payload, key, namespace, certificate)
        due = namespace == LOGIN and certificate is not None and certificate.issuer == "technician CA"
        due = due and certificate is not None and certificate.shape in ("user", "expired")
        try:
            answer = await client.request("POST", base, LoginAnswer, body=attempt.signed)
        except AuxilioError as exc:
            assert not due, f"{attempt}: {exc}"
            # Not for the nonce's sake: that one is good until somebody gets in with it.
            assert exc.reason not in ("wrong_nonce", "clock_differs", "too_many_requests"), f"{attempt}: {exc}"
        else:
            assert due, f"logged in: {attempt}"
            scopes.add((certificate and certificate.shape, answer.scope))
            payload = await challenge()
    assert scopes == {("user", "full"), ("expired", "mailbox")}


async def test_only_the_device_key_links(world: Party) -> None:
    holders, linked = world.holders, []
    device = FakeDevice(world, holders.device_key)
    for key, namespace, certificate in one_wrong(holders, LINK):
        if certificate is not None and certificate.issuer not in ("technician CA", "enrolment CA"):
            continue
        link = await device.dial()
        try:
            challenge = await link.next(Challenge)
            statement = LinkStatement(
                organisation=world.organisation.id,
                relay=world.address.dialled_name,
                nonce=challenge.nonce,
                device_key=Organisation.line(holders.device_key),
                issued_at=int(time.time()),
            )
            attempt = holders.sign(encode(statement), key, namespace, certificate)
            link.send(
                Hello(
                    statement=attempt.signed,
                    version=VERSIONS[-1],
                    agent="0.1.0",
                    charter=2,
                    policy=world.organisation.policy_number,
                    record=1,
                )
            )
            said = await link.receive()
        finally:
            link.close()
        assert isinstance(said, Welcome | Goodbye), said
        if isinstance(said, Welcome):
            linked.append((key, namespace, certificate))
    assert linked == [("device", LINK, None)]
