"""auxilio demo [--once]"""

from __future__ import annotations

import importlib.util
import secrets
import sys
from pathlib import Path

import click
import msgspec

from console.commands.options import say
from console.demo.processes import Processes, end_marked
from console.demo.steps import COPIED, Demo, clear
from console.home import file_errors, make_folder, read_file, write_file
from console.invocation import shown, shown_program
from console.main import report
from console.render import size
from protocol.errors import EXIT_OK, ConfigInvalid, Unavailable

MARK_FILE = "demo-run"
"""Says that the folder is a demo's, and which run's; nothing else is ever emptied."""


@click.command()
@click.option("--once", is_flag=True, help="Without interaction: end everything, print one JSON object.")
@click.option("--stop", is_flag=True, help="End what an earlier demo left running.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("var/demo"),
    help="Where everything is kept [var/demo].",
)
def demo(once: bool, stop: bool, folder: Path) -> int:
    """The whole system on this machine: a relay, an organisation, this machine as a device, a shell on it.

    Everything is kept in --dir [var/demo], and listens on loopback alone. It begins anew each time.

    \b
    Example:
      auxilio demo
      auxilio demo --once
    """
    folder = folder.absolute()
    _need("relay.main", "relay")
    _need("agent.main", "agent")
    mark = _prepare(folder, stop=stop)
    if stop:
        return EXIT_OK
    processes = Processes(mark, folder)
    run = Demo(folder, processes, say)
    keep = False
    try:
        run.run()
        keep = not once
    except Unavailable as error:
        say(f"the demo failed at {run.outcome.failed}")
        if not once:
            return report(error)
        report(error)
    finally:
        if not keep:
            processes.end_all()
    if once:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(run.outcome)).decode() + "\n")
        return EXIT_OK if run.outcome.ok else Unavailable.exit_status
    _show(run, folder)
    return EXIT_OK


def _prepare(folder: Path, *, stop: bool) -> str:
    """End an earlier run, empty the folder, and mark it. Raises ConfigInvalid where it is not a demo's."""
    marker = folder / MARK_FILE
    with file_errors(folder):
        make_folder(folder)
        old = read_file(marker, 100)
        if old is None and any(folder.iterdir()):
            raise ConfigInvalid(f"{folder} is not a demo's, and not empty", code="bad_folder", hint="--dir DIR")
        if old is not None:
            ended = end_marked(old.decode("ascii", "replace").strip())
            if ended:
                say(f"ended {ended} processes of an earlier demo")
            if stop:
                return ""
            # The marker stays until all else is gone: a demo that is killed here can still be begun again.
            clear(folder, keep=MARK_FILE)
    mark = secrets.token_hex(16)
    if not stop:
        write_file(marker, mark.encode())
    return mark


def _need(module: str, extra: str) -> None:
    package = module.partition(".")[0]
    if importlib.util.find_spec(package) is None or importlib.util.find_spec(module) is None:
        raise ConfigInvalid(
            f"the {package} is not installed here", code="not_installed", hint=f"pip install 'auxilio[{extra}]'"
        )


def _show(run: Demo, folder: Path) -> None:
    """What the device reported, what ran, and how to go on."""
    outcome = run.outcome
    assert outcome.device is not None and outcome.console is not None and outcome.ssh is not None
    print(run.console("show", outcome.device), end="")
    print(f"\nsoftware: {outcome.software_packages} packages; memory: {size(outcome.memory_total_bytes)}")
    print(f"\n$ auxilio ssh {outcome.device} -- '{outcome.command}'\n{outcome.console.output}", end="")
    print(f"(exit status {outcome.console.exit_status}; the same by stock ssh)\n")
    print(f"$ auxilio cp -r {outcome.device}:{COPIED} .\n{outcome.copied_files} files, {size(outcome.copied_bytes)}")
    print(f"$ auxilio forward {outcome.device} 0:localhost:PORT\n{outcome.page}\n")
    print("The relay and the agent go on running. Go on with:")
    auxilio, agent, device = shown_program("auxilio"), shown_program("auxilio-agent"), outcome.device
    home, state = f"{auxilio} --home {shown(run.home)}", shown(folder / "agent")
    for line in (
        f"{home} devices",
        f"{home} show {device} software",
        f"{home} ssh {device}",
        f"ssh -F {shown(run.home / 'ssh_config')} {device}.auxilio",
        f"{agent} status --state {state}",
        f"{agent} log --state {state}",
        f"{auxilio} demo --stop --dir {shown(folder)}",
    ):
        print(f"  {line}")
