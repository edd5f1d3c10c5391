"""Debian's own proxies, as processes of a test: configured by it, in the foreground, on a loopback address of its own.

An address of 127/8 that nobody else has makes every port free, so that each may be the documented one or nearly so.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.support.agent_process import wait_until

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
UNSHARE_MOUNTS = ("unshare", "-m") if IS_ROOT else ("unshare", "-rm")

OTHER_HOSTS = 'mount --bind "$0" /etc/hosts && exec "$@"'


def need(*programs: str) -> None:
    """Skip the test module where one is missing; in CI that is a failure."""
    for program in programs:
        if find(program) is None:
            pytest.skip(f"needs {program}", allow_module_level=True)


def find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def own_loopback() -> str:
    """An IPv4 address of this machine that no other test uses."""
    return f"127.{64 + secrets.randbelow(128)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"


def with_hosts(hosts: Path) -> tuple[str, ...]:
    """The prefix of a command that resolves names by the file `hosts`, as nobody else does."""
    return (*UNSHARE_MOUNTS, "sh", "-c", OTHER_HOSTS, str(hosts))


def may_mount() -> bool:
    return subprocess.run([*UNSHARE_MOUNTS, "true"], capture_output=True, check=False).returncode == 0


class Daemon:
    """It has listened at host:port when `with` begins, and is gone when it ends. log: where its output goes."""

    def __init__(self, command: list[str], host: str, port: int, log: Path, prefix: tuple[str, ...] = ()) -> None:
        self._command = [*prefix, find(command[0]) or command[0], *command[1:]]
        self._where = (host, port)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self._answers, f"{self._command} listens")
        return self

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"{self._command} ended: {self.said()}"
        try:
            socket.create_connection(self._where, timeout=1).close()
        except OSError:
            return False
        return True

    def said(self) -> str:
        return self._log.read_text("utf-8", "replace")[-4000:]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(30)


def tinyproxy(folder: Path, host: str, user: str, password: str, prefix: tuple[str, ...] = ()) -> Daemon:
    """An HTTP proxy at port 8888."""
    config = folder / "tinyproxy.conf"
    lines = [f"Listen {host}", "Port 8888", "Timeout 600", "MaxClients 100", f"BasicAuth {user} {password}"]
    config.write_text("\n".join(lines) + "\n")
    return Daemon(["tinyproxy", "-d", "-c", str(config)], host, 8888, folder / "tinyproxy.log", prefix)


def microsocks(folder: Path, host: str, user: str, password: str, prefix: tuple[str, ...] = ()) -> Daemon:
    """A SOCKS5 proxy at port 1080."""
    words = ["microsocks", "-i", host, "-p", "1080", "-u", user, "-P", password]
    return Daemon(words, host, 1080, folder / "microsocks.log", prefix)
