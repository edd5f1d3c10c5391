"""The table of forgeries: each is a valid technician's session signature with one thing wrong, and its refusal's code.

The hostile tests feed it to our verifier, the contract tests to ssh-keygen beside it.
"""

from __future__ import annotations

from protocol.certificate import FOREVER, HOST, certificate_algorithm
from protocol.keys import P256_ORDER, SK_ECDSA, SK_ED25519, fingerprint
from protocol.revocation import Revocations, RevokedKey, RevokedKeyId, RevokedSerial
from protocol.sshsig import armor, signed_data
from protocol.sshwire import mpint, string, u32
from protocol.statement import JOB, LOGIN, SESSION
from tests.support.forgery import (
    CA,
    DAY,
    ENROLMENT_CA,
    ENROLMENT_KEY,
    GOOD,
    NOW,
    OTHER,
    PAYLOAD,
    SK_ABSENT,
    SK_ECDSA_GOOD,
    SK_GOOD,
    SK_NOWHERE,
    SK_NUL,
    SK_OTHER_APPLICATION,
    SK_VERIFIED_ONLY,
    SK_WEBSITE,
    SMALL_ORDER_POINTS,
    STRANGER_CA,
    TECHNICIAN,
    Case,
    Recipe,
    Swapped,
    der_signature,
    ecdsa_signature,
    flip,
    nested_ca,
    p256,
)

EXTENSIONS = GOOD.extensions

