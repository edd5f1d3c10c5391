"""Make tests/vectors/ssh/technician anew, by the real ssh-keygen: `python -m tests.support.make_ssh_vectors`.

The keys are those of tests.support.forgery, whose seeds are no secret. Written down so that a later change of ours
meets bytes that OpenSSH made before it.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from protocol.keys import SK_ECDSA, SK_ED25519, public_line
from protocol.signing import RawSigner
from protocol.sshsig import armor
from tests.support.forgery import CA, TECHNICIAN, p256
from tests.support.sk_authenticator import SkAuthenticator
from tests.support.ssh_keygen import Workshop

FOLDER = Path(__file__).resolve().parents[1] / "vectors" / "ssh" / "technician"
KEYS: dict[str, RawSigner] = {
    "ed25519": TECHNICIAN,
    "ecdsa": p256(1),
    "sk-ed25519": SkAuthenticator(SK_ED25519),
    "sk-ecdsa": SkAuthenticator(SK_ECDSA),
}
PAYLOAD = b'{"what": "a session"}\n'
VALIDITY = "20270101000000:20270108000000"


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "ca.pub").write_text(public_line(CA.public) + "\n")
    (FOLDER / "payload").write_bytes(PAYLOAD)
    for kind, key in KEYS.items():
        with TemporaryDirectory() as folder:
            workshop = Workshop(Path(folder), ca=CA)
            certificate = workshop.issue(key, "-V", VALIDITY, principals="admin,user")
            (FOLDER / f"{kind}-cert.pub").write_text(public_line(certificate) + "\n")
            (FOLDER / f"{kind}.sig").write_text(armor(workshop.sign(key, certificate, PAYLOAD)))


if __name__ == "__main__":
    main()
