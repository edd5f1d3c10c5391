"""Names: which of them a person meant, and which a device may have us write. Pure; what it is given it does not open.

Names of files are bytes here, as on the wire and in POSIX; on Windows they must be UTF-8.
"""

from __future__ import annotations

import re
import unicodedata
from hashlib import sha256

import msgspec

from protocol.errors import UsageInvalid
from protocol.text import escape

MAX_NAME_BYTES = 255
"""NAME_MAX of Linux, macOS and (in its own units) Windows."""

PART_NAME = re.compile(rb"\.auxilio-[0-9a-f]{16}\.part\Z")

_WINDOWS_RESERVED = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9\u00b9\u00b2\u00b3])\s*(\.|\Z)", re.I)
_WINDOWS_FORBIDDEN = frozenset('<>:"/\\|?*') | {chr(code) for code in range(32)}


class Remote(msgspec.Struct, frozen=True):
    """DEVICE:PATH as it was typed. path: b"" is the account's home."""

    device: str
    path: bytes


class Task(msgspec.Struct, frozen=True):
    """What a command line asks for. download: from the device to us.  sources, target: paths on their own side."""

    device: str
    download: bool
    sources: tuple[bytes, ...]
    target: bytes


def parse_place(text: str) -> Remote | bytes:
    """DEVICE:PATH, or a path of this machine. As with scp, `./a:b` and `/a:b` are paths, and so is `C:\\x`."""
    device, colon, path = text.partition(":")
    if not colon or not device or "/" in device or "\\" in device or text.startswith("."):
        return _bytes(text)
    if len(device) == 1 and path[:1] in ("\\", "/"):
        return _bytes(text)
    if path == "~" or path.startswith("~/"):
        path = path[2:]  # paths are relative to the account's home anyhow
    return Remote(device, _bytes(path))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def parse_task(sources: tuple[str, ...], target: str) -> Task:
    """Raises UsageInvalid unless exactly one side is on one device."""
    places, goal = [parse_place(source) for source in sources], parse_place(target)
    devices = {place.device for place in places if isinstance(place, Remote)}
    if isinstance(goal, Remote):
        paths = tuple(place for place in places if isinstance(place, bytes))
        if devices:
            raise UsageInvalid("both sides are on a device", hint="Copy to this machine first, then to the other one.")
        return _task(goal.device, False, paths, goal.path)
    if not devices:
        raise UsageInvalid("neither side is on a device", hint="auxilio cp DEVICE:/etc/fstab .")
    if len(devices) > 1 or len(places) != sum(isinstance(place, Remote) for place in places):
        raise UsageInvalid("the sources are not all on one device", hint="One command a device.")
    return _task(devices.pop(), True, tuple(p.path for p in places if isinstance(p, Remote)), goal)


def _task(device: str, download: bool, sources: tuple[bytes, ...], target: bytes) -> Task:
    if not all(sources) and not download:
        raise UsageInvalid("an empty path", hint="A dot is this folder.")
    if any(b"\0" in path for path in (*sources, target)):
        raise UsageInvalid("a path with a NUL in it", hint="Quote it for your shell.")
    return Task(device, download, sources, target)


def base_name(path: bytes, *, windows: bool = False) -> bytes | None:
    """What a copy of `path` is called; None for `.`, `/`, `a/..` and their like: then its content is what is copied."""
    whole = path.replace(b"\\", b"/") if windows else path
    name = whole.rstrip(b"/").rpartition(b"/")[2]
    return None if name in (b"", b".", b"..") else name


def fault_of(name: bytes, *, windows: bool) -> str | None:
    """Why a file of this name must not be made here; None where it may. windows: by the rules of that system."""
    if name in (b"", b".", b".."):
        return "no name"
    if b"/" in name or b"\0" in name:
        return "a name that is a path"
    if len(name) > MAX_NAME_BYTES:
        return f"a name of {len(name)} bytes"
    if PART_NAME.match(name):
        return "a name of our own unfinished files"
    return _windows_fault(name) if windows else None


def _windows_fault(name: bytes) -> str | None:
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        return "a name that is no text"
    if _WINDOWS_FORBIDDEN & set(text) or text[-1] in ". ":
        return "a name that Windows does not have"
    return "a name of a Windows device" if _WINDOWS_RESERVED.match(text) else None


def is_listing_dot(name: bytes) -> bool:
    return name in (b".", b"..")


def folded(name: bytes) -> bytes:
    """Equal for names that a file system may take for one: case and accents' form do not count."""
    return unicodedata.normalize("NFC", name.decode("utf-8", "surrogateescape").casefold()).encode(
        "utf-8", "surrogatepass"
    )


def part_name(name: bytes) -> bytes:
    """The unfinished copy beside `name`: hidden, of one length, and the same at the next try."""
    return b".auxilio-%s.part" % sha256(name).hexdigest()[:16].encode()


def link_fault(target: bytes, depth: int) -> str | None:
    """Why a symbolic link may not be made again; None where it leads to somewhere in the copied tree.

    depth: folders between the tree's top and the link. `..` counts only at the beginning, where it is exact: behind
    a name that is a link itself it would lead from there.
    """
    parts = [part for part in target.split(b"/") if part not in (b"", b".")]
    up = next((index for index, part in enumerate(parts) if part != b".."), len(parts))
    if not target or target.startswith(b"/") or b"\0" in target or b"\\" in target:
        return "a link by an absolute path"
    if up > depth or b".." in parts[up:]:
        return "a link that leads out of what is copied"
    return None


def shown(path: bytes) -> str:
    """A path for a person's eyes, whoever made it up."""
    return escape(path.decode("utf-8", "replace"), limit=200)


def joined(*parts: bytes) -> bytes:
    """A path on the device. An empty first part is the account's home."""
    first, *rest = parts
    if not first:
        return b"/".join(rest) or b"."
    return b"/".join((first.rstrip(b"/") or b"", *rest)) if rest else first
