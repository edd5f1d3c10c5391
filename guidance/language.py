"""The texts in a person's language, with a finding's evidence in its places."""

from __future__ import annotations

import gettext
import re
from functools import cache
from importlib import resources

import msgspec

from guidance.guidance import TRANSLATED, Guidance
from protocol.sections.findings import Finding

LANGUAGES = ("en", "es")
"""English is what the texts are written in."""

DOMAIN = "auxilio"
DECIMAL_POINT = {"en": ".", "es": ","}

_PLACE = re.compile(r"\{([a-z_]+)\}")


def translated(guidance: Guidance, language: str) -> Guidance:
    """language: of LANGUAGES; English for any other."""
    if language not in LANGUAGES or language == "en":
        return guidance
    texts = {name: text for name in TRANSLATED if (text := getattr(guidance, name))}
    return msgspec.structs.replace(guidance, **{name: text_in(text, language) for name, text in texts.items()})


def text_in(text: str, language: str) -> str:
    """A text that N_ marked, in a language of LANGUAGES; English for any other."""
    return text if language not in LANGUAGES or language == "en" else _catalogue(language).gettext(text)


@cache
def _catalogue(language: str) -> gettext.NullTranslations:
    path = resources.files("guidance") / "locale" / language / "LC_MESSAGES" / f"{DOMAIN}.mo"
    with path.open("rb") as file:
        return gettext.GNUTranslations(file)


def fill(text: str, finding: Finding, language: str = "en") -> str:
    """`text` with the finding's evidence in place of {names}; "?" where it has none of that name.

    The evidence is the device's, and so is nothing that may be trusted: it is not escaped here, since pages and
    terminals escape differently. Nothing of it is read as a format.
    """
    values = {"subject": finding.subject, **finding.evidence}

    def value(found: re.Match[str]) -> str:
        one = values.get(found.group(1), "?")
        if isinstance(one, float):
            return f"{one:g}".replace(".", DECIMAL_POINT.get(language, "."))
        return str(one)

    return _PLACE.sub(value, text)
