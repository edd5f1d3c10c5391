"""Asking one source: its answer, or "not available" with the reason; never an exception, never a wait without end.

Each question runs in a thread of its own, because what it asks may hang (a dead mount, a sick disk, a stuck driver),
and a thread that hangs in the kernel cannot be stopped. It is left behind, and its source is not asked again until it
has come back: hung threads do not pile up.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import msgspec

from agent.facts.programs import is_roots, windows_program
from protocol.system_clock import Clock

T = TypeVar("T")
D = TypeVar("D")

DEADLINE_S = 5.0
"""For a file of /proc or /sys, which takes microseconds, on a machine that is swapping itself to death."""

MAX_REASON_CHARS = 200

PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/bin:/opt/homebrew/bin"
"""Where programs are: the agent may be root, and no environment chooses what root runs. Of these folders some are an
account's, as Homebrew's: root runs nothing from there (agent.facts.programs)."""

LINUX = frozenset({"linux"})
EVERYWHERE: frozenset[str] = frozenset()


class Missing(Exception):
    """The source has no answer, for a reason that a technician can use."""


class Source(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One thing that can be asked. name: under which `unavailable` gives the reason, and by which it is told apart.

    ask: the question; may block and may raise anything.  platforms: of sys.platform, empty for all.
    root: only root is answered.  program: one that has to be installed, "" for none.
    deadline_s: how long the section waits for it.
    """

    name: str
    ask: Callable[[], T]
    platforms: frozenset[str] = EVERYWHERE
    root: bool = False
    program: str = ""
    deadline_s: float = DEADLINE_S


class Question(threading.Thread):
    """A source that is being asked. CPU time is the thread's own and its programs', so that sections do not pay for
    each other."""

    def __init__(self, source: Source[T]) -> None:
        super().__init__(name=f"source-{source.name}", daemon=True)
        self._source = source
        self.answer: object = None
        self.failure: Exception | None = None
        self.cpu_s = 0.0
        self.programs_cpu_s = 0.0

    def run(self) -> None:
        from time import thread_time

        try:
            self.answer = self._source.ask()
        except Exception as exc:  # a source may fail in any way; the others go on
            self.failure = exc
        self.cpu_s = thread_time() + self.programs_cpu_s


def charge(cpu_s: float) -> None:
    """A program that the source which is asked in this thread ran took so many seconds of CPU time."""
    thread = threading.current_thread()
    if isinstance(thread, Question):
        thread.programs_cpu_s += cpu_s


class Hung:
    """The questions that have not come back, by their source's name. One for the life of the agent."""

    def __init__(self) -> None:
        self._questions: dict[str, Question] = {}

    def leave(self, name: str, question: Question) -> None:
        self._questions[name] = question

    def holds(self, name: str) -> bool:
        question = self._questions.get(name)
        if question is not None and not question.is_alive():
            del self._questions[name]
            return False
        return question is not None


class Asked:
    """One section's questions, and the reasons of those that were not answered. Used by one thread."""

    def __init__(self, hung: Hung, clock: Clock, until: float, *, platform: str = sys.platform) -> None:
        """until: monotonic seconds; the section's own deadline, which no source may pass."""
        self._hung = hung
        self._clock = clock
        self._until = until
        self.platform = platform
        self.unavailable: dict[str, str] = {}
        self.cpu_s = 0.0

    @property
    def left_s(self) -> float:
        """Until the section's deadline; not below 0."""
        return max(0.0, self._until - self._clock.monotonic())

    def ask(self, source: Source[T], default: D, *, otherwise: T | None = None) -> T | D:
        """Return the source's answer, or `default` with the reason noted under its name.

        otherwise: what is known from elsewhere; where there is such a thing it stands in, and nothing is missing.
        """
        try:
            answer: T = self._answer(source)
        except Missing as exc:
            if otherwise is not None:
                return otherwise
            self.note(source.name, str(exc))
            return default
        return answer

    def note(self, name: str, reason: str) -> None:
        """Say that `name` is not available, or not wholly. The text may come from anywhere."""
        self.unavailable[fit_text(name, MAX_REASON_CHARS)] = fit_text(reason, MAX_REASON_CHARS)

    def _answer(self, source: Source[T]) -> T:
        if source.platforms and self.platform not in source.platforms:
            raise Missing(f"there is no such thing on {self.platform}")
        if source.root and not is_root():
            raise Missing("only root may ask it")
        if source.program and find_program(source.program) is None:
            raise Missing(no_program(source.program))
        if self._hung.holds(source.name):
            raise Missing("it has not answered an earlier question yet")
        wait_s = min(source.deadline_s, self._until - self._clock.monotonic())
        if wait_s <= 0:
            raise Missing("not asked: the others took all the time")
        question = Question(source)
        question.start()
        question.join(wait_s)
        if question.is_alive():
            self._hung.leave(source.name, question)
            raise Missing(f"it did not answer within {wait_s:.1f} s")
        self.cpu_s += question.cpu_s
        if question.failure is not None:
            raise Missing(reason_of(question.failure))
        answer: T = question.answer  # type: ignore[assignment]  # what source.ask returned, a T
        return answer


def is_root() -> bool:
    """Also where there is no such account: Windows says no by itself."""
    return not hasattr(os, "geteuid") or os.geteuid() == 0


def find_program(name: str) -> str | None:
    """Its path; for root, only of what nobody else can change. On Windows in the system's folders."""
    import shutil

    if os.name == "nt":
        return windows_program(name, os.environ)
    if not is_root():
        return shutil.which(name, path=PATH)
    return next((path for path in _found(name) if is_roots(path)), None)


def no_program(name: str) -> str:
    """Why there is none."""
    if os.name != "nt" and next(_found(name), ""):
        return f"others than root may change the program {name}: root does not run it"
    return f"the program {name} is not installed"


def _found(name: str) -> Iterator[str]:
    import shutil

    return (path for folder in PATH.split(":") if (path := shutil.which(name, path=folder)))


def reason_of(failure: Exception) -> str:
    """What a technician can use of an exception."""
    match failure:
        case Missing():
            return str(failure)
        case FileNotFoundError(filename=name) if name:
            return f"there is no {_shown(name)}"
        case PermissionError(filename=name) if name:
            return f"no permission for {_shown(name)}"
        case OSError(strerror=text) if text:
            return text
    return f"{type(failure).__name__}: {failure}"


def _shown(name: object) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def fit_text(text: str, limit: int) -> str:
    """`text` as it can be sent: at most `limit` characters, and nothing that UTF-8 cannot carry.

    Names from the system may hold lone surrogates, where their bytes were no UTF-8.
    """
    return text[:limit].encode("utf-8", "replace").decode("utf-8")
