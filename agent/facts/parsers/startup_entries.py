"""What starts by itself: XDG's desktop entries, and the Run keys of Windows' registry as `reg query` prints them."""

from __future__ import annotations

import re
import shlex

import msgspec

from protocol.sections.startup import StartupProgram

MAX_NAME_CHARS = 120
MAX_PROGRAMS = 256

_WINDOWS = re.compile(r"(?i)([a-z]:\\[^\"]*?\.(?:exe|com|bat|cmd|lnk))\b")
"""Windows tries each space as the end of the file's name."""

_BEFORE = frozenset({"env", "/usr/bin/env", "sh", "/bin/sh", "bash", "/bin/bash"})
"""What runs another program."""


def parse_desktop_entry(text: str, file: str, owner: str = "") -> StartupProgram | None:
    """One *.desktop file of an autostart folder; None where it describes nothing that starts.

    file: its name.  owner: whose folder it is in. Source: Desktop Entry and Desktop Application Autostart
    Specifications of freedesktop.org. Whether the desktop in use is the one that it asks for, is not known here.
    """
    values: dict[str, str] = {}
    inside = False
    for line in text.splitlines()[:2000]:
        if line.startswith("["):
            inside = line.strip() == "[Desktop Entry]"
        elif inside:
            key, equals, value = line.partition("=")
            if equals:
                values.setdefault(key.strip(), value.strip())
    if not values.get("Exec"):
        return None
    off = values.get("Hidden") == "true" or values.get("X-GNOME-Autostart-enabled") == "false"
    return StartupProgram(
        name=(values.get("Name") or file.removesuffix(".desktop"))[:MAX_NAME_CHARS],
        program=program_of(values["Exec"]),
        how="autostart",
        owner=owner,
        enabled=not off,
    )


def program_of(command: str) -> str:
    """The file's name in a command line of either kind of system, without folder and arguments."""
    if windows := _WINDOWS.match(command.strip('" ')):
        return windows[1].rpartition("\\")[2][:MAX_NAME_CHARS]
    try:
        words = shlex.split(command[:1000], posix="\\" not in command)
    except ValueError:
        words = command[:1000].split()
    words = [word.strip('"') for word in words]
    while words and (words[0] in _BEFORE or re.match(r"[A-Za-z_]\w*=", words[0])):
        words = words[1:]
    if len(words) > 1 and words[0] == "-c":  # of a shell: what follows is a command line of its own
        return program_of(words[1])
    first = words[0].split(maxsplit=1) if words else []
    return re.split(r"[/\\]", first[0])[-1][:MAX_NAME_CHARS] if first else ""


class RunValue(msgspec.Struct, frozen=True):
    """key: of the registry.  name, type ("REG_SZ"), data: as they are printed."""

    key: str
    name: str
    type: str
    data: str


def parse_reg_query(text: str) -> tuple[RunValue, ...]:
    """`reg query KEY [/s]`: a key at the margin, its values below it, four spaces between name, type and data."""
    found: list[RunValue] = []
    key = ""
    for line in text.splitlines():
        if line and not line[0].isspace():
            key = line.strip()[:300]
        elif value := re.fullmatch(r" {4}(.{1,200}?) {4}(REG_[A-Z_0-9]{2,20}) {4}(.{0,2000})", line.rstrip("\r\n")):
            found.append(RunValue(key, value[1], value[2], value[3]))
        if len(found) == MAX_PROGRAMS:
            break
    return tuple(found)


def run_programs(
    values: tuple[RunValue, ...], approved: tuple[RunValue, ...], *, owner: str = ""
) -> tuple[StartupProgram, ...]:
    """values: of Run and RunOnce keys.  approved: of Explorer's StartupApproved keys, where Task Manager notes what
    the user switched off: the first byte is odd then."""
    off = {value.name for value in approved if re.match(r"[0-9A-Fa-f][13579BDFbdf]", value.data)}
    return tuple(
        StartupProgram(
            name=value.name[:MAX_NAME_CHARS],
            program=program_of(value.data),
            how="run-once" if value.key.lower().endswith("runonce") else "run",
            owner=owner,
            enabled=value.name not in off,
        )
        for value in values
        if value.type in ("REG_SZ", "REG_EXPAND_SZ")
    )
