"""Every decoder that faces the network, fuzzed by coverage; and the fuzzer itself, on a decoder that has a bug."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.fuzz import guided
from tests.fuzz.decoders import DECODERS, Decoder
from tests.fuzz.guided import Found, fuzz
from tests.support.effort import LONG

SECONDS = 300 if LONG else 60 if os.environ.get("CI") else 15


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_decodes_its_seeds_and_whatever_else_is_an_error_of_ours(name: str) -> None:
    decoder = DECODERS[name]
    for seed in decoder.seeds:
        decoder.decode(seed)
    for _ in fuzz(name, decoder, SECONDS / len(DECODERS), random.Random()):
        pass


def test_the_fuzzer_finds_its_way_to_a_bug(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Four bytes, one after the other, that no chance finds at once: 2**32 inputs, had it nothing to learn from."""
    monkeypatch.setattr(guided, "CORPUS", tmp_path)
    module = tmp_path / "protocol"
    module.mkdir()
    (module / "buggy.py").write_text(
        "def decode(data):\n"
        "    if data[:1] == b'b':\n"
        "        if data[1:2] == b'u':\n"
        "            if data[2:3] == b'g':\n"
        "                if data[3:4] == b'!':\n"
        "                    return 1 // 0\n"
    )
    made: dict[str, object] = {}
    exec(compile((module / "buggy.py").read_text(), str(module / "buggy.py"), "exec"), made)
    with pytest.raises(Found, match="ZeroDivisionError"):
        for _ in fuzz("buggy", Decoder(made["decode"], (b"seed",)), 60.0, random.Random(7)):
            pass
    [kept] = (tmp_path / "buggy").iterdir()
    assert kept.read_bytes().startswith(b"bug!")
