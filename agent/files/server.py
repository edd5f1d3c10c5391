"""The SFTP server: one request in, one reply out, in order. Version 3 with the extensions that protocol.sftp names.

Whatever a request holds, there is one reply to it. Every request is bounded by its packet; a READ by MAX_DATA_BYTES.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from agent.files.handles import (
    MAX_HANDLES,
    Handles,
    OpenFile,
    OpenFolder,
    attributes,
    extents,
    hashes,
    next_entries,
)
from agent.files.replies import (
    ENDED,
    OFFERED,
    OK,
    STATUS_OF,
    Reply,
    file_system_reply,
    handle_reply,
    name_reply,
    open_flags,
    read_only_handle,
    read_only_path,
    read_path,
    refusal,
)
from agent.files.root import MODE_BITS, Root, failure
from protocol.errors import BadMessage
from protocol.sftp import (
    MAX_DATA_BYTES,
    MAX_HANDLE_BYTES,
    MAX_PACKET_BYTES,
    VERSION_3,
    Attributes,
    Extension,
    Kind,
    OpenFlag,
    Packet,
    Status,
    encode_names,
    packet,
    read_attributes,
)
from protocol.sshwire import Reader, string, u32, u64

DEFAULT_FILE_MODE = 0o666
DEFAULT_FOLDER_MODE = 0o777

Note = Callable[[str, bytes], None]
"""What is told of a request that changes or reveals a file: read, write, remove, rename, mkdir, ...; and the path."""


class Server:
    """One client. root: what it sees.  writable: else whatever changes something is refused.  note: for the log."""

    def __init__(self, root: Root, *, writable: bool, note: Note) -> None:
        self._root = root
        self._writable = writable
        self._note = note
        self._handles = Handles()
        self._begun = False
        self._kinds: dict[int, Callable[[Reader], Reply]] = {
            Kind.OPEN: self._open,
            Kind.CLOSE: self._close,
            Kind.READ: self._read,
            Kind.WRITE: self._write,
            Kind.LSTAT: self._lstat,
            Kind.FSTAT: self._fstat,
            Kind.SETSTAT: self._setstat,
            Kind.FSETSTAT: self._fsetstat,
            Kind.OPENDIR: self._opendir,
            Kind.READDIR: self._readdir,
            Kind.REMOVE: self._remove,
            Kind.MKDIR: self._mkdir,
            Kind.RMDIR: self._rmdir,
            Kind.REALPATH: self._realpath,
            Kind.STAT: self._stat,
            Kind.RENAME: self._rename,
            Kind.READLINK: self._readlink,
            Kind.SYMLINK: self._symlink,
            Kind.EXTENDED: self._extended,
        }
        self._extensions: dict[bytes, Callable[[Reader], Reply]] = {
            Extension.POSIX_RENAME: self._posix_rename,
            Extension.STATVFS: self._statvfs,
            Extension.FSTATVFS: self._fstatvfs,
            Extension.HARDLINK: self._hardlink,
            Extension.FSYNC: self._fsync,
            Extension.LSETSTAT: self._lsetstat,
            Extension.LIMITS: self._limits,
            Extension.EXPAND_PATH: self._expand_path,
            Extension.HASH: self._hash,
            Extension.EXTENTS: self._extents,
        }

    def answer(self, request: Packet) -> bytes:
        """The reply to `request`, a whole packet. Raises BadMessage where the conversation cannot go on."""
        if request.kind == Kind.INIT:
            return self._init()
        if not self._begun:
            raise BadMessage("a request before INIT")
        serve = self._kinds.get(request.kind)
        if serve is None:
            kind, fields = refusal(Status.OP_UNSUPPORTED, "no such request")
        else:
            kind, fields = self._served(serve, request.body)
        return packet(kind, request.number, fields)

    def _init(self) -> bytes:
        if self._begun:
            raise BadMessage("a second INIT")
        self._begun = True
        return packet(Kind.VERSION, VERSION_3, *(string(word) for pair in OFFERED for word in pair))

    def _served(self, serve: Callable[[Reader], Reply], body: bytes) -> Reply:
        try:
            return serve(Reader(body))
        except OSError as exc:
            number = exc.errno or errno.EIO
            return refusal(STATUS_OF.get(number, Status.FAILURE), os.strerror(number))
        except BadMessage as exc:
            return refusal(Status.BAD_MESSAGE, exc.message)
        except (ValueError, OverflowError):  # a number that the kernel does not take
            return refusal(Status.FAILURE, os.strerror(errno.EINVAL))

    # -- files --------------------------------------------------------------------------------------------------------

    def _open(self, reader: Reader) -> Reply:
        path, asked, wanted = read_path(reader), reader.u32(), read_attributes(reader)
        reader.done()
        if asked & ~OpenFlag.ALL or not asked & (OpenFlag.READ | OpenFlag.WRITE):
            raise failure(errno.EINVAL)
        writes = bool(asked & OpenFlag.WRITE)
        if writes or asked & (OpenFlag.CREATE | OpenFlag.TRUNCATE):
            self._changes("write", path)
        else:
            self._note("read", self._root.absolute(path))
        self._handles.check_room()
        mode = DEFAULT_FILE_MODE if wanted.mode is None else wanted.mode
        fd = self._root.open_file(path, open_flags(asked), mode)
        return handle_reply(self._handles.add(OpenFile(fd, path, writes)))

    def _close(self, reader: Reader) -> Reply:
        self._handles.close(read_only_handle(reader))
        return OK

    def _read(self, reader: Reader) -> Reply:
        fd = self._handles.file(reader.string(MAX_HANDLE_BYTES)).fd
        offset, length = reader.u64(), reader.u32()
        data = os.pread(fd, min(length, MAX_DATA_BYTES), offset)
        return (Kind.DATA, string(data)) if data or not length else ENDED

    def _write(self, reader: Reader) -> Reply:
        fd = self._handles.file(reader.string(MAX_HANDLE_BYTES)).fd
        offset, data = reader.u64(), reader.string(MAX_PACKET_BYTES)
        view = memoryview(data)
        while view:  # a full disk takes a part first and says why at the next try
            written = os.pwrite(fd, view, offset)
            view, offset = view[written:], offset + written
        return OK

    def _fsync(self, reader: Reader) -> Reply:
        os.fsync(self._handles.file(read_only_handle(reader)).fd)
        return OK

    def _hash(self, reader: Reader) -> Reply:
        fd = self._handles.file(reader.string(MAX_HANDLE_BYTES)).fd
        return Kind.EXTENDED_REPLY, hashes(fd, reader.u64(), reader.u64())

    def _extents(self, reader: Reader) -> Reply:
        fd = self._handles.file(reader.string(MAX_HANDLE_BYTES)).fd
        found = extents(fd, reader.u64())
        return Kind.EXTENDED_REPLY, u32(len(found)) + b"".join(u64(at) + u64(length) for at, length in found)

    # -- attributes ---------------------------------------------------------------------------------------------------

    def _stat(self, reader: Reader) -> Reply:
        return self._status_of(read_only_path(reader), follow=True)

    def _lstat(self, reader: Reader) -> Reply:
        return self._status_of(read_only_path(reader), follow=False)

    def _status_of(self, path: bytes, *, follow: bool) -> Reply:
        fd = self._root.find(path, follow=follow)
        try:
            return Kind.ATTRS, attributes(os.fstat(fd)).encoded()
        finally:
            os.close(fd)

    def _fstat(self, reader: Reader) -> Reply:
        return Kind.ATTRS, attributes(os.fstat(self._handles.any(read_only_handle(reader)).fd)).encoded()

    def _setstat(self, reader: Reader) -> Reply:
        return self._set_status_of(reader, follow=True)

    def _lsetstat(self, reader: Reader) -> Reply:
        return self._set_status_of(reader, follow=False)

    def _set_status_of(self, reader: Reader, *, follow: bool) -> Reply:
        path, wanted = read_path(reader), read_attributes(reader)
        self._changes("attributes", path)
        fd = self._root.find(path, follow=follow)
        try:
            self._set_attributes(fd, path, wanted)
        finally:
            os.close(fd)
        return OK

    def _fsetstat(self, reader: Reader) -> Reply:
        opened, wanted = self._handles.any(reader.string(MAX_HANDLE_BYTES)), read_attributes(reader)
        if isinstance(opened, OpenFile) and opened.writes:
            self._require_writable()  # and was noted when it was opened
        else:
            self._changes("attributes", opened.path)
        self._set_attributes(opened.fd, opened.path, wanted)
        return OK

    def _set_attributes(self, fd: int, path: bytes, wanted: Attributes) -> None:
        is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
        if not is_folder and (wanted.size is not None or self._root.confined):
            self._root.check_usable(fd, path)
        same = f"/proc/self/fd/{fd}"  # an O_PATH descriptor takes none of fchmod(2) and its like
        if wanted.size is not None:
            os.truncate(same, wanted.size)
        if wanted.uid is not None and wanted.gid is not None:
            os.chown(same, wanted.uid, wanted.gid)
        if wanted.mode is not None:
            os.chmod(same, wanted.mode & MODE_BITS)
        if wanted.atime is not None and wanted.mtime is not None:
            os.utime(same, (wanted.atime, wanted.mtime))

    def _statvfs(self, reader: Reader) -> Reply:
        fd = self._root.find(read_only_path(reader))
        try:
            return file_system_reply(fd)
        finally:
            os.close(fd)

    def _fstatvfs(self, reader: Reader) -> Reply:
        return file_system_reply(self._handles.any(read_only_handle(reader)).fd)

    # -- folders and names --------------------------------------------------------------------------------------------

    def _opendir(self, reader: Reader) -> Reply:
        path = read_only_path(reader)
        self._handles.check_room()
        fd = self._root.open_folder(path)
        return handle_reply(self._handles.add(OpenFolder(fd, path, os.scandir(fd))))

    def _readdir(self, reader: Reader) -> Reply:
        entries = next_entries(self._handles.folder(read_only_handle(reader)))
        return (Kind.NAME, encode_names(entries)) if entries else ENDED

    def _mkdir(self, reader: Reader) -> Reply:
        path, wanted = read_path(reader), read_attributes(reader)
        self._changes("mkdir", path)
        self._root.make_folder(path, DEFAULT_FOLDER_MODE if wanted.mode is None else wanted.mode)
        return OK

    def _remove(self, reader: Reader) -> Reply:
        path = read_only_path(reader)
        self._changes("remove", path)
        self._root.remove(path, folder=False)
        return OK

    def _rmdir(self, reader: Reader) -> Reply:
        path = read_only_path(reader)
        self._changes("remove", path)
        self._root.remove(path, folder=True)
        return OK

    def _rename(self, reader: Reader) -> Reply:
        return self._renamed(reader, replace=False)

    def _posix_rename(self, reader: Reader) -> Reply:
        return self._renamed(reader, replace=True)

    def _renamed(self, reader: Reader, *, replace: bool) -> Reply:
        old, new = read_path(reader), read_only_path(reader)
        self._changes("rename", old)
        self._changes("write", new)
        self._root.rename(old, new, replace=replace)
        return OK

    def _hardlink(self, reader: Reader) -> Reply:
        old, new = read_path(reader), read_only_path(reader)
        self._changes("write", new)
        self._root.link(old, new)
        return OK

    def _symlink(self, reader: Reader) -> Reply:
        target, path = read_path(reader), read_only_path(reader)  # in OpenSSH's order, which is not the draft's
        self._changes("write", path)
        self._root.symlink(target, path)
        return OK

    def _readlink(self, reader: Reader) -> Reply:
        return name_reply(self._root.read_link(read_only_path(reader)))

    def _realpath(self, reader: Reader) -> Reply:
        return name_reply(self._root.real(read_only_path(reader) or b"."))

    def _expand_path(self, reader: Reader) -> Reply:
        path = read_only_path(reader)
        if path == b"~" or path.startswith(b"~/"):
            path = self._root.home.rstrip(b"/") + b"/" + path[2:]
        elif path.startswith(b"~"):
            raise failure(errno.ENOENT, path)  # other people's homes are found by their path
        return name_reply(self._root.real(path or b"."))

    def _limits(self, reader: Reader) -> Reply:
        limits = (MAX_PACKET_BYTES, MAX_DATA_BYTES, MAX_DATA_BYTES, MAX_HANDLES)
        return Kind.EXTENDED_REPLY, b"".join(u64(limit) for limit in limits)

    def _extended(self, reader: Reader) -> Reply:
        serve = self._extensions.get(reader.string(MAX_HANDLE_BYTES))
        return serve(reader) if serve is not None else refusal(Status.OP_UNSUPPORTED, "no such extension")

    # -- inside -------------------------------------------------------------------------------------------------------

    def _changes(self, what: str, path: bytes) -> None:
        """Noted before it is done: what cannot be written down is not done."""
        self._require_writable()
        self._note(what, self._root.absolute(path))

    def _require_writable(self) -> None:
        if not self._writable:
            raise failure(errno.EROFS)
