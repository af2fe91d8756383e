"""The lock of a log: `flock` on the log's own descriptor.

The kernel keeps it with the open file. It ends when the file is closed, and therefore when the process dies, so a
crash leaves no lock behind. It excludes writers on one machine, not across a network.

`flock` has no queue: the process that asks next gets the lock. A writer in a loop would get it every time, so it
pauses once before it asks again if another writer was waiting.
"""

from __future__ import annotations

import fcntl
import os
import time

from convtree._logs.filesystems import name_file
from convtree._model.errors import SessionLocked

_FAIRNESS_WINDOW_S = 0.002  # a writer that locks again within this time pauses once, if others want the lock
_YIELD_S = 0.0002
_FIRST_PAUSE_S = 0.0002
_LONGEST_PAUSE_S = 0.002
_SHORTEST_PAUSE_S = 0.0005


class FileLock:
    """The lock on one file, taken through a descriptor that the caller owns. For one thread at a time."""

    def __init__(self, location: str) -> None:
        self.held = False  # set by `acquire`, cleared by `release` and by the owner when it closes the descriptor
        self.contended = False  # other writers waited, wrote or made us wait since the last `acquire`
        self._location = location
        self._released_s = 0.0  # when the lock was last given back (monotonic)
        self._was_tried = False  # else a lock on the descriptor is not ours

    def acquire(self, fd: int, timeout_s: float) -> None:
        """Takes the lock; tries once if `timeout_s` is 0.

        Raises:
            SessionLocked: it was not free in time.
        """
        self._was_tried = True
        began_s = time.monotonic()
        if self.contended and began_s - self._released_s < _FAIRNESS_WINDOW_S:
            time.sleep(_YIELD_S)
        self.contended = False
        pause_s = _FIRST_PAUSE_S
        while not self._try(fd):
            self.contended = True
            waited_s = time.monotonic() - began_s
            if waited_s >= timeout_s:
                holder = _holder(fd)
                by = f" by {holder}" if holder else ""
                raise SessionLocked(f"{self._location}: locked{by} for {timeout_s} s", holder=holder)
            time.sleep(pause_s)
            # The longer it waited, the more often it asks: otherwise newcomers would always be first.
            pause_s = max(_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S - waited_s / 10)
        self.held = True

    def _try(self, fd: int) -> bool:
        try:
            return lock_descriptor(fd, again=self.contended)
        except OSError as error:  # the file system has no locks, for example
            name_file(error, self._location)
            raise

    def release(self, fd: int) -> None:
        """Gives the lock back; does no harm if it is not held."""
        if self._was_tried:
            unlock_descriptor(fd)
        self.held = False
        self._released_s = time.monotonic()


def lock_descriptor(fd: int, *, again: bool = False) -> bool:
    """Tries to take the lock; returns whether it was free.

    `filelock` is the home of the lock, and makes every try but the first: importing it takes longer than most programs
    run, and a lock that is free takes one system call.
    """
    if again:
        import filelock

        return filelock.lock_descriptor(fd, blocking=False)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock_descriptor(fd: int) -> None:
    """Gives the lock back."""
    fcntl.flock(fd, fcntl.LOCK_UN)


def _holder(fd: int) -> str | None:
    """Returns the process that holds the lock on a file, where the system says so (Linux)."""
    status = os.fstat(fd)
    from pathlib import Path  # slow to import

    wanted = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if "FLOCK" in fields and "->" not in fields and wanted in fields:
                pid = fields[fields.index(wanted) - 1]
                name = Path(f"/proc/{pid}/comm").read_text().strip()
                return f"process {pid} ({name!r})"
    except (OSError, ValueError):
        pass
    return None
