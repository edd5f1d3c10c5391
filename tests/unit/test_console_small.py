"""The console's small pure parts: durations, escape keys, host keys by id, ssh's configuration, sizes and dates."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from console.commands.device import changed_tags
from console.device_name import without_suffix
from console.escape_keys import EscapeKeys
from console.home import Home
from console.known_host import known_host_line
from console.login import check_clock
from console.remembered_names import RememberedNames
from console.render import ago, size, when
from console.ssh_config import Include, render
from console.waiting import waiting_line
from protocol.durations import duration_text, parse_duration
from protocol.errors import ConfigInvalid, Refused, UsageInvalid
from protocol.ids import device_id
from protocol.signing import public_blob


@pytest.mark.parametrize(("text", "seconds"), [("7d", 604_800), ("12H", 43_200), ("90m", 5400), ("45s", 45)])
def test_durations_are_read_with_their_unit(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds
    assert parse_duration(duration_text(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "0d", "7 days", "1e3d", "9999999999d", "7d\n7d", "\u0667d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageInvalid):
        parse_duration(text)


# -- escape keys ------------------------------------------------------------------------------------------------


def test_a_tilde_and_a_dot_after_a_line_break_end_the_session() -> None:
    assert EscapeKeys().feed(b"~.") == (b"", ["disconnect"])
    assert EscapeKeys().feed(b"ls\r~.") == (b"ls\r", ["disconnect"])


def test_a_tilde_in_the_middle_of_a_line_is_a_tilde() -> None:
    assert EscapeKeys().feed(b"cd ~.ssh\r") == (b"cd ~.ssh\r", [])


def test_two_tildes_send_one_and_an_unknown_escape_sends_both() -> None:
    assert EscapeKeys().feed(b"~~.") == (b"~.", [])
    assert EscapeKeys().feed(b"~a") == (b"~a", [])


def test_escapes_are_found_over_the_bounds_of_reads() -> None:
    keys = EscapeKeys()
    assert keys.feed(b"\r~") == (b"\r", [])
    assert keys.feed(b".") == (b"", ["disconnect"])


def test_help_is_asked_for_and_nothing_is_sent() -> None:
    keys = EscapeKeys()
    assert keys.feed(b"~?") == (b"", ["help"])
    assert keys.feed(b"~.") == (b"", ["disconnect"])


# -- host keys --------------------------------------------------------------------------------------------------


NOBODY = RememberedNames(Home(Path("/nowhere")))


def _device() -> tuple[str, str]:
    blob = public_blob(Ed25519PrivateKey.generate())
    return device_id(blob), base64.b64encode(blob).decode()


def test_a_host_key_is_vouched_for_under_the_name_that_ssh_asked_for(tmp_path: Path) -> None:
    device, key = _device()
    names = RememberedNames(Home(tmp_path))
    names.remember("pc-7", device)
    for host in (
        "pc-7.auxilio",
        "PC-7",
        device,
        f"{device}.auxilio",
        f"{device}.clinic.auxilio",
        f"[{device}.auxilio]:2222",
    ):
        assert known_host_line(host, "ssh-ed25519", key, lambda: names) == f"{host} ssh-ed25519 {key}"
    other = _device()[1]
    assert known_host_line("pc-7.auxilio", "ssh-ed25519", other, lambda: names) is None
    for unknown in ("pc-8.auxilio", "../names/@pc-7", "@pc-7", "pc-7/", "pc-7\n", ""):
        assert known_host_line(unknown, "ssh-ed25519", key, lambda: names) is None


@pytest.mark.parametrize("key", ["", "NONE", "AAAA", "!!", "é", "A" * 100_000])
def test_no_key_and_garbage_get_no_line(key: str) -> None:
    assert known_host_line(_device()[0], "ssh-ed25519", key, lambda: NOBODY) is None


def test_another_devices_key_gets_no_line() -> None:
    device, _ = _device()
    assert known_host_line(device, "ssh-ed25519", _device()[1], lambda: NOBODY) is None
    assert known_host_line("localhost", "ssh-ed25519", _device()[1], lambda: NOBODY) is None


def test_a_key_of_another_type_than_its_bytes_gets_no_line() -> None:
    device, key = _device()
    assert known_host_line(device, "ssh-rsa", key, lambda: NOBODY) is None


# -- ssh's configuration ----------------------------------------------------------------------------------------

INCLUDE = Include(command=["/usr/bin/auxilio"], key="/home/ana/.ssh/id_ed25519", account="admin")


def test_the_include_lends_a_device_nothing_and_asks_nothing() -> None:
    lines = {line.strip() for line in render(INCLUDE).splitlines()}
    assert {
        "ForwardAgent no",
        "ForwardX11 no",
        "StrictHostKeyChecking yes",
        "UserKnownHostsFile none",
        "IdentitiesOnly yes",
        "CertificateFile none",
        "ProxyCommand /usr/bin/auxilio proxy '%n' --account '%r'",
        "KnownHostsCommand /usr/bin/auxilio known-host %H %t %K",
    } <= lines


def test_includes_of_two_organisations_do_not_match_each_others_hosts() -> None:
    assert "Host *.auxilio !*.*.auxilio\n" in render(INCLUDE)
    labelled = Include(command=["auxilio"], key="k", account="admin", label="clinic")
    assert "Host *.clinic.auxilio\n" in render(labelled)


@pytest.mark.parametrize("label", ["Clinic", "a b", "*", "-x", "x" * 40, "a\nHost *"])
def test_a_label_cannot_widen_the_include(label: str) -> None:
    with pytest.raises(UsageInvalid):
        render(Include(command=["auxilio"], key="k", account="admin", label=label))


@pytest.mark.parametrize("path", ['/home/a"b/key', "/home/a$b/key", "/home/a`b`/key", "/home/%d/key", "/home/a\nb"])
def test_a_path_that_ssh_would_expand_is_refused(path: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        render(Include(command=["auxilio"], key=path, account="admin"))
    assert caught.value.reason == "bad_path"


# -- for people -------------------------------------------------------------------------------------------------


def test_sizes_are_in_binary_units() -> None:
    assert [size(n) for n in (None, 0, 1023, 1024, 8 * 2**30, 200 * 2**30, 3 * 2**50)] == [
        "-",
        "0 B",
        "1023 B",
        "1.0 KiB",
        "8.0 GiB",
        "200 GiB",
        "3072 TiB",
    ]


def test_ages_are_in_the_unit_that_a_person_would_use() -> None:
    assert [ago(1000.0, 1000.0 + s) for s in (-50, 5, 60, 7200, 86_400 * 3)] == ["now", "now", "1 min", "2 h", "3 d"]
    assert ago(None, 5) == ago(0, 5) == "-"


def test_a_date_out_of_bounds_is_said_and_not_raised() -> None:
    assert when(10**20) == when(-(10**20)) == "a date out of bounds"
    assert when(None) == "-"


def test_the_seconds_left_never_fall_below_zero() -> None:
    assert "41 s left" in waiting_line(1041.0, 1000.0)
    assert " 0 s left" in waiting_line(900.0, 1000.0)


def test_nothing_is_signed_while_the_clocks_differ_by_more_than_five_minutes() -> None:
    check_clock(1000.0, 1299.0)
    for now in (1301.0, 699.0):
        with pytest.raises(Refused) as caught:
            check_clock(1000.0, now)
        assert caught.value.reason == "clock_differs"


def test_device_names_lose_the_suffix_of_ssh_config() -> None:
    for text in ("K3m9x.auxilio", "k3m9x.clinic.auxilio", " k3m9x "):
        assert without_suffix(text) == "k3m9x"


def test_tags_are_added_and_taken_away() -> None:
    assert changed_tags(("clinic", "kiosk"), ("-kiosk", "+site=lugo")) == ("clinic", "site=lugo")
    with pytest.raises(UsageInvalid):
        changed_tags((), ("clinic",))
