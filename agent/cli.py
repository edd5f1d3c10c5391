"""The commands of `auxilio-agent`. Each imports what it needs when it runs.

Exit status: 0; 2 usage; 3 refused; 4 unavailable; 5 the relay's fault; 6 configuration; 8 and 9 a diagnosis that
found warnings or something broken; 130 interrupted; 141 whoever read the output left; 1 our bug.
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

from agent import commands
from agent.command_input import entry_count, look_period
from agent.messages import say_error
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

CUSTOMER_COMMANDS = frozenset({"status", "diagnose", "guide", "log", "allow", "deny", "revoke"})

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
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, handler: Handler, summary: str, example: str) -> argparse.ArgumentParser:
        sub = subparsers.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"example: {example}",
            parents=[common],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(handler=handler)
        return sub

    sub = add("join", commands.join, "join an organisation", "auxilio-agent join --file token.txt")
    sub.add_argument("token", nargs="?", help="the join token; `-` or nothing reads standard input")
    sub.add_argument("--file", type=Path, help="read the token from this file")
    sub.add_argument(
        "--proxy", metavar="SETTING", help="reach relays through this proxy from now on: see `auxilio-agent proxy`"
    )
    sub.add_argument("--json", action="store_true", help="print the result as JSON")
    sub = add("run", commands.run, "run the agent until it is stopped", "auxilio-agent run --state ~/agent")
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
        "--sample-every",
        type=look_period,
        default=60.0,
        metavar="S",
        help="measure load, memory, disk, signal and latency every S seconds (default 60)",
    )
    sub.add_argument(
        "--resume-for",
        type=parse_duration,
        default=600,
        metavar="DURATION",
        help="how long a session waits for a connection that was lost (default 10m)",
    )
    sub = add("status", commands.status, "show how it stands", "auxilio-agent status --json")
    sub.add_argument("--json", action="store_true", help="print it as JSON")
    sub.add_argument("--id", action="store_true", help="print the device's id and nothing else")
    sub.add_argument(
        "--wait",
        type=parse_duration,
        default=0,
        metavar="DURATION",
        help="wait so long for it to have joined and be connected",
    )
    sub = add("diagnose", commands.diagnose, "look now: is something wrong with this device or its network",
        "auxilio-agent diagnose --html report.html")  # fmt: skip
    sub.add_argument("--json", action="store_true", help="print all that was found as JSON")
    sub.add_argument("--html", type=Path, metavar="FILE", help="write it as a page to print, mail or show")
    sub.add_argument(
        "--throughput", action="store_true", help="measure how much comes from the relay: costs up to 5 MB"
    )
    sub.add_argument("--lines", action="store_true", help=argparse.SUPPRESS)  # for the agent, which asks for others
    sub.add_argument("--relay", metavar="URL", help="the relay to look for [the one that this device has joined]")
    sub.add_argument("--pin", metavar="PIN", help="its pin, where --relay is given [by the system's authorities]")
    sub = add("guide", commands.guide, "a short page on what to do; needs no network", "auxilio-agent guide names")
    sub.add_argument("name", nargs="?", help="which; without it, those that there are")
    sub = add("log", commands.log, "show the log of requests, sessions and commands", "auxilio-agent log -n 20")
    sub.add_argument("-n", type=entry_count, default=50, metavar="N", help="the last N entries (default 50; 0: all)")
    sub.add_argument("--json", action="store_true", help="print entries as JSON lines")
    sub = add("allow", commands.allow, "let the technician in who is asking", "auxilio-agent allow")
    sub.add_argument("session", nargs="?", default="", help="the session, where several ask")
    sub = add("deny", commands.deny, "refuse the technician who is asking", "auxilio-agent deny")
    sub.add_argument("session", nargs="?", default="", help="the session, where several ask")
    sub = add("revoke", commands.revoke, "take permission back: end what runs under it", "auxilio-agent revoke")
    sub.add_argument("case", nargs="?", default="", help="the case or session; nothing: everything")
    sub = add(
        "prepare-image", commands.prepare_image, "leave a join token and no identity: for a golden image",
        "auxilio-agent prepare-image --file token.txt",
    )  # fmt: skip
    sub.add_argument("token", nargs="?", help="the join token [the one that is kept here]; `-` reads standard input")
    sub.add_argument("--file", type=Path, help="read the token from this file")
    sub.add_argument("--json", action="store_true", help="print what was done as JSON")
    add("same-machine", commands.same_machine, "say that this is no copy: bind the device to this machine",
        "auxilio-agent same-machine")  # fmt: skip
    sub = add("proxy", commands.proxy, "show or set the proxy", "auxilio-agent proxy http://proxy.example:3128")
    sub.add_argument(
        "setting",
        nargs="?",
        help="http://[USER:PASSWORD@]HOST[:PORT], socks5://..., `direct`, or `environment` (HTTPS_PROXY and the like; "
        "so it is unless set); `-` reads it from standard input",
    )
    add("leave", commands.leave, "leave the organisation and forget its keys", "auxilio-agent leave")
    sub = add(
        "policy", commands.policy, "take over a policy that was carried by hand", "auxilio-agent policy import FILE"
    )
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
