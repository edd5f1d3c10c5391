"""The guides: short pages that can be read where there is no network."""

from __future__ import annotations

from importlib import resources

from guidance.language import LANGUAGES
from protocol.errors import UsageInvalid

SUFFIX = ".md"


def guide_names() -> tuple[str, ...]:
    folder = resources.files("guidance") / "guides" / "en"
    return tuple(sorted(entry.name.removesuffix(SUFFIX) for entry in folder.iterdir() if entry.name.endswith(SUFFIX)))


def guide_text(name: str, language: str) -> str:
    """The Markdown of a guide. language: of guidance.language.LANGUAGES; English for any other.

    Raises UsageInvalid (no_guide): `name` is compared with those that there are, and never becomes part of a path
    otherwise.
    """
    if name not in guide_names():
        raise UsageInvalid("there is no such guide", code="no_guide", hint=f"There are: {', '.join(guide_names())}.")
    chosen = language if language in LANGUAGES else "en"
    return (resources.files("guidance") / "guides" / chosen / f"{name}{SUFFIX}").read_text(encoding="utf-8")
