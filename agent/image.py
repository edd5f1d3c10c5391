"""`auxilio-agent prepare-image`: a state directory with a join token and no identity, for a golden image.

Whatever is copied from it afterwards makes keys of its own at its first start, and joins as a device of its own.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from agent.identity import forget_identity
from agent.joining import read_grant
from agent.membership import JOIN_TOKEN, Membership
from agent.messages import say
from agent.platform import this_machine
from agent.release import BUILT_AT
from agent.state import CorruptState, StateDir
from protocol.codec import encode
from protocol.enrolment import parse_join_token
from protocol.errors import ConfigInvalid
from protocol.ids import DeviceId
from protocol.system_clock import SystemClock


class Prepared(msgspec.Struct, frozen=True):
    """What was done, as --json prints it. device: that this one was.  uses, not_after_at: of the token."""

    state: str
    device: DeviceId | None
    removed: tuple[str, ...]
    token: str
    uses: int
    not_after_at: int
    machine_id_is_set: bool


def prepare_image(path: Path, text: str | None, as_json: bool) -> None:
    """Do it, and say what was done. text: a join token, or None for the one that is kept.

    Raises ConfigInvalid (no_token, bad_token, token_expired), AlreadyRunning.
    """
    state = StateDir(path, make=text is not None)
    with state.locked():
        kept = state.read(JOIN_TOKEN)
        if text is None and kept is None:
            raise ConfigInvalid(
                "no join token is kept here: copies of this image could not join",
                code="no_token",
                hint="`auxilio-agent prepare-image --file TOKEN_FILE`, with a token of several uses.",
            )
        token = parse_join_token(text if text is not None else (kept or b"").decode("ascii", "replace"))
        grant = read_grant(token, max(SystemClock().now(), BUILT_AT))
        device = _device(state)
        state.write(JOIN_TOKEN, token.text().encode("ascii"))
        removed = forget_identity(state)
    done = Prepared(
        state=str(path),
        device=device,
        removed=tuple(removed),
        token=grant.token,
        uses=grant.uses,
        not_after_at=grant.not_after_at,
        machine_id_is_set=bool(this_machine().id),
    )
    print(encode(done).decode() if as_json else "\n".join(_lines(done)))


def _device(state: StateDir) -> DeviceId | None:
    """Which device this was; a damaged file of what goes anyway is no reason to stop."""
    try:
        membership = state.read_as("membership.json", Membership)
    except CorruptState:
        return None
    return membership.device if membership else None


def _lines(done: Prepared) -> list[str]:
    until = datetime.fromtimestamp(done.not_after_at, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    lines = [say("image_prepared"), say("image_token", uses=done.uses, until=until)]
    if done.removed:
        lines.append(f"{say('image_removed')}: {' '.join(done.removed)}")
    if done.device is not None:
        lines.append(say("image_device", device=done.device))
    if done.machine_id_is_set:
        lines.append(say("image_machine_id"))
    return lines
