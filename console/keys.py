"""Keys as people have them: a file, ssh-agent, a security key. Found here, and made into signers.

A key is named by a file: the private one, or the `.pub` beside it whose private half is in ssh-agent. ssh-agent is
asked first, since it needs no passphrase. A security key (`sk-`) that is in no ssh-agent signs through
`ssh-keygen -Y sign`, which knows how to reach it.
"""

from __future__ import annotations

import base64
import binascii
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from console.home import read_file, write_file
from console.passphrase import ATTEMPTS, Passphrases
from console.ssh_agent import AgentSigner, agent_key, agent_signer
from protocol.errors import BadMessage, ConfigInvalid, Refused, Unavailable
from protocol.keys import PublicKey, parse_public_key, parse_public_line, verify
from protocol.signing import KeyRawSigner, PrivateKey, RawSigner, SshsigSigner, load_private_key, private_key_pem
from protocol.sshsig import assemble_sshsig, dearmor, parse_sshsig, signed_data
from protocol.sshwire import Reader
from protocol.statement import Signer

MAX_KEY_FILE_BYTES = 64 * 1024

KEYGEN_WITHIN_S = 120.0
"""For `ssh-keygen -Y sign`: a person touches the key, or types its PIN."""

AGENT_PREFIX = "SHA256:"

_PEM_BEGIN = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_PEM_END = b"-----END OPENSSH PRIVATE KEY-----"
_PEM_MAGIC = b"openssh-key-v1\x00"


class KeySource(msgspec.Struct, frozen=True):
    """A key that can be found again. path: of the private file, or None where only ssh-agent has it."""

    public: PublicKey
    path: Path | None

    @property
    def on_security_key(self) -> bool:
        return bool(self.public.application)


def find_key(name: str) -> KeySource:
    """The key that `name` means: a file (with or without .pub) or a fingerprint in ssh-agent.

    Raises ConfigInvalid (no_such_key, bad_key), Unavailable (no_ssh_agent).
    """
    if name.startswith(AGENT_PREFIX):
        return KeySource(parse_public_key(agent_key(name)), None)
    path = Path(name).expanduser().absolute()
    private = path.with_suffix("") if path.suffix == ".pub" else path
    return KeySource(read_public(path), private if private.exists() else None)


def read_public(path: Path) -> PublicKey:
    """The public key in PATH.pub, in a `.pub` file itself, or in the readable head of a private one."""
    beside = path if path.suffix == ".pub" else Path(f"{path}.pub")
    data = read_file(beside, MAX_KEY_FILE_BYTES)
    try:
        if data is not None:
            return parse_public_line(data.decode("utf-8", "replace").strip())
        data = read_file(path, MAX_KEY_FILE_BYTES)
        if data is None:
            raise ConfigInvalid(
                f"there is no key {path}", code="no_such_key", hint="`ssh-keygen -t ed25519` makes one."
            )
        return parse_public_key(_public_of_pem(data))
    except BadMessage as exc:
        raise ConfigInvalid(
            f"{beside if data else path}: {exc.message}",
            code="bad_key",
            hint="A key is Ed25519, ECDSA P-256 or an `sk-` form of these, in OpenSSH's format.",
        ) from exc


def _public_of_pem(pem: bytes) -> bytes:
    """The public blob of a private key file, where it is never encrypted (OpenSSH PROTOCOL.key). Raises BadMessage."""
    body = pem.strip()
    if not body.startswith(_PEM_BEGIN) or not body.endswith(_PEM_END):
        raise BadMessage("not an OpenSSH key")
    try:
        data = base64.b64decode(b"".join(body[len(_PEM_BEGIN) : -len(_PEM_END)].split()), validate=True)
    except binascii.Error as exc:
        raise BadMessage("a damaged private key") from exc
    reader = Reader(data)
    if reader.take(len(_PEM_MAGIC)) != _PEM_MAGIC:
        raise BadMessage("not an OpenSSH private key")
    for _ in range(3):  # cipher, KDF and its options
        reader.string()
    if reader.u32() != 1:
        raise BadMessage("a file of several keys")
    return reader.string()


def raw_signer(source: KeySource, passphrases: Passphrases) -> RawSigner:
    """A signer of raw bytes, which certificates need: ssh-agent or a key file.

    Raises ConfigInvalid (passphrase_needed, bad_passphrase, no_such_key, needs_ssh_agent).
    """
    found: AgentSigner | None = agent_signer(source.public.blob)
    if found is not None:
        return found
    if source.path is None:
        raise ConfigInvalid(
            f"the private half of {_name(source)} is not here", code="no_such_key", hint="Load it with `ssh-add`."
        )
    if source.on_security_key:
        raise ConfigInvalid(
            "a security key issues only through ssh-agent", code="needs_ssh_agent", hint=f"ssh-add {source.path}"
        )
    signer = KeyRawSigner(_load(source.path, passphrases))
    if signer.public != source.public.blob:
        raise ConfigInvalid(
            f"{source.path} and {source.path}.pub are two different keys",
            code="bad_key",
            hint=f"ssh-keygen -y -f {source.path} > {source.path}.pub",
        )
    return signer


