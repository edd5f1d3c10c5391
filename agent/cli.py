"""The commands of `auxilio-agent`. Each imports what it needs when it runs.

Exit status: 0; 2 usage; 3 refused; 4 unavailable; 5 the relay's fault; 6 configuration; 130 interrupted;
141 whoever read the output left; 1 our bug.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from agent.command_input import entry_count, look_period, read_input
from agent.messages import say, say_error
from agent.release import RELEASE
from agent.state import customer_state_dir, default_state_dir
from protocol.durations import parse_duration
from protocol.errors import (
    EXIT_BUG,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_PIPE,
    AuxilioError,
    Unavailable,
    UsageInvalid,
    missing_extra,
)
from protocol.text import escape

LEAVE_WITHIN_S = 30.0
"""For a running agent to end its sessions and itself."""

CUSTOMER_COMMANDS = frozenset({"status", "log", "allow", "deny", "revoke"})

Handler = Callable[[argparse.Namespace], int]

_EPILOG = """\
examples:
  auxilio-agent join auxilio-join-...     join the organisation that gave you this token
  auxilio-agent run                       report, and let technicians in as the organisation's rules say
  auxilio-agent status                    is it connected, who is here, what waits
  auxilio-agent allow                     let the technician in who is asking
"""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line and a hint, as everything else here."""

    def error(self, message: str) -> NoReturn:
        raise UsageInvalid(message, hint=f"`{self.prog} --help` shows how it is used.")


def _parser() -> argparse.ArgumentParser:
    common = _Parser(add_help=False)
    common.add_argument("--state", type=_folder, default=argparse.SUPPRESS, metavar="DIR", help="the state directory")
    parser = _Parser(
        prog="auxilio-agent",
        description="Auxilio's agent: reports diagnostics, and lets technicians in by your organisation's rules.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
    )
    parser.add_argument("--version", action="version", version=f"auxilio-agent {RELEASE}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, handler: Handler, summary: str, example: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"example: {example}",
            parents=[common],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(handler=handler)
        return sub

    sub = add("join", _join, "join an organisation", "auxilio-agent join --file token.txt")
    sub.add_argument("token", nargs="?", help="the join token; `-` or nothing reads standard input")
    sub.add_argument("--file", type=Path, help="read the token from this file")
    sub.add_argument(
        "--proxy", metavar="SETTING", help="reach relays through this proxy from now on: see `auxilio-agent proxy`"
    )
    sub.add_argument("--json", action="store_true", help="print the result as JSON")
    sub = add("run", _run, "run the agent until it is stopped", "auxilio-agent run --state ~/agent")
    sub.add_argument("--join", metavar="TOKEN", help="join first, where this device has not joined yet")
    sub.add_argument("--verbose", action="store_true", help="say more on standard error")
    sub.add_argument(
        "--look-every",
        type=look_period,
        default=300.0,
        metavar="S",
        help="look at the device every S seconds (default 300)",
    )
    sub.add_argument(
        "--resume-for",
        type=parse_duration,
        default=600,
        metavar="DURATION",
        help="how long a session waits for a connection that was lost (default 10m)",
    )
    sub = add("status", _status, "show how it stands", "auxilio-agent status --json")
    sub.add_argument("--json", action="store_true", help="print it as JSON")
    sub.add_argument("--id", action="store_true", help="print the device's id and nothing else")
    sub.add_argument(
        "--wait",
        type=parse_duration,
        default=0,
        metavar="DURATION",
        help="wait so long for it to have joined and be connected",
    )
    sub = add("log", _log, "show the log of requests, sessions and commands", "auxilio-agent log -n 20")
    sub.add_argument("-n", type=entry_count, default=50, metavar="N", help="the last N entries (default 50; 0: all)")
    sub.add_argument("--json", action="store_true", help="print entries as JSON lines")
    sub = add("allow", _allow, "let the technician in who is asking", "auxilio-agent allow")
    sub.add_argument("session", nargs="?", default="", help="the session, where several ask")
    sub = add("deny", _deny, "refuse the technician who is asking", "auxilio-agent deny")
    sub.add_argument("session", nargs="?", default="", help="the session, where several ask")
    sub = add("revoke", _revoke, "take permission back: end what runs under it", "auxilio-agent revoke")
    sub.add_argument("case", nargs="?", default="", help="the case or session; nothing: everything")
    sub = add(
        "prepare-image", _prepare_image, "leave a join token and no identity: for a golden image",
        "auxilio-agent prepare-image --file token.txt",
    )  # fmt: skip
    sub.add_argument("token", nargs="?", help="the join token [the one that is kept here]; `-` reads standard input")
    sub.add_argument("--file", type=Path, help="read the token from this file")
    sub.add_argument("--json", action="store_true", help="print what was done as JSON")
    add("same-machine", _same_machine, "say that this is no copy: bind the device to this machine",
        "auxilio-agent same-machine")  # fmt: skip
    sub = add("proxy", _proxy, "show or set the proxy", "auxilio-agent proxy http://proxy.example:3128")
    sub.add_argument(
        "setting",
        nargs="?",
        help="http://[USER:PASSWORD@]HOST[:PORT], socks5://..., `direct`, or `environment` (HTTPS_PROXY and the like; "
        "so it is unless set); `-` reads it from standard input",
    )
    add("leave", _leave, "leave the organisation and forget its keys", "auxilio-agent leave")
    sub = add("policy", _policy, "take over a policy that was carried by hand", "auxilio-agent policy import FILE")
    sub.add_argument("action", choices=["import"])
    sub.add_argument("file", type=Path, help="what `auxilio policy export` wrote; `-` reads standard input")
    return parser


def _folder(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return Path(text)


def run(arguments: list[str]) -> int:
    """Parse and carry out; every expected failure is one line and a hint on standard error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal of few letters is no reason to fail
    status = _carry_out(arguments)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as exc:
        return _not_written(exc) or status
    return status


def _carry_out(arguments: list[str]) -> int:
    command = ""
    try:
        options = _parser().parse_args(arguments)
        command = options.command
        if not hasattr(options, "state"):
            options.state = customer_state_dir() if command in CUSTOMER_COMMANDS else default_state_dir()
        if command != "run":
            logging.getLogger().addHandler(logging.NullHandler())  # a command says one thing, and not what led to it
        handler: Handler = options.handler
        return handler(options)
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else EXIT_OK  # --help and --version
    except AuxilioError as exc:
        return complain(exc, command)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as exc:
        if isinstance(exc, OSError) and exc.filename is None:  # no file's: of what we print
            return _not_written(exc)
        if isinstance(exc, ModuleNotFoundError) and (missing := missing_extra(exc, "agent")) is not None:
            return complain(missing)
        logging.getLogger("auxilio").info("a bug", exc_info=True)  # shown by `run --verbose`
        message = f"internal error: {type(exc).__name__}: {exc}"
        complain(AuxilioError(message, hint="This is a fault of ours; please report it with the command that you ran."))
        return EXIT_BUG


def _not_written(failure: OSError) -> int:
    """Standard output takes no more. Whoever closed a pipe has seen enough; else it is an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())  # what is buffered must not be tried again when the interpreter ends
    os.close(nowhere)
    if isinstance(failure, BrokenPipeError):
        return EXIT_PIPE
    hint = "Free some space, or send the output somewhere else."
    return complain(Unavailable(f"the output cannot be written: {failure.strerror or failure}", hint=hint))


def complain(error: AuxilioError, command: str = "") -> int:
    """In the customer's language where it is a customer's command."""
    message, hint = error.message, error.hint
    if command in CUSTOMER_COMMANDS:
        message, hint = say_error(error.reason) or (message, hint)
    with contextlib.suppress(OSError):
        if sys.stderr is not None:  # print would take standard output in its place
            print(f"auxilio-agent: {escape(message)}", file=sys.stderr)
            print(f"hint: {escape(hint or 'See docs/agent.md.')}", file=sys.stderr)
    return error.exit_status


def _token_text(options: argparse.Namespace) -> str:
    from protocol.enrolment import MAX_TOKEN_CHARS

    if options.token and options.file:
        raise UsageInvalid("a token and a file were given", hint="Give one of them.")
    text = options.token if options.token and options.token != "-" else None
    return text or read_input(options.file, "join token", MAX_TOKEN_CHARS)


def _join(options: argparse.Namespace) -> int:
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


def _run(options: argparse.Namespace) -> int:
    from agent.run import run_agent
    from protocol.system_clock import SystemClock

    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.WARNING,
        format="auxilio-agent: %(message)s",
        stream=sys.stderr,
    )
    if run_agent(
        options.state, SystemClock(), look_s=options.look_every, resume_for_s=options.resume_for, token=options.join
    ):
        print(say("left"))
    return EXIT_OK


