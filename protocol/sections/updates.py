"""The section on what waits: updates, restarts, and packages that are half there."""

from __future__ import annotations

from protocol.codec import Record
from protocol.sections.base import Count, Instant, Section


class Update(Record, frozen=True, kw_only=True, array_like=True):
    """A newer version that its packaging system would install, as far as the lists on this device know.

    version: the new one.  installed: the one that is there, "" where the system does not say.  security: it comes from
    a security archive or advisory.  system: as in Package.  origin: the archive, repository or remote.
    size_kib: to download, 0 for unknown.  restart: installing it needs a restart, where the system says so beforehand.
    """

    name: str
    version: str
    installed: str = ""
    security: bool = False
    system: str = ""
    architecture: str = ""
    origin: str = ""
    size_kib: Count = 0
    restart: bool = False


class Broken(Record, frozen=True, kw_only=True, array_like=True):
    """A package that is neither wholly there nor gone. state: as its packaging system calls it, "half-configured"."""

    name: str
    state: str
    system: str = "dpkg"


class Updates(Section, frozen=True, kw_only=True):
    """systems: those that answered.  updates: sorted by name, system and architecture.

    refreshed_at: by system, when its lists were fetched last, Unix seconds.  An update that no list names is not known.
    restart: whether a restart is needed to use what is installed already; None where nobody can tell.
    restart_for: why, each a package or a word of the system ("linux-image-amd64", "6.1.0-28-amd64 is installed").
    held: packages that somebody told the system not to upgrade.  broken: sorted by name.
    """

    systems: tuple[str, ...] = ()
    updates: tuple[Update, ...] = ()
    refreshed_at: dict[str, Instant] = {}
    restart: bool | None = None
    restart_for: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    broken: tuple[Broken, ...] = ()

    @property
    def security(self) -> tuple[Update, ...]:
        return tuple(update for update in self.updates if update.security)
