"""A source that hangs, fails or lies costs its own answer, with the reason, and no other's."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from agent.facts.collect import Facts
from agent.facts.collectors.battery import battery_section
from agent.facts.collectors.machine import cpu_section
from agent.facts.collectors.network import network_section
from agent.facts.collectors.software import software_section
from agent.facts.collectors.storage import storage_section
from agent.facts.collectors.table import collectors
from agent.facts.parsers.kernel import Mount, parse_mounts
from agent.facts.source import Asked, Hung, Missing, Source, fit_text
from agent.facts.sources import files, machine, network, packages, places, power, storage
from protocol.sections.base import MAX_SECTION_BYTES, Section
from protocol.sections.catalogue import decode_section
from protocol.sections.machine import System
from protocol.sections.memory import Memory
from protocol.sections.software import Software
from protocol.system_clock import SystemClock

CLOCK = SystemClock()


def asked(within_s: float = 10.0, *, hung: Hung | None = None, platform: str = "linux") -> Asked:
    return Asked(hung or Hung(), CLOCK, CLOCK.monotonic() + within_s, platform=platform)


def failing(error: Exception) -> Source[str]:
    def ask() -> str:
        raise error

    return Source(name="modem", ask=ask)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Missing("the modem is away"), "the modem is away"),
        (FileNotFoundError(2, "No such file", "/sys/x"), "there is no /sys/x"),
        (
            PermissionError(13, "Permission denied", b"/sys/caf\xe9"),
            "no permission for /sys/caf\N{REPLACEMENT CHARACTER}",
        ),
        (OSError(5, "Input/output error"), "Input/output error"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    ],
)
def test_a_source_that_fails_gives_its_reason(error: Exception, reason: str) -> None:
    a = asked()
    assert a.ask(failing(error), "default") == "default"
    assert a.unavailable == {"modem": reason}


def test_a_source_of_another_system_is_not_asked() -> None:
    a = asked(platform="win32")
    assert a.ask(Source(name="x", ask=lambda: 1 // 0, platforms=frozenset({"linux"})), None) is None
    assert "win32" in a.unavailable["x"]


def test_what_is_known_from_elsewhere_stands_in_and_nothing_is_missing() -> None:
    a = asked()
    assert a.ask(failing(OSError()), "", otherwise="rated") == "rated"
    assert not a.unavailable


def test_a_hung_source_is_given_up_left_behind_and_not_asked_again_until_it_is_back() -> None:
    release = threading.Event()
    count = [0]

    def hangs() -> int:
        count[0] += 1
        release.wait(60)
        return 7

    source = Source(name="disk", ask=hangs, deadline_s=0.05)
    hung = Hung()
    first, second = asked(hung=hung), asked(hung=hung)
    assert first.ask(source, None) is None and "did not answer within" in first.unavailable["disk"]
    assert first.ask(Source(name="other", ask=lambda: 1), 0) == 1, "the others go on"
    assert second.ask(source, None) is None and "earlier question" in second.unavailable["disk"]
    assert count == [1]
    release.set()
    while hung.holds("disk"):
        pass
    assert asked(hung=hung).ask(source, None) == 7


def test_sources_together_take_no_longer_than_their_section_may() -> None:
    release = threading.Event()
    a = asked(0.1)
    started = CLOCK.monotonic()
    for number in range(20):
        a.ask(Source(name=f"mount {number}", ask=lambda: release.wait(60), deadline_s=5.0), None)
    took = CLOCK.monotonic() - started
    release.set()
    assert took < 5.0 and len(a.unavailable) == 20
    assert "took all the time" in a.unavailable["mount 19"]


def test_one_hung_mount_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    mounts = tuple(Mount(f"/dev/{m}", m.encode(), "ext4", frozenset({"rw"})) for m in ("/", "/dead", "/home"))

    def usage_of(mount: Mount) -> Source[storage.Usage]:
        def ask() -> storage.Usage:
            if mount.path == b"/dead":
                release.wait(60)
            return storage.Usage(size=1 << 40, available=1 << 39)

        return Source(name=f"filesystem {mount.text}", ask=ask, deadline_s=0.05)

    monkeypatch.setattr(storage, "usage_of", usage_of)
    monkeypatch.setattr(storage, "MOUNTS", Source(name="mounts", ask=lambda: mounts))
    section = storage_section(asked())
    release.set()
    assert [f.mount for f in section.filesystems] == ["/", "/home"]
    assert list(section.unavailable) == ["filesystem /dead"]


def test_bind_mounts_and_what_is_no_disk_are_not_listed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = b"/dev/a /srv/deep ext4 rw 0 0\n/dev/a / ext4 ro 0 0\nserver:/x /nfs nfs rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n"
    monkeypatch.setattr(storage, "MOUNTS", Source(name="mounts", ask=lambda: parse_mounts(lines)))
    section = storage_section(asked())
    assert [(f.mount, f.read_only) for f in section.filesystems] == [("/", True)]


def test_names_that_are_no_text_can_still_be_sent() -> None:
    assert fit_text("caf\udce9", 100) == "caf?"
    assert fit_text("x" * 500, 10) == "x" * 10
    a = asked()
    a.note("mount /caf\udce9", "no \ud800")
    assert a.unavailable == {"mount /caf?": "no ?"}


def test_a_line_without_end_is_cut_and_the_next_is_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "status"
    path.write_bytes(b"Package: " + b"x" * 100 + b"\nVersion: 1\nlast")
    assert list(files.lines_of(path, 32)) == ["Package: " + "x" * 23, "Version: 1\n", "last"]


def fake_sys(folder: Path, values: dict[str, str]) -> None:
    for name, value in values.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value)


def test_disks_are_what_could_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_sys(
        tmp_path,
        {
            "sda/size": "1000215216\n",
            "sda/queue/rotational": "0\n",
            "sda/device/vendor": "ATA     \n",
            "sda/device/model": "Samsung SSD 860 \n",
            "sdb/size": "0\n",
            "sdb/removable": "1\n",
            "sdb/ro": "1\n",
            "vda/size": "2048\n",
            "vda/queue/rotational": "1\n",
            "vda/device/vendor": "0x1af4\n",
            "loop0/size": "8\n",
            "mmcblk0boot0/size": "8\n",
            "dm-0/size": "8\n",
            "nvme0n1/size": "not a number\n",
        },
    )
    monkeypatch.setattr(storage, "BLOCK", tmp_path)
    disks = {disk.name: disk for disk in storage.DISKS.ask()}
    assert sorted(disks) == ["nvme0n1", "sda", "sdb", "vda"]
    assert (disks["sda"].model, disks["sda"].size, disks["sda"].rotational) == (
        "Samsung SSD 860",
        1000215216 * 512,
        False,
    )
    assert disks["sdb"].removable and disks["sdb"].read_only and disks["sdb"].size == 0
    assert disks["vda"].model == "" and disks["vda"].rotational is None, "the kernel's guess is not passed on"
    assert disks["nvme0n1"].size is None


def test_a_desktop_with_a_wireless_mouse_has_no_battery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "POWER_SUPPLY", tmp_path)
    fake_sys(
        tmp_path, {"mouse/uevent": "POWER_SUPPLY_TYPE=Battery\nPOWER_SUPPLY_SCOPE=Device\nPOWER_SUPPLY_CAPACITY=9\n"}
    )
    fake_sys(tmp_path, {"usb/uevent": "POWER_SUPPLY_TYPE=USB\nPOWER_SUPPLY_ONLINE=0\n"})
    section = battery_section(asked())
    assert not section.present and section.mains is None and not section.unavailable
    fake_sys(tmp_path, {"BAT0/uevent": "POWER_SUPPLY_TYPE=Battery\nPOWER_SUPPLY_CAPACITY=9\n"})
    section = battery_section(asked())
    assert section.present and section.mains is False and section.cells[0].percent == 9


def test_the_servers_behind_a_stub_are_those_that_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_sys(tmp_path, {"resolv.conf": "nameserver 127.0.0.53\nsearch lan\n"})
    monkeypatch.setattr(network, "RESOLV_CONF", tmp_path / "resolv.conf")
    monkeypatch.setattr(network, "UPSTREAM", (tmp_path / "upstream",))
    section = network_section(asked())
    assert section.dns_servers == ("127.0.0.53",) and "whom it asks" in section.unavailable["dns_upstream"]
    fake_sys(tmp_path, {"upstream": "nameserver 192.0.2.53\nnameserver 2001:db8::53\n"})
    section = network_section(asked())
    assert section.dns_servers == ("192.0.2.53", "2001:db8::53") and section.dns_stub == "127.0.0.53"
    assert section.search_domains == ("lan",) and "dns_upstream" not in section.unavailable


def test_without_a_packaging_system_software_is_unknown_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "ROOT", tmp_path)
    section = software_section(asked())
    assert section == Software(
        unavailable={"software": "no packaging system that this release knows is on this system (linux)"}
    )
    assert packages.software_version() == ""
    status = "var/lib/dpkg/status"
    fake_sys(tmp_path, {status: "Package: a\nStatus: install ok installed\nVersion: 1\n"})
    before = packages.software_version()
    assert before and software_section(asked()).systems == ("dpkg",)
    (tmp_path / "new").write_text("")
    (tmp_path / "new").rename(tmp_path / status)
    assert packages.software_version() != before


@pytest.mark.parametrize("platform", ["win32", "darwin", "plan9"])
def test_on_another_system_every_section_still_comes_and_says_what_is_missing(platform: str) -> None:
    for name, collect in collectors("1.0").items():
        section = collect(asked(platform=platform))
        assert decode_section(name, facts_bytes(section)) == section
    software = software_section(asked(platform=platform))
    assert software.unavailable and software.systems == ()


def facts_bytes(section: Section) -> bytes:
    from protocol.codec import encode

    return encode(section)


async def test_a_section_that_raises_hangs_or_is_too_large_is_said_to_be_not_available() -> None:
    release = threading.Event()

    def hangs(a: Asked) -> Memory:
        release.wait(60)
        return Memory()

    def raises(a: Asked) -> Section:
        raise OSError(5, "Input/output error")

    def surrogate(a: Asked) -> System:
        return System(hostname="caf\udce9")

    def huge(a: Asked) -> Software:
        return Software(systems=("x" * MAX_SECTION_BYTES,))

    collectors = {
        "memory": hangs,
        "network": raises,
        "system": surrogate,
        "software": huge,
        "cpu": cpu_section,
    }
    facts = Facts(collectors, CLOCK, deadline_s=0.05, grace_s=0.05)
    result = {c.name: decode_section(c.name, c.data) for c in await facts.collect(collectors, 1000.0)}
    assert "end" in result["memory"].unavailable["memory"]
    assert result["network"].unavailable == {"network": "Input/output error"}
    assert "cannot be sent" in result["system"].unavailable["system"]
    assert "are the most" in result["software"].unavailable["software"]
    again = (await facts.collect(("memory",), 1000.0))[0]
    assert "still waiting" in decode_section("memory", again.data).unavailable["memory"]
    release.set()
    while facts._runs["memory"].is_alive():
        await asyncio.sleep(0.01)
    assert decode_section("memory", (await facts.collect(("memory",), 1000.0))[0].data) == Memory()


async def test_cost_is_measured_where_it_arises() -> None:
    def burns() -> int:
        from time import thread_time

        while thread_time() < 0.03:
            pass
        return 1 << 40

    def memory(a: Asked) -> Memory:
        return Memory(total=a.ask(Source(name="burns", ask=burns), None))

    ref = (await Facts({"memory": memory}, CLOCK).collect(("memory",), 1000.0))[0].ref
    assert ref.cpu_ms >= 30 and ref.wall_ms >= 30 and ref.collected_at == 1000


def test_machine_sources_of_other_systems_do_not_fail_here() -> None:
    assert machine.OS_ELSEWHERE.ask().name
    assert all(mount.path for mount in storage.MOUNTS_ELSEWHERE.ask())
    assert isinstance(power.SUPPLIES_ELSEWHERE.ask(), tuple)
