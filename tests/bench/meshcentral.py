"""MeshCentral, where npm can install it: its server and its Linux agent, with accounts and files of their own.

It goes to var/meshcentral, by name and version; its settings keep it from listening anywhere but on loopback, from
updating itself, and from asking others for timestamps. One device, connected as `meshagent connect` does.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import shutil
import ssl
import subprocess
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.bench.processes import WITHIN_S, end, free_port, tree
from tests.bench.ways import NotAvailable
from tests.support.agent_process import wait_until

NAME = "MeshCentral"
VERSION = "1.1.55"
HOME = Path("var/meshcentral").absolute()
PACKAGE = HOME / "node_modules" / "meshcentral"
INSTALL_WITHIN_S = 600
AGENT = "meshagent_x86-64"
USER = "admin"


def install() -> None:
    """Raises NotAvailable."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise NotAvailable(f"{NAME}: not measured, {program} is missing: apt install nodejs npm")
    if platform.machine() != "x86_64":
        raise NotAvailable(f"{NAME}: not measured, its agent here is for x86_64")
    if _installed() == VERSION:
        return
    HOME.mkdir(parents=True, exist_ok=True)
    options = ["--no-audit", "--no-fund", "--no-save", "--omit=optional", "--ignore-scripts", "--loglevel=error"]
    command = ["npm", "install", "--prefix", str(HOME), *options, f"meshcentral@{VERSION}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_WITHIN_S, check=False)
        why = " ".join(done.stderr.split())[-200:]
    except subprocess.TimeoutExpired:
        why = f"not within {INSTALL_WITHIN_S} s"
    if _installed() != VERSION:
        raise NotAvailable(f"{NAME}: not measured, npm could not install version {VERSION}: {why}")


def _installed() -> str | None:
    try:
        version: str = json.loads((PACKAGE / "package.json").read_text())["version"]
    except (OSError, ValueError, KeyError):
        return None
    return version


class MeshCentral:
    """Server and agent. `begin` makes them, `close` ends them."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="auxilio-meshcentral-"))
        self.port = free_port()
        self.url = f"wss://127.0.0.1:{self.port}"
        self.password = f"{secrets.token_hex(12)}-Aa1"
        self._processes: list[subprocess.Popen[bytes]] = []

    @classmethod
    def begin(cls) -> MeshCentral:
        """Raises NotAvailable."""
        install()
        mesh = cls()
        try:
            mesh._start_server()
            mesh._start_agent(mesh._make_group())
        except (AssertionError, OSError, ValueError, subprocess.SubprocessError) as exc:
            mesh.close()
            raise NotAvailable(f"{NAME}: not measured, it does not start: {exc}"[:300]) from exc
        except BaseException:
            mesh.close()
            raise
        return mesh

    def _start_server(self) -> None:
        (self.folder / "data").mkdir()
        config = {"settings": self._settings(), "domains": {"": {"newAccounts": False, "agentNoUpdate": True}}}
        (self.folder / "data" / "config.json").write_text(json.dumps(config))
        for arguments in (["--createaccount", USER, "--pass", self.password], ["--adminaccount", USER]):
            subprocess.run(self._server(*arguments), check=True, capture_output=True, timeout=WITHIN_S)
        server = self._start(self._server(), "server")
        log = self.folder / "server.log"
        wait_until(lambda: server.poll() is not None or b"HTTPS server running" in log.read_bytes(), NAME, WITHIN_S)
        if server.poll() is not None:
            raise ValueError(log.read_text("utf-8", "replace")[-200:])

    def _settings(self) -> dict[str, Any]:
        return {
            "cert": "127.0.0.1",
            "port": self.port,
            "portBind": "127.0.0.1",
            "exactPorts": True,
            "redirPort": 0,
            "mpsPort": 0,
            "WANonly": True,
            "selfUpdate": False,
            "agentTimeStampServer": False,
            "npmPath": "/bin/true",
            "sessionKey": secrets.token_hex(16),
        }

    def _server(self, *arguments: str) -> list[str]:
        folders = ["--datapath", str(self.folder / "data"), "--filespath", str(self.folder / "files")]
        return ["node", str(PACKAGE), *folders, *arguments]

    def _start(self, command: list[str], name: str, folder: Path | None = None) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=folder or self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._processes.append(process)
        return process

    def control(self, *arguments: str) -> list[str]:
        """A command line of its own tool."""
        login = ["--url", self.url, "--loginuser", USER, "--loginpass", self.password]
        return ["node", str(PACKAGE / "meshctrl.js"), *arguments, *login]

    def _listed(self, what: str) -> list[dict[str, Any]]:
        done = subprocess.run(self.control(what, "--json"), capture_output=True, check=True, timeout=WITHIN_S)
        try:
            found: list[dict[str, Any]] = json.loads(done.stdout)
        except ValueError:  # words, where there is none
            return []
        return found

    def _make_group(self) -> str:
        command = self.control("adddevicegroup", "--name", "bench")
        subprocess.run(command, capture_output=True, check=True, timeout=WITHIN_S)
        group: str = self._listed("listdevicegroups")[0]["_id"]
        return group

    def _start_agent(self, group: str) -> None:
        folder = self.folder / "agent"
        folder.mkdir()
        shutil.copy(PACKAGE / "agents" / AGENT, folder / "meshagent")
        (folder / "meshagent").chmod(0o755)
        (folder / "meshagent.msh").write_bytes(
            self._get(f"/meshsettings?id={urllib.parse.quote(group.split('/')[-1])}")
        )
        self._start([str(folder / "meshagent"), "connect"], "agent", folder)
        listed = wait_until(lambda: self._listed("listdevices"), f"{NAME}'s agent is connected", WITHIN_S)
        self.node: str = listed[0]["_id"]

    def _get(self, path: str) -> bytes:
        """Of the server that we started, with a certificate of its own making."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        url = f"https://127.0.0.1:{self.port}{path}"
        with urllib.request.urlopen(url, context=context, timeout=WITHIN_S) as answer:
            found: bytes = answer.read()
        return found

    def relay(self) -> list[int]:
        """Every process of the server, now."""
        return tree([self._processes[0].pid])

    def device_side(self) -> list[int]:
        return tree([self._processes[1].pid])

    def close(self) -> None:
        try:
            below = tree(process.pid for process in self._processes)
            for process in reversed(self._processes):
                end(process)
            _kill(set(below) - {process.pid for process in self._processes})
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


def _kill(pids: set[int]) -> None:
    """What they started, and left behind."""
    for pid in pids:
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            continue
