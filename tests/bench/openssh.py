"""The peer: OpenSSH alone, as one reaches a device behind NAT with it.

    ssh -J relay device                          `ssh -W` of the jump, in between
        |                                            |
        +--> relay sshd <--- ssh -N -R --- device    |     all on loopback
                 |                            |
                 +---- forwarded port ---> device sshd

Keys and configuration of its own; no file of the user's is read. aes128-gcm, which Auxilio's sessions use with the
same client, in every hop.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.bench.processes import WITHIN_S, answers, end, free_port, tree
from tests.bench.ways import NotAvailable, Parts, client_parts
from tests.support.agent_process import wait_until

CIPHER = "aes128-gcm@openssh.com"
ATTEMPTS = 5
"""At a free port for an sshd, which takes no port 0: another program may be faster."""

SSHD = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
PidFile none
UsePAM no
AuthorizedKeysFile {folder}/user.pub
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
Ciphers {cipher}
MaxStartups 1000
Subsystem sftp internal-sftp
LogLevel ERROR
"""

CLIENT = """\
Host relay
    Port {relay}
    HostKeyAlias relay
Host device
    Port {device}
    HostKeyAlias device
    ProxyJump relay
Host *
    HostName 127.0.0.1
    IdentityFile {folder}/user
    IdentitiesOnly yes
    PreferredAuthentications publickey
    UserKnownHostsFile {folder}/known_hosts
    GlobalKnownHostsFile none
    StrictHostKeyChecking yes
    UpdateHostKeys no
    CheckHostIP no
    Ciphers {cipher}
    BatchMode yes
    LogLevel ERROR
    IgnoreUnknown ObscureKeystrokeTiming
    ObscureKeystrokeTiming no
"""


def sshd_program() -> str:
    """sshd wants its own absolute path, and is rarely in the PATH of people. Raises NotAvailable."""
    found = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise NotAvailable("OpenSSH's sshd is missing: apt install openssh-server")
    return found


class Sshd:
    """A real sshd on loopback."""

    def __init__(self, folder: Path) -> None:
        """folder: with its host key and the user's; the configuration and what it says are written there."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd's own, for privilege separation
        for _ in range(ATTEMPTS):
            self.port = free_port()
            config = folder / f"sshd-{self.port}"
            config.write_text(SSHD.format(port=self.port, folder=folder, cipher=CIPHER))
            said = config.with_suffix(".log")
            with said.open("wb") as log:
                command = [sshd_program(), "-D", "-e", "-f", str(config)]
                self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            wait_until(lambda: self.process.poll() is not None or answers(self.port), "sshd answers", WITHIN_S)
            if self.process.poll() is None:
                return
        raise NotAvailable(f"sshd does not start: {said.read_text('utf-8', 'replace').strip()[-200:]}")

    def processes(self) -> list[int]:
        return tree([self.process.pid])


class Chain:
    """All of it. `begin` makes it, `end` ends it."""

    name = "OpenSSH"
    _relay: Sshd
    _device: Sshd
    _idle: int

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="auxilio-openssh-"))
        self.environment: Mapping[str, str] = {**os.environ, "LC_ALL": "C.UTF-8", "SSH_AUTH_SOCK": ""}
        self._links: list[subprocess.Popen[bytes]] = []
        self._sshds: list[Sshd] = []

    @classmethod
    def begin(cls) -> Chain:
        """Raises NotAvailable."""
        chain = cls()
        try:
            chain._make_keys()
            chain._relay, chain._device = chain._sshd(), chain._sshd()
            chain._configure(0)
            chain._configure(chain.link())
            chain._idle = len([*chain.relay(), *chain._device.processes()])
        except BaseException:
            chain.end()
            raise
        return chain

    def _make_keys(self) -> None:
        for name in ("host", "user"):
            make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.folder / name)]
            subprocess.run(make, check=True, stdin=subprocess.DEVNULL)
        host = (self.folder / "host.pub").read_text().strip()
        (self.folder / "known_hosts").write_text(f"relay {host}\ndevice {host}\n")

    def _sshd(self) -> Sshd:
        sshd = Sshd(self.folder)
        self._sshds.append(sshd)
        return sshd

    def _configure(self, device: int) -> None:
        """device: the port at the relay that leads to the device."""
        text = CLIENT.format(relay=self._relay.port, device=device or 1, folder=self.folder, cipher=CIPHER)
        (self.folder / "ssh_config").write_text(text)

    def link(self) -> int:
        """Connect a device as `ssh -N -R` does; return the port at the relay by which it is reached."""
        target = f"127.0.0.1:0:127.0.0.1:{self._device.port}"
        command = [*self._ssh(), "-o", "LogLevel=INFO", "-o", "ExitOnForwardFailure=yes", "-N", "-R", target, "relay"]
        said = self.folder / f"link-{len(self._links)}"
        with said.open("wb") as log:
            link = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(self.environment)
            )
        self._links.append(link)

        def allocated() -> int | None:
            found = re.search(rb"Allocated port ([0-9]+) for remote forward", said.read_bytes())
            assert found is not None or link.poll() is None, said.read_text("utf-8", "replace")
            return int(found.group(1)) if found else None

        port: int = wait_until(allocated, "ssh -R has its port", WITHIN_S)
        return port

    def unlink(self) -> None:
        """Disconnect the device that came last."""
        end(self._links.pop())

    def end(self) -> None:
        try:
            for process in [*self._links, *(sshd.process for sshd in self._sshds)]:
                end(process)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    # -- a way, as bench.ways says ------------------------------------------------------------------------------------

    def _ssh(self, program: str = "ssh") -> list[str]:
        return [program, "-F", str(self.folder / "ssh_config")]

    def command(self, remote: str, *, terminal: bool = False) -> list[str]:
        return [*self._ssh(), *(["-tt"] if terminal else []), "device", remote]

    def upload(self, source: Path, target: Path) -> list[str]:
        return [*self._ssh("scp"), "-q", str(source), f"device:{target}"]

    def download(self, source: Path, target: Path) -> list[str]:
        return [*self._ssh("scp"), "-q", f"device:{source}", str(target)]

    def sftp(self, batch: Path) -> list[str]:
        return [*self._ssh("sftp"), "-q", "-b", str(batch), "device"]

    def relay(self) -> list[int]:
        return self._relay.processes()

    def device_side(self) -> list[int]:
        """What a device runs while nobody is connected: `ssh -N -R`, and its sshd."""
        return [self._links[0].pid, *self._device.processes()]

    def is_quiet(self) -> bool:
        return len([*self.relay(), *self._device.processes()]) <= self._idle

    def parts(self, client: int) -> Parts:
        link = [self._links[0].pid]
        return {**client_parts(client), "relay": self.relay(), "link": link, "session": self._device.processes()}
