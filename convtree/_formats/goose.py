"""goose's sessions: `sessions.db`, and the JSONL files from before it. Both are linear.

One session for each row of `sessions`, and for each session id of messages without a row. Mapping:

- A message: a message. Texts and thinking stay, because they equal Anthropic's; `toolRequest` and `toolResponse` become
  calls and results, images become Anthropic's. Content that only the program shows (`systemNotification`,
  `actionRequired`) is kept under `goose`, with every other field of the message.
- `userVisible`, `agentVisible`: the visibility of the message. If both are false: extension data `goose.message`.
- From a message on that a compaction has hidden from the agent, ids are derived from the content. A later compaction
  then makes a new branch with the messages that goose shows now, and contradicts no earlier import.
- `provider_name` and the model of the session: kept in the header's metadata, because only the current ones are stored.
- `name`, `archived_at`: name and archived. `extension_data`: metadata of the session, as are the other columns of its
  row, under `goose`. `thread_messages` repeat the messages of sessions; those that belong to no session are reported.
- `usage_ledger`: extension data `goose.usage` with the usage, a branch of its own below the first message, because a
  row does not name the message that it counts.

Shape `goose.message`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple, TypeGuard

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.blocks import call_block, make_extension_data, make_messages, result_block, text_block
from convtree._formats.common.databases import Belonging, Found, find_sessions, list_database, read_row
from convtree._formats.common.headers import archived_mark, make_header, metadata_mark, name_mark
from convtree._formats.common.ids import Ids, make_ref
from convtree._formats.common.jsonl import first_object, read_objects
from convtree._formats.common.node_tree import make_records
from convtree._formats.common.parents_first import Node, link
from convtree._formats.common.parsing import Object
from convtree._formats.common.sqlite import Database, Row, has_tables, parse_cell
from convtree._formats.common.truncate import truncate_to_limit
from convtree._formats.common.values import as_object, as_text, key, moment, text, without
from convtree._model.entries import Entry, ExtensionDataEntry, Header, LeafMark, Record, SessionInfoMark, Visibility

NAME = "goose"
_TABLES = {
    "sessions": frozenset({"id", "working_dir"}),
    "messages": frozenset({"id", "session_id", "role", "content_json", "created_timestamp"}),
}
_FACTS = ("session_type", "provider_name", "model_config_json", "project_id", "schedule_id", "description")
_SEEN = ("id", "name", "working_dir", "created_at", "extension_data", "parent_session_id", "archived_at", *_FACTS)
_MESSAGE = "id message_id role content_json created_timestamp tokens metadata_json"
_READ = {"sessions": "*", "messages": f"session_id {_MESSAGE}", "usage_ledger": "*", "thread_messages": "*"}
#: seconds or milliseconds; only rows of the session at hand are sorted
_ORDER = "case when created_timestamp > 10000000000 then created_timestamp else created_timestamp * 1000 end, id"
_FOR_THE_PROGRAM = {"systemNotification", "actionRequired", "toolConfirmationRequest", "frontendToolRequest"}


class _Said(NamedTuple):
    """A message as both stores have it."""

    source_id: str | None
    span: SourceSpan
    fields: dict[str, Any]


def recognises(source: Source) -> bool:
    """Recognises the database by its tables, a legacy file by its first line and the messages behind it."""
    if not _is_lines(source):
        return has_tables(source, _TABLES)
    objects = read_objects(source.open_beginning(), Findings(), _is_message)
    first, second = next(objects, None), next(objects, None)
    if first is None or not _is_metadata(first.fields):
        return False
    return second is None or _is_message(second.fields)


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the sessions of a database; a legacy file is one, whose id in goose is the file's name."""
    if _is_lines(source):
        return iter([make_ref(NAME, source.path.stem)])
    belonging = Belonging("thread_messages", "session_id", "sessions")
    return list_database(source, NAME, _rows, belonging, reads=_READ)


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads a session."""
    return _read_lines(source, ref.source_id) if _is_lines(source) else read_row(source, ref, NAME, _session)


def _is_lines(source: Source) -> bool:
    return source.beginning.startswith(b"{")


def _rows(database: Database) -> Iterator[Found]:
    return find_sessions(database, "sessions", "*", "messages")


def _session(id: str, found: Found, database: Database) -> tuple[Header, Iterator[Record]]:
    return _header(id, found.row.values), _stored(found.row, database, Ids(NAME, id))


def _header(id: str, fields: dict[str, Any]) -> Header:
    facts = without({name: fields.get(name) for name in _FACTS})
    parent = fields.get("parent_session_id")
    return make_header(
        NAME, id, time=fields.get("created_at"), cwd=fields.get("working_dir"), parent_id=parent, **facts
    )


def _stored(row: Row, database: Database, ids: Ids) -> Iterator[Record]:
    fields, findings = row.values, database.findings
    own = fields.get("id")
    ledger = database.rows("usage_ledger", "*", where="session_id is ?", order="id", values=(own,))
    yield from _records(_messages(own, database), ids, findings, ledger)
    yield from name_mark(ids, fields.get("name") or fields.get("description"), row.span, findings)
    if fields.get("archived_at") is not None:
        yield archived_mark(ids)
    state = parse_cell(fields.get("extension_data"), row.span, findings)
    if state:
        mark = SessionInfoMark(id=ids.derive("state", as_text(state)), metadata={"goose.extension_data": state})
        yield truncate_to_limit(mark, row.span, findings)
    yield from metadata_mark(ids, NAME, without(fields, *_SEEN), row.span, findings)


def _messages(session_id: Any, database: Database) -> Iterator[_Said]:
    found = database.rows("messages", _MESSAGE, where="session_id is ?", order=_ORDER, values=(session_id,))
    for values, span in found:
        fields = without(values, "id", "message_id", "content_json", "metadata_json", "created_timestamp")
        fields["created"] = values.get("created_timestamp")
        fields["content"] = parse_cell(values.get("content_json"), span, database.findings)
        fields["metadata"] = parse_cell(values.get("metadata_json"), span, database.findings)
        yield _Said(key(values.get("message_id")) or key(values.get("id")), span, fields)


def _read_lines(source: Source, id: str) -> SourceSession:
    findings = Findings()
    found = read_objects(source.open_file(), findings, _is_message)
    first = first_object(found, source)
    fields = first.fields
    if not _is_metadata(fields):
        found, fields = chain([first], found), {}
    facts = without(fields, "working_dir", "description", "message_count", "extension_data")
    facts = {name: value for name, value in facts.items() if not name.endswith("tokens")}
    ids = Ids(NAME, id)
    records = chain(
        _records(_legacy(found), ids, findings), name_mark(ids, fields.get("description"), first.span, findings)
    )
    return SourceSession(make_header(NAME, id, cwd=fields.get("working_dir"), **facts), records, findings.listed)


def _legacy(found: Iterator[Object]) -> Iterator[_Said]:
    for fields, span in found:
        yield _Said(key(fields.get("id")), span, {name: value for name, value in fields.items() if name != "id"})


def _records(messages: Iterator[_Said], ids: Ids, findings: Findings, ledger: Iterable[Row] = ()) -> Iterator[Record]:
    paid, last = set[str](), None
    for record in make_records(_nodes(messages, ids, findings, ledger, paid), _make, ids, findings):
        last = record.id if record.id not in paid else last
        yield record
    if paid and last is not None:
        yield LeafMark(id=ids.derive("leaf", last, len(paid)), target_id=last)


def _nodes(
    messages: Iterator[_Said], ids: Ids, findings: Findings, ledger: Iterable[Row], paid: set[str]
) -> Iterator[Node]:
    """Yields the messages as a chain, and below the first one the ledger; `paid` gets the ids of its rows."""
    last: str | None = None
    has_hidden = False
    for ordinal, (source_id, span, fields) in enumerate(messages, 1):
        shown = _visibility(fields)
        has_hidden = has_hidden or shown != "all"
        node = link(ids, findings, fields, span, source_id, ordinal, last)
        if has_hidden:
            node = node._replace(id=ids.derive(node.id, str(shown), str(last)), source_id=source_id)
        is_first, last = last is None, node.id
        yield node
        if is_first:
            yield from _paid(ledger, last, ids, paid)
    if last is None:
        yield from _paid(ledger, None, ids, paid)


def _paid(ledger: Iterable[Row], last: str | None, ids: Ids, paid: set[str]) -> Iterator[Node]:
    for values, span in ledger:
        node = Node(ids.derive("usage", as_text(values.get("id"))), last, None, span, {"usage": values})
        last = node.id
        paid.add(last)
        yield node


def _usage(values: dict[str, Any]) -> Entry:
    """Makes the entry of a row of the ledger. Its input includes what came from a cache or went there."""
    details = {"cached_tokens": values.get("cache_read_tokens"), "cache_write_tokens": values.get("cache_write_tokens")}
    usage = {
        "prompt_tokens": values.get("input_tokens"),
        "completion_tokens": values.get("output_tokens"),
        "total_tokens": values.get("total_tokens"),
        "prompt_tokens_details": without(details),
        "cost": values.get("cost"),
    }
    return ExtensionDataEntry(
        timestamp=moment(values.get("created_timestamp")),
        ext_type="goose.usage",
        data=without(values, "id", "session_id", "created_timestamp"),
        usage=without(usage) or None,
        model=text(values.get("model")) or None,
    )


def _visibility(fields: dict[str, Any]) -> Visibility | None:
    flags = as_object(fields.get("metadata"))
    user, agent = flags.get("userVisible") is not False, flags.get("agentVisible") is not False
    return "all" if user and agent else "user" if user else "model" if agent else None


def _make(node: Node) -> list[Entry]:
    if node.fields.keys() == {"usage"}:
        return [_usage(node.fields["usage"])]
    fields, shown = node.fields, _visibility(node.fields)
    time = fields.get("created")
    if shown is None:
        return make_extension_data(NAME, "message", without(fields, "created"), time)
    content = fields.get("content")
    parts = [each if isinstance(each, dict) else text_block(each) for each in _listed(content)]
    blocks = [_block(part) for part in parts if text(part.get("type")) not in _FOR_THE_PROGRAM]
    rest = without(fields, "role", "content", "created")
    rest |= without({"content": [part for part in parts if text(part.get("type")) in _FOR_THE_PROGRAM]})
    return make_messages(NAME, text(fields.get("role")) or "user", blocks, rest, time=time, visible_to=shown)


def _listed(content: Any) -> list[Any]:
    return content if isinstance(content, list) else [content]


def _block(part: dict[str, Any]) -> dict[str, Any]:
    """Returns a part of a message as a block of Anthropic's; unchanged if there is no counterpart."""
    match part.get("type"):
        case "toolRequest":
            call = _value(part.get("toolCall"))
            return call_block(part.get("id"), call.get("name"), call.get("arguments"))
        case "toolResponse":
            result = part.get("toolResult")
            value = result.get("value", result.get("error")) if isinstance(result, dict) else result
            has_failed = isinstance(result, dict) and result.get("status") == "error"
            if isinstance(value, dict) and "content" in value:
                has_failed, value = has_failed or value.get("isError") is True, value["content"]
            content = [_block(each) for each in value] if _all_objects(value) else value
            return result_block(part.get("id"), content, is_error=has_failed)
        case "image" if isinstance(part.get("data"), str):
            media = {"type": "base64", "media_type": part.get("mimeType"), "data": part["data"]}
            return {"type": "image", "source": media}
        case "redactedThinking":
            return part | {"type": "redacted_thinking"}
        case str():
            return part
    return text_block(part)


def _value(call: Any) -> dict[str, Any]:
    """Returns the call itself, which newer versions wrap in its success."""
    call = as_object(call)
    return as_object(call.get("value")) or call


def _all_objects(value: Any) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _is_metadata(fields: dict[str, Any]) -> bool:
    return "working_dir" in fields and "message_count" in fields and "role" not in fields


def _is_message(fields: dict[str, Any]) -> bool:
    return isinstance(fields.get("role"), str) and isinstance(fields.get("content"), list)
