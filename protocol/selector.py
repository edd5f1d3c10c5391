"""Which devices: one small language for search, certificates' scopes, policies' rules and jobs.

    selector = all-of { "or" all-of }
    all-of   = unary { unary }                       side by side means "and"
    unary    = "not" unary | "(" selector ")" | term
    term     = "all" | "online" | "provisional"
             | "tag:" tag | "id:" prefix | "os:" name | "host:" pattern | "finding:" code
             | "ram" order size | "slots-free" comparison count | "signal" order level
             | "software:" name [ comparison version ]

`parse` makes a tree of frozen Structs (protocol/selector_tree.py), `to_text` the canonical text of a tree, `matches`
decides. docs/selectors.md explains it to users.
"""

from __future__ import annotations

import re
from typing import NoReturn

import msgspec

from protocol.errors import BadMessage
from protocol.selector_tree import (
    BARE,
    UNITS,
    All,
    And,
    Comparison,
    Facts,
    Finding,
    Host,
    Id,
    Installed,
    Not,
    Online,
    Or,
    Order,
    Os,
    Provisional,
    Ram,
    Selector,
    Signal,
    SlotsFree,
    Software,
    Tag,
    fits,
    matches,
    tags_only,
    to_text,
)
from protocol.text import escape

__all__ = [
    "MAX_SELECTOR_CHARS",
    "All",
    "And",
    "Facts",
    "Finding",
    "Host",
    "Id",
    "Installed",
    "Not",
    "Online",
    "Or",
    "Os",
    "Provisional",
    "Ram",
    "Selector",
    "SlotsFree",
    "Signal",
    "Software",
    "Tag",
    "fits",
    "matches",
    "parse",
    "parse_tag",
    "tags_only",
    "to_text",
]

MAX_SELECTOR_CHARS = 4096
"""Of the text and of its canonical form. It has to fit into a certificate's extension and into a URL."""

MAX_DEPTH = 32
"""Parentheses and `not` inside each other. Nobody can read four; Python's recursion limit is far away."""

TAG_PATTERN = r"[a-z0-9][a-z0-9._-]{0,62}(?:=[A-Za-z0-9][A-Za-z0-9._-]{0,62})?"
"""`name` or `name=value`. No comma or space (tags are listed in certificates), nothing a terminal or shell minds."""

HINT = "docs/selectors.md explains selectors; for example: tag:clinic os:debian ram<4GiB not tag:kiosk"


def parse(text: str) -> Selector:
    """Return the tree of `text`.

    text: at most MAX_SELECTOR_CHARS, printable characters and white space.
    Raises BadMessage, and nothing else, whatever the text is; the message names the position.
    """
    if len(text) > MAX_SELECTOR_CHARS:
        raise BadMessage(f"a selector of {len(text)} characters, where {MAX_SELECTOR_CHARS} is the most")
    reader = _Reader(text)
    tree = reader.selector(0)
    if reader.position < len(text):
        reader.fail("a parenthesis that nothing opened")
    if len(to_text(tree)) > MAX_SELECTOR_CHARS:
        raise BadMessage(f"a selector of more than {MAX_SELECTOR_CHARS} characters in its canonical form")
    return tree


def parse_tag(text: str) -> str:
    """`name` or `name=value` (see TAG_PATTERN), or BadMessage."""
    if len(text) > 127 or not re.fullmatch(TAG_PATTERN, text):
        raise BadMessage(
            f"not a tag: {escape(text, limit=60)!r}",
            hint="A tag is `name` or `name=value`: letters, digits, dot, underscore, hyphen; the name in lower case.",
        )
    return text


