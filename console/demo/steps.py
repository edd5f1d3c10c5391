"""The demo's steps, one after the other, each with its time. They use the commands that a person would use."""

from __future__ import annotations

import contextlib
import email
import filecmp
import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import msgspec

from console.demo.processes import Processes
from protocol.errors import Unavailable

TAG = "demo"
TECHNICIAN = "demo"

COMMAND = "uname -a; exit 7"
"""Says something that this machine alone says, and ends with a status that nothing else has by chance."""

STATUS = 7

COPIED = Path(email.__file__).parent
"""A folder of this machine, with files in folders."""

PAGE = "<h1>the customer's modem</h1>"

READY_WITHIN_S = 60.0
REPORT_WITHIN_S = 120.0
"""A thousand packages on a slow disk, cold."""


class CommandResult(msgspec.Struct, frozen=True):
    output: str
    exit_status: int


class Outcome(msgspec.Struct):
    """What --once prints. Sizes are bytes, steps milliseconds.

    copied_files, copied_bytes: from the device, by `auxilio cp`, and compared.  page: what a web server at the device
    answered, by `auxilio forward`.  failed: "step: why", or None.
    """

    ok: bool = False
    device: str | None = None
    memory_total_bytes: int | None = None
    software_packages: int | None = None
    command: str = COMMAND
    console: CommandResult | None = None
    ssh: CommandResult | None = None
    copied_files: int | None = None
    copied_bytes: int | None = None
    page: str | None = None
    steps_ms: dict[str, int] = {}
    failed: str | None = None


