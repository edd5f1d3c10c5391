"""Brings the translators' catalogues and docs/findings.md in step with the texts. For maintainers.

    .venv/bin/python build/catalogues.py [--check]

--check changes nothing, and fails where something would change or a text has no translation.
"""

from __future__ import annotations

import io
import sys
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "build")]
import findings_page  # noqa: E402  # found by the line above

TEXTS = ROOT / "guidance" / "texts"
LOCALE = ROOT / "guidance" / "locale"
WIDTH = 120
NO_DATE = datetime(2000, 1, 1, tzinfo=UTC)


def extracted() -> Catalog:
    """Every text that is marked, with its module; without line numbers, so that moving one changes nothing."""
    catalogue = Catalog(project="auxilio", charset="utf-8", fuzzy=False)
    for name, _, message, _, _ in sorted(extract_from_dir(TEXTS, keywords={"N_": None}), key=lambda one: one[0]):
        catalogue.add(message, locations=[(f"guidance/texts/{name}", None)])
    return catalogue


def as_po(catalogue: Catalog) -> bytes:
    out = io.BytesIO()
    write_po(out, catalogue, width=WIDTH, omit_header=False, include_lineno=False, sort_output=False)
    lines = out.getvalue().splitlines(keepends=True)
    return b"".join(line for line in lines if b"-Date: " not in line)  # else every run would differ


def as_mo(catalogue: Catalog) -> bytes:
    out = io.BytesIO()
    catalogue.creation_date = catalogue.revision_date = NO_DATE  # else every run would differ
    write_mo(out, catalogue)
    return out.getvalue()


def updated(path: Path, template: Catalog, language: str) -> Catalog:
    """What was translated already, and nothing that has no text any more."""
    held = read_po(io.BytesIO(path.read_bytes()), locale=language) if path.exists() else Catalog(locale=language)
    made = Catalog(locale=language, project="auxilio", charset="utf-8", fuzzy=False)
    for message in template:
        if message.id:
            before = held.get(message.id)
            made.add(message.id, before.string if before else "", locations=message.locations)
    return made


def main() -> int:
    check = "--check" in sys.argv[1:]
    template = extracted()
    wanted = {LOCALE / "auxilio.pot": as_po(template), findings_page.PAGE: findings_page.page().encode()}
    faults = []
    for folder in sorted(LOCALE.glob("*/LC_MESSAGES")):
        language = folder.parent.name
        catalogue = updated(folder / "auxilio.po", template, language)
        faults += [f"{language}: no translation: {m.id!r}" for m in catalogue if m.id and not m.string]
        wanted[folder / "auxilio.po"] = as_po(catalogue)
        # Compiled from what is written, so that both say the same.
        wanted[folder / "auxilio.mo"] = as_mo(read_po(io.BytesIO(as_po(catalogue)), locale=language))
    for path, data in wanted.items():
        if path.exists() and path.read_bytes() == data:
            continue
        if check:
            faults.append(f"{path.relative_to(ROOT)} is not in step: run `make catalogues`")
        else:
            path.write_bytes(data)
    print("\n".join(faults) or "in step")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
