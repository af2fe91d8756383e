"""The stamps of the logs in a folder. Looks at all files, or at those that a watch says may have changed."""

from __future__ import annotations

import gc
import os
import re
import stat
from collections.abc import Mapping, Set
from operator import attrgetter
from pathlib import Path

from convtree._catalogue.types import LogStamp
from convtree._logs.descriptors import with_open
from convtree._logs.folder_watch import FolderWatch
from convtree._model.entries import ID
from convtree._model.interrupts import ending

SUFFIX = ".jsonl"
_STAMP = attrgetter("st_size", "st_mtime_ns", "st_ino")
#: names of logs with a slash in between
_NAMES = re.compile(rf"(?:{ID.pattern}{re.escape(SUFFIX)}(?:/|$))*")


class FolderLogs:
    """What is in a folder. For one thread at a time.

    Args:
        folder: the folder.
        watched: whether a watch may say which files have changed: not where other machines write to the folder.

    Attributes:
        looked_at: ids of the logs that the last call of `look` looked at; None: all.
        bad_names: of files that cannot be logs, as of the last look.
    """

    def __init__(self, folder: Path, *, watched: bool) -> None:
        self._folder = folder
        self._watch = FolderWatch(folder) if watched else None
        self._stamps: dict[str, LogStamp] = {}
        self._linked: set[str] = set()  # names of logs that can be written to under another name
        self.looked_at: Set[str] | None = None
        self.bad_names: set[str] = set()

    def look(self) -> Mapping[str, LogStamp]:
        """Returns the stamp of each log."""
        try:
            changed = None if self._watch is None else self._watch.changed()
            if changed is None:
                self._look_at_all()
                self.looked_at = None
            else:
                names = {name for name in changed | self._linked if name.endswith(SUFFIX)}
                for name in names:
                    self._look_at(name)
                self.looked_at = {_id_of(name) for name in names}
        except BaseException:
            self.close()  # the events are lost
            raise
        return self._stamps

    def close(self) -> None:
        """Ends the watch. The next look is at all files."""
        if self._watch is not None:
            self._watch.close()

    def _look_at_all(self) -> None:
        collects = gc.isenabled()

        def look() -> None:
            gc.disable()  # a tuple for each file would start several collections, a third of the time in a new process
            # Scanning a descriptor spares the kernel the path of the folder for each file.
            if os.scandir in os.supports_fd:
                with_open(self._folder, os.O_RDONLY, self._scan)
            else:
                self._scan(self._folder)

        ending(look, gc.enable if collects else int)

    def _scan(self, folder: int | Path) -> None:
        """Calls stat on every file. A list of a large store spends most of its time here."""
        found: dict[str, LogStamp] = {}
        linked, bad_names = set[str](), set[str]()
        stamp, suffix, regular = _STAMP, SUFFIX, stat.S_IFREG
        with os.scandir(folder) as entries:
            for each in entries:
                name = each.name
                if name.endswith(suffix):
                    try:
                        status = each.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # deleted since the directory was read
                    if status.st_mode & 0o170000 != regular:
                        bad_names.add(name)
                        continue
                    found[name] = stamp(status)
                    if status.st_nlink > 1:
                        linked.add(name)
        if not _NAMES.fullmatch("/".join(found)):
            wrong = [name for name in found if not ID.fullmatch(_id_of(name))]
            bad_names.update(wrong)
            for name in wrong:
                del found[name]
        cut = -len(SUFFIX)
        stamps = {name[:cut]: each for name, each in found.items()}
        self._stamps, self._linked, self.bad_names = stamps, linked - bad_names, bad_names

    def _look_at(self, name: str) -> None:
        """Looks at one file again, which may be gone."""
        id = _id_of(name)
        self._stamps.pop(id, None)
        self._linked.discard(name)
        self.bad_names.discard(name)
        try:
            status = os.lstat(self._folder / name)
        except FileNotFoundError:
            return
        if not ID.fullmatch(id) or not stat.S_ISREG(status.st_mode):
            self.bad_names.add(name)
            return
        self._stamps[id] = _STAMP(status)
        if status.st_nlink > 1:
            self._linked.add(name)


def _id_of(name: str) -> str:
    return name[: -len(SUFFIX)]
