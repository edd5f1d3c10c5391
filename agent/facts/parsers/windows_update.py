"""What Windows Update has found: the answer to SEARCH, and PSWindowsUpdate's table.

Source: Microsoft, Windows Update Agent API, IUpdate (MsrcSeverity, Categories, InstallationBehavior).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from agent.facts.parsers.installed import MAX_SIZE_KIB, Pending, count, pending, value
from protocol.sections.updates import Update

SEARCH = (
    "$s=(New-Object -ComObject Microsoft.Update.Session).CreateUpdateSearcher();$s.Online=$false;"
    "[Console]::OutputEncoding=[Text.Encoding]::UTF8;"
    "ConvertTo-Json -Compress -Depth 3 @($s.Search('IsInstalled=0 and IsHidden=0').Updates|ForEach-Object{"
    "@{title=$_.Title;kb=@($_.KBArticleIDs);severity=$_.MsrcSeverity;size=[long]$_.MaxDownloadSize;"
    "categories=@($_.Categories|ForEach-Object{$_.CategoryID});"
    "restart=$_.InstallationBehavior.RebootBehavior;id=$_.Identity.UpdateID}})"
)
"""Offline: what the service found when it looked last. Categories by id, since their names are in Windows' language."""

SECURITY_UPDATES = "0fa1201d-4330-4fa8-8ae9-b877473b6441"
"""CategoryID of "Security Updates". Source: Microsoft, UpdateClassification GUIDs."""

_ALWAYS_RESTARTS = 1
_TABLE_ROW = re.compile(r"[A-Z-]{6}\s+(?:\d{4}-\d\d-\d\d[ \d:]*\s+)?(KB\d{5,8})\s+(\S.*)\Z")


def parse_windows_updates(data: bytes) -> Pending:
    """One update is an object where several are a list, by ConvertTo-Json's way."""
    try:
        decoded = msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf").strip() or b"[]")
    except (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError):
        return Pending()
    items = decoded if isinstance(decoded, list) else [decoded]
    return pending(_update(item) for item in items if isinstance(item, dict))


def _update(item: dict[str, Any]) -> Update | None:
    articles = item.get("kb")
    if isinstance(articles, list):
        articles = articles[0] if articles else ""
    number = value(articles).upper().removeprefix("KB")
    categories = item.get("categories")
    named = [value(category).lower() for category in categories] if isinstance(categories, list) else []
    return Update(
        name=value(item.get("title")),
        version=f"KB{number}" if number.isdigit() else value(item.get("id")),
        security=SECURITY_UPDATES in named or bool(value(item.get("severity"))),
        system="windows-update",
        size_kib=count(item.get("size"), MAX_SIZE_KIB * 1024) // 1024,
        restart=item.get("restart") == _ALWAYS_RESTARTS,
    )


def parse_wulist(text: str) -> Pending:
    """PSWindowsUpdate's `Get-WUList`: flags, date, article and a title that is cut."""
    return pending(_rows(text))


def _rows(text: str) -> Iterator[Update]:
    for line in text.splitlines():
        if match := _TABLE_ROW.match(line[:1024].rstrip()):
            yield Update(name=value(match[2]).rstrip("."), version=match[1], system="windows-update")
