"""What each command of `auxilio-agent` does. Each imports what it needs when it runs."""

from __future__ import annotations

import argparse
import logging
import sys

from agent.command_input import read_input
from agent.messages import say
from protocol.errors import EXIT_OK, UsageInvalid
from protocol.text import escape

LEAVE_WITHIN_S = 30.0
"""For a running agent to end its sessions and itself."""


def _token_text(options: argparse.Namespace) -> str:
    from protocol.enrolment import MAX_TOKEN_CHARS

    if options.token and options.file:
        raise UsageInvalid("a token and a file were given", hint="Give one of them.")
    text = options.token if options.token and options.token != "-" else None
    return text or read_input(options.file, "join token", MAX_TOKEN_CHARS)


def join(options: argparse.Namespace) -> int:
    import asyncio
    import json

    from agent.joining import join
    from agent.state import StateDir
    from agent.way import Way
    from protocol.enrolment import parse_join_token
    from protocol.system_clock import SystemClock
    from transport.proxy import check_setting

    if options.proxy == "-":
        raise UsageInvalid("--proxy takes no `-`", hint="`auxilio-agent proxy -` reads it, before `join`.")
    way = Way(proxy=check_setting(options.proxy)) if options.proxy is not None else None
    token = parse_join_token(_token_text(options))
    membership = asyncio.run(join(StateDir(options.state, make=True), token, SystemClock(), way=way))
    if options.json:
        print(json.dumps({"device": membership.device, "organisation": membership.organisation}))
    else:
        print(say("joined", device=membership.device))
        print(say("joined_next"))
    return EXIT_OK


def run(options: argparse.Namespace) -> int:
    from agent.run import run_agent
    from protocol.system_clock import SystemClock

    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.WARNING,
        format="auxilio-agent: %(message)s",
        stream=sys.stderr,
    )
    if run_agent(
        options.state,
        SystemClock(),
        look_s=options.look_every,
        sample_s=options.sample_every,
        resume_for_s=options.resume_for,
        token=options.join,
    ):
        print(say("left"))
    return EXIT_OK


def status(options: argparse.Namespace) -> int:
    import json

    from agent.show import read_status, show_status, wait_connected
    from protocol.system_clock import SystemClock

    if options.wait:
        wait_connected(options.state, options.wait)
    status = read_status(options.state)
    if options.id:
        print(status["device"])
    elif options.json:
        print(json.dumps(status, indent=2))
    else:
        print(show_status(status, SystemClock().now()))
    return EXIT_OK


def log(options: argparse.Namespace) -> int:
    import json

    from agent.show import read_log, show_entry

    entries = read_log(options.state, options.n)
    for entry in entries:
        print(json.dumps(entry) if options.json else show_entry(entry))
    if not entries and not options.json:
        print(say("no_log"))
    return EXIT_OK


def _ask(options: argparse.Namespace, command: str, argument: str = "") -> dict[str, object]:
    from agent.control import ask, socket_path

    return ask(socket_path(options.state), command, argument)  # type: ignore[arg-type]  # a literal, by our callers


def allow(options: argparse.Namespace) -> int:
    answer = _ask(options, "allow", options.session)
    print(say("allowed", technician=_shown(answer, "technician"), purpose=_shown(answer, "purpose")))
    return EXIT_OK


def deny(options: argparse.Namespace) -> int:
    answer = _ask(options, "deny", options.session)
    print(say("denied", technician=_shown(answer, "technician")))
    return EXIT_OK


def revoke(options: argparse.Namespace) -> int:
    answer = _ask(options, "revoke", options.case)
    ended = answer["ended"]
    print(say("revoked", count=len(ended) if isinstance(ended, list) else 0))
    return EXIT_OK


def _shown(answer: dict[str, object], name: str) -> str:
    return escape(str(answer.get(name, "")))


def prepare_image(options: argparse.Namespace) -> int:
    from agent.image import prepare_image

    prepare_image(options.state, _token_text(options) if options.token or options.file else None, options.json)
    return EXIT_OK


def same_machine(options: argparse.Namespace) -> int:
    from agent.identity import same_machine
    from agent.platform import this_machine
    from agent.state import StateDir
    from protocol.system_clock import SystemClock

    state = StateDir(options.state)
    with state.locked():
        print(say("same_machine", device=same_machine(state, this_machine(), SystemClock())))
    return EXIT_OK


def proxy(options: argparse.Namespace) -> int:
    from agent.proxy_command import proxy

    return proxy(options.state, options.setting)


def diagnose(options: argparse.Namespace) -> int:
    from agent.diagnosis.command import diagnose_command

    return diagnose_command(
        options.state,
        relay=options.relay,
        pin=options.pin,
        as_json=options.json,
        html=options.html,
        throughput=options.throughput,
        quiet=not sys.stderr.isatty(),
        lines=options.lines,
    )


def guide(options: argparse.Namespace) -> int:
    from agent.messages import language
    from guidance.guides import guide_names, guide_text

    print(guide_text(options.name, language()).rstrip() if options.name else "\n".join(guide_names()))
    return EXIT_OK


def leave(options: argparse.Namespace) -> int:
    from agent.control import AgentNotRunning
    from agent.joining import leave, leave_is_unfinished
    from agent.membership import load_membership
    from agent.state import StateDir

    state = StateDir(options.state)
    if not leave_is_unfinished(state):
        load_membership(state)
    try:
        _ask(options, "leave")
    except AgentNotRunning:
        pass
    # Once the agent has ended, or where none runs: done when this returns, whatever became of it.
    with state.locked(within_s=LEAVE_WITHIN_S):
        leave(state)
    print(say("left"))
    return EXIT_OK


def policy(options: argparse.Namespace) -> int:
    from agent.control import MAX_LINE_BYTES, AgentNotRunning
    from agent.policy_import import check_bundle, import_offline
    from protocol.errors import Refused

    text = read_input(options.file, "policy", MAX_LINE_BYTES // 2)
    check_bundle(text)
    try:
        answer = _ask(options, "import_policy", text)
    except AgentNotRunning:
        answer = import_offline(options.state, text)
    if answer["outcome"] == "fork":
        raise Refused(
            f"the policy contradicts the one that is held: both have the number {answer['number']}",
            code="policy_fork",
            hint="An admin resolves it with a charter that names which of them counts; see `auxilio authority`.",
        )
    key = "imported" if answer["outcome"] == "accepted" else "known"
    print(say(key, number=answer["number"]))
    return EXIT_OK
