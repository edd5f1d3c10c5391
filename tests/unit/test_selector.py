"""Selectors: what they read, what they select, and what they refuse."""

from __future__ import annotations

import pytest

from protocol.errors import BadMessage
from protocol.selector import (
    MAX_SELECTOR_CHARS,
    All,
    And,
    Facts,
    Installed,
    Not,
    Or,
    Ram,
    SlotsFree,
    Software,
    Tag,
    matches,
    parse,
    parse_tag,
    tags_only,
    to_text,
)

ID = "k3m7x-abcde-fghij-klmno"

LAPTOP = Facts(
    id=ID,
    tags=frozenset({"clinic", "site=madrid"}),
    provisional=False,
    online=True,
    hostname="PC-Reception",
    os=("linux", "debian", "debian-12"),
    ram_bytes=4 * 1024**3 - 200 * 1024**2,
    slots_free=1,
    signal_dbm=-97,
    software={
        "firefox": (Installed("115.3.0esr-1~deb12u1"),),
        "openssl": (Installed("3.0.11-1"),),
        "kernel": (Installed("6.1.0-26"), Installed("6.1.0-28")),
        "tool": (Installed("", "files"),),
    },
    findings=frozenset({"no-signal"}),
)


@pytest.mark.parametrize(
    "text",
    [
        "all",
        "tag:clinic os:debian ram<4GiB software:firefox<128 finding:no-signal online not tag:kiosk",
        "tag:site=madrid",
        "os:DEBIAN-12",
        "host:pc-*",
        "host:PC-?eception",
        'host:"pc-reception"',
        "id:k3m7x",
        "id:K3M7XABC",
        f"id:{ID}",
        "not provisional",
        "software:firefox",
        "software:firefox>=115 software:firefox<116",
        "software:openssl!=3.0.10-1",
        "software:openssl=3.0.11-1",
        "software:Firefox software:OPENSSL>3",
        "software:kernel<6.1.0-28 software:kernel>6.1.0-26 software:kernel!=6.1.0-26",
        "software:tool",
        "not software:chromium",
        "signal<-90dBm signal<=-97dBm signal>=-97dBm not signal>-97dBm",
        "ram>=3.5GiB ram>3GB ram<=5000MB",
        "slots-free>0 slots-free<2 slots-free=1 slots-free!=0 ram<8GiB",
        "tag:nowhere or (tag:clinic (os:windows or os:linux))",
        "not (tag:clinic tag:kiosk)",
        "not not online",
        "\n tag:clinic\tonline ",
    ],
)
def test_the_laptop_is_selected(text: str) -> None:
    assert matches(parse(text), LAPTOP)


@pytest.mark.parametrize(
    "text",
    [
        "tag:site",  # a tag with a value is another tag
        "not online",
        "tag:clinic tag:kiosk",
        "os:windows",
        "host:pc",
        "host:*-lobby",
        "id:k3m7y",
        "ram>=4GiB",
        "slots-free>1",
        "slots-free!=1",
        "provisional",
        "software:firefox<115",
        "software:chromium",
        "software:chromium<999",
        "finding:disk-full",
        "signal<-110dBm",
        "software:kernel<6.1.0-26",
        "software:tool<1",  # its version is not known
        "not software:tool<1",
        "not all",
    ],
)
def test_the_laptop_is_not_selected(text: str) -> None:
    assert not matches(parse(text), LAPTOP)


def test_or_binds_weaker_than_side_by_side_and_not_binds_tightest() -> None:
    a, b, c = Tag("a"), Tag("b"), Tag("c")
    assert parse("tag:a tag:b or tag:c") == Or((And((a, b)), c))
    assert parse("tag:a (tag:b or tag:c)") == And((a, Or((b, c))))
    assert parse("not tag:a tag:b") == And((Not(a), b))
    assert parse("((tag:a)) (tag:b tag:c)") == And((a, b, c))


@pytest.mark.parametrize(
    "term",
    [
        "online",
        "provisional",
        "tag:x",
        "os:linux",
        "host:*",
        "ram<1TiB",
        "slots-free>0",
        "software:x",
        "software:x<1",
        "finding:x",
        "signal<-110dBm",
    ],
)
def test_an_unknown_fact_satisfies_neither_a_term_nor_its_negation(term: str) -> None:
    stranger = Facts(id=ID, tags=None)
    assert not matches(parse(term), stranger)
    assert not matches(parse(f"not {term}"), stranger)
    assert not matches(parse(f"all {term}"), stranger)
    assert not matches(parse(f"not (all {term})"), stranger)
    # What is certain whatever the fact is stays certain.
    assert matches(parse(f"all or {term}"), stranger)
    assert matches(parse(f"not (not all {term})"), stranger)


