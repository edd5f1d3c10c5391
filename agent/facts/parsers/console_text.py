"""Bytes of Windows' tools as text: UTF-16 or UTF-8, with or without its mark, or the console's code page."""

from __future__ import annotations

OEM = "cp850"
"""The console's code page in Western Europe; its letters are those of cp437, the United States'."""


def text_of(data: bytes) -> str:
    """Never raises. Line ends are \\n."""
    return _decoded(data).replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")


def _decoded(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    if data[1:2] == b"\0" and data[3:4] == b"\0":
        return data.decode("utf-16-le", "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode(OEM, "replace")
