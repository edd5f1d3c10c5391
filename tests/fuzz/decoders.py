"""Every decoder that faces the network, and a few real inputs of each to begin with.

A decoder returns, or raises AuxilioError. Whatever else it raises is a bug of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from agent.facts.parsers.igd import parse_description, read_answer, with_connection, with_line
from agent.facts.parsers.ssdp import GATEWAY, parse_reply
from protocol.certificate import parse_certificate
from protocol.charter import Charter
from protocol.codec import decode, encode
from protocol.diagnosis import read_line
from protocol.enrolment import EnrolStatement, parse_join_token
from protocol.forward import parse_target
from protocol.ids import parse_device_id
from protocol.keys import line_blob, parse_public_key, parse_public_line
from protocol.leg import Refused, Spliced, Waiting, decode_leg_text
from protocol.link import Challenge, Nonces, Ping, SessionEnded, decode_to_agent, decode_to_relay
from protocol.policy import Policy, Relay
from protocol.samples import SampleBatch, read_batch
from protocol.sections.findings import Finding
from protocol.sections.router import Router
from protocol.selector import parse
from protocol.session import SessionRequest
from protocol.sftp import Attributes, Entry, encode_names, read_attributes, read_names, read_status
from protocol.sshsig import armor, dearmor, parse_sshsig
from protocol.sshwire import Reader
from protocol.statement import Signed
from protocol.stream import ACK, DATA, FIN, RESUME, Stream, encode_frame
from protocol.text import escape
from relay.rollup import LEVELS, by_chunk, countable, fold, read_chunk, write_chunk
from tests.support.organisation import Organisation, new_key


class Decoder(NamedTuple):
    decode: Callable[[bytes], object]
    seeds: tuple[bytes, ...]


def _frames(data: bytes) -> None:
    """Frames of the stream: each after its length in two bytes. The first bit of that: a leg begins with it."""
    stream, at = Stream(window=4096), 0
    stream.write(b"x" * 1000)
    while stream.next_frame() is not None:
        pass
    while at < len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        frame, at = data[at + 2 : at + 2 + (size & 0x7FFF)], at + 2 + (size & 0x7FFF)
        if size & 0x8000:
            stream.rejoin()
        stream.consumed(len(stream.receive(frame)))
        while stream.next_frame() is not None:
            pass


ROUTER = "192.168.1.1"
DESCRIPTION = b"""<root><URLBase>http://192.168.1.1:80</URLBase><device><modelName>Box</modelName><service>
<serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><controlURL>/ctl</controlURL></service>
</device></root>"""
ANSWER = b"""<s:Envelope xmlns:s="x"><s:Body><u:GetStatusInfoResponse xmlns:u="y"><NewUptime>9</NewUptime>
<NewConnectionStatus>Connected</NewConnectionStatus><NewExternalIPAddress>1.2.3.4</NewExternalIPAddress>
<NewTotalBytesSent>-7</NewTotalBytesSent></u:GetStatusInfoResponse></s:Body></s:Envelope>"""
SEARCHED = f"HTTP/1.1 200 OK\r\nST: {GATEWAY}\r\nLOCATION: http://{ROUTER}:5000/rootDesc.xml\r\n\r\n".encode()


def _router_said(data: bytes) -> Router:
    answer = read_answer(data, "GetStatusInfo")
    return with_connection(with_line(Router(), answer), answer, 1_700_000_000.0)


def _samples(data: bytes) -> None:
    """As a relay and a console take them: read, and counted."""
    for level in LEVELS:
        for at, samples in by_chunk(level, countable(level, read_batch(data).samples(), 1e9)).items():
            assert at in {level.chunk_at(sample.at) for sample in samples}
            read_chunk(write_chunk(fold({}, level, samples)))


def _text(decoder: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: decoder(data.decode("utf-8", "replace"))


def _record(type_: type[object]) -> Callable[[bytes], object]:
    return lambda data: decode(data, type_)


def _decoders() -> dict[str, Decoder]:
    organisation = Organisation(Relay(url="https://relay.example:443", pin=None))
    technician = organisation.technician("ana")
    certificate = technician.signer.public
    policy, charter = organisation.policies[0], organisation.charters[0]
    token = organisation.join_token()
    enrolment = organisation.enrolment(token, new_key())
    frames = [encode_frame(DATA, 0, b"hola"), encode_frame(ACK, 500), encode_frame(FIN, 4), encode_frame(RESUME, 700)]
    lengths = [len(frame) for frame in frames]
    lengths[3] |= 0x8000
    stream = b"".join(size.to_bytes(2, "big") + frame for size, frame in zip(lengths, frames, strict=True))
    _, request = organisation.session_request(technician, parse_device_id("aaaaa-bbbbb-ccccc-ddddd"), "n")
    key = line_blob(technician.public_line)
    batch = SampleBatch(
        organisation=organisation.id,
        device=parse_device_id("aaaaa-bbbbb-ccccc-ddddd"),
        number=1,
        at=(1, 61),
        values={"cpu_percent": (1.5, None), "signal_dbm": (None, -71.0)},
    )
    finding = Finding(code="dns-dead", severity="error", evidence={"server": "192.0.2.1"})
    attributes = Attributes(size=9, uid=1, gid=2, mode=0o644, atime=3, mtime=4)
    return {
        "link to agent": Decoder(
            decode_to_agent, (encode(Challenge(nonce="n", relay_time=1, versions=(1,))), encode(Ping(id=3)))
        ),
        "link to relay": Decoder(
            decode_to_relay,
            (encode(Nonces(nonces=("a" * 26,), valid_s=9)), encode(SessionEnded(session="a" * 26, reason="closed"))),
        ),
        "leg text": Decoder(
            decode_leg_text, (encode(Spliced()), encode(Waiting(until_at=9)), encode(Refused(code="no", message="no")))
        ),
        "stream": Decoder(_frames, (stream,)),
        "sshsig": Decoder(parse_sshsig, (policy.signature, enrolment.signature)),
        "sshsig armour": Decoder(_text(dearmor), (armor(policy.signature).encode(),)),
        "certificate": Decoder(parse_certificate, (certificate, line_blob(token.certificate))),
        "public key": Decoder(parse_public_key, (key,)),
        "public line": Decoder(_text(parse_public_line), (technician.public_line.encode(),)),
        "join token": Decoder(_text(parse_join_token), (token.text().encode(),)),
        "selector": Decoder(_text(parse), (b"tag:site=madrid (ram<4GiB or os:windows)", b"not software:firefox<128")),
        "forward target": Decoder(_text(parse_target), (b"gateway:80", b"10.0.0.0/8:1-65535", b"[fd00::1]:22")),
        "signed": Decoder(_record(Signed), (encode(policy),)),
        "policy": Decoder(_record(Policy), (policy.payload,)),
        "charter": Decoder(_record(Charter), (charter.payload,)),
        "session request": Decoder(_record(SessionRequest), (request.payload,)),
        "enrolment": Decoder(_record(EnrolStatement), (enrolment.payload,)),
        "sftp attributes": Decoder(lambda data: read_attributes(Reader(data)), (attributes.encoded(),)),
        "sftp names": Decoder(
            lambda data: read_names(Reader(data)), (encode_names([Entry(b"a", b"-rw a", attributes)]),)
        ),
        "sftp status": Decoder(lambda data: read_status(Reader(data)), (b"\0\0\0\2\0\0\0\2no\0\0\0\0",)),
        "router description": Decoder(lambda data: parse_description(data, ROUTER, 80), (DESCRIPTION,)),
        "router answer": Decoder(_router_said, (ANSWER,)),
        "router search": Decoder(lambda data: parse_reply(data, ROUTER), (SEARCHED,)),
        "samples": Decoder(_samples, (encode(batch),)),
        "diagnosis": Decoder(
            read_line,
            (
                encode({"looked_at": "gateway"}),
                encode(
                    {"diagnosis": {"at": 1, "status": "broken", "findings": [finding], "sections": {"findings": {}}}}
                ),
            ),
        ),
        "escapes": Decoder(_text(escape), (b"\x1b[31m\xc2\x9b",)),
    }


DECODERS = _decoders()
