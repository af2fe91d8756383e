"""Transcripts of Cursor's agents: `~/.cursor/projects/<project>/agent-transcripts/<session>/<session>.jsonl`.

Cursor's own code is not public. The keys are those that public readers were tested with on files of Cursor
(kenn-io/agentsview, `internal/parser/cursor.go`). Each line has a `role` and a `message` with content as Anthropic has
it, without ids and times. Mapping:

- A line: a message. What a person typed is inside of `<user_query>`: it is for the user, and the whole for the model.
  What the tool says in the role of the user alone is for the model.
- Any other line: extension data `cursor-agent.<type>`.

The transcript is appended to; ids are derived from the number of the line. Its name is the id of the session. One in a
folder `subagents` of another session is a task of it. Transcripts in plain text, of older versions, are not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession
from convtree._formats.common.blocks import make_extension_data, make_typed
from convtree._formats.common.files import SourceFile
from convtree._formats.common.headers import make_header
from convtree._formats.common.ids import Ids, make_ref
from convtree._formats.common.jsonl import has_known_line, read_objects
from convtree._formats.common.node_tree import make_records
from convtree._formats.common.parents_first import Node
from convtree._formats.common.typed import is_injected, typed_in
from convtree._formats.common.values import as_object, moment, text, without
from convtree._model.entries import Entry, MessageEntry

NAME = "cursor-agent"
SHAPE = "anthropic"
_LOOK = 20  # lines in which a transcript is recognised
#: how a text begins that the tool says in the role of the user
_BY_THE_TOOL = ("<user_info>", "<open_", "<attached_files>", "<system_reminder>")
_AGENTS = "subagents"
_KIND = re.compile(r"[a-z][a-z0-9_.-]{0,40}")


def recognises(source: Source) -> bool:
    """Recognises a transcript by its lines."""
    if not source.beginning.lstrip().startswith(b"{"):
        return False
    return bool(has_known_line(source, _is_message, _LOOK))


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the only session, by the name of the file."""
    path = source.path.absolute()
    parent = path.parent.parent.name if path.parent.name == _AGENTS else None
    yield make_ref(NAME, path.name.partition(".jsonl")[0], content=parent)


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads the session."""
    findings, ids = Findings(ref.findings), Ids(NAME, ref.source_id)
    file = source.open_file()
    header = make_header(NAME, ref.source_id, parent=ref.content, parent_kind="task")
    records = make_records(_nodes(file, ids, findings), _make, ids, findings)
    return SourceSession(header, records, findings.listed, file.position)


def _nodes(file: SourceFile, ids: Ids, findings: Findings) -> Iterator[Node]:
    tip: str | None = None
    for number, (fields, span) in enumerate(read_objects(file, findings, _is_message)):
        node = Node(ids.derive(number), tip, None, span, fields)
        tip = node.id
        yield node


def _make(node: Node) -> list[Entry]:
    fields = node.fields
    message, role, time = as_object(fields.get("message")), text(fields.get("role")), moment(fields.get("timestamp"))
    content = message.get("content")
    if role is None or not isinstance(content, str | list):
        kind = text(fields.get("type")) or ""
        return make_extension_data(NAME, kind if _KIND.fullmatch(kind) else "unknown", fields, time)
    rest = without(fields, "role", "message", "timestamp") | without({"message": without(message, "content", "role")})
    said = MessageEntry(timestamp=time, message={"role": role, "content": content}, shape=SHAPE, extra=rest or None)
    typed = typed_in(content, ("user_query",)) if role == "user" else None
    if typed is not None:
        return make_typed(NAME, typed, said)
    if role == "user" and is_injected(content, _BY_THE_TOOL):
        return [msgspec.structs.replace(said, visible_to="model")]
    return [said]


def _is_message(fields: dict[str, Any]) -> bool:
    message = fields.get("message")
    if fields.get("role") not in ("user", "assistant") or "type" in fields or not isinstance(message, dict):
        return False
    return isinstance(message.get("content"), str | list) and "role" not in message
