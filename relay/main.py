"""`auxilio-relay`: init, organisation, run, check.

What a command needs is imported when it is run. An error is one line and a hint on standard error, and a documented
exit status (docs/commands.md); a traceback is a bug, and goes to standard error after a line that says so.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from protocol.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_PIPE, AuxilioError, UsageInvalid, missing_extra
from protocol.text import escape


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line and a hint, as everything else here."""

    def error(self, message: str) -> NoReturn:
        raise UsageInvalid(message, hint=f"`{self.prog} --help` shows how it is used.")


def default_folder() -> Path:
    """Where the relay lives: /var/lib for root, the user's state directory else. AUXILIO_RELAY_DIR says otherwise."""
    named = os.environ.get("AUXILIO_RELAY_DIR")
    if named:
        return Path(named)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/auxilio-relay")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "auxilio-relay"


def _parser() -> _Parser:
    parser = _Parser(
        prog="auxilio-relay",
        description="The relay: where agents and consoles meet. It is trusted with nothing but being reachable.",
        epilog="Example: auxilio-relay init --name relay.example.org:443 --listen '*:443'",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    init = _command(commands, "init", "make a relay in a directory: configuration, certificate, database")
    init.add_argument("--name", action="append", default=[], metavar="HOST:PORT", help="as it is dialled; repeatable")
    init.add_argument("--listen", metavar="ADDR:PORT", help="where to listen (*:8443: everywhere, IPv4 and IPv6)")
    init.add_argument("--admin", metavar="ADDR:PORT", help="where health and metrics are (127.0.0.1:9643)")
    init.add_argument("--certificate", type=Path, metavar="FILE", help="use this certificate (PEM, with its chain)")
    init.add_argument("--key", type=Path, metavar="FILE", help="and this key (PEM)")
    init.epilog = "Example: auxilio-relay init --name relay.example.org:443 --listen '*:443'"

    text = "the organisations that this relay serves"
    organisation = commands.add_parser("organisation", help=text, description=text[0].upper() + text[1:] + ".")
    actions = organisation.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = _command(actions, "add", "serve an organisation; works while the relay runs")
    add.add_argument("fingerprint", metavar="FINGERPRINT", help="as `auxilio authority show` prints it")
    listed = _command(actions, "list", "list them, with how many devices and blobs each has")
    listed.add_argument("--json", action="store_true", help="one JSON object a line")

    run = _command(commands, "run", "serve until SIGTERM or Ctrl-C")
    run.add_argument("--listen", metavar="ADDR:PORT", help="instead of the configuration's")
    run.add_argument("--ready-file", type=Path, metavar="FILE", help="write where it serves, as JSON, once it does")
    run.epilog = "Example: auxilio-relay run --dir /var/lib/auxilio-relay"

    run.add_argument(
        "--organisation", action="append", default=[], metavar="FINGERPRINT", help="serve it, too; repeatable"
    )

    address = _command(commands, "address", "print how this relay is reached and trusted, as options of `auxilio`")
    address.epilog = "Example: auxilio authority init $(auxilio-relay address)"

    check = _command(commands, "check", "look at configuration, certificate, database, disk, ports and clock")
    check.add_argument("--json", action="store_true", help="one JSON object a line")
    check.epilog = (
        "Exit status: 0 all well (warnings included), 4 something does not work now, 6 something is set wrong."
    )
    return parser


def _command(commands: argparse._SubParsersAction[_Parser], name: str, text: str) -> _Parser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.add_argument("--dir", type=Path, default=default_folder(), help="the relay's directory (%(default)s)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        status = _run(_parser().parse_args(arguments))
        sys.stdout.flush()  # a reader that left is noticed here, and not when the interpreter ends
        return status
    except AuxilioError as exc:
        _say(exc.message, exc.hint)
        return exc.exit_status
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever reads our output left; there is nobody to tell, and nothing to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE
    except Exception as exc:
        if isinstance(exc, ModuleNotFoundError) and (missing := missing_extra(exc, "relay")) is not None:
            _say(missing.message, missing.hint)
            return missing.exit_status
        _say(f"a bug in auxilio-relay: {type(exc).__name__}", "Please report it with the lines that follow.")
        traceback.print_exc()
        return EXIT_BUG


def _run(given: argparse.Namespace) -> int:
    match given.command:
        case "init":
            from relay.initialise import initialise

            return initialise(given)
        case "organisation":
            from relay.organisations import organisations

            return organisations(given)
        case "address":
            from relay.organisations import address

            return address(given)
        case "check":
            from relay.check import check

            return check(given)
        case _:
            from relay.serve import serve

            return serve(given)


def _say(message: str, hint: str) -> None:
    print(f"auxilio-relay: {escape(message)}", file=sys.stderr)
    if hint:
        print(f"hint: {escape(hint)}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
