"""Which device each name meant when it was first used here: a name that moves to another device is a hard failure.

A file a name, names/@NAME, that holds the id: ten ssh at once need no lock, and completion lists a folder. Names get
here only as a person typed them, once they were resolved; no relay can add one.
"""

from __future__ import annotations

from console.device_name import MAX_NAME_CHARS, is_host_name
from console.home import Home, file_errors
from protocol.errors import BadMessage, ConfigInvalid
from protocol.ids import DeviceId, parse_device_id

FOLDER = "names"

MARK = "@"
"""Before each name: "con" and "aux" are no files on Windows."""


class RememberedNames:
    def __init__(self, home: Home) -> None:
        self._home = home

    def device(self, name: str) -> DeviceId | None:
        """What `name` meant here; None where it was never used. Raises ConfigInvalid (corrupt_file)."""
        if not is_host_name(name):
            return None
        data = self._home.read(self._file(name))
        if data is None:
            return None
        try:
            return parse_device_id(data[:64].decode("ascii").strip())
        except (BadMessage, UnicodeDecodeError) as exc:
            raise ConfigInvalid(
                f"{self._home.file(self._file(name))} is damaged",
                code="corrupt_file",
                hint=f"`auxilio device forget {name}`; then compare the id when the name is used again.",
            ) from exc

    def remember(self, name: str, device: DeviceId) -> None:
        """On return it is on the disk."""
        self._home.write(self._file(name), f"{device}\n".encode("ascii"))

    def forget(self, name: str) -> bool:
        """Whether there was something to forget."""
        with file_errors(self._home.file(self._file(name))):
            try:
                self._home.file(self._file(name)).unlink()
            except FileNotFoundError:
                return False
        return True

    def all(self) -> list[str]:
        """Sorted. What else lies in the folder is nobody's name."""
        with file_errors(self._home.file(FOLDER)):
            try:
                found = [path.name for path in self._home.file(FOLDER).iterdir()]
            except FileNotFoundError:
                return []
        names = (entry.removeprefix(MARK) for entry in found if entry.startswith(MARK))
        return sorted(name for name in names if is_host_name(name))

    @staticmethod
    def _file(name: str) -> str:
        if not is_host_name(name):
            raise ValueError(f"a name of at most {MAX_NAME_CHARS} characters, by RFC 1123")
        return f"{FOLDER}/{MARK}{name}"
