"""Which files of a folder may have changed since the last look: Linux says so, by inotify. Elsewhere, any may have.

To look at 10,000 files takes 30 ms or more, to read a queue of events takes microseconds. One watch is on the folder,
none on the files. The kernel queues an event before the call that changed a file returns, so a change that happened
before `changed` is called is in its answer.

In doubt, the answer is that any file may have changed: at first, after the queue was full, when another folder is at
the path, after a fork, on file systems that others than this kernel may write to, and where no watch is to be had. A
write through a memory map gives an event only when the file is closed. One through a hard link in another folder gives
none, so the caller looks at a file with several links every time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple

from convtree._logs.descriptors import UNKNOWN, Descriptors, identity_of, is_open_on, with_open
from convtree._model.resources import Uncopyable

_EVENT = Struct("iIII")  # watch, what happened, a number for renames, length of the name that follows
_QUEUE = 2**16  # bytes that are read at once
_MODIFIED, _ATTRIBUTES, _WRITER_CLOSED = 0x2, 0x4, 0x8
_MOVED_FROM, _MOVED_TO, _CREATED, _DELETED = 0x40, 0x80, 0x100, 0x200
_FOLDER_DELETED, _FOLDER_MOVED, _UNMOUNTED, _OVERFLOWED, _WATCH_ENDED = 0x400, 0x800, 0x2000, 0x4000, 0x8000
_ONLY_A_FOLDER = 0x1000000
_OF_FILES = _MODIFIED | _ATTRIBUTES | _WRITER_CLOSED | _MOVED_FROM | _MOVED_TO | _CREATED | _DELETED
_WATCHED = _OF_FILES | _FOLDER_DELETED | _FOLDER_MOVED | _ONLY_A_FOLDER
_DOUBT = _FOLDER_DELETED | _FOLDER_MOVED | _UNMOUNTED | _OVERFLOWED | _WATCH_ENDED
#: file systems that nobody writes to but through this kernel, by their number in statfs(2)
_LOCAL = {
    0xEF53: "ext2, ext3, ext4",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0xF2F52010: "f2fs",
    0x2FC12FC1: "zfs",
    0xCA451A4E: "bcachefs",
    0x01021994: "tmpfs",
}


class FolderWatch(Uncopyable):
    """A watch on the files of a folder. For one thread at a time. After a fork, the child must call `close`.

    Args:
        folder: may be missing, and may be another one later.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptors = Descriptors()
        self._fd = -1
        self._fd_identity = UNKNOWN  # that all descriptors of inotify have
        self._identity = UNKNOWN  # of the folder that is watched
        self._was_asked = False

    def changed(self) -> set[str] | None:
        """Returns the names of files that may have changed since the last call; None: any may have, so look at all.

        A watch begins with the second call: a process that looks once does not pay for it.
        """
        names = self._events() if self._fd >= 0 else None
        if names is None:
            self.close()
            if self._was_asked:
                with suppress(OSError):
                    with_open(self._folder, os.O_RDONLY | os.O_CLOEXEC, self._begin)
            self._was_asked = True
        return names

    def close(self) -> None:
        """Ends the watch. The next call of `changed` returns None."""
        if self._fd >= 0:
            self._descriptors.close_own(self._fd, self._fd_identity)
        self._descriptors.close()  # also one that an interrupt came behind
        self._fd, self._identity = -1, UNKNOWN

    def _begin(self, folder: int) -> None:
        """Watches an open folder. Does nothing if that cannot be done, or would miss changes."""
        system = _system()
        if system is None or system.file_system(folder) not in _LOCAL:
            return
        fd = self._descriptors.opened_by(system.inotify_init1, os.O_NONBLOCK | os.O_CLOEXEC)
        if fd is None:  # the limit of this user is reached
            return
        if system.inotify_add_watch(fd, b"/proc/self/fd/%d" % folder, _WATCHED) < 0:
            self.close()
            return
        self._fd_identity, self._identity = identity_of(os.fstat(fd)), identity_of(os.fstat(folder))
        self._fd = fd

    def _events(self) -> set[str] | None:
        """Reads the queue. Returns None if it does not say everything."""
        names: set[str] = set()
        try:
            if not (self._is_there() and is_open_on(self._fd, self._fd_identity)):
                return None
            while True:
                if not _take(os.read(self._fd, _QUEUE), names):
                    return None
        except BlockingIOError:  # the queue is empty
            return names
        except OSError:
            return None

    def _is_there(self) -> bool:
        """Returns whether the folder at the path is the one that is watched."""
        return identity_of(os.stat(self._folder)) == self._identity


def _take(data: bytes, names: set[str]) -> bool:
    """Adds the names in a piece of the queue. Returns whether there is no doubt."""
    at = 0
    while at < len(data):
        _, happened, _, length = _EVENT.unpack_from(data, at)
        if happened & _DOUBT:
            return False
        at += _EVENT.size + length
        names.add(os.fsdecode(data[at - length : at].rstrip(b"\0")))
    return at > 0


class _System(NamedTuple):
    """The functions of the C library. They return a negative number if they fail."""

    inotify_init1: Callable[[int], int]
    inotify_add_watch: Callable[[int, bytes, int], int]
    file_system: Callable[[int], int | None]


@cache
def _system() -> _System | None:
    """Returns the functions; None on systems other than Linux."""
    try:
        import ctypes

        library: Any = ctypes.CDLL(None)
        init, add, fstatfs = library.inotify_init1, library.inotify_add_watch, library.fstatfs
    except (ImportError, AttributeError, OSError, TypeError):
        return None

    def file_system(fd: int) -> int | None:
        status = ctypes.create_string_buffer(256)  # its first field, a long, is the type
        failed = fstatfs(fd, status)
        return None if failed else ctypes.c_long.from_buffer(status).value & 0xFFFFFFFF

    add.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
    return _System(init, add, file_system)
