"""The files that a session of Codex is written in.

A fork holds its own lines only: `history_base` names the session that it continues, and where in it. A revert begins
another file of the same session, which continues an earlier place of it. So a session is a tree over several files. The
id of the session is in their names; they are looked for below the folder that Codex keeps its sessions in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from convtree._formats.codex.lines import About, about
from convtree._formats.common.base import Findings, Source
from convtree._formats.common.files import SourceFile
from convtree._formats.common.jsonl import is_record, read_objects
from convtree._formats.common.values import as_object, count, key, without
from convtree._model.errors import NotALog

_KEPT_IN = ("sessions", "archived_sessions")
_NAME = re.compile(r"rollout-.{19}-([0-9a-f-]{36})(?:_[0-9a-f-]{36})?\.jsonl(?:\.zst)?")
_ORDINAL = re.compile(rb'"ordinal"\s*:\s*(\d+)')
_TIMED = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")  # a UUID of version 7
_START = 200  # bytes of a line in which its ordinal is
_PLACE = ("timestamp", "ordinal")  # in which a copied line differs
_DEPTH = 1000  # files that one continues another


class Cut(NamedTuple):
    """A place in a file: before the first line with this ordinal or offset."""

    path: Path
    ordinal: int
    offset: int | None

    def is_before(self, ordinal: Any, offset: int) -> bool:
        """Returns whether a line with this ordinal, at this offset, lies behind the place."""
        if isinstance(ordinal, int):
            return ordinal >= self.ordinal
        return self.offset is not None and offset >= self.offset


class Segment(NamedTuple):
    """A file of a session, and the place that it continues. `is_torn_off`: that place was not found."""

    path: Path
    about: About
    base: Cut | None = None
    is_torn_off: bool = False

    @property
    def key(self) -> str:
        """What the ids of its lines are derived from, with their ordinals: two files of a session differ in it."""
        thread, base = self.about.thread, as_object(self.about.meta.get("history_base"))
        return f"{thread} {self.about.meta.get('timestamp')}" if key(base.get("thread_id")) == thread else thread


class Segments(NamedTuple):
    """The files of one session: those that it continues, and its own, in the order in which they are read."""

    above: tuple[Segment, ...]
    own: tuple[Segment, ...]


def segments_of(source: Source, first: About) -> Segments:
    """Returns the files of the session that a file belongs to."""
    path = source.path.absolute()  # as those that are found around it
    files = source.see(_home_of(path), _by_thread)
    own = _own(path, first, files.get(first.thread, []))
    resolved = tuple(_resolved(each, files) for each in own)
    above: list[Segment] = []
    base = next((each.base for each in resolved if each.base is not None and not _is_in(each.base, own)), None)
    while base is not None and len(above) < _DEPTH and all(each.path != base.path for each in above):
        above.append(_resolved(Segment(base.path, _about_of(base.path)), files))
        base = above[-1].base
    return Segments(tuple(reversed(above)), resolved)


def is_main(source: Source, segments: Segments) -> bool:
    """Returns whether a session is listed for this file, and not for an earlier one in the same folder."""
    if source.folder is None:
        return True
    path, folder = source.path.absolute(), source.folder.absolute()
    inside = [each.path for each in segments.own if each.path.is_relative_to(folder)]
    return path == next(iter(inside), path)


def last_copied(source: Source, segments: Segments) -> int | None:
    """Returns the ordinal, or the number, of the last line that a fork has copied; None if it has copied none.

    Older versions copy the history into the file of the fork, behind its own first line and with the time of the fork.
    It is found by a comparison with the file of the parent; without that, by the ids of the turns.
    """
    own = segments.own[0]
    parent = key(own.about.meta.get("forked_from_id"))
    if segments.above or parent is None:
        return None
    files = source.see(_home_of(own.path), _by_thread).get(parent, [])
    if not files:
        return _last_of_older_turns(own.path, own.about.thread)
    found = (last for each in files if each != own.path and (last := _last_common(own.path, each)) is not None)
    return max(found, default=None)


def _last_common(path: Path, parent: Path) -> int | None:
    """Returns the ordinal, or the number, of the last line that a file has in common with the start of its parent."""
    last = None
    with suppress(NotALog, OSError, ImportError), SourceFile(path) as file, SourceFile(parent) as other:
        lines = enumerate(read_objects(file, Findings(), is_record), 1)
        next(lines, None)  # its own metadata
        for (number, (fields, _)), (copied, _) in zip(lines, read_objects(other, Findings(), is_record), strict=False):
            if without(fields, *_PLACE) != without(copied, *_PLACE):
                break
            ordinal = fields.get("ordinal")
            last = ordinal if isinstance(ordinal, int) else number
    return last


def _last_of_older_turns(path: Path, thread: str) -> int | None:
    """Returns the number of the last line before the first turn of a fork's own. None if the lines do not show it.

    Behind its own first line a fork has that of its parent. The ids of turns and sessions begin with their time, so the
    turns of the fork have larger ones than itself. The oldest versions write no turns.
    """
    last, has_turns = None, False
    with suppress(NotALog, OSError, ImportError), SourceFile(path) as file:
        for number, (fields, _) in enumerate(read_objects(file, Findings(), is_record), 1):
            payload = as_object(fields.get("payload"))
            if number == 2 and (fields.get("type") != "session_meta" or payload.get("id") in (None, thread)):
                return None
            turn = payload.get("turn_id")
            if isinstance(turn, str) and _TIMED.fullmatch(turn):
                has_turns = True
                if turn > thread:
                    break
            ordinal = fields.get("ordinal")
            last = ordinal if isinstance(ordinal, int) else number
    return last if has_turns and _TIMED.fullmatch(thread) else None


def name_of(source: Source, thread: str) -> str | None:
    """Returns the name that a person gave the session; Codex keeps it beside the sessions."""
    names = source.see(_home_of(source.path), _names)
    return names.get(thread)


def _is_in(cut: Cut, segments: list[Segment]) -> bool:
    return any(cut.path == each.path for each in segments)


def _own(path: Path, first: About, candidates: list[Path]) -> list[Segment]:
    """Returns the session's own files, the oldest first. Of two copies of one file, the longer counts."""
    found: dict[tuple[str, str], Segment] = {}
    for each in sorted({path, *candidates}, key=lambda each: (each != path, each.name)):
        facts = first if each == path else _about_of(each)
        if facts.thread != first.thread:
            continue
        named = str(facts.meta.get("timestamp")), str(facts.meta.get("history_base"))
        if each != path and named in found and _size(found[named].path) >= _size(each):
            continue
        found[named] = Segment(each, facts)
    return sorted(found.values(), key=lambda each: (str(each.about.meta.get("timestamp")), each.path.name))