class Demo:
    """folder: of everything; empty at first.  tell: shows progress, a line each."""

    def __init__(self, folder: Path, processes: Processes, tell: Callable[[str], None]) -> None:
        self.folder = folder
        self.home = folder / "console"
        self.outcome = Outcome()
        self._processes = processes
        self._tell = tell
        self._port = 0
        self._pin = ""

    # -- how steps are carried out ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _step(self, name: str, what: str) -> Iterator[None]:
        self._tell(f"{what} ...")
        began = time.monotonic()
        try:
            yield
        except Unavailable as exc:
            self.outcome.failed = f"{name}: {exc.message}"
            raise
        finally:
            self.outcome.steps_ms[name] = round((time.monotonic() - began) * 1000)

    def console(self, *arguments: str) -> str:
        return self._processes.run("console.main", "--home", str(self.home), *arguments)

    def console_json(self, *arguments: str) -> Any:
        return json.loads(self.console(*arguments, "--json"))

    def console_command(self) -> list[str]:
        return [sys.executable, "-m", "console.main", "--home", str(self.home)]

    def run(self) -> None:
        """All of it. Raises Unavailable at the first step that fails, with its name in outcome.failed."""
        self._relay()
        self._people()
        self._device()
        self._report()
        self._command()
        self._stock_ssh()
        self._copy()
        self._forward()
        self.outcome.ok = True

    # -- the steps ----------------------------------------------------------------------------------------------

    def _relay(self) -> None:
        relay = str(self.folder / "relay")
        with self._step("authority", "making an organisation and its keys"):
            self._port = _free_port()
            address = f"127.0.0.1:{self._port}"
            self._processes.run(
                "relay.main", "init", "--dir", relay, "--name", address, "--listen", address, "--admin", "127.0.0.1:0"
            )
            self._pin = self._relay_pin()
            made = self.console_json(
                *("authority", "init", "--no-passphrase", "--relay", f"https://{address}", "--pin", self._pin),
                *("--unattended", f"tag:{TAG}"),
            )
            self._processes.run("relay.main", "organisation", "add", "--dir", relay, made["organisation"])
        with self._step("relay", f"starting a relay on {address}"):
            ready = self.folder / "relay.ready"
            self._processes.start("relay", "relay.main", "run", "--dir", relay, "--ready-file", str(ready))
            self._processes.wait_for("the relay is ready", READY_WITHIN_S, lambda: ready.exists() or None)
            self.console("policy", "publish")

    def _relay_pin(self) -> str:
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import Encoding

        from transport.tls import spki_pin

        pem = (self.folder / "relay" / "certificate.pem").read_bytes()
        return spki_pin(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER))

    def _people(self) -> None:
        key = self.folder / "technician"
        with self._step("technician", "making a technician and logging in"):
            made = self._processes.attempt(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", TECHNICIAN, "-f", str(key)]
            )
            if made.returncode != 0:
                raise Unavailable("ssh-keygen made no key", code="demo_step_failed", hint="Install openssh-client.")
            self.console(
                *("technician", "add", TECHNICIAN, "--key", f"{key}.pub", "--may", "view,shell,files,forward,approve"),
                *("--scope", "all", "--as", "admin"),
            )
            self.console("login", "--key", str(key))

    def _device(self) -> None:
        state = str(self.folder / "agent")
        with self._step("join", "making this machine a device"):
            token = self.console_json("join-token", "create", "--tag", TAG)["join_token"]
            joined = json.loads(self._processes.run("agent.main", "join", "--json", "--state", state, "-", stdin=token))
            self.outcome.device = joined["device"]
            self._processes.start("agent", "agent.main", "run", "--state", state)
            self._processes.wait_for("the device is online", READY_WITHIN_S, self._online)
        with self._step("approve", f"approving {self.outcome.device}"):
            self.console("device", "approve", self._id, "--tag", TAG, "--yes")

    @property
    def _id(self) -> str:
        assert self.outcome.device is not None
        return self.outcome.device

    def _online(self) -> bool | None:
        found = self.console_json("devices", "online")
        return True if any(device["id"] == self._id for device in found) else None

    def _report(self) -> None:
        with self._step("report", "waiting for what it says about itself"):
            sections = self._processes.wait_for("the device's report", REPORT_WITHIN_S, self._sections)
            self.outcome.memory_total_bytes = sections["memory"].get("total")
            self.outcome.software_packages = len(sections["software"].get("packages", ()))

    def _sections(self) -> dict[str, Any] | None:
        shown = self.console_json("show", self._id)
        sections: dict[str, Any] = shown["sections"]
        return sections if {"memory", "software", "storage", "network"} <= sections.keys() else None

    def _command(self) -> None:
        with self._step("console", f"auxilio ssh ... -- '{COMMAND}'"):
            command = [*self.console_command(), "ssh", self._id, "--purpose", "demo", "--", COMMAND]
            self.outcome.console = self._ran(command)

    def _stock_ssh(self) -> None:
        with self._step("ssh", f"ssh ... '{COMMAND}'"):
            self.console("ssh-config")
            command = ["ssh", "-F", str(self.home / "ssh_config"), f"{self._id}.auxilio", COMMAND]
            self.outcome.ssh = self._ran(command)

    def _copy(self) -> None:
        with self._step("copy", f"auxilio cp -r ...:{COPIED} ."):
            said = self.console_json("cp", "-r", f"{self._id}:{COPIED}", str(self.folder / "copied"))
            self.outcome.copied_files, self.outcome.copied_bytes = said["files"], said["bytes"]
            names = sorted(path.name for path in COPIED.glob("*.py"))
            matched, _, _ = filecmp.cmpfiles(COPIED, self.folder / "copied" / COPIED.name, names, shallow=False)
            if not names or sorted(matched) != names:
                raise Unavailable("the copy is not what was copied", code="demo_step_failed")

    def _forward(self) -> None:
        with self._step("forward", "auxilio forward ... 0:localhost:PORT, to a web server at the device"):
            pages = self.folder / "pages"
            pages.mkdir()
            (pages / "index.html").write_text(PAGE)
            self._processes.start("web", "http.server", "--bind", "127.0.0.1", "--directory", str(pages), "0")
            port = self._processes.wait_for("a web server", READY_WITHIN_S, lambda: self._logged("web", r"port (\d+)"))
            target = f"0:localhost:{port}"
            self._processes.start(
                "forward", "console.main", "--home", str(self.home), "forward", self._id, target, "--json"
            )
            here = self._processes.wait_for(
                "the port", READY_WITHIN_S, lambda: self._logged("forward", r'"listen": "([\d.:]+)"')
            )
            with build_opener(ProxyHandler({})).open(f"http://{here}/", timeout=READY_WITHIN_S) as answer:
                self.outcome.page = answer.read(1000).decode()
            self._processes.end("forward")
            self._processes.end("web")
            if self.outcome.page != PAGE:
                raise Unavailable("the forwarded port led to another page", code="demo_step_failed")

    def _logged(self, name: str, pattern: str) -> str | None:
        found = re.search(pattern, self._processes.log(name).read_text(errors="replace"))
        return found[1] if found else None

    def _ran(self, command: list[str]) -> CommandResult:
        """Run it, and compare with what this machine says when it is asked directly. Raises Unavailable."""
        try:
            done = self._processes.attempt(command)
        except (FileNotFoundError, subprocess.TimeoutExpired) as exc:
            raise Unavailable(f"{command[0]}: {exc}", code="demo_step_failed", hint="Is it installed?") from exc
        directly = self._processes.attempt(["sh", "-c", COMMAND])
        if (done.returncode, done.stdout) != (STATUS, directly.stdout):
            said = done.stderr.strip().splitlines()
            raise Unavailable(
                f"exit status {done.returncode}, where {STATUS} is due; {said[-1] if said else 'other output'}",
                code="demo_step_failed",
                hint=f"Try it yourself: {' '.join(command[:-1])} '{COMMAND}'",
            )
        return CommandResult(done.stdout, done.returncode)


def _free_port() -> int:
    """A port that is free now; the relay's name is signed before it listens, so it has to be known beforehand."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clear(folder: Path, *, keep: str) -> None:
    """Empty the folder of an earlier demo, but for the file `keep`."""
    for entry in folder.iterdir():
        if entry.name == keep:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