_BARE_TERMS: dict[str, Selector] = {"all": All(), "online": Online(), "provisional": Provisional()}
_SPACE = " \t\r\n"
_WORD = re.compile(r"[^\s()\":<>=!]*")
_VALUE = re.compile(BARE.pattern.removesuffix(r"\Z"))
_TAG_VALUE = re.compile(TAG_PATTERN)
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_COMPARISON = re.compile(r"<=|>=|!=|<|>|=")
_SIZE = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,3}))?([A-Za-z]*)")
_COUNT = re.compile(r"[0-9]{1,6}")
_LEVEL = re.compile(r"(-?[0-9]{1,4})dBm")
_CODE = re.compile(r"[a-z0-9][a-z0-9._+-]{0,63}\Z")
_ID = re.compile(r"[a-z0-9]{1,20}\Z")


class _Reader:
    """Recursive descent over one text. position: of the next character that is not read yet."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def fail(self, what: str, *, at: int | None = None, hint: str = HINT) -> NoReturn:
        position = self.position if at is None else at
        raise BadMessage(f"selector, at character {position + 1}: {what}", hint=hint)

    def selector(self, depth: int) -> Selector:
        if depth > MAX_DEPTH:
            self.fail(f"nested deeper than {MAX_DEPTH}")
        terms: list[Selector] = []
        while True:
            part = self.all_of(depth)
            terms.extend(part.terms if isinstance(part, Or) else (part,))
            if not self.keyword("or"):
                return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def all_of(self, depth: int) -> Selector:
        terms: list[Selector] = []
        while not self.ends():
            part = self.unary(depth)
            terms.extend(part.terms if isinstance(part, And) else (part,))
        if not terms:
            self.fail("a term is missing here" if self.text.strip(_SPACE) else "empty; `all` selects every device")
        return terms[0] if len(terms) == 1 else And(tuple(terms))

    def ends(self) -> bool:
        """Whether an all-of ends here: at the end, before a closing parenthesis or before `or`."""
        self.skip_space()
        return self.text[self.position : self.position + 1] in ("", ")") or self.word() == "or"

    def unary(self, depth: int) -> Selector:
        if depth > MAX_DEPTH:
            self.fail(f"nested deeper than {MAX_DEPTH}")
        self.skip_space()
        start = self.position
        if self.text.startswith("(", start):
            self.position += 1
            tree = self.selector(depth + 1)
            if not self.text.startswith(")", self.position):
                self.fail("this parenthesis is never closed", at=start)
            self.position += 1
            return tree
        if self.keyword("not"):
            if self.ends():
                self.fail("`not` of nothing", at=start)
            return Not(self.unary(depth + 1))
        return self.term()

    def term(self) -> Selector:
        start = self.position
        word = self.word()
        self.position += len(word)
        if self.text.startswith(":", self.position):
            self.position += 1
            return self.valued(word, start)
        if word == "ram":
            return self.ram()
        if word == "signal":
            return self.signal()
        if word == "slots-free":
            return self.slots_free()
        bare = _BARE_TERMS.get(word)
        if bare is not None:
            if self.text[self.position : self.position + 1] not in ("", "(", ")", *_SPACE):
                self.fail(f"`{word}` takes no value")
            return bare
        if word in ("and", "AND"):
            self.fail("there is no `and`: terms side by side already mean it", at=start)
        shown = escape(word or self.text[start : start + 1], limit=40)
        return self.fail(f"no such term: {shown!r}", at=start)

    def valued(self, word: str, start: int) -> Selector:
        if word == "tag":
            found = _TAG_VALUE.match(self.text, self.position)
            tag = found.group() if found else ""
            self.position += len(tag)
            return Tag(parse_tag(tag)) if tag and self.at_boundary() else self.bad_value("a tag")
        if word == "software":
            return self.software()
        if word not in ("id", "os", "host", "finding"):
            self.fail(f"no such term: {escape(word, limit=40) + ':'!r}", at=start)
        at = self.position
        value = self.value()
        if not self.at_boundary():
            self.bad_value(f"a value of {word}")
        match word:
            case "id":
                bare = value.lower().replace("-", "")
                if not _ID.match(bare):
                    self.fail("not the beginning of a device id (letters, digits and hyphens)", at=at)
                return Id("-".join(bare[i : i + 5] for i in range(0, len(bare), 5)))
            case "os" | "finding":
                code = value.lower()
                if not _CODE.match(code):
                    self.fail(f"not a name for {word}:", at=at)
                return Os(code) if word == "os" else Finding(code)
            case _:
                return Host(value)

    def software(self) -> Selector:
        name = self.value()
        found = _COMPARISON.match(self.text, self.position)
        if found is None:
            return Software(name) if self.at_boundary() else self.bad_value("a package name")
        self.position = found.end()
        version = self.value()
        if not self.at_boundary():
            self.bad_value("a version")
        return Software(name, msgspec.convert(found.group(), Comparison), version)

    def order(self, word: str, example: str) -> Order:
        found = _COMPARISON.match(self.text, self.position)
        if found is None or found.group() not in ("<", "<=", ">", ">="):
            self.fail(f"`{word}` is compared by <, <=, > or >=", hint=f"For example: {example}")
        self.position = found.end()
        order: Order = msgspec.convert(found.group(), Order)
        return order

    def signal(self) -> Selector:
        order = self.order("signal", "signal<-110dBm")
        level = _LEVEL.match(self.text, self.position)
        if level is None:
            self.fail("a signal's strength is a whole number of dBm", hint="For example: signal<-110dBm")
        self.position = level.end()
        if not self.at_boundary():
            self.bad_value("a strength")
        return Signal(order, int(level.group(1)))

    def ram(self) -> Selector:
        order = self.order("ram", "ram<4GiB")
        size = _SIZE.match(self.text, self.position)
        unit = UNITS.get(size.group(3)) if size else None
        if size is None or unit is None:
            self.fail("a size is a number and a unit: B KB MB GB TB KiB MiB GiB TiB", hint="For example: ram<4GiB")
        self.position = size.end()
        if not self.at_boundary():
            self.bad_value("a size")
        fraction = size.group(2) or ""
        return Ram(order, int(size.group(1)) * unit + int(fraction or "0") * unit // 10 ** len(fraction))

    def slots_free(self) -> Selector:
        hint = "For example: slots-free>0"
        found = _COMPARISON.match(self.text, self.position)
        if found is None:
            self.fail("`slots-free` is compared by <, <=, >, >=, = or !=", hint=hint)
        self.position = found.end()
        count = _COUNT.match(self.text, self.position)
        if count is None:
            self.fail("a number of slots is missing", hint=hint)
        self.position = count.end()
        if not self.at_boundary():
            self.bad_value("a number of slots")
        return SlotsFree(msgspec.convert(found.group(), Comparison), int(count.group()))

    def value(self) -> str:
        """A quoted value, or as many bare characters as there are. At least one, all of them printable."""
        if self.text.startswith('"', self.position):
            quoted = _QUOTED.match(self.text, self.position)
            if quoted is None:
                self.fail('a quoted value ends with " and has only \\" and \\\\ as escapes')
            value = re.sub(r"\\(.)", r"\1", quoted.group(1))
            if not value or not value.isprintable():
                self.fail("a quoted value is of printable characters")
            self.position = quoted.end()
            return value
        bare = _VALUE.match(self.text, self.position)
        if bare is None:
            self.fail("a value is missing; one with spaces or other signs is put in double quotes")
        self.position = bare.end()
        return bare.group()

    def bad_value(self, what: str) -> NoReturn:
        self.fail(f"{what} cannot go on like this; other signs belong in double quotes")

    def at_boundary(self) -> bool:
        return self.text[self.position : self.position + 1] in ("", "(", ")", *_SPACE)

    def word(self) -> str:
        found = _WORD.match(self.text, self.position)
        return found.group() if found else ""

    def keyword(self, name: str) -> bool:
        """Read `name` if it stands here as a word of its own."""
        self.skip_space()
        end = self.position + len(name)
        if self.word() != name or self.text[end : end + 1] not in ("", "(", ")", *_SPACE):
            return False
        self.position = end
        return True

    def skip_space(self) -> None:
        while self.text[self.position : self.position + 1] and self.text[self.position] in _SPACE:
            self.position += 1
