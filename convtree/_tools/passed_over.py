"""Which folders a search for sessions does not enter.

A search may begin at a home directory, or at the root. What programs install, cache and version is larger there than
everything else, and has no sessions. The folder that is named is always entered.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

from convtree._logs.filesystems import mount_table, type_of

#: names of folders that programs fill: version control, packages, caches, what was deleted
_NAMES = frozenset(
    {".git", ".hg", ".svn", ".jj", "node_modules", "bower_components", "site-packages", "dist-packages"}
    | {"__pycache__", "__pypackages__", ".cache", "Caches", ".tox", ".nox", ".gradle", ".m2", ".npm", ".pnpm-store"}
    | {".cargo", ".rustup", ".nuget", ".conda", ".pyenv", ".nvm", ".rbenv", "Trash", ".Trash", "$RECYCLE.BIN"}
)
#: files that mark a virtual environment, a conda environment, and a cache (bford.info/cachedir)
_MARKS = ("pyvenv.cfg", "conda-meta", "CACHEDIR.TAG")
#: file systems without files that somebody wrote
_PSEUDO = frozenset(
    {"autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs"}
    | {"fuse.gvfsd-fuse", "fuse.lxcfs", "fuse.portal", "fusectl", "hugetlbfs", "mqueue", "nsfs", "proc", "pstore"}
    | {"rpc_pipefs", "securityfs", "selinuxfs", "sysfs", "tracefs"}
)

PROGRAMS = "packages, caches or version control"
PSEUDO = "a file system without stored files"
AGAIN = "searched already"
#: why folders are passed over; any other reason is that of a file
FOLDER_REASONS = frozenset({PROGRAMS, PSEUDO, AGAIN})


class Search:
    """A search below one or more folders: remembers where it has been."""

    def __init__(self) -> None:
        self._entered: set[tuple[int, int]] = set()
        self._types: dict[int, str | None] = {}

    def refusal(self, folder: Path, *, is_top: bool) -> str | None:
        """Returns why a folder is not searched; None if it is searched now."""
        found = os.stat(folder)
        place = found.st_dev, found.st_ino
        if place in self._entered:
            return AGAIN
        if not is_top and (folder.name in _NAMES or any(os.path.lexists(folder / mark) for mark in _MARKS)):
            return PROGRAMS
        if not is_top and self._type_of(found.st_dev) in _PSEUDO:
            return PSEUDO
        self._entered.add(place)
        return None

    def _type_of(self, device: int) -> str | None:
        if device not in self._types:
            self._types[device] = type_of(self._mounts, device)
        return self._types[device]

    @cached_property
    def _mounts(self) -> str:
        return mount_table()  # empty elsewhere than on Linux, where such file systems are not below a folder of files
