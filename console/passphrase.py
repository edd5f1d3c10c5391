"""Where a passphrase comes from: a file, the environment, or a person at a terminal. Never an argument."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from console.home import read_file
from protocol.errors import ConfigInvalid

VARIABLE = "AUXILIO_PASSPHRASE"
MAX_PASSPHRASE_BYTES = 1024
ATTEMPTS = 3


class Passphrases:
    """file: `--passphrase-file`.  may_ask: False where a prompt would hang or garble (a pipe, `proxy`)."""

    def __init__(self, environ: Mapping[str, str], *, file: Path | None = None, may_ask: bool | None = None) -> None:
        self._environ = environ
        self._file = file
        self.may_ask = sys.stdin.isatty() and sys.stderr.isatty() if may_ask is None else may_ask

    def given(self) -> bytes | None:
        """The passphrase that a file or the environment gives, or None. Raises ConfigInvalid for a bad file."""
        if self._file is not None:
            data = read_file(self._file, MAX_PASSPHRASE_BYTES)
            first = (data or b"").split(b"\n", 1)[0].removesuffix(b"\r")
            if not first:
                raise ConfigInvalid(f"no passphrase in {self._file}", code="bad_passphrase_file")
            return first
        text = self._environ.get(VARIABLE)
        return text.encode() if text else None

    def ask(self, prompt: str) -> bytes:
        """Ask a person. Raises ConfigInvalid (passphrase_needed) where there is no terminal."""
        if not self.may_ask:
            raise ConfigInvalid(
                f"a passphrase is needed: {prompt}",
                code="passphrase_needed",
                hint=f"Load the key with `ssh-add`, give --passphrase-file, or set {VARIABLE}.",
            )
        from getpass import getpass

        return getpass(f"{prompt}: ", stream=sys.stderr).encode()

    def choose(self, prompt: str) -> bytes:
        """A new passphrase: given, or asked for twice. Raises ConfigInvalid."""
        given = self.given()
        if given is not None:
            return given
        first = self.ask(prompt)
        if not first:
            raise ConfigInvalid("an empty passphrase", code="bad_passphrase", hint="--no-passphrase says it aloud.")
        if self.ask("Again") != first:
            raise ConfigInvalid("the two passphrases differ", code="bad_passphrase", hint="Nothing was made.")
        return first
