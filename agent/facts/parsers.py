"""Pure: the texts of Linux, to values. Whatever the text is, a parser returns what it recognised and skips the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from protocol.report import MAX_ITEMS, Package

MAX_FIELD_CHARS = 256
"""No name or version of a package is near it."""


def parse_os_release(text: str) -> dict[str, str]:
    """os-release(5): shell-like assignments. Quotes and their escapes are undone."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if not equals or not name.isidentifier():
            continue
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            quote, value = value[0], value[1:-1]
            if quote == '"':
                for char in '\\"$`':
                    value = value.replace("\\" + char, char)
        values[name] = value[:MAX_FIELD_CHARS]
    return values


def _stanzas(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    """Of a control file (deb822(5)): the first line of each field; folded lines are skipped."""
    fields: dict[str, str] = {}
    for line in lines:
        if not line.strip():
            if fields:
                yield fields
            fields = {}
        elif line[0] not in " \t#":
            name, colon, value = line.partition(":")
            if colon:
                fields[name.lower()] = value.strip()[:MAX_FIELD_CHARS]
    if fields:
        yield fields


def parse_dpkg_status(lines: Iterable[str]) -> tuple[Package, ...]:
    """dpkg's status file, streamed: the packages that are installed, sorted by name and architecture.

    Only those whose status ends in `installed`: a removed package whose configuration stays is none. At most
    MAX_ITEMS.  Source: dpkg-query(1), "Status"; deb822(5).
    """
    packages: list[Package] = []
    for fields in _stanzas(lines):
        status = fields.get("status", "").split()
        if len(status) != 3 or status[2] != "installed":
            continue
        name, version = fields.get("package", ""), fields.get("version", "")
        if not name or not version:
            continue
        size = fields.get("installed-size", "")
        packages.append(
            Package(
                name=name,
                version=version,
                architecture=fields.get("architecture", ""),
                source=fields.get("source", name).split(" ", 1)[0],
                size_kib=int(size) if size.isascii() and size.isdigit() and len(size) < 13 else 0,
            )
        )
        if len(packages) >= MAX_ITEMS:
            break
    return tuple(sorted(packages, key=lambda package: (package.name, package.architecture)))


def parse_resolv_conf(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """resolv.conf(5): servers and search domains, in order."""
    servers: list[str] = []
    search: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            servers.append(words[1][:MAX_FIELD_CHARS])
        elif len(words) >= 2 and words[0] in ("search", "domain"):
            search = [word[:MAX_FIELD_CHARS] for word in words[1:17]]  # the last line of them counts
    return tuple(servers[:16]), tuple(search)


def parse_mounts(text: str) -> tuple[tuple[str, str, str, frozenset[str]], ...]:
    """/proc/self/mounts (fstab(5) format): device, mount point, type, options. Octal escapes are undone."""
    mounts = []
    for line in text.splitlines():
        words = line.split(" ")
        if len(words) >= 4:
            device, mount = (_unescape(word) for word in words[:2])
            mounts.append((device, mount, words[2], frozenset(words[3].split(","))))
    return tuple(mounts)


def _unescape(word: str) -> str:
    for escaped, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        word = word.replace(escaped, char)
    return word


def parse_ipv4_routes(text: str) -> tuple[tuple[str, str, int], ...]:
    """/proc/net/route: default routes as (gateway, interface, metric). gateway: "" where there is none."""
    routes = []
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) < 8 or words[1] != "00000000" or words[7] != "00000000":
            continue
        try:
            octets = bytes.fromhex(words[2])[::-1]  # the kernel prints them in the machine's (little) order
            up = int(words[3], 16) & 0x1
            metric = int(words[6])
        except ValueError:
            continue
        if up and len(octets) == 4:
            gateway = ".".join(str(octet) for octet in octets) if any(octets) else ""
            routes.append((gateway, words[0], metric))
    return tuple(routes)


def parse_ipv6_routes(text: str) -> tuple[tuple[str, str, int], ...]:
    """/proc/net/ipv6_route: default routes as (gateway in hex digits, interface, metric). Rejecting ones are none."""
    routes = []
    for line in text.splitlines():
        words = line.split()
        if len(words) != 10 or words[0] != "0" * 32 or words[1] != "00":
            continue
        try:
            flags, metric = int(words[8], 16), int(words[5], 16)
        except ValueError:
            continue
        reject, up = flags & 0x200, flags & 0x1
        if up and not reject and words[9] != "lo" and len(words[4]) == 32:
            routes.append((words[4] if words[4] != "0" * 32 else "", words[9], metric))
    return tuple(routes)


def parse_cpuinfo_model(text: str) -> str:
    """/proc/cpuinfo: the processor's name, whichever field this architecture puts it in."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip().lower(), value.strip()[:MAX_FIELD_CHARS])
    return next((found[key] for key in ("model name", "cpu model", "hardware", "model") if found.get(key)), "")
