"""What is wrong with a device, to a technician."""

from __future__ import annotations

from console.render import print_table, when
from console.views.connectivity import evidence_text
from protocol.sections.findings import Findings


def findings_view(findings: Findings) -> None:
    if not findings.findings:
        print("nothing is wrong, as far as it can tell")
        return
    print_table(
        ("severity", "finding", "about", "since", "evidence"),
        [
            (f.severity, f.code, f.subject, when(f.since_at) if f.since_at else "", evidence_text(f.evidence))
            for f in findings.findings
        ],
    )