def _status(options: argparse.Namespace) -> int:
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


def _log(options: argparse.Namespace) -> int:
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


def _allow(options: argparse.Namespace) -> int:
    answer = _ask(options, "allow", options.session)
    print(say("allowed", technician=_shown(answer, "technician"), purpose=_shown(answer, "purpose")))
    return EXIT_OK


def _deny(options: argparse.Namespace) -> int:
    answer = _ask(options, "deny", options.session)
    print(say("denied", technician=_shown(answer, "technician")))
    return EXIT_OK


def _revoke(options: argparse.Namespace) -> int:
    answer = _ask(options, "revoke", options.case)
    ended = answer["ended"]
    print(say("revoked", count=len(ended) if isinstance(ended, list) else 0))
    return EXIT_OK


def _shown(answer: dict[str, object], name: str) -> str:
    return escape(str(answer.get(name, "")))


def _prepare_image(options: argparse.Namespace) -> int:
    from agent.image import prepare_image

    prepare_image(options.state, _token_text(options) if options.token or options.file else None, options.json)
    return EXIT_OK


def _same_machine(options: argparse.Namespace) -> int:
    from agent.identity import same_machine
    from agent.platform import this_machine
    from agent.state import StateDir
    from protocol.system_clock import SystemClock

    state = StateDir(options.state)
    with state.locked():
        print(say("same_machine", device=same_machine(state, this_machine(), SystemClock())))
    return EXIT_OK


def _proxy(options: argparse.Namespace) -> int:
    from agent.proxy_command import proxy

    return proxy(options.state, options.setting)


def _leave(options: argparse.Namespace) -> int:
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


def _policy(options: argparse.Namespace) -> int:
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
