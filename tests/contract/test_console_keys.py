"""Keys where people have them: the real ssh-agent and ssh-keygen, security keys, and agents that lie."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from console import ssh_agent
from console.keys import find_key, raw_signer, read_public, statement_signer
from console.passphrase import Passphrases
from console.ssh_agent import SshAgent, agent_key
from protocol.errors import AuxilioError, ConfigInvalid, PeerFault, Refused, Unavailable
from protocol.keys import SK_ECDSA, SK_ED25519, fingerprint, line_blob, parse_public_key, public_line, verify
from protocol.sshsig import armor
from protocol.sshwire import Reader, string, u32
from protocol.statement import LOGIN, open_by_key, seal_statement
from tests.support.console_process import make_key
from tests.support.sk_authenticator import SkAuthenticator

SILENT = Passphrases({}, may_ask=False)
Answer = Callable[[bytes], bytes]


class FakeAgent:
    """An ssh-agent that answers each request with what `answer` makes of it."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self.path = path
        self._answer = answer
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            with peer:
                try:
                    while len(head := peer.recv(4, socket.MSG_WAITALL)) == 4:
                        length = int.from_bytes(head, "big")
                        peer.sendall(self._answer(peer.recv(length, socket.MSG_WAITALL)))
                except OSError:
                    continue

    def close(self) -> None:
        self._socket.close()


def holding(authenticator: SkAuthenticator) -> Answer:
    """What an agent with this one key answers."""

    def answer(request: bytes) -> bytes:
        if request[0] == ssh_agent.REQUEST_IDENTITIES:
            body = bytes([ssh_agent.IDENTITIES_ANSWER]) + u32(1) + string(authenticator.public) + string("sk \x1b[2J")
        else:
            reader = Reader(request[1:])
            reader.string()
            body = bytes([ssh_agent.SIGN_RESPONSE]) + string(authenticator.sign_raw(reader.string()))
        return string(body)

    return answer


@pytest.fixture
def agent_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer], SshAgent]]:
    agents: list[FakeAgent] = []

    def make(answer: Answer) -> SshAgent:
        agents.append(FakeAgent(tmp_path / f"agent{len(agents)}", answer))
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agents[-1].path))
        return SshAgent(str(agents[-1].path))

    yield make
    for agent in agents:
        agent.close()


@pytest.fixture
def real_agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    path = tmp_path / "real"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    try:
        while not path.exists():
            assert process.poll() is None
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        yield
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(autouse=True)
def _no_agent_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


# -- files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [("-t", "ed25519"), ("-t", "ecdsa", "-b", "256")], ids=["ed25519", "ecdsa"])
def test_a_key_of_ssh_keygen_signs_what_ssh_keygen_verifies(tmp_path: Path, kind: tuple[str, ...]) -> None:
    public = make_key(tmp_path / "key", *kind)
    source = find_key(str(tmp_path / "key"))
    signed = seal_statement(statement_signer(source, None, SILENT), LOGIN, b"hello")
    signature = tmp_path / "sig"
    signature.write_text(armor(signed.signature))
    allowed = tmp_path / "allowed"
    allowed.write_text(f"ana {public.read_text()}")
    command = ["ssh-keygen", "-Y", "verify", "-f", allowed, "-I", "ana", "-n", LOGIN, "-s", signature]
    assert subprocess.run(command, input=b"hello", capture_output=True, check=False).returncode == 0
    assert subprocess.run(command, input=b"hellO", capture_output=True, check=False).returncode != 0


def test_the_public_half_is_read_from_the_private_file_alone_even_if_that_is_encrypted(tmp_path: Path) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "word", "-f", str(tmp_path / "key")],
        check=True,
        capture_output=True,
    )
    public = read_public(tmp_path / "key.pub")
    (tmp_path / "key.pub").unlink()
    assert read_public(tmp_path / "key") == public
    source = find_key(str(tmp_path / "key"))
    with pytest.raises(ConfigInvalid) as caught:
        raw_signer(source, SILENT)
    assert caught.value.reason == "passphrase_needed"
    signer = raw_signer(source, Passphrases({"AUXILIO_PASSPHRASE": "word"}, may_ask=False))
    verify(public, signer.sign_raw(b"data"), b"data")


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("missing", None, "no_such_key"),
        ("empty", b"", "bad_key"),
        ("rsa.pub", b"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ== x", "bad_key"),
        ("noise", os.urandom(500), "bad_key"),
        ("pem", b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", "bad_key"),
        ("huge", b"x" * 100_000, "corrupt_file"),
    ],
)
def test_what_is_no_key_is_said_in_a_line(tmp_path: Path, name: str, content: bytes | None, code: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigInvalid) as caught:
        find_key(str(path))
    assert caught.value.reason == code
    assert "\n" not in caught.value.message


def test_a_private_file_beside_another_keys_pub_is_refused(tmp_path: Path) -> None:
    make_key(tmp_path / "a")
    make_key(tmp_path / "b")
    (tmp_path / "b.pub").replace(tmp_path / "a.pub")
    with pytest.raises(ConfigInvalid) as caught:
        raw_signer(find_key(str(tmp_path / "a")), SILENT)
    assert caught.value.reason == "bad_key"


# -- ssh-agent --------------------------------------------------------------------------------------------------


