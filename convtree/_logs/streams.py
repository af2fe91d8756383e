"""Output paths that are no files: devices, pipes and descriptors. They are written into, and never replaced."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from convtree._logs.descriptors import Descriptors, with_open

_LINKS = 40  # symbolic links that are followed


def open_stream(descriptors: Descriptors, path: Path) -> int | None:
    """Opens a device, a pipe or a descriptor such as `/dev/stdout` to write to; None for every other path.

    The caller closes `descriptors`.

    Waits for the reader of a named pipe. A descriptor is written to where it is, also if it is that of a file.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = _descriptor_at(path)
    if descriptor is not None:
        return descriptors.duplicate(descriptor)
    try:
        if not _is_stream(os.stat(path)):
            return None
    except OSError:
        return None  # there is nothing, or it will be seen when the file is written
    fd = descriptors.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
    return fd if _is_stream(os.fstat(fd)) else None


def is_terminal(path: Path) -> bool:
    """Returns whether what is written to a path is shown on a terminal."""
    try:
        if not stat.S_ISCHR(os.stat(path).st_mode):
            return False
        return with_open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC, os.isatty)
    except OSError:
        return False


def _is_stream(status: os.stat_result) -> bool:
    return not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode))


def _descriptor_at(path: Path) -> int | None:
    """Returns the number of the descriptor that a path such as `/dev/stdout` or `/dev/fd/63` leads to."""
    place = os.path.abspath(path)
    folders = {os.path.realpath("/dev/fd"), os.path.realpath("/proc/self/fd"), "/dev/fd"}
    for _ in range(_LINKS):
        folder, name = os.path.split(place)
        if name.isdecimal() and os.path.realpath(folder) in folders:
            return int(name)
        try:
            place = os.path.normpath(os.path.join(os.path.realpath(folder), os.readlink(place)))
        except OSError:
            return None
    return None
