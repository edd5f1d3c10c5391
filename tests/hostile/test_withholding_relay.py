"""A relay that only leaves out: how far that gets it, and what ends it without a word of the relay's.

It keeps a revocation back, so a technician whose laptop was stolen is let in: until the policy that the device holds,
or the certificate, is over. Both ends come by the device's own clock, which no relay sets.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest
import pytest_asyncio

from protocol.link import SessionEnded
from protocol.revocation import Revocations, RevokedKeyId
from tests.support.agent_process import wait_until
from tests.support.meeting import Meeting, meeting_in
from tests.support.organisation import DAY_S
from tests.support.session_world import session_children

pytestmark = pytest.mark.asyncio(loop_scope="module")

LEFT_S = 8
"""Until a document ends: a session stands before, on a busy machine too, and nobody waits for long."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def meeting(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Meeting]:
    async with meeting_in(tmp_path_factory.mktemp("withholding"), legs=True) as meeting:
        await meeting.link()
        await meeting.approve(meeting.current)
        yield meeting


async def is_put_out(meeting: Meeting, client: asyncssh.SSHClientConnection, ends_at: int) -> str:
    """Until the device ends the session by itself, and what ran in it; the reason that it says."""
    process = await client.create_process("echo $$; exec sleep 4321")
    pid = int(await process.stdout.readline())
    assert time.time() < ends_at and Path(f"/proc/{pid}").exists(), "it was let in"
    ended = await meeting.current.next(SessionEnded)
    assert time.time() >= ends_at
    await asyncio.to_thread(wait_until, lambda: not Path(f"/proc/{pid}").exists(), "what ran is ended")
    await asyncio.to_thread(wait_until, lambda: not session_children(meeting.agent.pid), "no process of it is left")
    return ended.reason


async def test_a_revocation_that_is_kept_back_counts_when_the_policy_is_over(meeting: Meeting) -> None:
    organisation = meeting.relay.organisation
    stolen = organisation.technician("eve")
    ends_at = int(time.time()) + LEFT_S
    await meeting.accept(meeting.current, organisation.publish_policy(expires_at=ends_at))
    organisation.publish_policy(  # and the relay tells nobody
        revocations=Revocations(key_ids=(RevokedKeyId(key_id="eve"),)), expires_at=ends_at + 90 * DAY_S
    )
    async with meeting.session(meeting.current, by=stolen, policy=meeting.held) as client:
        assert await is_put_out(meeting, client, ends_at) == "expired"
    for who in (stolen, organisation.technician()):
        said = await meeting.outcome(by=who, policy=meeting.held)
        assert said in ("policy_expired", "waiting"), "from now on a customer has to say yes"
    await meeting.restart()
    assert await meeting.outcome(by=stolen, policy=meeting.held) in ("policy_expired", "waiting")
    await meeting.accept(meeting.current, organisation.policies[-1])
    assert await meeting.outcome(by=stolen) == "revoked"
    assert await meeting.outcome() == "accepted"


async def test_a_revocation_that_is_kept_back_counts_when_the_certificate_is_over(meeting: Meeting) -> None:
    organisation = meeting.relay.organisation
    ends_at = int(time.time()) + LEFT_S
    stolen = organisation.technician("ivy", since_s=300, valid_s=ends_at + 300 - organisation.now)
    organisation.publish_policy(revocations=Revocations(key_ids=(RevokedKeyId(key_id="ivy"),)))
    async with meeting.session(meeting.current, by=stolen, policy=meeting.held) as client:
        assert await is_put_out(meeting, client, ends_at) == "expired"
    assert await meeting.outcome(by=stolen, policy=meeting.held) == "expired"


@pytest.mark.parametrize("relay_time", [0, 2**53 - 1], ids=["the epoch", "the end of time"])
async def test_what_a_relay_says_of_the_time_moves_no_clock(meeting: Meeting, relay_time: int) -> None:
    """Neither does it let the expired in, nor lock others out."""
    organisation = meeting.relay.organisation
    expired = organisation.technician("old", since_s=7200, valid_s=3600)
    await meeting.restart(challenge={"relay_time": relay_time})
    assert await meeting.outcome(by=expired, policy=meeting.held) == "expired"
    assert await meeting.outcome(policy=meeting.held) == "accepted"
    assert (await meeting.status())["clock_behind_s"] == 0
