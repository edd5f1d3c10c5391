"""XML from a device that nobody vouches for: small, flat, without entities.

The standard library's expat does the reading, with everything refused that makes XML dangerous: a document type (and
with it entities, which grow without bound or name files), depth, number and size. The encoding that a document claims
is not believed: these are UTF-8, or ASCII.
"""

from __future__ import annotations

import re
from typing import NoReturn
from xml.parsers import expat

import msgspec

from protocol.errors import BadMessage

MAX_XML_BYTES = 256 * 1024
"""The largest description in use, of a router with telephony and storage, is 40 KiB."""

MAX_DEPTH = 24
"""A service of an InternetGatewayDevice is at 10."""

MAX_ELEMENTS = 5000
MAX_TEXT_CHARS = 2000

_LONE_AMPERSAND = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9a-fA-F]{1,6});)")
"""Makers write "Smith & Sons" into names, and URLs with queries."""


class Element(msgspec.Struct):
    """name: without its prefix. text: its own, stripped, at most MAX_TEXT_CHARS."""

    name: str
    text: str = ""
    children: list[Element] = []

    def child(self, name: str) -> Element | None:
        return next((child for child in self.children if child.name == name), None)

    def text_of(self, name: str) -> str:
        """The text of its first child of that name, or ""."""
        child = self.child(name)
        return child.text if child is not None else ""

    def below(self, name: str) -> list[Element]:
        """All elements of that name in it, in the document's order."""
        found = []
        for child in self.children:
            if child.name == name:
                found.append(child)
            found += child.below(name)
        return found


def parse_xml(data: bytes) -> Element:
    """The document's root. Raises BadMessage, and nothing else, whatever the bytes are."""
    if len(data) > MAX_XML_BYTES:
        raise BadMessage(f"an XML document of {len(data)} bytes, where {MAX_XML_BYTES} are the most")
    text = data.removeprefix(b"\xef\xbb\xbf").strip(b"\0 \t\r\n").decode("utf-8", "replace")
    reader = _Reader()
    try:
        reader.parser.Parse(_LONE_AMPERSAND.sub(b"&amp;", text.encode()), True)
    except (expat.ExpatError, ValueError) as exc:
        raise BadMessage(f"no XML: {exc}") from exc
    if reader.root is None:
        raise BadMessage("an XML document with nothing in it")
    return reader.root


class _Reader:
    def __init__(self) -> None:
        self.parser = expat.ParserCreate("utf-8")
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse
        self.parser.buffer_text = True
        self.root: Element | None = None
        self._open: list[Element] = []
        self._count = 0

    def _start(self, name: str, attributes: object) -> None:
        self._count += 1
        if len(self._open) >= MAX_DEPTH or self._count > MAX_ELEMENTS:
            raise BadMessage("an XML document that is too deep or too long")
        element = Element(name.rpartition(":")[2])
        if self._open:
            self._open[-1].children.append(element)
        elif self.root is None:
            self.root = element
        self._open.append(element)

    def _end(self, name: str) -> None:
        element = self._open.pop()
        element.text = element.text.strip()

    def _characters(self, text: str) -> None:
        element = self._open[-1]
        if len(element.text) < MAX_TEXT_CHARS:
            element.text = (element.text + text)[:MAX_TEXT_CHARS]

    def _refuse(self, *_: object) -> NoReturn:
        raise BadMessage("an XML document with a document type")
