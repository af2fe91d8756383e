"""Which session a session of pi was forked from, and which of its entries are copies.

pi names the file of the parent and copies entries with their ids. The parent is looked for beside the session and in
the folder beside that, where pi has the sessions of other directories; a path elsewhere is not followed. Without the
parent, what is older than the fork was copied.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PureWindowsPath
from typing import Any

from convtree._catalogue.record_summary import ms_of
from convtree._formats.common.base import Findings, Source
from convtree._formats.common.files import SourceFile
from convtree._formats.common.headers import Origin
from convtree._formats.common.jsonl import is_header, is_record, read_objects
from convtree._formats.common.values import key, text, utc
from convtree._model.entries import ID
from convtree._model.errors import NotALog

_NAME = re.compile(r"[^_]+_(.+)\.jsonl")


def origin_of(source: Source, header: dict[str, Any]) -> Origin:
    """Returns what the header of a session and the file of its parent say about the fork."""
    named = text(header.get("parentSession"))
    if not named:
        return Origin()
    path = PureWindowsPath(named)  # takes both kinds of slashes
    found = _NAME.fullmatch(path.name)
    parent = found[1] if found else None
    parents_ids: set[str] | None = None
    beside = source.path.absolute().parent
    for folder in (beside, beside.parent / path.parent.name):
        read = _ids_in(folder / path.name)
        if read is not None:
            parent, parents_ids = read
            break
    if parent is None or parent == header.get("id"):
        return Origin()
    with SourceFile(source.path) as file:
        own = (fields for fields, _ in read_objects(file, Findings(), is_record) if fields.get("type") != "session")
        return Origin(parent, _last_copied(own, parents_ids, ms_of(utc(header.get("timestamp")))))


def _ids_in(path: Path) -> tuple[str, set[str]] | None:
    """Returns the id of a session and those of its entries; None if there is no such session."""
    try:
        with SourceFile(path) as file:
            objects = read_objects(file, Findings(), is_record)
            header = next(objects, None)
            if header is None or not is_header(header.fields):
                return None
            return header.fields["id"], {str(fields["id"]) for fields, _ in objects if "id" in fields}
    except (OSError, NotALog):
        return None


def _last_copied(own: Iterable[dict[str, Any]], parents_ids: set[str] | None, forked_ms: int | None) -> str | None:
    """Returns the id of the last of the first entries that the parent has, too; without it, that are older."""
    last = None
    for fields in own:
        id = key(fields.get("id"))
        if id is None or not ID.fullmatch(id):
            break
        if parents_ids is None:
            ms = ms_of(utc(fields.get("timestamp")))
            if ms is None or forked_ms is None or ms >= forked_ms:
                break
        elif id not in parents_ids:
            break
        last = id
    return last
