"""How sessions end: at whose word, how fast, with which reason on both sides, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import asyncssh
import pytest

from protocol.device_record import DeviceRecord
from protocol.errors import Refused
from protocol.link import SessionAccepted, SessionWaiting
from protocol.policy import ConsentRule
from protocol.revocation import Revocations, RevokedDevice, RevokedKeyId
from tests.support.session_world import Client, SessionWorld, Technician, until

ATTENDED = ConsentRule(where="all", wait_s=30)
REVOKED_WITHIN_S = 5.0

STUBBORN = """
trap '' HUP INT TERM
set -m
(trap '' HUP; exec sleep 1000) &
echo $$ $!
while :; do sleep 0.1; done
"""
"""A bash script that ignores every signal it can, with a background process in a process group of its own."""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def children_of_ours() -> list[str]:
    """Children of this process, dead ones too, as their name and state; without the nursery, which stays a while."""
    mine = []
    for folder in Path("/proc").iterdir():
        try:
            name, _, rest = (folder / "stat").read_text().rpartition(") ")
            is_nursery = b"agent.session.nursery" in (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if folder.name.isdigit() and not is_nursery and int(rest.split()[1]) == os.getpid():
            mine.append(f"{name}) {rest.split()[0]}")
    return mine


async def stubborn(client: Client) -> tuple[asyncssh.SSHClientProcess[str], list[int]]:
    process = await client.create_process("exec bash -s")
    process.stdin.write(STUBBORN)
    line = await process.stdout.readline()
    return process, [int(pid) for pid in line.split()]


async def ends_by(world: SessionWorld, act: object, reason: str, words: str) -> None:
    """Open a session with a stubborn process, `act`, and check what both sides then know, and what is left."""
    before = children_of_ours()
    session = await world.start()
    client = await world.connect(session)
    process, pids = await stubborn(client)
    began = time.monotonic()
    assert callable(act)
    act()
    told = await process.stderr.read()
    assert words in told, told
    ended = await world.ended(session)
    assert time.monotonic() - began < REVOKED_WITHIN_S
    assert (ended.reason, words in ended.message) == (reason, True), ended
    await until(lambda: world.heard)
    assert words in str(world.heard[0])
    assert not [pid for pid in pids if alive(pid)]
    assert [entry["reason"] for entry in world.log.of("session_ended")] == [reason]
    assert world.desk.live() == ()
    assert children_of_ours() == before


async def test_revoking_the_technician_ends_the_session_with_all_its_processes_within_5_s() -> None:
    async with SessionWorld() as world:
        revocations = Revocations(key_ids=(RevokedKeyId(key_id="ana"),))
        await ends_by(world, lambda: world.publish(revocations=revocations), "revoked", "revoked")
        assert (await world.refused(world.offer(world.request()))).code == "revoked"


async def test_removing_the_device_ends_its_sessions() -> None:
    async with SessionWorld() as world:
        revocations = Revocations(devices=(RevokedDevice(device=world.device),))
        await ends_by(world, lambda: world.publish(revocations=revocations), "revoked", "removed")


async def test_a_policy_s_longest_session_ends_one() -> None:
    async with SessionWorld() as world:
        await ends_by(world, lambda: world.publish(max_session_s=1), "policy", "after 1 s")


async def test_re_tagging_a_device_out_of_scope_ends_the_session() -> None:
    async with SessionWorld(tags=("site=madrid",)) as world:
        world.technician = Technician(world, scope="tag:site=madrid")

        def retag() -> None:
            assert isinstance(world.record, DeviceRecord)
            fields = {**{f: getattr(world.record, f) for f in world.record.__struct_fields__}, "tags": ("site=oslo",)}
            world.record = DeviceRecord(**fields)
            world.desk.review()

        await ends_by(world, retag, "out_of_scope", "scope")


async def test_a_policy_that_wants_consent_ends_what_nobody_was_asked_for() -> None:
    async with SessionWorld() as world:
        await ends_by(world, lambda: world.publish(consent=(ATTENDED,)), "policy", "asked")


async def test_a_certificate_that_expires_ends_the_session_by_itself() -> None:
    async with SessionWorld() as world:
        now = int(world.clock.now())
        world.technician = Technician(world, valid_after=now - 10, valid_before=now + 3)
        session = await world.start()
        client = await world.connect(session)
        process = await client.create_process("sleep 1000")
        assert "expired" in await process.stderr.read()
        assert (await world.ended(session)).reason == "expired"


async def test_what_closed_channels_left_in_the_background_ends_with_a_revocation_and_stays_after_a_goodbye(
    tmp_path: Path,
) -> None:
    background = "sleep 1000 </dev/null >/dev/null 2>&1 & echo $!"
    async with SessionWorld() as world:
        for revoked in (False, True):
            session = await world.start()
            client = await world.connect(session)
            pid = int((await client.run(background)).stdout or "")
            await until(lambda: world.desk.live()[0].channels == 0)
            await until(lambda pid=pid: os.getsid(pid) in world.desk.process_ids())
            if revoked:
                world.publish(revocations=Revocations(key_ids=(RevokedKeyId(key_id="ana"),)))
            else:
                client.close()
            await world.ended(session)
            await until(lambda: not world.desk.live())
            assert alive(pid) is not revoked
            if not revoked:
                assert os.getsid(pid) in world.desk.process_ids(), "it may still not answer for the customer"
                os.kill(pid, signal.SIGKILL)


async def test_the_customer_ends_a_session_at_any_moment() -> None:
    async with SessionWorld() as world:
        await ends_by(world, lambda: world.desk.revoke(), "consent_revoked", "the customer ended")


async def test_the_relay_s_word_ends_a_session() -> None:
    async with SessionWorld() as world:
        session = await world.start()
        client = await world.connect(session)
        await client.create_process("sleep 1000")
        world.desk.withdraw(session, "the console\x1b[2J is gone")
        ended = await world.ended(session)
        assert ended.reason == "withdrawn"
        assert "\x1b" not in ended.message


async def test_an_agent_that_stops_leaves_nothing() -> None:
    before = children_of_ours()
    async with SessionWorld() as world:
        session = await world.start()
        client = await world.connect(session)
        _, pids = await stubborn(client)
        await world.desk.close()
        assert (await world.ended(session)).reason == "agent_stopped"
        assert not [pid for pid in pids if alive(pid)]
        assert children_of_ours() == before


async def test_a_child_that_is_killed_ends_its_session_and_processes_and_no_other() -> None:
    async with SessionWorld() as world, world.client() as other:
        await other.run("true")
        [kept] = world.children()
        session = await world.start()
        client = await world.connect(session)
        process = await client.create_process("echo $$; exec sleep 1000")
        pid = int(await process.stdout.readline())
        [child] = set(world.children()) - {kept}
        os.kill(child, signal.SIGKILL)
        assert (await world.ended(session)).reason == "failed"
        assert not alive(pid)
        assert (await other.run("echo fine")).stdout == "fine\n"


async def test_a_client_that_leaves_ends_the_session_and_leaves_no_zombie() -> None:
    before = children_of_ours()
    async with SessionWorld() as world:
        for _ in range(3):
            session = await world.start()
            client = await world.connect(session)
            await asyncio.gather(*(client.run("true") for _ in range(5)))
            client.close()
            assert (await world.ended(session)).reason == "closed"
            assert children_of_ours() == before


async def test_stock_ssh_is_told_why() -> None:
    async with SessionWorld() as world:
        ssh = await asyncio.create_subprocess_exec(
            *await world.stock_ssh("echo begun; sleep 1000"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert ssh.stdout is not None
        assert await ssh.stdout.readline() == b"begun\n"
        world.desk.revoke()
        _, err = await ssh.communicate()
        assert ssh.returncode == 255
        assert b"the session was ended: the customer ended the session" in err


async def test_a_console_that_never_comes_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    from agent.session import broker

    monkeypatch.setitem(broker.DEADLINES, broker.State.DIALLING, (0.5, "never came"))
    async with SessionWorld() as world:
        session = await world.start()
        ended = await world.ended(session)
        assert (ended.reason, ended.message) == ("failed", "never came")
        assert world.children() == []


# -- consent ----------------------------------------------------------------------------------------------------------


async def test_an_attended_session_waits_for_a_yes_and_starts_no_child_before() -> None:
    async with SessionWorld(consent=(ATTENDED,)) as world:
        session = world.offer(world.request(case="C-1"))
        waiting = await world.said(SessionWaiting, session)
        assert waiting.wait_s == 30
        [asked] = world.asked
        assert (asked.technician, asked.purpose, asked.capabilities) == ("ana", "the printer is deaf", ("shell",))
        assert world.children() == []
        assert world.desk.allow().session == session
        await world.said(SessionAccepted, session)
        client = await world.connect(session)
        assert (await client.run("echo in")).stdout == "in\n"
        client.close()
        await world.ended(session)
        # The same case is not asked about twice; another account of it is.
        again = world.offer(world.request(case="C-1"))
        await world.said(SessionAccepted, again)
        assert len(world.asked) == 1


async def test_a_no_is_told_to_the_technician_and_no_child_was_started() -> None:
    async with SessionWorld(consent=(ATTENDED,)) as world:
        session = world.offer(world.request())
        world.desk.deny(session)
        refused = await world.refused(session)
        assert (refused.code, refused.message) == ("consent_denied", "the customer said no")
        assert world.log.of("session_started") == []
        assert world.log.of("session_refused")[0]["code"] == "consent_denied"


async def test_no_answer_is_a_no() -> None:
    async with SessionWorld(consent=(ConsentRule(where="all", wait_s=1),)) as world:
        session = world.offer(world.request())
        refused = await world.refused(session)
        assert refused.code == "consent_timeout"
        with pytest.raises(Refused) as caught:
            world.desk.allow(session)
        assert caught.value.reason == "nothing_asked"
        assert world.children() == []
        assert world.log.of("session_started") == []


async def test_a_technician_who_is_revoked_while_waiting_is_refused() -> None:
    async with SessionWorld(consent=(ATTENDED,)) as world:
        session = world.offer(world.request())
        world.publish(revocations=Revocations(key_ids=(RevokedKeyId(key_id="ana"),)))
        assert (await world.refused(session)).code == "revoked"
        assert world.desk.waiting() == ()


async def test_consent_taken_back_ends_the_session_and_is_asked_for_again() -> None:
    async with SessionWorld(consent=(ATTENDED,)) as world:
        session = world.offer(world.request(case="C-1"))
        world.desk.allow()
        client = await world.connect(session)
        await client.create_process("sleep 1000")
        assert world.desk.revoke("C-1") == (session,)
        assert (await world.ended(session)).reason == "consent_revoked"
        world.offer(world.request(case="C-1"))
        assert len(world.desk.waiting()) == 1
