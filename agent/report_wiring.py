"""What reports and samples need of the agent's other parts, put together once."""

from __future__ import annotations

from functools import partial

from agent.diagnosis.sections import Surroundings
from agent.documents import Documents
from agent.link_driver import LinkDriver
from agent.membership import DeviceKeys, Membership
from agent.report_desk import ReportDesk
from agent.reporter import Reporter
from agent.sampler import Circumstances, Sampler
from agent.session.journal import Journal
from agent.state import StateDir
from protocol.system_clock import Clock


def report_desk(
    state: StateDir,
    *,
    membership: Membership,
    keys: DeviceKeys,
    documents: Documents,
    clock: Clock,
    link: LinkDriver,
    journal: Journal,
    surroundings: Surroundings,
    look_s: float,
    sample_s: float,
) -> ReportDesk:
    """look_s, sample_s: as Agent takes them."""

    def circumstances() -> Circumstances:
        return Circumstances(
            on_battery=desk.on_battery,
            latency_ms=link.take_latency_ms(),
            ladder=surroundings.take_climb(),
            modem=desk.held("modem"),
        )

    make_reporter = partial(
        Reporter,
        state,
        membership=membership,
        keys=keys,
        clock=clock,
        now=documents.now,
        send=link.send,
        journal=journal,
        surroundings=surroundings,
        look_s=look_s,
    )
    make_sampler = partial(
        Sampler,
        membership=membership,
        keys=keys,
        clock=clock,
        now=documents.now,
        send=link.send,
        journal=journal,
        circumstances=circumstances,
        sample_s=sample_s,
    )
    desk = ReportDesk(state.path, journal, make_reporter, make_sampler)
    return desk
