"""What the rules look at: a device's sections, the time, the thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from agent.findings.thresholds import Thresholds
from protocol.sections.base import Section

S = TypeVar("S", bound=Section)


class Known:
    """now: Unix seconds."""

    def __init__(self, sections: Mapping[str, Section], now: float, thresholds: Thresholds | None = None) -> None:
        self._sections = {type(section): section for section in sections.values()}
        self.now = now
        self.thresholds = thresholds or Thresholds()

    def of(self, kind: type[S]) -> S:
        """That section; an empty one where it is not known, so that each rule finds nothing there."""
        section = self._sections.get(kind)
        return section if isinstance(section, kind) else kind()
