"""The status and the log as people read them. Everything that others chose is escaped."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.control import AgentNotRunning, ask, socket_path
from agent.messages import say, say_event
from agent.state import NotJoined
from protocol.errors import AuxilioError, Unavailable
from protocol.system_clock import SystemClock
from protocol.text import escape
from protocol.units import duration_text, size_text

STATUS_S = 10.0
LOOK_AGAIN_S = 0.2


class NotConnected(Unavailable):
    code = "not_connected"
    default_hint = "`auxilio-agent status` says why; `auxilio-agent run` runs it."


def read_status(path: Path) -> dict[str, Any]:
    """Ask the running agent; where none runs, read its files. Raises NotJoined, CorruptState, Refused."""
    try:
        return ask(socket_path(path), "status", timeout_s=STATUS_S)
    except AgentNotRunning:
        return _from_files(path)


def wait_connected(path: Path, within_s: float) -> None:
    """Return when the device has joined and its agent has a link. Raises NotConnected, NotJoined, or as read_status."""
    clock = SystemClock()
    until = clock.monotonic() + within_s
    failure: AuxilioError = NotConnected("the agent is not connected to a relay")
    while True:
        try:
            if read_status(path).get("linked"):
                return
        except NotJoined as exc:
            failure = exc
        if clock.monotonic() >= until:
            raise failure
        time.sleep(LOOK_AGAIN_S)


def _from_files(path: Path) -> dict[str, Any]:
    from agent.documents import Documents
    from agent.membership import load_membership
    from agent.spool import read_spool_status
    from agent.state import StateDir
    from agent.status import files_status
    from agent.way import load_way

    state = StateDir(path)
    membership = load_membership(state)
    spool = read_spool_status(path / "spool.sqlite")
    return files_status(membership, Documents(state, membership, SystemClock()), load_way(state), spool)


def read_log(path: Path, last: int) -> list[dict[str, Any]]:
    """The last entries of the log, from its files, or from the agent where those are closed to us.

    Raises NotJoined, AgentNotRunning, Answered, or what storage_failed returns.
    """
    from agent.journal import read_journal
    from agent.state import storage_failed

    try:
        entries = read_journal(path / "journal.jsonl", last)
    except PermissionError as exc:
        try:
            answer: list[dict[str, Any]] = ask(socket_path(path), "log", str(last))["entries"]
        except AgentNotRunning:
            raise storage_failed(path / "journal.jsonl", exc) from exc
        return answer
    except OSError as exc:
        raise storage_failed(path / "journal.jsonl", exc) from exc
    if not entries and not path.exists():
        raise NotJoined(f"this device has not joined an organisation: there is no directory {path}")
    return entries


def show_status(status: dict[str, Any], now: float) -> str:
    """now: Unix seconds."""
    rows: list[tuple[str, str]] = [
        (say("device"), status["device"]),
        (say("organisation"), status["organisation"]),
        (say("tags"), say("provisional") if status["provisional"] else ", ".join(status["tags"]) or "-"),
    ]
    if status["running"]:
        rows += _connection_rows(status, now)
    rows.append((say("policy"), _policy_text(status, now)))
    spool = status["spool"]
    rows.append((say("waiting_reports"), _spool_text(spool, status["spool_failure"])))
    if status["clock_behind_s"]:
        rows.append((say("clock"), say("clock_behind", duration=duration_text(status["clock_behind_s"]))))
    width = max(len(name) for name, _ in rows)
    lines = [say("running") if status["running"] else say("not_running"), ""]
    lines += [f"{name:<{width}}  {escape(value)}" for name, value in rows]
    if status["machine_changed"]:
        lines += ["", say("machine_changed")]
    if status["restricted_by"]:
        lines += ["", say("restricted", fields=escape(", ".join(status["restricted_by"])))]
    if status.get("waiting"):
        lines += ["", say("how_to_answer")]
    return "\n".join(lines)


def _connection_rows(status: dict[str, Any], now: float) -> list[tuple[str, str]]:
    duration = duration_text(now - status["since_at"])
    if status["linked"]:
        key = "linked_through" if status.get("proxy") else "linked"
        text = say(key, relay=status["relay"], proxy=status.get("proxy"), duration=duration)
        rows = [(say("connection"), text)]
    else:
        rows = [(say("connection"), say("not_linked", duration=duration, reason=status["last_failure"] or "-"))]
    if status["offline_reason"]:
        when = _date(status["offline_since_at"])
        rows.append((say("last_offline"), say("offline_was", when=when, reason=status["offline_reason"])))
    people = [
        say("session", duration=duration_text(now - session["since_at"]), **_texts(session))
        for session in status["sessions"]
    ]
    rows.append((say("connected_people"), "; ".join(people) or say("nobody")))
    rows += [
        (say("asks"), say("question", seconds=max(0, round(question["until_at"] - now)), **_texts(question)))
        for question in status["waiting"]
    ]
    return rows


def _texts(session: dict[str, Any]) -> dict[str, str]:
    return {
        "technician": session["technician"],
        "account": session["account"],
        "purpose": session["purpose"],
        "capabilities": ", ".join(session["capabilities"]),
    }


def _spool_text(spool: dict[str, Any], failure: str) -> str:
    if spool["reports"] is None:
        return say("spool_failed", reason=failure or "?")
    return say("reports", reports=spool["reports"], size=size_text(spool["bytes"]))


def _policy_text(status: dict[str, Any], now: float) -> str:
    expires_at = status["policy_expires_at"]
    if expires_at is None:
        return say("no_policy")
    key = "policy_expired" if now > expires_at else "policy_is"
    return say(key, number=status["policy"]["number"], until=_date(expires_at))


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def show_entry(entry: dict[str, Any]) -> str:
    """One line of the log: when, what, and its fields."""
    at, event = entry.get("at", 0), entry.get("event", "")
    when = _date(at) if isinstance(at, int | float) and 0 <= at < 10**11 else "?"
    fields = " ".join(f"{k}={v}" for k, v in entry.items() if k not in ("at", "event") and v not in (None, "", []))
    return f"{when}  {escape(say_event(str(event))):<20} {escape(fields, limit=2000)}"
