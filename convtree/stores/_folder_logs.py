"""The stamps of the logs in a folder. Looks at all files, or at those that a watch says may have changed."""

from __future__ import annotations

import gc
import os
import stat
from collections.abc import Callable, Iterable, Set
from operator import attrgetter
from pathlib import Path

from convtree._catalogue.types import LogStamp
from convtree._logs.descriptors import with_open
from convtree._logs.folder_watch import FolderWatch
from convtree._model.entries import ID
from convtree._model.interrupts import ending
from convtree.stores._look import SUFFIX, FolderLook, Look, id_of

_STAMP = attrgetter("st_size", "st_mtime_ns", "st_ino")
_BY_DESCRIPTOR = os.stat in os.supports_dir_fd and os.listdir in os.supports_fd  # of the folder


class FolderLogs:
    """What is in a folder. For one thread at a time.

    Args:
        folder: the folder.
        watched: whether a watch may say which files have changed: not where other machines write to the folder.

    Attributes:
        looked_at: ids of the logs that the last call of `look` looked at; None: all.
    """

    def __init__(self, folder: Path, *, watched: bool) -> None:
        self._folder = folder
        self._watch = FolderWatch(folder) if watched else None
        self._look: Look = FolderLook((), ())
        self._linked: set[str] = set()  # names of logs that can be written to under another name
        self._odd: set[str] = set()  # names of logs that are no files, or have been looked at since and cannot be logs
        self.looked_at: Set[str] | None = None

    @property
    def bad_names(self) -> set[str]:
        """Names of files that cannot be logs, as of the last look."""
        return self._odd | self._look.bad_names if isinstance(self._look, FolderLook) else self._odd

    def look(self) -> Look:
        """Returns the stamp of each log."""
        try:
            changed = None if self._watch is None else self._watch.changed()
            if changed is None:
                self._look_at_all()
                self.looked_at = None
            else:
                names = {name for name in changed | self._linked if name.endswith(SUFFIX)}
                if names and isinstance(self._look, FolderLook):
                    self._odd = self.bad_names
                    self._look = Look(self._look.stamps.copy())
                known = self._linked.copy()
                for name in names:
                    self._look_at(name)
                names |= self._look_at_others(self._linked - known, names)
                self.looked_at = {id_of(name) for name in names}
        except BaseException:
            self.close()  # the events are lost
            raise
        return self._look

    def close(self) -> None:
        """Ends the watch. The next look is at all files."""
        if self._watch is not None:
            self._watch.close()

    def _look_at_all(self) -> None:
        collects = gc.isenabled()

        def look() -> None:
            gc.disable()  # a tuple for each file would start several collections, a third of the time in a new process
            # A descriptor spares the kernel the path of the folder for each file. Where there is none, as on Windows,
            # the entries of a folder know their status.
            if _BY_DESCRIPTOR:
                with_open(self._folder, os.O_RDONLY, lambda fd: self._scan(os.listdir(fd), os.stat, fd))
            else:
                with os.scandir(self._folder) as entries:
                    known = {each.name: each for each in entries}
                self._scan(known, lambda name, **_: known[name].stat(follow_symlinks=False), -1)

        ending(look, gc.enable if collects else int)

    def _scan(self, listed: Iterable[str], status_of: Callable[..., os.stat_result], folder: int) -> None:
        """Calls stat on every file. A list of a large store spends most of its time here, so this is flat."""
        names, found = list[str](), list[LogStamp]()
        linked, odd = set[str](), set[str]()
        stamp_of, suffix, regular = _STAMP, SUFFIX, stat.S_IFREG
        for name in listed:
            if name.endswith(suffix):
                try:
                    status = status_of(name, dir_fd=folder, follow_symlinks=False)
                except FileNotFoundError:
                    continue  # deleted since the directory was read
                if status.st_mode & 0o170000 != regular:
                    odd.add(name)
                    continue
                names.append(name)
                found.append(stamp_of(status))
                if status.st_nlink > 1:
                    linked.add(name)
        self._look, self._odd = FolderLook(names, found), odd
        self._linked = linked and linked - self._look.bad_names

    def _look_at(self, name: str) -> None:
        """Looks at one file again, which may be gone."""
        id, stamps = id_of(name), self._look.stamps
        stamps.pop(id, None)
        self._linked.discard(name)
        self._odd.discard(name)
        try:
            status = os.lstat(self._folder / name)
        except FileNotFoundError:
            return
        if not ID.fullmatch(id) or not stat.S_ISREG(status.st_mode):
            self._odd.add(name)
            return
        stamps[id] = _STAMP(status)
        if status.st_nlink > 1:
            self._linked.add(name)

    def _look_at_others(self, linked: Set[str], names: Set[str]) -> set[str]:
        """Looks at the other names of files that have got several, except for `names`; returns those names.

        Only the new name of a file is reported, and so is what is written under it.
        """
        if not linked:
            return set()
        stamps = self._look.stamps
        inodes = {stamps[id_of(name)][2] for name in linked}
        others = {f"{id}{SUFFIX}" for id, stamp in stamps.items() if stamp[2] in inodes} - names
        for name in others:
            self._look_at(name)
        return others