def statement_signer(source: KeySource, certificate: bytes | None, passphrases: Passphrases) -> Signer:
    """A signer of statements that carry `certificate`, or the plain key. Raises as raw_signer."""
    if source.on_security_key and source.path is not None and agent_signer(source.public.blob) is None:
        return KeygenSigner(source, certificate)
    return SshsigSigner(raw_signer(source, passphrases), certificate)


class KeygenSigner:
    """Statements signed by `ssh-keygen -Y sign`, which talks to security keys (through libfido2)."""

    def __init__(self, source: KeySource, certificate: bytes | None) -> None:
        self._source = source
        self.public = certificate or source.public.blob

    def sign(self, namespace: str, payload: bytes) -> bytes:
        """Raises Refused (not touched, wrong PIN), Unavailable (no ssh-keygen)."""
        assert self._source.path is not None
        with tempfile.TemporaryDirectory(prefix="auxilio-") as folder:
            message = Path(folder, "statement")
            message.write_bytes(payload)
            self._run(namespace, message)
            armored = Path(folder, "statement.sig").read_text(encoding="ascii", errors="replace")
        signature = parse_sshsig(dearmor(armored))
        data = signed_data(namespace, payload, signature.hash)
        verify(self._source.public, signature.signature, data)
        # What a key signs does not name the key: the same signature stands under its certificate.
        return assemble_sshsig(self.public, namespace, signature.signature, signature.hash)

    def _run(self, namespace: str, message: Path) -> None:
        print("Touch the security key.", file=sys.stderr)
        command = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(self._source.path), "-n", namespace, str(message)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=KEYGEN_WITHIN_S, stdin=None, check=False)
        except FileNotFoundError as exc:
            raise Unavailable("there is no ssh-keygen", code="no_ssh_keygen", hint="Install openssh-client.") from exc
        except subprocess.TimeoutExpired as exc:
            raise Refused("the security key was not touched in time", code="not_touched") from exc
        if done.returncode != 0:
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise Refused(f"ssh-keygen did not sign: {lines[-1] if lines else 'no reason given'}", code="not_signed")


def _load(path: Path, passphrases: Passphrases) -> PrivateKey:
    pem = read_file(path, MAX_KEY_FILE_BYTES)
    if pem is None:
        raise ConfigInvalid(f"there is no key {path}", code="no_such_key")
    try:
        return load_private_key(pem)
    except ConfigInvalid as exc:
        if exc.reason != "passphrase_needed":
            raise ConfigInvalid(f"{path}: {exc.message}", code=exc.reason, hint=exc.hint) from exc
    given = passphrases.given()
    if given is not None:
        try:
            return _unlock(path, pem, given)
        except ConfigInvalid as exc:
            if exc.reason != "bad_passphrase" or not passphrases.may_ask:
                raise  # else: it may be the passphrase of the command's other key
    for attempt in range(ATTEMPTS):
        try:
            return _unlock(path, pem, passphrases.ask(f"Passphrase of {path}"))
        except ConfigInvalid as exc:
            if exc.reason != "bad_passphrase" or attempt == ATTEMPTS - 1:
                raise
            print("auxilio: that was not it", file=sys.stderr)
    raise AssertionError("unreachable: the last attempt raises")


def _unlock(path: Path, pem: bytes, passphrase: bytes) -> PrivateKey:
    try:
        return load_private_key(pem, passphrase)
    except ConfigInvalid as exc:
        raise ConfigInvalid(f"{path}: {exc.message}", code=exc.reason, hint="Try again.") from exc


def write_key(path: Path, key: PrivateKey, public_line: str, comment: str, passphrase: bytes | None) -> None:
    """Write a new private key (0600) and its .pub, as ssh-keygen does."""
    write_file(path, private_key_pem(key, passphrase))
    write_file(Path(f"{path}.pub"), f"{public_line} {comment}\n".encode())


def _name(source: KeySource) -> str:
    from protocol.keys import fingerprint

    return fingerprint(source.public.blob)


def default_key() -> str | None:
    """The first of OpenSSH's usual key files that exists and is of a kind that we accept."""
    folder = Path("~/.ssh").expanduser()
    for name in ("id_ed25519_sk", "id_ed25519", "id_ecdsa_sk", "id_ecdsa"):
        if os.path.exists(folder / name):
            return str(folder / name)
    return None
