"""What the tools on this machine have kept: the known places that hold sessions, with counts and sizes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from convtree._logs.directories import path_of
from convtree._model.arguments import checked
from convtree._tools.known_places import Machine, places_on
from convtree._tools.known_sources import FAILURES, KnownSource, NotImported, size_of, sources_in
from convtree._tools.passed_over import Search


class KnownPlace(msgspec.Struct, frozen=True, kw_only=True):
    """A place in which a tool keeps its sessions.

    Attributes:
        tool: The name of the tool.
        path: A folder, a database or a file; `import_into` takes it as a source.
        sessions: How many sessions it holds.
        size_bytes: The size of the files that hold them.
        failed: How many files could not be read.
    """

    tool: str
    path: str
    sessions: int
    size_bytes: int
    failed: int = 0


@checked
def discover(*, home: str | os.PathLike[str] | None = None) -> list[KnownPlace]:
    """Returns the known places of all tools that hold sessions on this machine, in the order of the tools' table.

    Reads the beginning of every file there, and imports nothing. Tools that keep their files in a project are looked
    for in the current directory, and in those above it below the home directory.

    Args:
        home: The home directory to look in; None is the user's, with what the variables of the tools name.
    """
    if home is None:
        machine = Machine(Path.home(), Path.cwd(), os.environ, sys.platform)
    else:
        top = path_of("home", home).absolute()
        machine = Machine(top, top, {}, sys.platform)
    search = Search()
    found = [_look(tool, path, search) for tool, path in places_on(machine)]
    return [each for each in found if each.sessions or each.failed]


def _look(tool: str, path: Path, search: Search) -> KnownPlace:
    sessions = size_bytes = failed = 0
    try:
        for each in sources_in([path], search):
            if isinstance(each, NotImported):
                failed += each.status == "failed"
                continue
            count = _count_sessions(each)
            sessions += count or 0
            failed += count is None
            size_bytes += size_of(each.source.path) if count else 0
    except FAILURES:
        failed += 1
    return KnownPlace(tool=tool, path=str(path), sessions=sessions, size_bytes=size_bytes, failed=failed)


def _count_sessions(found: KnownSource) -> int | None:
    """Returns how many sessions a source has; None if it cannot be read."""
    try:
        with found.source:
            return sum(not ref.is_leftover for ref in found.sessions())
    except FAILURES:
        return None
