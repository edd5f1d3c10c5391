"""The section on what is installed."""

from __future__ import annotations

from protocol.codec import Record
from protocol.sections.base import Count, Instant, Section

MAX_PACKAGES = 20_000
"""In a section: everything that Debian's desktops and tools could put on one machine; 2 MiB of JSON. An agent lists no
more, and a relay searches no section that does."""


class Package(Record, frozen=True, kw_only=True, array_like=True):
    """One installed package, program or application.

    name, version: as its own packaging system writes them; version "" where nobody knows it.  architecture: likewise.
    source: what it was built or comes from: the source package (dpkg, rpm, apk, pacman), the remote or channel
    (flatpak, snap), the tap (homebrew), the folder (programs that nothing manages).  size_kib: installed, 0 for
    unknown.  vendor: who made it or built it, "" where its system does not say.  system: the packaging system that
    manages it, by whose rules its version is compared.  installed_at: when it was installed or last upgraded.

    New fields go to the end: an older reader leaves out what it does not know, and a newer one fills in the defaults.
    """

    name: str
    version: str
    architecture: str = ""
    source: str = ""
    size_kib: Count = 0
    vendor: str = ""
    system: str = "dpkg"
    installed_at: Instant | None = None


class Software(Section, frozen=True, kw_only=True):
    """systems: the packaging systems that were asked and answered, "dpkg".  packages: sorted by name, architecture,
    version and system."""

    systems: tuple[str, ...] = ()
    packages: tuple[Package, ...] = ()
