"""The real ssh-keygen in a folder with a CA, and the same questions put to our verifier."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from protocol.certificate import CertificateRules
from protocol.errors import AuxilioError
from protocol.keys import SK_ECDSA, SK_ED25519, line_blob, public_line
from protocol.revocation import Revocations
from protocol.signing import KeyRawSigner, RawSigner, load_private_key
from protocol.sshsig import armor, dearmor
from protocol.statement import SESSION, Signed, open_by_certificate
from tests.support.sk_agent import sk_agent
from tests.support.sk_authenticator import SkAuthenticator

PAYLOAD = b'{"what": "a session"}\n'
KINDS = ("ed25519", "ecdsa", "sk-ed25519", "sk-ecdsa")
MAX_VALIDITY_S = 30 * 86_400


def new_key(kind: str) -> RawSigner:
    """kind: of KINDS; a fresh key, but for security keys, whose seed is fixed."""
    match kind:
        case "ed25519":
            return KeyRawSigner(ed25519.Ed25519PrivateKey.generate())
        case "ecdsa":
            return KeyRawSigner(ec.generate_private_key(ec.SECP256R1()))
        case "sk-ed25519":
            return SkAuthenticator(SK_ED25519)
        case _:
            return SkAuthenticator(SK_ECDSA)


class Workshop:
    """A folder with a CA of the given kind, in which ssh-keygen works. An `sk-` CA, or a given one, is in an agent."""

    def __init__(self, folder: Path, ca_kind: str = "ed25519", ca: RawSigner | None = None) -> None:
        self.folder = folder
        if ca is not None or ca_kind.startswith("sk-"):
            self.ca = ca or new_key(ca_kind)
            self.write("ca.pub", public_line(self.ca.public) + "\n")
            self._issue_with: tuple[str, ...] = ("-U", "-s", "ca.pub")
        else:
            self.run("-q", "-t", ca_kind, "-N", "", "-C", "ca", "-f", "ca")
            self.ca = KeyRawSigner(load_private_key((folder / "ca").read_bytes()))
            self._issue_with = ("-s", "ca")

    def run(
        self, *arguments: str, stdin: bytes = b"", agent: Mapping[bytes, RawSigner] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """agent: what an ssh-agent would hold, by the blobs of keys and certificates."""
        if agent is not None:
            with sk_agent(self.folder, agent) as socket:
                return self._run({"SSH_AUTH_SOCK": socket}, arguments, stdin)
        return self._run({}, arguments, stdin)

    def _run(
        self, environment: Mapping[str, str], arguments: tuple[str, ...], stdin: bytes
    ) -> subprocess.CompletedProcess[bytes]:
        command = ["ssh-keygen", *arguments]
        environment = {**os.environ, "TZ": "UTC", **environment}  # dates without a zone are the local one's
        return subprocess.run(
            command, cwd=self.folder, input=stdin, env=environment, capture_output=True, check=False, timeout=60
        )

    def write(self, name: str, data: bytes | str) -> str:
        (self.folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
        return name

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    # -- what ssh-keygen makes ----------------------------------------------------------------------------------

    def issue(self, key: RawSigner, *options: str, principals: str = "admin") -> bytes:
        """A certificate for `key` by `ssh-keygen -s`, of 7 days unless `options` say otherwise."""
        self.write("key.pub", public_line(key.public) + " comment\n")
        arguments = ["-I", "ana", "-z", "17", "-V", "-5m:+7d", "-O", "clear", "-O", "permit-pty"]
        arguments += ["-O", "extension:may@auxilio=shell,files", "-O", "extension:scope@auxilio=tag:clinic", *options]
        if principals:
            arguments += ["-n", principals]
        agent = {self.ca.public: self.ca} if self._issue_with[0] == "-U" else None
        result = self.run("-q", *self._issue_with, *arguments, "key.pub", agent=agent)
        assert result.returncode == 0, result.stderr
        return line_blob(self.read("key-cert.pub").decode())

    def sign(self, key: RawSigner, certificate: bytes, payload: bytes = PAYLOAD, *options: str) -> bytes:
        """The binary SSHSIG by `ssh-keygen -Y sign`, which asks an agent for the signature of `key`."""
        self.write("signer.pub", public_line(certificate) + "\n")
        self.write("message", payload)
        (self.folder / "message.sig").unlink(missing_ok=True)
        agent = {key.public: key, certificate: key}
        arguments = ("-q", "-Y", "sign", "-f", "signer.pub", "-n", SESSION, *options, "message")
        result = self.run(*arguments, agent=agent)
        assert result.returncode == 0, result.stderr
        return dearmor(self.read("message.sig").decode())

    # -- what both say ------------------------------------------------------------------------------------------

    def verifies(
        self,
        sshsig: bytes,
        payload: bytes = PAYLOAD,
        *,
        who: str = "admin",
        options: str = "cert-authority",
        at: int | None = None,
        more: tuple[str, ...] = (),
    ) -> bool:
        """Whether `ssh-keygen -Y verify` takes a signature of one whom the CA certified as `who`. at: Unix seconds."""
        self.write("allowed", f'{who} {options},namespaces="{SESSION}" {public_line(self.ca.public)}\n')
        self.write("message.sig", armor(sshsig))
        arguments = ["-Y", "verify", "-f", "allowed", "-I", who, "-n", SESSION, "-s", "message.sig", *more]
        if at is not None:
            arguments += ["-O", f"verify-time={time.strftime('%Y%m%d%H%M%S', time.gmtime(at))}"]
        return self.run(*arguments, stdin=payload).returncode == 0

    def rules(self, revocations: Revocations | None = None) -> CertificateRules:
        return CertificateRules(
            cas=frozenset({self.ca.public}),
            revocations=revocations or Revocations(),
            max_validity_s=MAX_VALIDITY_S,
            purpose="technician",
        )

    def refusal(
        self,
        sshsig: bytes,
        payload: bytes = PAYLOAD,
        *,
        at: float | None = None,
        revocations: Revocations | None = None,
    ) -> str | None:
        """The code with which our verifier refuses the same signature, or None where it takes it."""
        signed = Signed(payload=payload, signature=sshsig)
        try:
            now = time.time() if at is None else at
            open_by_certificate(signed, namespace=SESSION, rules=self.rules(revocations), now=now)
        except AuxilioError as exc:
            return exc.reason
        return None
