"""A relay that has the policy key as well: what it signs is refused or fails safe, outlives no restart, and ends by the
root's next charter.

One device goes through all of it; each test ends with a device that its technicians reach again.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from protocol.charter import MAX_DOCUMENT_NUMBER, PolicyBase
from protocol.codec import encode
from protocol.ids import sha256
from protocol.link import PolicyNumber
from protocol.revocation import Revocations
from protocol.signing import KeySigner
from protocol.statement import POLICY, Signed, seal_statement
from tests.support.meeting import Meeting, meeting_in
from tests.support.organisation import DAY_S, UNATTENDED, new_key

pytestmark = pytest.mark.asyncio(loop_scope="module")

YEAR_S = 365 * DAY_S


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def meeting(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Meeting]:
    async with meeting_in(tmp_path_factory.mktemp("stolen")) as meeting:
        await meeting.link()
        await meeting.approve(meeting.current)
        yield meeting


@pytest.fixture(autouse=True)
def as_the_thief_found_it(meeting: Meeting) -> None:
    """The key that is stolen in this test is the one in force."""
    meeting.relay.organisation.publish_policy(max_session_s=3600)


def forged(meeting: Meeting, /, **changes: Any) -> Signed:
    """A policy by the stolen key: the last one, with these fields, known or not."""
    fields = msgspec.json.decode(meeting.relay.organisation.policies[-1].payload)
    payload = encode({**fields, **changes})
    return seal_statement(KeySigner(meeting.relay.organisation.policy_key), POLICY, payload)


async def recover(meeting: Meeting, **charter: Any) -> PolicyNumber:
    """The root's answer: a charter with another policy key, which goes on from the organisation's own last policy."""
    organisation = meeting.relay.organisation
    held = organisation.last_policy
    assert held is not None
    base = PolicyBase(number=held.number, sha256=sha256(organisation.policies[-1].payload))
    organisation.policy_key = new_key()
    keys = (organisation.line(organisation.policy_key),)
    organisation.next_charter(policy_keys=keys, policy_base=base, **charter)
    epoch = msgspec.json.decode(organisation.charters[-1].payload)["number"]
    organisation.last_policy = msgspec.structs.replace(held, epoch=epoch)
    fresh = organisation.publish_policy(consent=UNATTENDED, revocations=Revocations(), issued_at=int(time.time()))
    answer = await meeting.accept(meeting.current, fresh, charters=tuple(organisation.charters))
    assert answer.policy == PolicyNumber(epoch=epoch, number=held.number + 1) and not answer.forks
    return answer.policy


async def everywhere(meeting: Meeting, holds: Callable[[], Awaitable[None]]) -> None:
    """What holds now holds after a restart, too."""
    await holds()
    await meeting.restart()
    await holds()


async def test_the_highest_number_there_is_shuts_the_organisation_out_until_the_root_speaks(meeting: Meeting) -> None:
    organisation = meeting.relay.organisation
    beyond = forged(meeting, number=MAX_DOCUMENT_NUMBER + 1)
    held = await meeting.accept(meeting.current, beyond)
    assert held.refused[0].endswith(": bad_message")
    thief = forged(meeting, number=MAX_DOCUMENT_NUMBER, consent=[{"where": "all", "mode": "unattended"}])
    assert (await meeting.accept(meeting.current, thief)).policy.number == MAX_DOCUMENT_NUMBER
    # It may spare itself the customer's yes, and revoke nobody; it names no CA, so it lets nobody in.
    stranger = organisation.technician("eve", ca=new_key())
    assert await meeting.outcome(by=stranger) == "wrong_ca"

    async def is_stuck() -> None:
        number = (await meeting.accept(meeting.current, organisation.publish_policy())).policy.number
        assert number == MAX_DOCUMENT_NUMBER

    await everywhere(meeting, is_stuck)
    number = await recover(meeting)

    async def is_undone() -> None:
        again = await meeting.accept(meeting.current, thief)
        assert again.policy == number and again.refused[0].endswith(": unknown_signer")
        assert await meeting.outcome() == "accepted"

    await everywhere(meeting, is_undone)


async def test_a_fork_is_kept_out_reported_and_resolved(meeting: Meeting) -> None:
    organisation = meeting.relay.organisation
    number = (await meeting.accept(meeting.current, organisation.policies[-1])).policy
    fork = forged(meeting, relays=[{"url": "https://evil.example", "pin": None}])
    name = sha256(fork.payload)

    async def is_reported() -> None:
        held = await meeting.accept(meeting.current, fork)
        assert held.policy == number and held.forks == (name,)
        status = await meeting.status()
        assert status["forks"] == [name] and status["relays"] == [meeting.relay.address.url]
        assert await meeting.outcome() == "accepted"  # by the one that was here first

    await everywhere(meeting, is_reported)
    assert await meeting.journal("policy_fork")
    await recover(meeting)
    assert (await meeting.status())["forks"] == []
    assert await meeting.outcome() == "accepted"


async def test_what_is_not_understood_is_ignored_and_where_it_is_critical_fails_safe(meeting: Meeting) -> None:
    tomorrow = {"where": "all", "means": ["a rule", {"of": "tomorrow"}]}
    await meeting.accept(meeting.current, forged(meeting, number=400, tomorrow=tomorrow))
    assert (await meeting.status())["restricted_by"] == []
    assert await meeting.outcome() == "accepted"
    revoked = {"key_ids": [{"key_id": "ben", "since": None}]}
    await meeting.accept(
        meeting.current, forged(meeting, number=401, tomorrow=tomorrow, critical=["tomorrow"], revocations=revoked)
    )
    ben = meeting.relay.organisation.technician("ben")

    async def is_restricted() -> None:
        status = await meeting.status()
        assert status["policy"]["number"] == 401 and status["restricted_by"] == ["tomorrow"]
        # Nobody comes in without a customer's yes, and what it revokes is revoked all the same.
        assert await meeting.outcome() in ("policy_restricted", "waiting")
        assert await meeting.outcome(by=ben) == "revoked"

    await everywhere(meeting, is_restricted)
    await recover(meeting)
    assert (await meeting.status())["restricted_by"] == []
    assert await meeting.outcome() == "accepted"


@pytest.mark.parametrize(
    "years", [pytest.param(5, marks=pytest.mark.long), 200_000_000], ids=["five years ahead", "as far as a number goes"]
)
async def test_a_date_far_in_the_future_locks_out_and_the_root_sets_the_clock_back(
    meeting: Meeting, years: int
) -> None:
    then = min(int(time.time()) + years * YEAR_S, MAX_DOCUMENT_NUMBER - 1)
    await meeting.accept(meeting.current, forged(meeting, number=402, issued_at=then, expires_at=then + 1))

    async def is_locked() -> None:
        # No certificate lives for so long: the safe way to be wrong.
        assert await meeting.outcome(expires_at=int(time.time()) + 60) == "expired"
        assert (await meeting.status())["clock_behind_s"] > 4 * YEAR_S

    await everywhere(meeting, is_locked)
    await recover(meeting, time_floor_at=int(time.time()) - DAY_S)

    async def is_free() -> None:
        assert (await meeting.status())["clock_behind_s"] == 0
        assert await meeting.outcome() == "accepted"

    await everywhere(meeting, is_free)


async def test_no_policy_at_all_and_a_relay_that_knows_of_none_change_nothing(meeting: Meeting) -> None:
    number = (await meeting.accept(meeting.current, meeting.relay.organisation.policies[-1])).policy
    none = PolicyNumber(epoch=0, number=0)
    served, meeting.relay.served = meeting.relay.served, []
    await meeting.restart(charter=0, policy=none, record=0)
    assert await meeting.outcome() == "accepted"
    assert (await meeting.status())["policy"] == {"epoch": number.epoch, "number": number.number}
    meeting.relay.served = served


async def test_rules_that_no_device_could_read_are_refused(meeting: Meeting) -> None:
    """A valid signature over what is no policy: too deep, too long, of another shape."""
    number = (await meeting.accept(meeting.current, meeting.relay.organisation.policies[-1])).policy
    key = KeySigner(meeting.relay.organisation.policy_key)
    deep = b'{"relays":' + b"[" * 200_000
    for payload in (
        deep,
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b'{"number":1e400}',
        b'{"number":' + b"9" * 10_000 + b"}",
    ):
        held = await meeting.accept(meeting.current, seal_statement(key, POLICY, payload))
        assert held.policy == number and len(held.refused) == 1, payload[:40]
    for changes in (
        {"number": 0},
        {"number": -1},
        {"expires_at": 0},
        {"consent": [{"where": "(" * 5000, "mode": "unattended"}]},
        {"consent": [{"where": "ram<4GiB", "mode": "unattended"}]},
        {"relays": [{"url": "https://r.example", "pin": None}] * 1000},
        {"version": 2},
    ):
        held = await meeting.accept(meeting.current, forged(meeting, **{"number": 900, **changes}))
        assert held.policy == number and len(held.refused) == 1, changes
    assert await meeting.outcome() == "accepted"
