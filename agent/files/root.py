"""Paths of a client, resolved below one folder by the kernel, and what may be opened there.

    client's path --> O_PATH descriptor (openat2 RESOLVE_IN_ROOT: `..`, absolute paths and links stay inside)
                  --> what is it? (fstat of the very thing)  --> opened anew through /proc/self/fd

Nothing is checked by name and used by name: between the two it could be swapped. Where a name is needed (to create,
rename, remove) it is one component in a directory that is held open. A whole system as root ("/") is not confined:
there the account's own rights are the bound.
"""

from __future__ import annotations

import errno
import os
import stat

from agent.files.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2, rename_noreplace
from protocol.sftp import MAX_PATH_BYTES

OPEN_FLAGS = os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
"""NONBLOCK: a file that became a FIFO must not hold the worker up."""

MODE_BITS = 0o1777
"""What a client may set: a copied file runs with nobody's rights but its caller's (no setuid, no setgid)."""

CREATE_TRIES = 8
"""Against another process that makes and removes the same name all the time."""


def failure(number: int, path: bytes = b"") -> OSError:
    return OSError(number, os.strerror(number), path)


class Root:
    """One folder, and everything below it as the client sees it. home: where relative paths begin."""

    def __init__(self, folder: bytes, home: bytes) -> None:
        """folder, home: absolute. Raises OSError where `folder` cannot be opened."""
        if not folder.startswith(b"/"):
            raise failure(errno.ENOENT, folder)
        self.confined = os.path.realpath(folder) != b"/"
        self._fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._folder = os.readlink(f"/proc/self/fd/{self._fd}".encode())
        self.home = b"/" if self.confined else home

    # -- finding ----------------------------------------------------------------------------------------------------

    def absolute(self, path: bytes) -> bytes:
        """`path` as the client means it: relative to home. Raises OSError for what is no path."""
        if b"\0" in path:
            raise failure(errno.ENOENT, path)
        if len(path) >= MAX_PATH_BYTES:
            raise failure(errno.ENAMETOOLONG, path)
        return path if path.startswith(b"/") else self.home.rstrip(b"/") + b"/" + path

    def find(self, path: bytes, *, follow: bool = True) -> int:
        """An O_PATH descriptor of what `path` is now. follow: if it is a symbolic link, of what that leads to."""
        return self._resolve(self.absolute(path), os.O_PATH | (0 if follow else os.O_NOFOLLOW))

    def _resolve(self, path: bytes, flags: int) -> int:
        if not self.confined:
            return os.open(path, flags | os.O_CLOEXEC)
        # Of a path in a root, the kernel takes a leading / as that root; a magic link (/proc/*/root) it refuses.
        return openat2(self._fd, path, flags, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)

    def parent(self, path: bytes) -> tuple[int, bytes]:
        """The directory of `path`, as an O_PATH descriptor, and its last component. Raises OSError: EINVAL for `..`."""
        whole = self.absolute(path).rstrip(b"/")
        folder, _, name = whole.rpartition(b"/")
        if name in (b"", b".", b".."):
            raise failure(errno.EINVAL, path)
        return self._resolve(folder or b"/", os.O_PATH | os.O_DIRECTORY), name

    def real(self, path: bytes) -> bytes:
        """The path of the same thing without links and dots (realpath(3)); its last component need not be there."""
        try:
            fd, rest = self.find(path), b""
        except FileNotFoundError:
            fd, name = self.parent(path)
            rest = b"/" + name
        try:
            found = self._inside(os.readlink(f"/proc/self/fd/{fd}".encode()))
        finally:
            os.close(fd)
        return (found.rstrip(b"/") + rest) or b"/"

    def _inside(self, found: bytes) -> bytes:
        if not self.confined:
            return found
        if found != self._folder and not found.startswith(self._folder.rstrip(b"/") + b"/"):
            raise failure(errno.EXDEV)  # it was moved out of the root this very moment
        return found[len(self._folder.rstrip(b"/")) :] or b"/"

    # -- opening ----------------------------------------------------------------------------------------------------

    def open_file(self, path: bytes, flags: int, mode: int) -> int:
        """Open a regular file for reading or writing. flags: of open(2).

        Raises OSError: EACCES for a device, FIFO, socket or directory, and in a confined root for a file that has
        another name as well, since that name may lie outside.
        """
        create, exclusive = flags & os.O_CREAT, flags & os.O_EXCL
        for _ in range(CREATE_TRIES):
            if not (create and exclusive):
                try:
                    return self._open_found(path, flags & ~(os.O_CREAT | os.O_EXCL))
                except FileNotFoundError:
                    if not create:
                        raise
            folder, name = self.parent(path)
            try:
                wanted = flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | OPEN_FLAGS
                return os.open(name, wanted, mode & MODE_BITS, dir_fd=folder)
            except FileExistsError:
                if exclusive:
                    raise
            finally:
                os.close(folder)
        raise failure(errno.EEXIST, path)  # a link that leads to nothing, or a race that somebody keeps up

    def _open_found(self, path: bytes, flags: int) -> int:
        found = self.find(path)
        try:
            self.check_usable(found, path)
            return os.open(f"/proc/self/fd/{found}", flags | OPEN_FLAGS)
        finally:
            os.close(found)

    def check_usable(self, fd: int, path: bytes) -> None:
        """Raises OSError (EACCES) where `fd` is no regular file, or in a confined root one with several names."""
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or (self.confined and status.st_nlink > 1):
            raise failure(errno.EACCES, path)

    def open_folder(self, path: bytes) -> int:
        return self._resolve(self.absolute(path), os.O_RDONLY | os.O_DIRECTORY | OPEN_FLAGS)

    # -- changing names -----------------------------------------------------------------------------------------------

    def make_folder(self, path: bytes, mode: int) -> None:
        folder, name = self.parent(path)
        try:
            os.mkdir(name, mode & MODE_BITS, dir_fd=folder)
        finally:
            os.close(folder)

    def remove(self, path: bytes, *, folder: bool) -> None:
        parent, name = self.parent(path)
        try:
            os.rmdir(name, dir_fd=parent) if folder else os.unlink(name, dir_fd=parent)
        finally:
            os.close(parent)

    def rename(self, old: bytes, new: bytes, *, replace: bool) -> None:
        """replace: as rename(2) does; else EEXIST where `new` is there."""
        from_folder, from_name = self.parent(old)
        try:
            to_folder, to_name = self.parent(new)
            try:
                if replace:
                    os.rename(from_name, to_name, src_dir_fd=from_folder, dst_dir_fd=to_folder)
                else:
                    rename_noreplace(from_folder, from_name, to_folder, to_name)
            finally:
                os.close(to_folder)
        finally:
            os.close(from_folder)

    def link(self, old: bytes, new: bytes) -> None:
        """A second name. Raises OSError (EPERM) in a confined root, where such files could not be opened again."""
        if self.confined:
            raise failure(errno.EPERM, new)
        os.link(self.absolute(old), self.absolute(new), follow_symlinks=False)

    def symlink(self, target: bytes, path: bytes) -> None:
        """Raises OSError (EPERM) in a confined root for a target that another program, which is not, would follow out
        of it."""
        if self.confined and (target.startswith(b"/") or b".." in target.split(b"/")):
            raise failure(errno.EPERM, path)
        folder, name = self.parent(path)
        try:
            os.symlink(target, name, dir_fd=folder)
        finally:
            os.close(folder)

    def read_link(self, path: bytes) -> bytes:
        folder, name = self.parent(path)
        try:
            return os.readlink(name, dir_fd=folder)
        finally:
            os.close(folder)