CASES: dict[str, Case] = {
    # -- what was signed, and for which purpose
    "another namespace": Case("wrong_namespace", Recipe(namespace=LOGIN)),
    "a job's signature": Case("wrong_namespace", Recipe(namespace=JOB)),
    "a namespace that only begins alike": Case("wrong_namespace", Recipe(namespace=SESSION + ".evil")),
    "an empty namespace": Case("wrong_namespace", Recipe(namespace="")),
    "the namespace of ssh-keygen's files": Case("wrong_namespace", Recipe(namespace="file")),
    "a namespace changed after signing": Case("bad_signature", Recipe(signed_namespace=LOGIN)),
    "a payload changed after signing": Case("bad_signature", Recipe(signed_payload=b'{"a":"sessioN"}')),
    "a payload cut": Case("bad_signature", Recipe(payload=PAYLOAD[:-1], signed_payload=PAYLOAD)),
    "a payload with a byte more": Case("bad_signature", Recipe(payload=PAYLOAD + b" ", signed_payload=PAYLOAD)),
    "a payload that is too long": Case("too_long", Recipe(payload=b" " * (1024 * 1024 + 1))),
    # -- by whom
    "a plain key where a certificate is due": Case("certificate_due", Recipe(plain_key=True)),
    "a signature by another key": Case("bad_signature", Recipe(signing_key=OTHER)),
    "a certificate for another key": Case("bad_signature", Recipe(certified=OTHER.public)),
    "a signature by the CA itself": Case("bad_signature", Recipe(signing_key=CA)),
    "a signature of zeros": Case(
        "bad_signature", Recipe(signature=lambda _: string("ssh-ed25519") + string(bytes(64)))
    ),
    "an empty signature": Case("bad_signature", Recipe(signature=lambda _: string("ssh-ed25519") + string(b""))),
    "a signature of another algorithm's name": Case(
        "wrong_algorithm", Recipe(signature=lambda s: string("ecdsa-sha2-nistp256") + s[4 + 11 :])
    ),
    "an empty signature blob": Case("truncated", Recipe(signature=lambda _: b"")),
    "a webauthn signature, which browsers make": Case(
        "wrong_algorithm",
        Recipe(key=SK_ECDSA_GOOD, signature=lambda s: string("webauthn-" + SK_ECDSA) + s[4 + len(SK_ECDSA) :]),
    ),
    "an RSA signature": Case("wrong_algorithm", Recipe(signature=lambda s: string("rsa-sha2-512") + s[15:])),
    "a signature with a flipped bit": Case("bad_signature", Recipe(signature=flip(40))),
    "a signature with bytes after it": Case("trailing_bytes", Recipe(signature=lambda s: s + b"\0")),
    "an Ed25519 signature whose S is not reduced": Case(
        "bad_signature",
        Recipe(
            signature=lambda s: (
                s[:-32]
                + (int.from_bytes(s[-32:], "little") + 2**252 + 27742317777372353535851937790883648493).to_bytes(
                    32, "little"
                )
            )
        ),
    ),
    "a signature whose S has its highest bits set": Case(
        "bad_signature", Recipe(signature=lambda s: s[:-1] + bytes([s[-1] | 0xE0]))
    ),
    "an Ed25519 signature of 63 bytes": Case(
        "bad_signature", Recipe(signature=lambda s: string("ssh-ed25519") + string(s[19:-1]))
    ),
    "an Ed25519 signature of 65 bytes": Case(
        "bad_signature", Recipe(signature=lambda s: string("ssh-ed25519") + string(s[19:] + b"\0"))
    ),
    **{
        f"a key of small order ({name}) and the signature that fits all": Case(
            "weak_key",
            Recipe(
                certified=string("ssh-ed25519") + string(point),
                signature=lambda _: string("ssh-ed25519") + string((1).to_bytes(32, "little") + bytes(32)),
            ),
        )
        for name, point in SMALL_ORDER_POINTS.items()
    },
    "a key whose coordinate is not reduced": Case(
        "bad_key", Recipe(certified=string("ssh-ed25519") + string((2**255 - 1).to_bytes(32, "little")))
    ),
    "a key of 31 bytes": Case("bad_key", Recipe(certified=string("ssh-ed25519") + string(TECHNICIAN.public[-31:]))),
    "a key of 33 bytes": Case(
        "bad_key", Recipe(certified=string("ssh-ed25519") + string(TECHNICIAN.public[-32:] + b"\0"))
    ),
    # -- the certificate's kind and issuer
    "a host certificate": Case("host_certificate", Recipe(kind=HOST)),
    "a certificate of no kind": Case("host_certificate", Recipe(kind=0)),
    "a certificate of a kind to come": Case("host_certificate", Recipe(kind=3)),
    "a stranger's CA": Case("wrong_ca", Recipe(ca=STRANGER_CA)),
    "the enrolment CA signing a technician": Case("wrong_ca", Recipe(ca=ENROLMENT_CA)),
    "the technician CA signing an enrolment": Case("wrong_ca", Recipe(ca=CA), purpose="enrolment"),
    "a technician's own key as CA": Case("wrong_ca", Recipe(ca=TECHNICIAN)),
    "a nested CA": Case("nested_ca", nested_ca()),
    "a nested CA of the v00 format": Case(
        "unknown_algorithm", Recipe(ca_blob=string("ssh-ed25519-cert-v00@openssh.com") + CA.public[15:])
    ),
    "an enrolment certificate of an enrolment key": Case(
        "wrong_ca",
        Recipe(key=ENROLMENT_KEY, ca=ENROLMENT_CA, principals=("enrol",), key_id="k3m9xk3m9xk3m9xk3m9x"),
    ),
    "a stranger's key with the certificate of the enrolment": Case(
        "wrong_ca", Recipe(key=OTHER, certified=ENROLMENT_KEY.public, ca=ENROLMENT_CA)
    ),
    "a certificate signed by its own key, which it names as CA": Case("wrong_ca", Recipe(key=OTHER, ca=OTHER)),
    "a CA with a byte more": Case("trailing_bytes", Recipe(ca_blob=CA.public + b"\0")),
    "no CA": Case("unknown_algorithm", Recipe(ca_blob=b"\0\0\0\0")),
    "a CA of small order": Case(
        "weak_key", Recipe(ca_blob=string("ssh-ed25519") + string(SMALL_ORDER_POINTS["the neutral one"]))
    ),
    "the CA's signature over another certificate": Case(
        "bad_signature", Recipe(ca_signature=lambda _: CA.sign_raw(Recipe(serial=18).certificate()))
    ),
    "an SSHSIG by the CA where its certificate's signature is due": Case(
        "bad_signature", Recipe(ca_signature=lambda _: CA.sign_raw(signed_data(SESSION, PAYLOAD)))
    ),
    "the right CA's name over a stranger's signature": Case("bad_signature", Recipe(ca=STRANGER_CA, ca_blob=CA.public)),
    "a CA signature of another algorithm": Case(
        "wrong_algorithm", Recipe(ca_signature=lambda s: string("ssh-rsa") + s[15:])
    ),
    "a CA signature with bytes after it": Case("trailing_bytes", Recipe(ca_signature=lambda s: s + b"\0")),
    "a CA that is an RSA key": Case(
        "unknown_algorithm", Recipe(ca_blob=string("ssh-rsa") + mpint(65537) + mpint(3**99))
    ),
    "an RSA certificate": Case("unknown_algorithm", Recipe(certificate_type="ssh-rsa-cert-v01@openssh.com")),
    "an ECDSA certificate around an Ed25519 key": Case(
        "bad_text", Recipe(certificate_type=certificate_algorithm("ecdsa-sha2-nistp256"))
    ),
    "a security key's certificate around a plain key": Case(
        "wrong_application", Recipe(certificate_type=certificate_algorithm(SK_ED25519))
    ),
    "a plain key's certificate around a security key": Case(
        "bad_text", Recipe(key=SK_GOOD, certificate_type="ssh-ed25519-cert-v01@openssh.com")
    ),
    "an old certificate format": Case("certificate_due", Recipe(certificate_type="ssh-ed25519-cert-v00@openssh.com")),
    # -- what it says
    "no principals": Case("no_principals", Recipe(principals=())),
    "an empty principal": Case("bad_principal", Recipe(principals=("",))),
    "a principal with a comma": Case("bad_principal", Recipe(principals=("deploy,root",))),
    "a principal with a blank": Case("bad_principal", Recipe(principals=("admin root",))),
    "a principal with a newline": Case("bad_principal", Recipe(principals=("admin\n",))),
    "a principal with a NUL": Case("bad_text", Recipe(principals=("admin\0",))),
    "a principal with a star": Case("bad_principal", Recipe(principals=("*",))),
    "a principal with a slash": Case("bad_principal", Recipe(principals=("../root",))),
    "a principal with a letter that looks like a": Case("bad_principal", Recipe(principals=("аdmin",))),  # noqa: RUF001
    "a principal of 65 letters": Case("bad_principal", Recipe(principals=("a" * 65,))),
    "a principal cut short": Case("truncated", Recipe(principals_tail=b"\0\0\0\x05admi")),
    "a good principal and a bad one": Case("bad_principal", Recipe(principals=("admin", "a,b"))),
    "a principal that is not UTF-8": Case("bad_text", Recipe(principals=(b"\xff",))),
    "too many principals": Case("too_long", Recipe(principals=tuple(f"p{n}" for n in range(65)))),
    "serial 0": Case("serial_zero", Recipe(serial=0)),
    "an empty key id": Case("bad_key_id", Recipe(key_id="")),
    "a key id with an escape": Case("bad_key_id", Recipe(key_id="ana\x1b[2J")),
    "a key id with a newline": Case("bad_key_id", Recipe(key_id="ana\nroot")),
    "a key id with a NUL": Case("bad_text", Recipe(key_id="ana\0")),
    "a key id that turns the writing round": Case("bad_key_id", Recipe(key_id="ana\u202e")),
    "a key id of 300 bytes": Case("too_long", Recipe(key_id="a" * 300)),
    "a key id that is not UTF-8": Case("bad_text", Recipe(key_id=b"\xff\xfe")),
    "an unknown critical option": Case("unknown_critical_option", Recipe(critical=(("tomorrow@auxilio", b""),))),
    "force-command": Case("unknown_critical_option", Recipe(critical=(("force-command", string("true")),))),
    "source-address": Case("unknown_critical_option", Recipe(critical=(("source-address", string("10.0.0.0/8")),))),
    "verify-required": Case("unknown_critical_option", Recipe(critical=(("verify-required", b""),))),
    "a critical option that the device knows as an extension": Case(
        "unknown_critical_option", Recipe(critical=(("may@auxilio", string("shell")),))
    ),
    "a critical option without a name": Case("unknown_critical_option", Recipe(critical=(("", b""),))),
    "too many extensions": Case("too_long", Recipe(extensions=tuple((f"x{n:03}", b"") for n in range(65)))),
    "an extension with a NUL in its name": Case(
        "bad_text", Recipe(extensions=(("may@auxilio", string("view")), ("may@auxilio\0", string("shell"))))
    ),
    "critical options named twice": Case("bad_options", Recipe(critical=(("a", b""), ("a", b"")))),
    "an extension named twice": Case("bad_options", Recipe(extensions=(*EXTENSIONS[:1], *EXTENSIONS))),
    "extensions out of order": Case("bad_options", Recipe(extensions=EXTENSIONS[::-1])),
    "a reserved field in use": Case("reserved_in_use", Recipe(reserved=b"x")),
    "bytes after the certificate": Case("trailing_bytes", Recipe(certificate_tail=b"\0")),
    "a certificate that is too long": Case("too_long", Recipe(extensions=(("a", bytes(13_000)), *EXTENSIONS))),
    # -- when
    "expired": Case("expired", Recipe(valid_before=NOW)),
    "expired long ago": Case("expired", Recipe(valid_after=0, valid_before=NOW - 10 * DAY)),
    "not yet valid": Case("not_yet_valid", Recipe(valid_after=NOW + 1)),
    "valid forever": Case("too_long_lived", Recipe(valid_after=0, valid_before=FOREVER)),
    "valid until the end of time from now": Case("too_long_lived", Recipe(valid_before=FOREVER)),
    "valid for longer than the policy allows": Case("too_long_lived", Recipe(valid_before=NOW - 60 + 30 * DAY + 1)),
    "valid before it is valid after": Case("expired", Recipe(valid_after=NOW - 60, valid_before=NOW - 120)),
    "a validity that overflows 63 bits": Case("too_long_lived", Recipe(valid_before=2**63)),
    "expired by a fraction of a second": Case("expired", Recipe(valid_before=NOW), now=NOW + 0.25),
    "not yet valid by a fraction of a second": Case("not_yet_valid", Recipe(valid_after=NOW), now=NOW - 0.25),
    "at a time that is no number": Case("not_yet_valid", GOOD, now=float("nan")),
    "at an infinite time": Case("expired", GOOD, now=float("inf")),
    "never valid: from the end of time": Case("not_yet_valid", Recipe(valid_after=FOREVER, valid_before=FOREVER)),
    "valid from year one to the end of time but one": Case(
        "too_long_lived", Recipe(valid_after=1, valid_before=FOREVER - 1)
    ),
    # -- revoked
    "revoked by serial": Case(
        "revoked",
        GOOD,
        Revocations(serials=(RevokedSerial(ca=fingerprint(CA.public), serial=17),)),
    ),
    "revoked by key": Case("revoked", GOOD, Revocations(keys=(RevokedKey(key=fingerprint(TECHNICIAN.public)),))),
    "revoked by key id": Case("revoked", GOOD, Revocations(key_ids=(RevokedKeyId(key_id="ana"),))),
    "revoked by its CA's key": Case("revoked", GOOD, Revocations(keys=(RevokedKey(key=fingerprint(CA.public)),))),
    "revoked by a security key's fingerprint": Case(
        "revoked", Recipe(key=SK_GOOD), Revocations(keys=(RevokedKey(key=fingerprint(SK_GOOD.public)),))
    ),
    "revoked by the largest serial": Case(
        "revoked",
        Recipe(serial=2**64 - 1),
        Revocations(serials=(RevokedSerial(ca=fingerprint(CA.public), serial=2**64 - 1),)),
    ),
    "revoked and expired at once": Case(
        "expired", Recipe(valid_before=NOW), Revocations(key_ids=(RevokedKeyId(key_id="ana"),))
    ),
    "revoked since tomorrow, for what acts now": Case(
        "revoked", GOOD, Revocations(key_ids=(RevokedKeyId(key_id="ana", since=NOW + DAY),))
    ),
    # -- the format
    "an unknown hash": Case("unknown_hash", Recipe(hash_name="sha1")),
    "a hash that was not the one signed": Case(
        "bad_signature", Recipe(blob=lambda b: b.replace(string("sha512"), string("sha256")))
    ),
    "an empty hash": Case("unknown_hash", Recipe(hash_name="")),
    "a hash in capitals": Case("unknown_hash", Recipe(hash_name="SHA512")),
    "a hash that is signed but not accepted": Case("unknown_hash", Recipe(hash_name="sha3-512")),
    "the reserved field of the signature in use": Case(
        "reserved_in_use",
        Recipe(blob=lambda b: b.replace(string(SESSION) + string(""), string(SESSION) + string("x"))),
    ),
    "armored where bytes are due": Case("bad_magic", Recipe(blob=lambda b: armor(b).encode())),
    "a namespace that is not UTF-8": Case(
        "bad_text", Recipe(blob=lambda b: b.replace(string(SESSION), string(b"\xff" + SESSION[1:].encode())))
    ),
    "a namespace that goes on after a NUL": Case("bad_text", Recipe(namespace=SESSION + "\0evil")),
    "no magic": Case("bad_magic", Recipe(blob=flip(0))),
    "an unknown version": Case("unknown_version", Recipe(blob=flip(9))),
    "truncated by a byte": Case("truncated", Recipe(blob=lambda b: b[:-1])),
    "truncated in its header": Case("truncated", Recipe(blob=lambda b: b[:8])),
    "empty": Case("truncated", Recipe(blob=lambda _: b"")),
    "bytes after the signature": Case("trailing_bytes", Recipe(blob=lambda b: b + b"\0")),
    "a length of 2 GiB inside the certificate": Case(
        "too_long", Recipe(blob=lambda b: b.replace(string("ana"), b"\x7f\xff\xff\xffana"))
    ),
    "a length that reaches beyond the end by one": Case(
        "truncated", Recipe(signature=lambda s: s[:-68] + u32(65) + s[-64:])
    ),
    "two signatures, one after the other": Case("trailing_bytes", Recipe(blob=lambda b: b + b)),
    "a huge length": Case("too_long", Recipe(blob=lambda b: b[:10] + b"\xff\xff\xff\xff" + b[14:])),
    "a signature that is too long": Case("too_long", Recipe(blob=lambda b: b + bytes(20_000))),
    # -- ECDSA and security keys
    "ECDSA with r of zero": Case("bad_integer", Recipe(key=p256(1), signature=ecdsa_signature(mpint(0), mpint(5)))),
    "ECDSA with s of zero": Case("bad_integer", Recipe(key=p256(1), signature=ecdsa_signature(mpint(5), mpint(0)))),
    "ECDSA with empty integers": Case(
        "bad_integer", Recipe(key=p256(1), signature=ecdsa_signature(string(b""), string(b"")))
    ),
    "ECDSA with r beyond the group's order": Case(
        "bad_integer", Recipe(key=p256(1), signature=ecdsa_signature(mpint(P256_ORDER + 5), mpint(5)))
    ),
    "ECDSA with an r of 65 bytes": Case(
        "too_long", Recipe(key=p256(1), signature=ecdsa_signature(string(b"\1" + bytes(64)), mpint(5)))
    ),
    "ECDSA with r alone": Case("truncated", Recipe(key=p256(1), signature=ecdsa_signature(mpint(5), b""))),
    "ECDSA with a third integer": Case(
        "trailing_bytes", Recipe(key=p256(1), signature=ecdsa_signature(mpint(5) + mpint(5), mpint(5)))
    ),
    "ECDSA in DER": Case("too_long", Recipe(key=p256(1), signature=lambda s: der_signature(s))),
    "an ECDSA key on another curve's name": Case(
        "bad_key", Recipe(key=p256(1), certified=p256(1).public.replace(string("nistp256"), string("nistp384")))
    ),
    "an ECDSA key that is not on the curve": Case(
        "bad_key", Recipe(key=p256(1), certified=p256(1).public[:-1] + bytes([p256(1).public[-1] ^ 1]))
    ),
    "an ECDSA key that is the point at infinity": Case(
        "bad_key",
        Recipe(key=p256(1), certified=string("ecdsa-sha2-nistp256") + string("nistp256") + string(b"\0")),
    ),
    "a compressed ECDSA key": Case(
        "bad_key",
        Recipe(
            key=p256(1),
            certified=string("ecdsa-sha2-nistp256")
            + string("nistp256")
            + string(bytes([2 + (p256(1).public[-1] & 1)]) + p256(1).public[-64:-32]),
        ),
    ),
    "ECDSA with s of the group's order": Case(
        "bad_integer", Recipe(key=p256(1), signature=ecdsa_signature(mpint(5), mpint(P256_ORDER)))
    ),
    "ECDSA with a negative r": Case(
        "bad_integer", Recipe(key=p256(1), signature=ecdsa_signature(string(b"\x80"), mpint(5)))
    ),
    "ECDSA with an r that is not minimal": Case(
        "bad_integer", Recipe(key=p256(1), signature=ecdsa_signature(string(b"\0\5"), mpint(5)))
    ),
    "ECDSA by another key": Case("bad_signature", Recipe(key=p256(1), signing_key=p256(2))),
    "a security key without user presence": Case("no_user_presence", Recipe(key=SK_ABSENT)),
    "a security key with a PIN but no touch": Case("no_user_presence", Recipe(key=SK_VERIFIED_ONLY)),
    "a security key made for a website": Case("wrong_application", Recipe(key=SK_WEBSITE, certified=SK_WEBSITE.public)),
    "a security key's signature for another application": Case(
        "bad_signature",
        Recipe(key=Swapped(SK_GOOD, SK_OTHER_APPLICATION)),
    ),
    "a plain signature for a security key": Case("wrong_algorithm", Recipe(key=Swapped(SK_GOOD, TECHNICIAN))),
    "a security key without a touch whose certificate says that none is needed": Case(
        "no_user_presence",
        Recipe(key=SK_ABSENT, extensions=(*EXTENSIONS[:1], ("no-touch-required", b""), *EXTENSIONS[1:])),
    ),
    "a security key's counter changed": Case("bad_signature", Recipe(key=SK_GOOD, signature=flip(-1))),
    "a security key's signature without its counter": Case(
        "truncated", Recipe(key=SK_GOOD, signature=lambda s: s[:-4])
    ),
    "a security key's signature with bytes after it": Case(
        "trailing_bytes", Recipe(key=SK_GOOD, signature=lambda s: s + b"\0")
    ),
    "a security key whose application is empty": Case("wrong_application", Recipe(key=SK_NOWHERE)),
    "a security key whose application goes on after a NUL": Case("bad_text", Recipe(key=SK_NUL)),
    "a security key's certificate with the application changed": Case(
        "bad_signature", Recipe(key=SK_OTHER_APPLICATION, certified=SK_GOOD.public)
    ),
    "a security key's touch flag added afterwards": Case(
        "bad_signature",
        Recipe(key=Swapped(SK_ABSENT, SK_ABSENT), signature=lambda s: s[:-5] + b"\x01" + s[-4:]),
    ),
}
