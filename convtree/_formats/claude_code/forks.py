"""Which session a transcript of Claude Code was forked from, and which of its lines are copies.

A copied line says so in one of two ways, by version: `forkedFrom` names the session and the line that it is a copy of;
`requestSessionId` names the session whose request an answer is from, and only copies have it. The user's lines before
such an answer were copied, too.
"""

from __future__ import annotations

import io

from convtree._formats.common.base import Findings, Source
from convtree._formats.common.files import SourceFile
from convtree._formats.common.headers import Origin
from convtree._formats.common.jsonl import LINE_LIMIT, is_record, read_objects
from convtree._formats.common.values import as_object, key

_MARKS = (b'"forkedFrom"', b'"requestSessionId"')


def origin_of(source: Source, session_id: str) -> Origin:
    """Returns what the last copied line says; an empty origin if there is none."""
    origin = Origin()
    with SourceFile(source.path) as file:
        while line := file.readline(LINE_LIMIT):
            if not any(mark in line for mark in _MARKS):
                continue  # nearly every line
            for fields, _ in read_objects(io.BytesIO(line), Findings(), is_record):
                parent = key(as_object(fields.get("forkedFrom")).get("sessionId")) or key(
                    fields.get("requestSessionId")
                )
                if parent is not None and parent != session_id:
                    origin = Origin(parent, key(fields.get("uuid")))
    return origin
