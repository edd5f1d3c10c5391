"""Keys of Windows' registry, as `reg export` and `reg query` write them; agent/platform/windows_registry.py reads the
registry itself into the same. Source: Microsoft, ".reg file syntax"; reg query /?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

MAX_KEYS = 50_000
MAX_VALUE_CHARS = 1024

_VALUE = re.compile(r'(?:"((?:[^"\\]|\\.)*)"|(@))\s*=\s*(.*)\Z', re.S)
_QUERIED = re.compile(r"    (.+?)    (REG_[A-Z_]+)(?:    (.*))?\Z")
_HEX = re.compile(r"hex(?:\(([0-9a-f]+)\))?:([0-9a-f,\s]*)\Z", re.I)
_EXPAND, _MULTI, _QWORD = "2", "7", "b"


class Key(msgspec.Struct, frozen=True):
    """path: from the hive on, "HKEY_LOCAL_MACHINE\\...".  values: by name in lower case, "" for the default one; what
    is neither text nor number is left out."""

    path: str
    values: Mapping[str, str | int]


def parse_reg(text: str) -> tuple[Key, ...]:
    """Both forms; at most MAX_KEYS keys."""
    keys: list[Key] = []
    values: dict[str, str | int] | None = None
    for line in _lines(text):
        path = _path(line)
        if path is not None:
            if len(keys) == MAX_KEYS:
                break
            values = {}
            if not path.startswith("-"):  # "[-HKEY...": a key to be deleted
                keys.append(Key(path, values))
        elif values is not None:
            _take(line, values)
    return tuple(keys)


def _lines(text: str) -> Iterator[str]:
    """Lines, those joined that end in a backslash outside of a text: bytes go on over several."""
    whole = ""
    for line in text.split("\n"):
        if whole:
            line = line.lstrip()
        if line.endswith("\\") and (whole or "=hex" in line) and len(whole) < 64 * 1024:
            whole += line[:-1]
            continue
        yield whole + line
        whole = ""
    if whole:
        yield whole


def _path(line: str) -> str | None:
    if line.startswith("[") and line.rstrip().endswith("]"):
        return line.rstrip()[1:-1][:MAX_VALUE_CHARS]
    return line.strip()[:MAX_VALUE_CHARS] if line.startswith("HKEY_") else None


def _take(line: str, values: dict[str, str | int]) -> None:
    if match := _VALUE.match(line):
        name, data = _unescaped(match[1] or ""), _data(match[3].strip())
    elif match := _QUERIED.match(line):
        name, data = match[1], _queried(match[2], match[3] or "")
    else:
        return
    if data is not None:
        values.setdefault(name.lower()[:MAX_VALUE_CHARS], data)


def _data(text: str) -> str | int | None:
    if text.startswith('"'):
        return _unescaped(text[1:].removesuffix('"'))[:MAX_VALUE_CHARS]
    if text.startswith("dword:"):
        return _number(text[6:])
    match = _HEX.match(text)
    if match is None:
        return None
    data = bytes(int(byte, 16) for byte in re.findall(r"[0-9a-f]{2}", match[2], re.I))
    kind = (match[1] or "").lower()
    if kind in (_EXPAND, _MULTI):
        return data.decode("utf-16-le", "replace").rstrip("\0").replace("\0", "\n")[:MAX_VALUE_CHARS]
    return int.from_bytes(data, "little") if kind == _QWORD and len(data) == 8 else None


def _queried(kind: str, text: str) -> str | int | None:
    if kind in ("REG_DWORD", "REG_QWORD"):
        return _number(text.strip().removeprefix("0x"))
    return text.replace("\\0", "\n")[:MAX_VALUE_CHARS] if kind in ("REG_SZ", "REG_EXPAND_SZ", "REG_MULTI_SZ") else None


def _number(digits: str) -> int | None:
    digits = digits.strip()
    return int(digits, 16) if re.fullmatch(r"[0-9a-fA-F]{1,16}", digits) else None


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
