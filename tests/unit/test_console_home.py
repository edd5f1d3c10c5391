"""The console's files: whole or not at all, private, and never overwritten when they are damaged."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from console.home import MAX_FILE_BYTES, Home, check_folder, home_folder, read_file, write_file
from console.passphrase import Passphrases
from console.settings import FILE, Settings, load_settings
from protocol.errors import ConfigInvalid, Unavailable


def test_the_home_is_the_option_then_the_variable_then_the_configuration_folder() -> None:
    environ = {"AUXILIO_HOME": "/a", "XDG_CONFIG_HOME": "/c"}
    assert home_folder(environ, "/o") == Path("/o")
    assert home_folder(environ) == Path("/a")
    assert home_folder({"XDG_CONFIG_HOME": "/c"}) == Path("/c/auxilio")


def test_what_is_written_is_private(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.write("trust/policy.json", b"x")
    assert stat.S_IMODE((tmp_path / "home" / "trust").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "home" / "trust" / "policy.json").stat().st_mode) == 0o600


def test_a_folder_that_others_may_write_into_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigInvalid) as caught:
        Home(tmp_path).write("settings.json", b"{}")
    assert caught.value.reason == "insecure_folder"
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.write(FILE, b'{"organisation": 5')
    with pytest.raises(ConfigInvalid) as caught:
        load_settings(home)
    assert caught.value.reason == "corrupt_file"
    assert str(home.file(FILE)) in caught.value.message
    assert home.read(FILE) == b'{"organisation": 5'


def test_a_missing_file_is_its_default(tmp_path: Path) -> None:
    assert load_settings(Home(tmp_path / "nothing")) == Settings()
    assert not (tmp_path / "nothing").exists()


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with open(path, "wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(ConfigInvalid):
        read_file(path)


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_file(path, b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable) as caught:
        write_file(path, b"new")
    assert caught.value.reason == "disk_full"
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_passphrase_comes_from_a_file_then_the_environment_and_is_asked_for_only_at_a_terminal(
    tmp_path: Path,
) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes("contraseña\r\nsecond line\n".encode())
    environ = {"AUXILIO_PASSPHRASE": "other"}
    assert Passphrases(environ, file=file, may_ask=False).given() == "contraseña".encode()
    assert Passphrases(environ, may_ask=False).given() == b"other"
    with pytest.raises(ConfigInvalid) as caught:
        Passphrases({}, may_ask=False).ask("Passphrase")
    assert caught.value.reason == "passphrase_needed"


def test_an_empty_passphrase_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes(b"\n")
    with pytest.raises(ConfigInvalid):
        Passphrases({}, file=file, may_ask=False).given()


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_home_that_others_could_prepare_is_not_read(tmp_path: Path) -> None:
    home = tmp_path / "home"
    check_folder(home)  # not there yet: nobody's
    home.mkdir(mode=0o700)
    check_folder(home)
    home.chmod(0o777)
    with pytest.raises(ConfigInvalid) as caught:
        check_folder(home)
    assert caught.value.reason == "insecure_folder" and "chmod" in caught.value.hint
    home.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(home, 65534, 65534)
        with pytest.raises(ConfigInvalid):
            check_folder(home)
