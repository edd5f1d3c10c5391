"""What a device has installed, kept small and searched without being unpacked into objects.

zlib over lines "\\nname\\tversion": 2,000 packages are 60 KB as text and 20 KB as kept. Looking one up is a search in
bytes. A name with a line feed or tab in it is no package's, and is left out.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping

MAX_TEXT_BYTES = 4 * 1024 * 1024


def pack(packages: Mapping[str, str]) -> bytes:
    lines = [
        f"\n{name}\t{version}"
        for name, version in sorted(packages.items())
        if not any(sign in name + version for sign in "\n\t")
    ]
    return zlib.compress(("".join(lines) + "\n").encode("utf-8", "replace"), 3)


class SoftwareMap(Mapping[str, str]):
    """A mapping of package name to version over what `pack` made."""

    def __init__(self, packed: bytes) -> None:
        self._text = zlib.decompressobj().decompress(packed, MAX_TEXT_BYTES)

    def __getitem__(self, name: str) -> str:
        start = self._text.find(f"\n{name}\t".encode("utf-8", "replace")) if "\t" not in name else -1
        if start < 0:
            raise KeyError(name)
        start = self._text.index(b"\t", start) + 1
        return self._text[start : self._text.index(b"\n", start)].decode("utf-8", "replace")

    def __iter__(self) -> Iterator[str]:
        for line in self._text.split(b"\n"):
            if line:
                yield line.partition(b"\t")[0].decode("utf-8", "replace")

    def __len__(self) -> int:
        return max(0, self._text.count(b"\n") - 1)
