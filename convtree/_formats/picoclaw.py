"""picoclaw's sessions: provider messages in JSONL with a `.meta.json` beside, and the JSON files from before it.

One linear session without ids. An entry's id is derived from the content of its line, so the other ids stay the same
when picoclaw deletes lines in a compaction. Mapping:

- A line: a message, unchanged, in the shape of OpenAI's chat completions with picoclaw's own fields. `model_name` is
  the model of an assistant's message. A line without a role: extension data `picoclaw.unknown`.
- `summary` and `skip` of the metadata: a compaction below the last message, which keeps the lines that are not skipped.
  picoclaw has only one summary: a new one becomes a new compaction, and the old one stays in the tree.
- A message with only `reasoning_content`: for the user only, because picoclaw leaves it out. On a restart picoclaw also
  leaves out a call without a result and all later messages; here they are in the context.
- `key`: the id of the session; without metadata, the file's name. Beside metadata that cannot be read nothing is read:
  they may be being written. `scope` and `aliases`: metadata in the header. Other fields of the metadata: metadata of
  the session under `picoclaw`.

A legacy file is one object: `key`, `messages`, `summary`. picoclaw takes it over when it starts, so that is what is
written (`write`). Shape `picoclaw.message`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from convtree._formats.common.base import Exported, Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.blocks import make_extension_data
from convtree._formats.common.export import LONG_AGO, line, lose_left_out, own_id
from convtree._formats.common.files import SourceFile, read_beginning
from convtree._formats.common.headers import leftovers, make_header, metadata_mark, read_leftover
from convtree._formats.common.ids import Ids, make_ref
from convtree._formats.common.json_arrays import item_keys, read_items
from convtree._formats.common.jsonl import read_objects
from convtree._formats.common.node_tree import make_records
from convtree._formats.common.parents_first import Node
from convtree._formats.common.parsing import Object, parse
from convtree._formats.common.values import as_text, misfits, moment, text, without
from convtree._model.entries import CompactionEntry, Entry, MessageEntry, Record, Visibility

NAME = "picoclaw"
SHAPE = "picoclaw.message"
_META = ".meta.json"
_META_LIMIT = 2**24  # bytes of the metadata that are taken
_ROLES = {"user", "assistant", "system", "tool"}
_PLACED = ("key", "scope", "aliases", "summary", "skip", "count", "created_at", "created", "messages")
_KINDS = {"key": str, "summary": str, "skip": int, "count": int, "messages": list}  # where they have their place
_SUMMARY: dict[str, Any] = {"type": "summary"}  # a node that is no line
#: members of a message that are written
_WRITTEN = ("role", "content", "reasoning_content", "tool_calls", "tool_call_id")
_OTHERS = {"type", "id", "ID", "parentId", "parent_id", "uuid"}  # what lines of other tools have


def recognises(source: Source) -> bool:
    """Recognises a session by its first line, a message with a time; a legacy file by its keys.

    Lines of the first versions have no time; they are recognised by the metadata file.
    """
    if any(keys >= {"key", "messages", "created", "updated"} for keys in item_keys(source.beginning)):
        return True
    first = next(read_objects(source.open_beginning(), Findings(), _is_message), None)
    if first is None or not _is_message(first.fields):
        return False
    return "created_at" in first.fields or _metadata(source.path, Findings()).keys() >= {"key", "skip", "count"}


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the only session; a legacy file may hold several."""
    if _is_document(source):
        yield from _list_documents(source)
        return
    findings = Findings()
    meta = _metadata(source.path, findings)
    if not meta and findings.count("source_bad_line"):  # being written, perhaps: it has the id of the session
        yield from leftovers(NAME, findings)
        return
    yield make_ref(NAME, text(meta.get("key")) or source.path.stem, findings, meta)


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads a session."""
    if ref.is_leftover:
        return read_leftover(NAME, ref)
    findings = Findings(ref.findings)
    if not _is_document(source):
        return _session(ref, ref.content, read_objects(source.open_file(), findings, _is_message), findings)
    found: Object = ref.content
    messages = found.fields.get("messages")
    listed = messages if isinstance(messages, list) else []
    about = {name: value for name, value in found.fields.items() if name != "messages"}
    return _session(ref, about, (_object(each, found.span, findings) for each in listed), findings)


def _is_document(source: Source) -> bool:
    return any("messages" in keys for keys in item_keys(source.beginning))


def _list_documents(source: Source) -> Iterator[SessionRef]:
    """Lists the sessions of a legacy file. Problems in front of a session are reported with it."""
    findings = Findings()
    with SourceFile(source.path) as file:
        for found in read_items(file, findings, _is_legacy):
            yield make_ref(NAME, text(found.fields.get("key")) or source.path.stem, findings, found)
            findings.listed.clear()
    yield from leftovers(NAME, findings)


def _session(ref: SessionRef, meta: dict[str, Any], found: Iterator[Object], findings: Findings) -> SourceSession:
    time = meta.get("created_at") or meta.get("created")
    header = make_header(NAME, ref.source_id, time=time, scope=meta.get("scope"), aliases=meta.get("aliases"))
    return SourceSession(header, _records(found, meta, Ids(NAME, ref.source_id), findings), findings.listed)


def _object(value: Any, span: SourceSpan, findings: Findings) -> Object:
    if not isinstance(value, dict):
        findings.add("source_bad_record", span)
        return Object({"value": value}, span)
    return Object(value, span)


def _records(found: Iterator[Object], meta: dict[str, Any], ids: Ids, findings: Findings) -> Iterator[Record]:
    make = partial(_make, meta=meta)
    yield from make_records(_nodes(found, meta, ids), make, ids, findings)
    yield from metadata_mark(ids, NAME, without(meta, *_PLACED) | misfits(meta, _KINDS), SourceSpan(1, 0, 0), findings)


def _nodes(found: Iterator[Object], meta: dict[str, Any], ids: Ids) -> Iterator[Node]:
    """Yields the messages as a chain, and below the last one the summary in the metadata."""
    skip = meta.get("skip")
    skip = skip if isinstance(skip, int) and not isinstance(skip, bool) and skip > 0 else 0
    last, kept, span = None, None, SourceSpan(1, 0, 0)
    for fields, at in found:
        span, id = at, ids.derive("message", as_text(fields))
        kept = id if kept is None and at.line > skip else kept
        yield Node(id, last, None, span, fields)
        last = id
    summary = text(meta.get("summary"))
    if last is not None and (summary or skip):
        id = ids.derive("summary", summary or "", skip, last)
        yield Node(id, last, None, span, _SUMMARY, reference=kept)


def _make(node: Node, *, meta: dict[str, Any]) -> list[Entry]:
    fields = node.fields
    if fields is _SUMMARY:
        time, summary = moment(meta.get("updated_at") or meta.get("updated")), text(meta.get("summary")) or ""
        return [CompactionEntry(timestamp=time, summary=summary, first_kept_entry_id=node.reference)]
    time, role = fields.get("created_at"), fields.get("role")
    if not isinstance(role, str):
        return make_extension_data(NAME, "unknown", fields, time)
    model = text(fields.get("model_name")) or None if role == "assistant" else None
    shown: Visibility = "user" if _is_thought(fields) else "all"
    return [MessageEntry(timestamp=moment(time), message=fields, shape=SHAPE, model=model, visible_to=shown)]


def _is_thought(fields: dict[str, Any]) -> bool:
    others = ("content", "tool_calls", "media", "attachments", "tool_call_id")
    is_alone = _says(fields.get("reasoning_content")) and not any(_says(fields.get(name)) for name in others)
    return fields.get("role") == "assistant" and is_alone


def _says(value: Any) -> bool:
    return bool(value.strip() if isinstance(value, str) else value)


def _metadata(path: Path, findings: Findings) -> dict[str, Any]:
    data = read_beginning(path.with_name(path.name.removesuffix(".jsonl") + _META), _META_LIMIT)
    if not data:
        return {}
    found = parse(data + b"\n", SourceSpan(1, 0, len(data)), findings, _is_metadata)
    return found[0] if found else {}


def _is_message(fields: dict[str, Any]) -> bool:
    if not _OTHERS.isdisjoint(fields):
        return False
    return isinstance(fields.get("role"), str) and fields["role"] in _ROLES and "content" in fields


def _is_metadata(fields: dict[str, Any]) -> bool:
    return isinstance(fields.get("key"), str)


def _is_legacy(fields: dict[str, Any]) -> bool:
    return isinstance(fields.get("messages"), list)


# --- out ---


def write(session: Exported, findings: Findings) -> Iterator[bytes]:
    """Yields the context at the leaf as one object: `key`, `messages`, `summary`, `created` and `updated`.

    The summary of the last compaction is the session's, which picoclaw shows its model in front of the messages. Other
    branches, and what that summary replaces, are left out. Texts only: a picture becomes one of the `media`.
    """
    context = session.build_context(leaf=session.leaf_id)
    ids = {entry.id for entry in context.entries}
    for _, record in session.records():
        if isinstance(record, MessageEntry) and record.id not in ids:
            findings.lose("message that is not in the context", record.id)
    said = zip(context.entries, context.messages, strict=True)
    last, rendered = next((each for each in said if isinstance(each[0], CompactionEntry)), (None, None))
    request = context.to("openai-chat", unknown="text")
    shown = list(request["messages"])
    if rendered in shown:
        shown.remove(rendered)  # the first: a person may have said the same later
    messages = [_claw(message, findings) for message in shown]
    lose_left_out(request.left_out, findings)
    header = session.header
    time = header.timestamp or LONG_AGO
    summary = last.summary if isinstance(last, CompactionEntry) else ""
    yield line(
        {
            "key": own_id(header, NAME) or session.id,
            "messages": messages,
            "summary": summary,
            "created": time,
            "updated": time,
        }
    )


def file_name(session: Exported) -> str:
    """Returns the name of the file, as picoclaw makes it of a key."""
    return f"{(own_id(session.header, NAME) or session.id).replace(':', '_')}.json"


def _claw(message: dict[str, Any], findings: Findings) -> dict[str, Any]:
    """Returns a message with a text as its content. picoclaw has a prompt of its own, and shows no other."""
    content, media = message.get("content"), list[str]()
    if isinstance(content, list):
        media = [block["image_url"]["url"] for block in content if block.get("type") == "image_url"]
        for block in content:
            if block.get("type") not in ("text", "image_url"):
                findings.lose(f"{block.get('type')} of a message")
        content = "\n".join(block["text"] for block in content if block.get("type") == "text")
    if message["role"] in ("system", "developer"):
        findings.lose("system message, as the user's", code="export_reworded")
        message = message | {"role": "user"}
    taken = {name: message[name] for name in _WRITTEN if name in message}
    return taken | {"content": content or ""} | ({"media": media} if media else {})
