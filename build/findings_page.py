"""docs/findings.md, from the texts and the thresholds: what a device may find, and from which value on."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "findings.md"

HEAD = """# Findings

What an agent finds wrong with its device, by the code that selectors, exports and texts use. `auxilio-agent diagnose`
says what each means and what to do, in the customer's language; `auxilio-agent guide NAME` shows a guide. This page is
made from the texts (`make catalogues`).
"""

THRESHOLDS = """
## Thresholds

A policy may set others: `{"thresholds": {"disk_full_percent": 5}}`. A name that a device does not know is passed over.

| name | default | why |
|---|---|---|
"""


def page() -> str:
    from guidance.catalogue import GUIDANCE

    rows = [f"| `{g.code}` | {g.title} | {g.guide} |" for g in sorted(GUIDANCE.values(), key=lambda g: g.code)]
    table = "\n| code | title | guide |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    return HEAD + table + THRESHOLDS + "\n".join(_thresholds()) + "\n"


def _thresholds() -> list[str]:
    """Each with the reason that stands below it."""
    from agent.findings.thresholds import Thresholds

    tree = ast.parse((ROOT / "agent" / "findings" / "thresholds.py").read_text(encoding="utf-8"))
    [body] = [node.body for node in tree.body if isinstance(node, ast.ClassDef)]
    rows = []
    for node, after in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            reason = ast.get_docstring(ast.Module([after], [])) if isinstance(after, ast.Expr) else None
            name, why = node.target.id, " ".join((reason or "").split())
            rows.append(f"| `{name}` | {getattr(Thresholds(), name):g} | {why} |")
    return rows
