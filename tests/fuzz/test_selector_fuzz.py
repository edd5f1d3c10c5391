"""Selectors: any text is a tree or BadMessage, a tree's text reads as that tree, and logic is logic."""

from __future__ import annotations

import string

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import BadMessage
from protocol.selector import (
    MAX_SELECTOR_CHARS,
    TAG_PATTERN,
    All,
    And,
    Facts,
    Finding,
    Host,
    Id,
    Installed,
    Not,
    Online,
    Or,
    Os,
    Provisional,
    Ram,
    Selector,
    Signal,
    SlotsFree,
    Software,
    Tag,
    matches,
    parse,
    tags_only,
    to_text,
)
from protocol.versions import compare

printable = st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), min_size=1, max_size=20)
codes = st.from_regex(r"[a-z0-9][a-z0-9._+-]{0,10}", fullmatch=True)
tags = st.from_regex(TAG_PATTERN, fullmatch=True).filter(str.isascii)
versions = st.text(string.ascii_letters + string.digits + ".~+-:", min_size=1, max_size=12)
bare_ids = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20)
ids = bare_ids.map(lambda bare: "-".join(bare[i : i + 5] for i in range(0, len(bare), 5)))

terms: st.SearchStrategy[Selector] = st.one_of(
    st.sampled_from([All(), Online(), Provisional()]),
    tags.map(Tag),
    ids.map(Id),
    codes.map(Os),
    codes.map(Finding),
    printable.map(Host),
    st.builds(Ram, st.sampled_from(["<", "<=", ">", ">="]), st.integers(0, 10**15)),
    st.builds(SlotsFree, st.sampled_from(["<", "<=", ">", ">=", "=", "!="]), st.integers(0, 999_999)),
    st.builds(Signal, st.sampled_from(["<", "<=", ">", ">="]), st.integers(-9999, 9999)),
    printable.map(Software),
    st.builds(Software, printable, st.sampled_from(["<", "<=", ">", ">=", "=", "!="]), versions),
)


def _several(kind: type, trees: st.SearchStrategy[Selector]) -> st.SearchStrategy[Selector]:
    parts = st.lists(trees.filter(lambda tree: not isinstance(tree, kind)), min_size=2, max_size=4)
    return parts.map(lambda terms: kind(tuple(terms)))


trees = st.recursive(
    terms,
    lambda inner: st.one_of(inner.map(Not), _several(And, inner), _several(Or, inner)),
    max_leaves=12,
)

facts = st.builds(
    Facts,
    id=ids,
    tags=st.none() | st.frozensets(tags, max_size=3),
    provisional=st.none() | st.booleans(),
    online=st.none() | st.booleans(),
    hostname=st.none() | printable,
    os=st.lists(codes, max_size=3).map(tuple),
    ram_bytes=st.none() | st.integers(0, 10**15),
    slots_free=st.none() | st.integers(0, 64),
    signal_dbm=st.none() | st.integers(-200, 0),
    software=st.none()
    | st.dictionaries(printable.map(str.lower), st.lists(versions.map(Installed), max_size=2).map(tuple), max_size=3),
    findings=st.none() | st.frozensets(codes, max_size=3),
)

WORDS = "( ) not or all online provisional tag: tag:a os:x id:k3 host: * ram < 4GiB ram<1.5TB software: = !="
WORDS += " slots-free slots-free>0"
fragments = st.lists(
    st.sampled_from([*WORDS.split(" "), " ", " ", "\n", "\x1b", "\ud800", "é", ":", "x", '"', "\\"]),
    max_size=30,
).map("".join)


@given(trees)
def test_the_text_of_a_tree_reads_as_that_tree(tree: Selector) -> None:
    text = to_text(tree)
    if len(text) <= MAX_SELECTOR_CHARS:
        assert parse(text) == tree


@settings(max_examples=500)
@given(st.text(max_size=60) | fragments)
def test_any_text_is_a_tree_or_bad_message(text: str) -> None:
    try:
        tree = parse(text)
    except BadMessage as exc:
        assert exc.message.isprintable()
        return
    canonical = to_text(tree)
    assert parse(canonical) == tree
    assert to_text(parse(canonical)) == canonical


@given(st.text('() notralix:<"\\', min_size=200, max_size=MAX_SELECTOR_CHARS + 10))
def test_long_and_deep_text_ends_in_bounds(text: str) -> None:
    try:
        parse(text)
    except BadMessage:
        pass


@given(trees, facts)
def test_a_tree_and_its_negation_never_both_select(tree: Selector, known: Facts) -> None:
    assert not (matches(tree, known) and matches(Not(tree), known))
    assert matches(Not(Not(tree)), known) == matches(tree, known)


@given(trees, facts)
def test_learning_more_never_takes_a_selected_device_out(tree: Selector, known: Facts) -> None:
    """What matched on partial knowledge matches whatever the missing facts turn out to be."""
    if matches(tree, known):
        full = Facts(
            id=known.id,
            tags=frozenset() if known.tags is None else known.tags,
            provisional=bool(known.provisional),
            online=bool(known.online),
            hostname=known.hostname or "",
            os=known.os or ("linux",),
            ram_bytes=known.ram_bytes or 0,
            slots_free=known.slots_free or 0,
            signal_dbm=known.signal_dbm or 0,
            software=known.software or {},
            findings=known.findings or frozenset(),
        )
        assert matches(tree, full)


@given(trees, facts, facts)
def test_a_scope_decides_by_tags_and_id_alone(tree: Selector, one: Facts, other: Facts) -> None:
    if tags_only(tree):
        same = Facts(
            id=one.id,
            tags=one.tags,
            provisional=other.provisional,
            online=other.online,
            hostname=other.hostname,
            os=other.os,
            ram_bytes=other.ram_bytes,
            slots_free=other.slots_free,
            signal_dbm=other.signal_dbm,
            software=other.software,
            findings=other.findings,
        )
        assert matches(tree, one) == matches(tree, same)


@given(st.text(max_size=12) | versions, st.text(max_size=12) | versions, st.text(max_size=12) | versions)
def test_versions_are_in_a_total_order(a: str, b: str, c: str) -> None:
    assert compare(a, b) == -compare(b, a)
    assert compare(a, a) == 0
    if compare(a, b) <= 0 and compare(b, c) <= 0:
        assert compare(a, c) <= 0