def test_the_real_ssh_agent_lists_and_signs_without_the_file(tmp_path: Path, real_agent: None) -> None:
    public = make_key(tmp_path / "key")
    subprocess.run(["ssh-add", "-q", str(tmp_path / "key")], check=True, capture_output=True)
    (tmp_path / "key").unlink()
    blob = line_blob(public.read_text())
    for name in (str(public), fingerprint(blob)):
        source = find_key(name)
        assert source.path is None
        signer = statement_signer(source, None, SILENT)
        signed = seal_statement(signer, LOGIN, b"x")
        assert open_by_key(signed, namespace=LOGIN, keys={blob}).payload == b"x"


def test_a_locked_ssh_agent_is_said(tmp_path: Path, real_agent: None) -> None:
    make_key(tmp_path / "key")
    with pytest.raises(ConfigInvalid) as caught:
        agent_key("SHA256:" + "A" * 43)
    assert caught.value.reason == "no_such_key"


@pytest.mark.parametrize("algorithm", [SK_ED25519, SK_ECDSA])
def test_a_security_key_in_ssh_agent_signs_statements_and_certificates(
    agent_of: Callable[[Answer], SshAgent], algorithm: str
) -> None:
    authenticator = SkAuthenticator(algorithm)
    agent_of(holding(authenticator))
    source = find_key(fingerprint(authenticator.public))
    signed = seal_statement(statement_signer(source, None, SILENT), LOGIN, b"x")
    assert open_by_key(signed, namespace=LOGIN, keys={authenticator.public}).payload == b"x"
    verify(parse_public_key(authenticator.public), raw_signer(source, SILENT).sign_raw(b"tbs"), b"tbs")


def test_a_security_key_that_was_not_touched_does_not_count(agent_of: Callable[[Answer], SshAgent]) -> None:
    authenticator = SkAuthenticator(SK_ED25519, flags=0)
    agent_of(holding(authenticator))
    source = find_key(fingerprint(authenticator.public))
    with pytest.raises(PeerFault):
        statement_signer(source, None, SILENT).sign(LOGIN, b"x")


FAKE_KEYGEN = """#!{python}
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from protocol.sshsig import armor, assemble_sshsig, signed_data
from tests.support.sk_authenticator import SkAuthenticator
namespace, file = sys.argv[sys.argv.index("-n") + 1], sys.argv[-1]
key = SkAuthenticator({algorithm!r})
signature = key.sign_raw(signed_data(namespace, Path(file).read_bytes()))
Path(file + ".sig").write_text(armor(assemble_sshsig(key.public, namespace, signature)))
"""


@pytest.mark.parametrize("algorithm", [SK_ED25519, SK_ECDSA])
def test_a_security_key_in_no_agent_signs_through_ssh_keygen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    root = str(Path(__file__).resolve().parents[2])
    keygen = tmp_path / "bin" / "ssh-keygen"
    keygen.parent.mkdir()
    keygen.write_text(FAKE_KEYGEN.format(python=sys.executable, root=root, algorithm=algorithm))
    keygen.chmod(0o755)
    monkeypatch.setenv("PATH", str(keygen.parent), prepend=os.pathsep)
    authenticator = SkAuthenticator(algorithm)
    (tmp_path / "key").write_bytes(b"the handle")
    (tmp_path / "key.pub").write_text(public_line(authenticator.public))
    source = find_key(str(tmp_path / "key"))
    signed = seal_statement(statement_signer(source, None, SILENT), LOGIN, b"x")
    assert open_by_key(signed, namespace=LOGIN, keys={authenticator.public}).payload == b"x"
    with pytest.raises(ConfigInvalid) as caught:
        raw_signer(source, SILENT)
    assert caught.value.reason == "needs_ssh_agent"
    keygen.write_text("#!/bin/sh\necho 'device not found' >&2\nexit 255\n")
    with pytest.raises(Refused, match="device not found"):
        statement_signer(source, None, SILENT).sign(LOGIN, b"x")


HOSTILE_ANSWERS = {
    "nothing": b"",
    "empty": u32(0),
    "endless": u32(2**32 - 1),
    "truncated": u32(100) + b"\x0c",
    "many keys": string(bytes([12]) + u32(2**31)),
    "a long key": string(bytes([12]) + u32(1) + u32(2**31)),
    "another message": string(bytes([99])),
    "failure": string(bytes([5])),
}


@pytest.mark.parametrize("answer", HOSTILE_ANSWERS.values(), ids=HOSTILE_ANSWERS.keys())
def test_an_agent_that_answers_nonsense_is_one_error(
    agent_of: Callable[[Answer], SshAgent], answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_agent, "ANSWER_WITHIN_S", 1.0)
    agent = agent_of(lambda request: answer)
    with pytest.raises(AuxilioError):
        agent.list_keys()


def test_an_agent_that_signs_with_another_key_is_found_out(agent_of: Callable[[Answer], SshAgent]) -> None:
    agent = agent_of(holding(SkAuthenticator(SK_ED25519, seed=9)))
    with pytest.raises(PeerFault):
        agent.sign(SkAuthenticator(SK_ED25519, seed=7).public, b"data")


def test_no_agent_at_all_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        agent_key("SHA256:x")
    assert caught.value.reason == "no_ssh_agent"
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    with pytest.raises(Unavailable):
        agent_key("SHA256:x")
    make_key(tmp_path / "key")
    raw_signer(find_key(str(tmp_path / "key")), SILENT)  # the file serves all the same
