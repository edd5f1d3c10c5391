"""Software and updates on the page: what waits is named, and nothing that a stranger named runs."""

from __future__ import annotations

from agent.diagnosis.page_software import MAX_ROWS, software_part
from agent.messages import ENGLISH
from protocol.sections.software import Package, Software
from protocol.sections.updates import Update, Updates

HOSTILE = "<script>alert(1)</script>"


def test_what_waits_is_counted_security_named_and_everything_escaped() -> None:
    waiting = (
        Update(name=HOSTILE, version="2", installed="1", security=True, system="dpkg"),
        Update(name="nano", version="8", installed="7", system="dpkg"),
    )
    updates = Updates(
        systems=("dpkg",),
        updates=waiting,
        refreshed_at={"dpkg": 10**18, HOSTILE: 0},
        restart=True,
        restart_for=(HOSTILE,),
    )
    software = Software(systems=("dpkg", "snap"), packages=(Package(name="a", version="1"),) * 3)
    text = "\n".join(software_part({"software": software, "updates": updates}))
    assert HOSTILE not in text and "&lt;script&gt;" in text and "nano" not in text
    assert "3 (dpkg)" in text and "(snap)" not in text and "1970-01-01" in text
    assert ENGLISH["page_updates_are"].format(count="2", security="1") in text


def test_where_nothing_is_known_the_page_says_nothing_and_a_long_list_is_cut() -> None:
    assert software_part({}) == [] == software_part({"software": Software(), "updates": Updates()})
    many = tuple(Update(name=f"lib{n}", version="2", security=True) for n in range(MAX_ROWS + 40))
    text = "".join(software_part({"updates": Updates(systems=("dpkg",), updates=many)}))
    assert text.count("<li>") == MAX_ROWS
