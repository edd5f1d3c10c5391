"""The authority's folder: which key holds which role and where it is, every charter and policy, each verified.

keys.json          roles and where their keys are: a file here, or ssh-agent
root, root.pub ... private keys (OpenSSH PEM), unless they are in ssh-agent or were moved offline
charters/N/        policies/EPOCH.N/        documents.py
allowed_signers    for `ssh-keygen -Y verify`
ledger.sqlite      ledger.py
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from console.authority.documents import numbered, read_document, write_document
from console.home import MAX_FILE_BYTES, Home, read_file, write_file
from console.keys import KeySource, raw_signer
from console.passphrase import Passphrases
from console.ssh_agent import agent_signer
from protocol.authority import Authority, restore
from protocol.charter import Charter, HeldCharter, charter_payload
from protocol.codec import Record, decode, encode
from protocol.errors import AuxilioError, BadMessage, ConfigInvalid, Refused, Untrusted
from protocol.ids import organisation_id
from protocol.keys import parse_public_line
from protocol.policy import HeldPolicy, Policy, policy_payload
from protocol.signing import RawSigner, SshsigSigner
from protocol.statement import CHARTER, POLICY, Signed, seal_statement

FOLDER = "authority"
KEYS_FILE = "keys.json"
ALLOWED_FILE = "allowed_signers"

Role = Literal["root", "spare_root", "policy", "technician_ca", "enrolment_ca"]
ROLES: tuple[Role, ...] = ("root", "spare_root", "policy", "technician_ca", "enrolment_ca")

CHARTER_FIELDS: dict[Role, str] = {
    "root": "roots",
    "spare_root": "roots",
    "policy": "policy_keys",
    "technician_ca": "technician_cas",
    "enrolment_ca": "enrolment_cas",
}


class RoleKey(Record, frozen=True, kw_only=True):
    """public: public line.  file: its private file's name in this folder, or None: it is in ssh-agent.

    retiring: a new key has taken over; the charter still lists this one, until the rotation is finished.
    """

    role: Role
    public: str
    file: str | None = None
    retiring: bool = False


class RoleKeys(Record, frozen=True, kw_only=True):
    keys: tuple[RoleKey, ...]


class Store:
    """Raises ConfigInvalid (no_authority, corrupt_file) when made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = self._read_keys()
        self.charters = [read_document(path, "charter") for _, path in numbered(folder / "charters")]
        self._policies = [path for _, path in numbered(folder / "policies")]
        self.authority = self._restore()

    # -- what is there ------------------------------------------------------------------------------------------

    @property
    def charter(self) -> HeldCharter:
        assert self.authority.charter is not None
        return self.authority.charter

    @property
    def policy(self) -> HeldPolicy:
        assert self.authority.policy is not None
        return self.authority.policy

    def _read_keys(self) -> tuple[RoleKey, ...]:
        data = read_file(self.folder / KEYS_FILE)
        if data is None:
            raise ConfigInvalid(
                f"there is no authority in {self.folder}",
                code="no_authority",
                hint="`auxilio authority init` makes one; only the admin's console has it.",
            )
        try:
            return decode(data, RoleKeys, limit=MAX_FILE_BYTES).keys
        except BadMessage as exc:
            raise ConfigInvalid(
                f"{self.folder / KEYS_FILE} is damaged: {exc.message}", code="corrupt_file", hint="Restore it."
            ) from exc

    def _restore(self) -> Authority:
        if not self.charters or not self._policies:
            raise ConfigInvalid(
                f"{self.folder} lacks its charters or policies", code="corrupt_file", hint="Restore the folder."
            )
        try:
            latest = read_document(self._policies[-1], "policy")
            return restore(organisation_id(self.charters[0].payload), self.charters, latest)
        except (Untrusted, BadMessage) as exc:
            raise ConfigInvalid(
                f"the documents in {self.folder} do not verify: {exc.message}",
                code="corrupt_file",
                hint="Restore the folder from a backup.",
            ) from exc

    def has_policy(self, signed: Signed) -> bool:
        """Whether this very policy is in the folder: made here, or adopted."""
        return any(read_document(path, "policy").payload == signed.payload for path in reversed(self._policies))

    # -- keys ---------------------------------------------------------------------------------------------------

    def active(self, role: Role) -> RoleKey:
        for key in reversed(self.keys):
            if key.role == role and not key.retiring:
                return key
        raise ConfigInvalid(f"no key holds the role {role}", code="no_such_key", hint="auxilio authority show")

    def source(self, key: RoleKey) -> KeySource:
        path = self.folder / key.file if key.file else None
        return KeySource(parse_public_line(key.public), path if path and path.exists() else None)

    def signer(self, role: Role, passphrases: Passphrases) -> RawSigner:
        """The role's key, from ssh-agent or its file. Raises ConfigInvalid."""
        return raw_signer(self.source(self.active(role)), passphrases)

    def root_signer(self, passphrases: Passphrases, file: Path | None = None) -> RawSigner:
        """A root of the charter in force: `file`, or root or spare where they are still here or in ssh-agent.

        Raises ConfigInvalid (offline_root, wrong_root).
        """
        roots = self.charter.keys("roots")
        if file is not None:
            from console.keys import find_key

            source = find_key(str(file))
            if source.public.blob not in roots:
                raise ConfigInvalid(
                    f"{file} is no root of this charter", code="wrong_root", hint="auxilio authority show"
                )
            return raw_signer(source, passphrases)
        for key in (key for key in self.keys if key.role in ("root", "spare_root")):
            source = self.source(key)
            here = source.path is not None or agent_signer(source.public.blob) is not None
            if here and source.public.blob in roots:
                return raw_signer(source, passphrases)
        raise ConfigInvalid(
            "no root key is here, as it should be",
            code="offline_root",
            hint="Fetch it from where it is kept: --root FILE, or load it with `ssh-add`.",
        )

    def save_keys(self, keys: Sequence[RoleKey]) -> None:
        self.keys = tuple(keys)
        write_file(self.folder / KEYS_FILE, encode(RoleKeys(keys=self.keys)) + b"\n")

    # -- documents ----------------------------------------------------------------------------------------------

    def add_charter(self, charter: Charter, root: RawSigner) -> Signed:
        """Sign, judge as every device will, and keep. Raises Refused (number_taken), Untrusted."""
        signed = seal_statement(SshsigSigner(root), CHARTER, charter_payload(charter))
        self.adopt_charter(signed)
        return signed

    def adopt_charter(self, signed: Signed) -> None:
        authority, outcome = self.authority.accept_charter(signed)
        if outcome.value != "accepted" or authority.charter is None:
            raise Refused(f"a charter that no device would take: {outcome.value}", code="not_accepted")
        number = authority.charter.charter.number
        write_document(self.folder / "charters" / str(number), "charter", signed)
        self.charters.append(signed)
        self.authority = authority
        write_allowed_signers(self.folder, authority.charter.charter)

    def add_policy(self, policy: Policy, signer: RawSigner) -> Signed:
        """As add_charter."""
        signed = seal_statement(SshsigSigner(signer), POLICY, policy_payload(policy))
        self.adopt_policy(signed)
        return signed

    def adopt_policy(self, signed: Signed) -> None:
        authority, outcome = self.authority.accept_policy(signed)
        if outcome.value != "accepted" or authority.policy is None:
            raise Refused(f"a policy that no device would take: {outcome.value}", code="not_accepted")
        policy = authority.policy.policy
        path = self.folder / "policies" / f"{policy.epoch}.{policy.number}"
        write_document(path, "policy", signed)
        self._policies.append(path)
        self.authority = authority


def open_store(home: Home) -> Store:
    return Store(home.file(FOLDER))


def has_store(home: Home) -> bool:
    return (home.file(FOLDER) / KEYS_FILE).exists()


def write_allowed_signers(folder: Path, charter: Charter) -> None:
    """What `ssh-keygen -Y verify -f` wants: who may sign what."""
    roots = [f'root namespaces="{CHARTER}" {line}' for line in charter.roots]
    policies = [f'policy namespaces="{POLICY}" {line}' for line in charter.policy_keys]
    write_file(folder / ALLOWED_FILE, "\n".join([*roots, *policies, ""]).encode())


def describe_keys(store: Store) -> list[tuple[RoleKey, str]]:
    """Each key with where it is: "file", "ssh-agent", or "not here"."""
    return [(key, _whereabouts(store, key)) for key in store.keys]


def _whereabouts(store: Store, key: RoleKey) -> str:
    source = store.source(key)
    if source.path is not None:
        return "file"
    try:
        return "ssh-agent" if agent_signer(source.public.blob) is not None else "not here"
    except AuxilioError:
        return "not here"
