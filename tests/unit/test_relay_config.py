"""The relay's configuration: what is refused says where, and what was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.errors import ConfigInvalid
from relay import config

NAMES = '[server]\nnames = ["relay.example:443"]\n'


def load(tmp_path: Path, text: str) -> config.Config:
    (tmp_path / config.CONFIG_NAME).write_text(text)
    return config.load(tmp_path)


def test_the_template_is_a_configuration_and_says_the_defaults(tmp_path: Path) -> None:
    text = config.TEMPLATE.format(
        listen="*:8443", names='"r:1"', certificate="c.pem", key="k.pem", admin="127.0.0.1:9643"
    )
    settings = load(tmp_path, text)
    assert settings.names == ("r:1",)
    assert settings.certificate == tmp_path / "c.pem"
    # Every commented default is what holds where nothing is written.
    uncommented = "\n".join(
        line.removeprefix("# ") if "=" in line and "tls" not in line and "proxies" not in line else line
        for line in text.splitlines()
        if not line.startswith("# Where")
    )
    assert load(tmp_path, uncommented) == settings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "server"),
        ("not toml [", "TOML"),
        ("[server]\nnames = []\n", "names is empty"),
        ('[server]\nnames = ["no-port"]\n', "no name of a relay"),
        ('[server]\nnames = ["r:70000"]\n', "no name of a relay"),
        (NAMES + 'lissten = "0.0.0.0:1"\n', "lissten"),
        (NAMES + 'listen = "8443"\n', "no address to listen at"),
        (NAMES + "tls = false\n", "trusted_proxies"),
        (NAMES + 'trusted_proxies = ["proxy"]\n', "no address or network"),
        (NAMES + "[store]\nreports_kept = 0\n", "reports_kept"),
        (NAMES + "[store]\nreports_kept = true\n", "int"),
        (NAMES + "[limits]\nrequests_per_s = -1.0\n", "requests_per_s"),
        (NAMES + "[limits]\nrequests_per_s = nan\n", "requests_per_s"),
        (NAMES + '[admin]\nlisten = "0.0.0.0:9"\n', "open to everybody"),
        (NAMES + '[admin]\nlisten = "*:9"\n', "open to everybody"),
        (NAMES + '[log]\nlevel = "loud"\n', "level"),
    ],
)
def test_a_mistake_is_named_with_its_file(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigInvalid) as exc:
        load(tmp_path, text)
    assert said in exc.value.message
    assert str(tmp_path) in exc.value.message
    assert exc.value.hint


def test_an_unknown_key_brings_the_known_one_that_is_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid) as exc:
        load(tmp_path, NAMES + 'certifcate = "x"\n')
    assert "`certificate`" in exc.value.hint


def test_no_relay_here_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid) as exc:
        config.load(tmp_path)
    assert exc.value.reason == "no_relay"
    assert "init" in exc.value.hint


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.9", "192.0.2.1"),  # a stranger's claim
        ("10.0.0.1", "198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", "203.0.113.5, 198.51.100.9", "198.51.100.9"),  # the left one is the client's claim
        ("10.0.0.1", "203.0.113.5, 10.0.0.2", "203.0.113.5"),  # two proxies in a row
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "evil" * 4000, "10.0.0.1"),  # no address: from nobody whom the proxy saw
        ("10.0.0.1", "evil, 10.0.0.2", "10.0.0.2"),
    ],
)
def test_only_a_trusted_proxy_says_whose_request_it_is(tmp_path: Path, peer: str, forwarded: str, client: str) -> None:
    settings = load(tmp_path, NAMES + 'trusted_proxies = ["10.0.0.0/8"]\n')
    assert config.client_address(settings, peer, forwarded) == client


def test_names_are_lower_case_and_each_once(tmp_path: Path) -> None:
    settings = load(tmp_path, '[server]\nnames = ["Relay.Example:443", "relay.example:443", "[2001:db8::1]:8443"]\n')
    assert settings.names == ("relay.example:443", "[2001:db8::1]:8443")
