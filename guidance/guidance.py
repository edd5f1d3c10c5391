"""What people read about one finding. Pure: texts in English, which are also the keys of the other languages."""

from __future__ import annotations

import msgspec


class Guidance(msgspec.Struct, frozen=True, kw_only=True):
    """The texts of one finding's code. `{name}` in any of them stands for the finding's evidence of that name, or its
    `{subject}`; nothing else of str.format is used.

    title: a line, for both.  customer: what it means, for somebody who is not technical.  customer_does: what they can
    do, in the imperative, or "".  technician: what it means and how it was seen.  technician_does: what to do, or "".
    command: one ready command of this device's system, or "".  script: of the library, or "".  guide: a page of
    `guides/`, by its name, or "".
    """

    code: str
    title: str
    customer: str
    customer_does: str = ""
    technician: str
    technician_does: str = ""
    command: str = ""
    script: str = ""
    guide: str = ""


TRANSLATED = ("title", "customer", "customer_does", "technician", "technician_does")


def N_(text: str) -> str:  # gettext's own name for it
    """Marks a text for the translators' catalogue."""
    return text
