"""What a device says about itself, at the door of whoever reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import encode
from protocol.errors import BadMessage, Refused, Untrusted
from protocol.facts import facts_from, os_names
from protocol.ids import OrganisationId, device_id, sha256
from protocol.keys import public_line
from protocol.report import MAX_SECTIONS, Report, SectionRef, open_report
from protocol.sections.base import MAX_SECTION_BYTES, Section
from protocol.sections.catalogue import MAX_ITEMS, SECTIONS, decode_section
from protocol.sections.machine import System
from protocol.sections.memory import Memory
from protocol.sections.memory_slots import MemorySlot
from protocol.sections.network import Interface, Network
from protocol.sections.software import Package, Software
from protocol.sections.storage import Disk, Filesystem, Storage
from protocol.selector import Installed
from protocol.signing import KeySigner
from protocol.statement import LINK, REPORT, Signed, seal_statement
from tests.support.organisation import new_key

KEY = new_key()
SIGNER = KeySigner(KEY)
LINE = public_line(SIGNER.public)
DEVICE = device_id(SIGNER.public)
ORGANISATION = OrganisationId("a" * 52)
REF = SectionRef(sha256=sha256(b"{}"), size=2, collected_at=1_800_000_000)

ABSURD = [
    ("memory", b'{"total":-1}'),
    ("memory", b'{"total":9223372036854775808}'),
    ("memory", b'{"total":1e400}'),
    ("memory", b'{"total":"8 GiB"}'),
    ("cpu", b'{"load_15m":-0.5}'),
    ("cpu", b'{"load_15m":1e308}'),
    ("system", b'{"booted_at":99999999999999999999999999}'),
    ("storage", b'{"filesystems":[{"mount":"/","device":"d","type":"t","size":-5,"available":0}]}'),
    (
        "storage",
        b'{"filesystems":[{"mount":"/","device":"d","type":"t","size":5,"available":0,"inodes_used_percent":101}]}',
    ),
    ("network", b'{"default_routes":[{"family":7,"gateway":"","interface":"x"}]}'),
    ("software", b'{"packages":[["a","1","all","a",-1]]}'),
    ("software", b'{"packages":[["a","1","all","a",1,"v","rpm",-1]]}'),
    ("updates", b'{"updates":[["a","1","","yes"]]}'),
    ("updates", b'{"refreshed_at":{"dpkg":-5}}'),
    ("battery", b'{"cells":[{"name":"BAT0","percent":400}]}'),
    ("health", b'{"disks":[{"name":"sda","temperature_c":-300}]}'),
    ("health", b'{"disks":[{"name":"sda","spare_percent":101}]}'),
    ("temperatures", b'{"sensors":[{"chip":"x","celsius":1000}]}'),
    ("events", b'{"events":[{"kind":"oom","count":-1,"last_at":0}]}'),
    ("devices", b'{"printers":[{"name":"x","state":"on fire"}]}'),
]


@pytest.mark.parametrize(("name", "data"), ABSURD)
def test_an_absurd_number_is_a_bad_message_and_reaches_nobody(name: str, data: bytes) -> None:
    with pytest.raises(BadMessage):
        decode_section(name, data)


@given(st.sampled_from([*SECTIONS, "tomorrow"]), st.binary(max_size=300))
def test_any_bytes_are_a_section_or_a_bad_message(name: str, data: bytes) -> None:
    try:
        assert isinstance(decode_section(name, data), SECTIONS.get(name, Section))
    except BadMessage:
        pass


def test_a_section_of_tomorrow_is_read_as_far_as_it_is_known() -> None:
    assert decode_section("memory", b'{"total":5,"modules":[1,2]}') == Memory(total=5)
    assert decode_section("telepathy", b'{"signal":-90,"unavailable":{"sim":"none"}}') == Section(
        unavailable={"sim": "none"}
    )


def test_a_list_without_end_is_refused() -> None:
    endless = b'{"dns_servers":[' + b",".join([b'""'] * (MAX_ITEMS + 1)) + b"]}"
    with pytest.raises(BadMessage, match="dns_servers"):
        decode_section("network", endless)
    with pytest.raises(BadMessage):
        decode_section("network", b" " * (MAX_SECTION_BYTES + 1))


def test_what_is_derived_is_not_sent_and_never_negative() -> None:
    assert Memory(total=10, available=3).used == 7
    assert Memory(total=10).used is None
    assert Memory(total=3, available=10).used == 0
    assert Filesystem(mount="/", device="d", type="ext4", size=10, available=4).used == 6
    assert b"used" not in encode(Memory(total=10, available=3))


def report(**changes: object) -> Report:
    fields: dict[str, object] = {
        "organisation": ORGANISATION,
        "device": DEVICE,
        "number": 1,
        "collected_at": 1_800_000_000,
        "sections": {"memory": REF},
        **changes,
    }
    return Report(**fields)  # type: ignore[arg-type]  # a test's own wrong values are its point


def opened(signed: Signed) -> Report:
    return open_report(signed, organisation=ORGANISATION, device=DEVICE, device_key=LINE)


def test_a_report_is_opened_as_the_device_signed_it() -> None:
    assert opened(seal_statement(SIGNER, REPORT, encode(report()))) == report()


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"organisation": "b" * 52}, Refused, "wrong_organisation"),
        ({"device": device_id(b"another")}, Refused, "wrong_device"),
        ({"number": 0}, BadMessage, "bad_message"),
        ({"number": 2**63}, BadMessage, "bad_message"),
        ({"collected_at": -1}, BadMessage, "bad_message"),
        ({"sections": {f"s{n}": REF for n in range(MAX_SECTIONS + 1)}}, BadMessage, "bad_message"),
        ({"sections": {"../etc": REF}}, BadMessage, "bad_message"),
        ({"sections": {"": REF}}, BadMessage, "bad_message"),
        ({"sections": {"x": SectionRef(sha256=sha256(b""), size=0, collected_at=0)}}, BadMessage, "bad_message"),
        (
            {"sections": {"x": SectionRef(sha256=sha256(b""), size=MAX_SECTION_BYTES + 1, collected_at=0)}},
            BadMessage,
            "bad_message",
        ),
        ({"sections": {"x": {"sha256": "../../x", "size": 1, "collected_at": 0}}}, BadMessage, "bad_message"),
    ],
)
def test_a_report_out_of_bounds_is_refused(changes: dict[str, object], error: type[Exception], reason: str) -> None:
    with pytest.raises(error) as caught:
        opened(seal_statement(SIGNER, REPORT, encode(report(**changes))))
    assert getattr(caught.value, "reason", "") == reason


def test_a_report_by_another_key_or_for_another_purpose_is_not_believed() -> None:
    for signed in (
        seal_statement(KeySigner(new_key()), REPORT, encode(report())),
        seal_statement(SIGNER, LINK, encode(report())),
    ):
        with pytest.raises(Untrusted):
            opened(signed)


def test_facts_are_what_the_sections_say_and_unknown_where_they_say_nothing() -> None:
    system = System(hostname="pc-7", family="linux", os_id="ubuntu", os_version="24.04", os_like=("debian",))
    by_hand = Package(name="firefox-esr", version="", system="files")
    software = Software(systems=("dpkg",), packages=(Package(name="Firefox-esr", version="128.3"), by_hand))
    facts = facts_from(
        DEVICE,
        {"system": system, "memory": Memory(total=4 << 30), "software": software},
        tags=frozenset({"clinic"}),
        online=True,
    )
    assert facts.os == ("linux", "debian", "ubuntu", "ubuntu-24.04")
    assert (
        facts.hostname == "pc-7"
        and facts.ram_bytes == 4 << 30
        and facts.software == {"firefox-esr": (Installed("", "files"), Installed("128.3"))}
    )
    slots = (MemorySlot(size=4 << 30), MemorySlot(size=0), MemorySlot(size=0))
    laptop = facts_from(DEVICE, {"memory": Memory(board="slots", slots=slots)}, tags=None)
    assert facts.slots_free is None and laptop.slots_free == 2 and laptop.ram_bytes is None
    nothing = facts_from(DEVICE, {}, tags=None)
    assert (nothing.hostname, nothing.ram_bytes, nothing.software, nothing.os) == (None, None, None, ())
    assert facts_from(DEVICE, {"software": Software()}, tags=None).software is None, (
        "asked nobody: not 'none installed'"
    )


def test_names_of_a_system_go_from_general_to_exact_and_are_bounded() -> None:
    assert os_names(System(family="linux", os_id="Debian", os_version="12")) == ("linux", "debian", "debian-12")
    assert len(os_names(System(os_like=tuple(f"x{n}" for n in range(1000))))) <= 16


def test_sections_are_the_same_bytes_for_the_same_facts() -> None:
    storage = Storage(disks=(Disk(name="sda", size=5),), unavailable={"b": "x", "a": "y"})
    again = Storage(disks=(Disk(name="sda", size=5),), unavailable={"a": "y", "b": "x"})
    assert encode(storage) == encode(again)
    network = Network(interfaces=(Interface(name="lo", up=True),), dns_stub="127.0.0.53")
    assert decode_section("network", encode(network)) == network


def test_a_package_of_yesterday_and_one_of_tomorrow_are_both_read() -> None:
    yesterday = decode_section("software", b'{"systems":["dpkg"],"packages":[["a","1","all","a",7]]}')
    assert isinstance(yesterday, Software)
    assert yesterday.packages == (Package(name="a", version="1", architecture="all", source="a", size_kib=7),)
    assert (yesterday.packages[0].system, yesterday.packages[0].installed_at) == ("dpkg", None)
    tomorrow = decode_section("software", b'{"packages":[["a","1","","",0,"v","rpm",1700000000,"new",[1]]]}')
    assert isinstance(tomorrow, Software) and tomorrow.packages[0].system == "rpm"