def test_a_device_known_to_have_no_tags_is_outside_of_every_tag() -> None:
    assert matches(parse("not tag:kiosk"), Facts(id=ID))
    assert not matches(parse("tag:kiosk"), Facts(id=ID))


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("", 1, "empty"),
        ("   ", 4, "empty"),
        ("clinic", 1, "no such term"),
        ("tag:a and tag:b", 7, "there is no `and`"),
        ("tag:a OR tag:b", 7, "no such term"),
        ("(tag:a", 1, "never closed"),
        ("tag:a)", 6, "nothing opened"),
        ("()", 2, "missing"),
        ("or tag:a", 1, "missing"),
        ("tag:a or", 9, "missing"),
        ("tag:a or or tag:b", 10, "missing"),
        ("not", 1, "`not` of nothing"),
        ("not )", 1, "`not` of nothing"),
        ("tag:", 5, "a tag"),
        ("tag:A", 5, "a tag"),
        ("tag:a,b", 6, "a tag"),
        ("tag:a=", 6, "a tag"),
        ("tag: a", 5, "a tag"),
        ("online:yes", 1, "no such term"),
        ("all=", 4, "takes no value"),
        ("ram", 4, "compared"),
        ("ram=4GiB", 4, "compared"),
        ("ram<4", 5, "a unit"),
        ("ram<4 GiB", 5, "a unit"),
        ("ram<4gib", 5, "a unit"),
        ("ram<-4GiB", 5, "a unit"),
        ("ram<9999999999999999GiB", 5, "a unit"),
        ("slots-free", 11, "compared"),
        ("slots-free>", 12, "missing"),
        ("slots-free>-1", 12, "missing"),
        ("slots-free>1.5", 13, "cannot go on"),
        ("slots-free:1", 1, "no such term"),
        ("id:xyz!", 7, "cannot go on"),
        ("id:o_o", 4, "device id"),
        ("host:", 6, "missing"),
        ('host:"a', 6, "ends with"),
        ('host:""', 6, "printable"),
        ('host:"a\nb"', 6, "printable"),
        ('host:"a\\x"', 6, "ends with"),
        ('host:"a"b', 9, "cannot go on"),
        ("host:ñandú", 6, "missing"),
        ("software:x<", 12, "missing"),
        ("software:x<<1", 12, "missing"),
        ("location:madrid", 1, "no such term"),
        ("\x1b[31m", 1, "no such term"),
        ("tag:a\u00a0tag:b", 6, "a tag"),
    ],
)
def test_an_error_names_the_position_and_helps(text: str, position: int, says: str) -> None:
    with pytest.raises(BadMessage) as caught:
        parse(text)
    assert f"at character {position}:" in caught.value.message
    assert says in caught.value.message
    assert caught.value.hint
    assert caught.value.message.isprintable()


def test_length_and_depth_are_bounded() -> None:
    with pytest.raises(BadMessage, match="characters"):
        parse("a" * (MAX_SELECTOR_CHARS + 1))
    for deep in ("(" * 33 + "all" + ")" * 33, "not " * 33 + "all", "(not " * 17 + "all" + ")" * 17):
        with pytest.raises(BadMessage, match="nested"):
            parse(deep)
    assert parse("(" * 32 + "all" + ")" * 32) == All()
    assert matches(parse("not " * 32 + "all"), LAPTOP)


def test_a_text_whose_canonical_form_would_be_too_long_is_refused() -> None:
    crammed = "(all)" * (MAX_SELECTOR_CHARS // 5)
    assert to_text(parse(crammed)).startswith("all all")
    grows = "(online or all)" * (MAX_SELECTOR_CHARS // 15)
    with pytest.raises(BadMessage, match="canonical"):
        parse(grows)


def test_sizes_are_exact() -> None:
    assert parse("ram<1.5GiB") == Ram("<", 1610612736)
    assert parse("ram>=16GB") == Ram(">=", 16_000_000_000)
    assert parse("ram>0B") == Ram(">", 0)
    assert to_text(Ram("<", 4 << 30)) == "ram<4GiB"
    assert to_text(Ram("<", 0)) == "ram<0B"
    assert parse("slots-free>=007") == SlotsFree(">=", 7) and to_text(SlotsFree("!=", 0)) == "slots-free!=0"


def test_quoted_values_keep_every_printable_character() -> None:
    tree = parse(r'software:"Mozilla \"Fire\" \\ fox (x64)">="1.0 beta"')
    assert tree == Software('Mozilla "Fire" \\ fox (x64)', ">=", "1.0 beta")
    assert parse(to_text(tree)) == tree
    assert matches(parse('host:"ñandú *"'), Facts(id=ID, hostname="ÑANDÚ 7"))


def test_a_hostile_pattern_takes_no_exponential_time() -> None:
    pattern = parse("host:" + "a*" * 200 + "b")
    assert not matches(pattern, Facts(id=ID, hostname="a" * 255))


@pytest.mark.parametrize("text", ["all", "tag:a", "not tag:a", f"id:{ID}", f"(tag:a or id:{ID}) not tag:b=C"])
def test_a_scope_of_what_an_admin_signed_is_accepted(text: str) -> None:
    assert tags_only(parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "online",
        "tag:a online",
        "tag:a or os:linux",
        "not provisional",
        "host:*",
        "ram<1GiB",
        "slots-free>0",
        "software:x",
        "finding:x",
        "id:k3m7x",  # a part of an id: somebody else's key could begin with it
    ],
)
def test_a_scope_of_what_a_device_or_relay_says_is_not(text: str) -> None:
    assert not tags_only(parse(text))


@pytest.mark.parametrize("tag", ["clinic", "site=madrid", "a", "0.b_c-d=X.Y_z-9", "a" * 63 + "=" + "b" * 63])
def test_a_tag_is_read(tag: str) -> None:
    assert parse_tag(tag) == tag
    assert parse(f"tag:{tag}") == Tag(tag)


@pytest.mark.parametrize(
    "tag", ["", "A", "-a", "a b", "a,b", "a=", "=b", "a=b=c", "a" * 64, "a\n", "ñ", "a=ñ", "\ud800", "a=-"]
)
def test_what_is_no_tag_is_refused(tag: str) -> None:
    with pytest.raises(BadMessage):
        parse_tag(tag)