def _resolved(segment: Segment, files: dict[str, list[Path]]) -> Segment:
    """Adds the place that a file continues."""
    base = as_object(segment.about.meta.get("history_base"))
    thread, ordinal, offset = key(base.get("thread_id")), count(base.get("end_ordinal_exclusive")), None
    if thread is None or ordinal is None:
        return segment
    offset = count(base.get("end_byte_offset"))
    candidates = [each for each in files.get(thread, []) if each != segment.path]
    fitting = [each for each in candidates if offset is None or _fits(each, ordinal, offset)]
    if not fitting:
        return segment._replace(is_torn_off=True)
    return segment._replace(base=Cut(fitting[0], ordinal, offset))


def _fits(path: Path, ordinal: int, offset: int) -> bool:
    """Returns whether a line ends at this offset, and the next one, if there is one, has this ordinal."""
    try:
        with SourceFile(path) as file:
            file.skip(offset - 1)
            if offset < 1 or file.read(1) != b"\n":
                return False
            start = file.read(_START)
    except (NotALog, OSError, ImportError):
        return False
    found = _ORDINAL.search(start)
    return not start or (found is not None and int(found[1]) == ordinal)


def _about_of(path: Path) -> About:
    try:
        with SourceFile(path) as file:
            return about(read_objects(file, Findings(), is_record))
    except (NotALog, OSError, ImportError):
        return About({}, None)


def _size(path: Path) -> int:
    return path.stat().st_size


def _home_of(path: Path) -> Path:
    """Returns the folder that Codex keeps its files in; for a file elsewhere, its folder."""
    path = path.absolute()
    return next((each.parent for each in path.parents if each.name in _KEPT_IN), path.parent)


def _by_thread(home: Path) -> dict[str, list[Path]]:
    """Returns the files of each session by its id, in the order of their names."""
    found: dict[str, list[Path]] = {}
    for path in sorted(_rollouts(home), key=lambda path: path.name):
        name = _NAME.fullmatch(path.name)
        if name is not None and not path.is_symlink():
            found.setdefault(name[1], []).append(path)
    return found


def _rollouts(home: Path) -> Iterator[Path]:
    folders = [home / name for name in _KEPT_IN if (home / name).is_dir()]
    for folder in folders:
        yield from folder.rglob("rollout-*")
    if not folders:
        yield from home.glob("rollout-*")


def _names(home: Path) -> dict[str, str]:
    try:
        with SourceFile(home / "session_index.jsonl") as file:
            lines = [fields for fields, _ in read_objects(file, Findings(), lambda fields: "id" in fields)]
    except (NotALog, OSError):
        return {}
    return {str(each["id"]): each["thread_name"] for each in lines if "id" in each and each.get("thread_name")}
