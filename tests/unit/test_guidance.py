"""What findings mean to people: complete, in both languages, and harmless whatever the evidence is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectivity import judge, judge_radio, router_judge
from agent.findings.rules import health, machine, memory, memory_modules, mobile, router, storage, system, updates
from guidance.catalogue import GUIDANCE, guidance_for
from guidance.guidance import TRANSLATED, Guidance
from guidance.guides import guide_names, guide_text
from guidance.language import LANGUAGES, fill, translated
from protocol.errors import UsageInvalid
from protocol.sections.findings import Finding

ROOT = Path(__file__).parents[2]
PLACE = re.compile(r"\{([^}]*)\}")


def codes_in(*modules: object) -> set[str]:
    """What a module calls its findings: literals beside `code=`, or the second word of a rung that is not well."""
    found: set[str] = set()
    for module in modules:
        text = Path(str(vars(module)["__file__"])).read_text()
        found |= set(re.findall(r'code="([a-z0-9-]+)"', text))
        found |= set(re.findall(r'_(?:fail|warn)\(\s*"[a-z0-9]+",\s*"([a-z0-9-]+)"', text))
        found |= set(re.findall(r'"((?:dns|proxy|relay|router)-[a-z-]+)"', text))
    return found


def test_whatever_is_found_has_its_texts_and_no_text_is_for_nothing() -> None:
    modules = (judge, machine, memory, memory_modules, mobile, storage, updates, health, system, router, router_judge)
    assert codes_in(*modules) | judge_radio.CODES == set(GUIDANCE)
    assert guidance_for("of-tomorrow") is None


def test_the_catalogues_are_in_step_and_the_spanish_is_complete() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "build" / "catalogues.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("guidance", GUIDANCE.values(), ids=GUIDANCE.keys())
def test_each_language_says_the_same_with_the_same_evidence(guidance: Guidance) -> None:
    spanish = translated(guidance, "es")
    for name in TRANSLATED:
        english, other = getattr(guidance, name), getattr(spanish, name)
        assert bool(english) == bool(other)
        assert sorted(PLACE.findall(english)) == sorted(PLACE.findall(other)), name
        assert all(re.fullmatch(r"[a-z_]+", place) for place in PLACE.findall(english)), name
        words = PLACE.sub("", english).strip(" :")
        assert not words or english != other, f"{name} is not translated"
    assert len(guidance.title) <= 80 and not guidance.title.endswith(".")


def test_each_guide_is_there_in_both_languages_and_named_by_a_text() -> None:
    assert {guidance.guide for guidance in GUIDANCE.values()} - {""} == set(guide_names())
    for name in guide_names():
        pages = [guide_text(name, language) for language in LANGUAGES]
        assert all(page.startswith("# ") and "\n1. " in page for page in pages)
        assert len({page.count("\n") for page in pages}) == 1 and pages[0] != pages[1]


@pytest.mark.parametrize("name", ["../guidance", "names.md", "", "/etc/passwd", "no\nsuch"])
def test_a_guide_s_name_is_no_path(name: str) -> None:
    with pytest.raises(UsageInvalid):
        guide_text(name, "en")


@given(st.text(max_size=40), st.text(max_size=40))
def test_evidence_is_text_and_no_format(subject: str, value: str) -> None:
    finding = Finding(code="x", severity="info", subject=subject, evidence={"server": value, "ms": 1.5})
    assert fill("{server} of {subject}: {ms} {nothing} {0} {a.b}", finding, "es") == (
        f"{value} of {subject}: 1,5 ? {{0}} {{a.b}}"
    )
