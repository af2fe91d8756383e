"""Saves what an interrupted write has left at the end of a log, before it is cut off."""

from __future__ import annotations

import os
from pathlib import Path

from convtree._logs import file_lines, syncing
from convtree._logs.descriptors import Descriptors
from convtree._logs.filesystems import naming
from convtree._logs.side_files import open_free_side_file
from convtree._model.interrupts import ending


def save_torn_tail(path: Path, log: int, start: int, end: int) -> None:
    """Adds the bytes of a log, open as `log`, to `<log>.torn`, or `.torn-2` if that is not ours, durably."""
    descriptors = Descriptors()

    def save() -> None:
        name, fd = open_free_side_file(descriptors, path.with_name(path.name + ".torn"), os.fstat(log))
        with naming(name), open(fd, "ab", closefd=False) as torn:
            for _, data in file_lines.read_bytes(log, start, end - start):
                torn.write(data)
            torn.write(b"\n")
            torn.flush()
            syncing.sync(fd)

    ending(save, descriptors.close)
