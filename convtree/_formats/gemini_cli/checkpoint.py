"""Reads checkpoints of the Gemini CLI, which `/chat save` writes: the contents of a conversation without any metadata.

An array of contents, or a document with that array as its `history`. It has no session id, so the id is derived from
its first contents, and the id of a content from all contents up to it. So a checkpoint that was saved again adds only
its new contents, and two checkpoints of one conversation are its branches. Mapping:

- A content: a message of Gemini's shape, unchanged. Anything else in the array: extension data
  `gemini-checkpoint.content`.
- Other fields of a document: metadata of the session under `gemini-checkpoint`.

A file with only the user's input (`logs.json`) is not a session.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from convtree._engine.codec import BYTE_ORDER_MARK
from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession
from convtree._formats.common.files import SourceFile
from convtree._formats.common.headers import make_header
from convtree._formats.common.ids import Ids, derive_id, make_ref
from convtree._formats.common.json_arrays import has_key, item_keys, read_items
from convtree._formats.common.jsonl import read_document
from convtree._formats.common.parents_first import Node
from convtree._formats.common.parsing import Object
from convtree._formats.common.session_builder import SessionBuilder, envelope_of, extension_data
from convtree._model.entries import Entry, MessageEntry

NAME = "gemini-checkpoint"
SHAPE = "gemini"

_HISTORY = re.compile(rb'"history"\s*:\s*\[\s*\{\s*"(?:role"\s*:\s*"(?:user|model)"|parts"\s*:\s*\[)')


def recognises(source: Source) -> bool:
    """Recognises a checkpoint by its contents, which have a role and parts."""
    keys = item_keys(source.beginning)
    if _is_array(source):
        return any(each >= {"role", "parts"} for each in keys) and has_key(source.beginning, "parts", r"\[")
    return any("history" in each for each in keys) and _HISTORY.search(source.beginning) is not None


class _Document(NamedTuple):
    """The contents of a document, and its other fields."""

    contents: list[Object]
    about: dict[str, Any]


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the only session, whose id is derived from the first content."""
    findings, document = Findings(), None
    with SourceFile(source.path) as file:
        if _is_array(source):
            first = next(read_items(file, Findings(), _is_content), None)
        else:
            document = _read_document(file, findings)
            first = next(iter(document.contents), None)
    source_id = derive_id(NAME, *([] if first is None else [_json(first.fields)]))
    yield make_ref(NAME, source_id, findings, document)


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads the session."""
    findings = Findings(ref.findings)
    builder = SessionBuilder(Ids(NAME, ref.source_id), findings)
    header, document = make_header(NAME, ref.source_id), ref.content
    if document is not None:
        nodes = _nodes(builder, iter(document.contents), document.about)
        return SourceSession(header, builder.records(nodes, _make), findings.listed)
    file = source.open_file()
    nodes = _nodes(builder, read_items(file, findings, _is_content), {})
    return SourceSession(header, builder.records(nodes, _make), findings.listed, file.position)


def _read_document(file: SourceFile, findings: Findings) -> _Document:
    whole = read_document(file, findings)
    if whole is None:
        return _Document([], {})
    about = {name: value for name, value in whole.fields.items() if name != "history"}
    history = whole.fields.get("history")
    contents = [
        Object(content if isinstance(content, dict) else {"content": content}, whole.span)
        for content in (history if isinstance(history, list) else [history])
    ]
    return _Document(contents, about)


def _nodes(builder: SessionBuilder, contents: Iterator[Object], about: dict[str, Any]) -> Iterator[Node]:
    digest = ""
    last: Node | None = None
    for fields, span in contents:
        digest = derive_id(digest, _json(fields))
        last = builder.leaf = Node(builder.ids.derive(digest), last and last.id, None, span, fields)
        if not _is_content(fields):
            builder.findings.add("source_bad_record", span, last.id)
        yield last
    if about and last is not None:
        builder.set_info(last, 1, metadata={NAME: about})


def _make(node: Node) -> Entry:
    if not _is_content(node.fields):
        return extension_data(NAME, "content", node.fields, envelope_of(node))
    return MessageEntry(message=node.fields, shape=SHAPE, **envelope_of(node))


def _is_array(source: Source) -> bool:
    return source.beginning.removeprefix(BYTE_ORDER_MARK).lstrip().startswith(b"[")


def _is_content(fields: dict[str, Any]) -> bool:
    return isinstance(fields.get("role"), str) and isinstance(fields.get("parts"), list)


def _json(fields: dict[str, Any]) -> str:
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS).decode()
