"""What macOS would install: `softwareupdate --list`, in its two forms. softwareupdate(8)

Until 10.14: "- LABEL" and below it "TITLE (VERSION), SIZE [recommended] [restart]"; from 10.15 on: "* Label: LABEL" and
below it "Title: ..., Version: ..., Size: ..., Recommended: YES, Action: restart,".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.facts.parsers.installed import Pending, kib_of_text, pending, value
from protocol.sections.updates import Update

_OLD_LABEL = re.compile(r"\s*[-*!]\s+(?!Label:)(\S.*)\Z")
_OLD_DETAIL = re.compile(r"\s+(.+) \(([^()]*)\), (\d+[KMG]?)\b(.*)\Z")
_NEW_DETAIL = re.compile(r"\s+Title: (.+?), Version: (.*?), Size: (\d+[KMG]?i?B?)\b(.*)\Z")
_SECURITY = re.compile(r"\bsecurity\b|\bXProtect\b|\brapid response\b", re.I)
_SYSTEM = re.compile(r"macOS .*\d")
"""Apple fixes holes in updates of the system, and says so only on its pages."""


def parse_softwareupdate(text: str) -> Pending:
    return pending(_updates(text))


def _updates(text: str) -> Iterator[Update]:
    label = ""
    for line in text.splitlines():
        line = line[:1024]
        if match := _NEW_DETAIL.match(line):
            yield _update(match, restart="action: restart" in match[4].lower())
        elif label and (match := _OLD_DETAIL.match(line)):
            yield _update(match, restart="[restart]" in match[4])
            label = ""
        elif match := _OLD_LABEL.match(line):
            label = match[1]


def _update(match: re.Match[str], *, restart: bool) -> Update:
    title = value(match[1])
    return Update(
        name=title,
        version=value(match[2]) or "-",
        security=bool(_SECURITY.search(title) or _SYSTEM.match(title)),
        system="macos",
        size_kib=kib_of_text(match[3]),
        restart=restart,
    )
