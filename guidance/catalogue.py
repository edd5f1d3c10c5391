"""All texts, by the code of their finding."""

from __future__ import annotations

from collections.abc import Mapping

from guidance.guidance import Guidance
from guidance.texts import (
    between,
    dns,
    health,
    home_router,
    link,
    machine,
    memory_modules,
    mobile,
    relay,
    router,
    system,
    updates,
    wifi,
)


def _table(*texts: tuple[Guidance, ...]) -> Mapping[str, Guidance]:
    table: dict[str, Guidance] = {}
    for guidance in (one for several in texts for one in several):
        assert guidance.code not in table, guidance.code
        table[guidance.code] = guidance
    return table


GUIDANCE: Mapping[str, Guidance] = _table(
    between.TEXTS,
    dns.TEXTS,
    health.TEXTS,
    home_router.TEXTS,
    link.TEXTS,
    machine.TEXTS,
    memory_modules.TEXTS,
    mobile.TEXTS,
    relay.TEXTS,
    router.TEXTS,
    system.TEXTS,
    updates.TEXTS,
    wifi.TEXTS,
)


def guidance_for(code: str) -> Guidance | None:
    """None for a code of a release that knows more than this one."""
    return GUIDANCE.get(code)
