"""A real relay in a process of its own, on loopback and a port that the system chose.

    async with RelayProcess() as relay:
        relay.url, relay.pin, relay.admin_url, relay.folder
        await relay.kill(); await relay.start()      # comes back at the same port

It writes its log to `folder/log`; a test that fails shows the end of it.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0


class RelayProcess:
    """folder: of a relay that exists, or where one is made; None: a temporary one, removed at the end.

    settings: TOML appended to the configuration that `init` writes, for example "[limits]\\nrequest_burst = 5".
    prefix: of its commands, for example one that enters a namespace.  host: where it listens after the first time.
    module: what is run, tests.support.turned_relay for one that attacks.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        settings: str = "",
        env: dict[str, str] | None = None,
        prefix: tuple[str, ...] = (),
        host: str = "127.0.0.1",
        module: str = "relay.main",
    ) -> None:
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="auxilio-relay-"))
        self._settings = settings
        self._prefix = prefix
        self._module = module
        self._env = {**os.environ, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._port: int | None = None
        self.host = host
        self.url = ""
        self.admin_url = ""
        self.pin = ""
        self.names: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """host:port, as statements name the relay."""
        return self.names[0]

    @property
    def database(self) -> Path:
        return self.folder / "relay.sqlite"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the relay is not running"
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    async def __aenter__(self) -> Self:
        await self.init()
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(f"--- the relay's log ---\n{self.log[-8000:]}", file=sys.stderr)
        try:
            await self.stop()
        finally:
            if self._temporary:
                shutil.rmtree(self.folder, ignore_errors=True)

    async def init(self) -> None:
        if (self.folder / "relay.toml").exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(await asyncio.to_thread(_made), self.folder, dirs_exist_ok=True)
        self.set("server", drain_s=1)  # a test that ends with a session open need not wait for it
        if self._settings:
            self._configure(self._settings)

    def set(self, table: str, **values: object) -> None:
        """Change keys of one table of its configuration, for the next start."""
        path = self.folder / "relay.toml"
        text = path.read_text(encoding="utf-8")
        for name, value in values.items():
            text = re.sub(rf"(?m)^{name} = .*\n", "", text)
            text = text.replace(f"[{table}]\n", f"[{table}]\n{name} = {json.dumps(value)}\n", 1)
        path.write_text(text, encoding="utf-8")

    def _configure(self, settings: str) -> None:
        """Tables of `settings` take the place of those that `init` wrote."""
        path = self.folder / "relay.toml"
        text = path.read_text(encoding="utf-8")
        for line in settings.splitlines():
            table = line.strip()
            if table.startswith("[") and f"\n{table}\n" in text:
                before, _, after = text.partition(f"\n{table}\n")
                kept = after[after.index("\n[") :] if "\n[" in after else "\n"
                text = before + kept
        path.write_text(f"{text}\n{settings}\n", encoding="utf-8")

    async def start(self) -> None:
        """Start it, and wait until it serves. After the first time it comes back at the same port."""
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        listen = ["--listen", f"{self.host}:{self._port}"] if self._port is not None else []
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._python(), "run", "--dir", str(self.folder), "--ready-file", str(ready), *listen],
                cwd=ROOT,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = asyncio.get_running_loop().time() + DEADLINE_S
        while not ready.exists():
            if self._process.poll() is not None:
                raise AssertionError(f"the relay ended with {self._process.returncode}:\n{self.log[-4000:]}")
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"the relay did not start:\n{self.log[-4000:]}")
            await asyncio.sleep(0.02)
        told: dict[str, Any] = json.loads(ready.read_text())
        self.url, self.admin_url, self.pin = told["url"], told["admin"], told["pin"]
        self.names = tuple(told["names"])
        self._port = int(self.url.rpartition(":")[2])

    async def stop(self) -> int | None:
        """End it as a service manager would; return its exit status (None: it was not running)."""
        return await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        await self._end(signal.SIGKILL)

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def _end(self, number: signal.Signals) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        process.send_signal(number)
        try:
            return await asyncio.to_thread(process.wait, DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)
            raise AssertionError(f"the relay did not end on {number.name}:\n{self.log[-4000:]}") from None

    async def command(self, command: str, *arguments: str, status: int = 0) -> str:
        """Run `auxilio-relay COMMAND --dir FOLDER ...`; return its output. status: the exit status that is due."""
        return await asyncio.to_thread(self._command, command, arguments, status)

    def _command(self, command: str, arguments: tuple[str, ...], status: int) -> str:
        words = [command, *arguments[:1]] if command == "organisation" else [command]
        rest = arguments[1:] if command == "organisation" else arguments
        done = subprocess.run(
            [*self._python(), *words, "--dir", str(self.folder), *rest],
            cwd=ROOT,
            env=self._env,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.returncode == status, f"{command}: status {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout if status == 0 else done.stdout + done.stderr

    async def add_organisation(self, organisation: str) -> None:
        await self.command("organisation", "add", organisation)

    def _python(self) -> list[str]:
        return [*self._prefix, sys.executable, "-m", self._module]


@cache
def _made() -> Path:
    """What `init` makes for loopback, made once: every relay of this run has its own copy, and so one key for all."""
    folder = Path(tempfile.mkdtemp(prefix="auxilio-relay-made-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    loopback = "127.0.0.1:0"
    command = [sys.executable, "-m", "relay.main", "init", "--dir", str(folder)]
    options = ["--name", loopback, "--listen", loopback, "--admin", loopback]
    subprocess.run([*command, *options], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, timeout=DEADLINE_S)
    return folder
