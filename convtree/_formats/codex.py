"""Rollouts of the Codex CLI: a linear log of events in JSONL, plain or compressed, with branches only implied.

Mapping:

- `response_item`: a message, the item of OpenAI's Responses unchanged, shape `openai-responses`. A `ghost_snapshot`,
  which only Codex itself reads: extension data of that type.
- `turn_context`: a model change; its other fields are the settings.
- `compacted`: a compaction that keeps no entry, with all fields but the summary and the history in its details. The
  messages of `replacement_history` follow, without the summary among them. Older files have none: there Codex continues
  with the newest `_RETAINED` bytes of the user's messages, so these follow.
- `thread_rolled_back`: the newest turns become a branch that was left. The event and all later lines continue the entry
  before these turns. A roll back at the end of the file sets the leaf there.
- `session_meta`: the header; all of it is also extension data at the root. A fork names its parent.
- Any other type: extension data `codex.<type>`, in its place. Events repeat the content of items, so they are not
  messages.

A line has no id, so ids are derived from its position in the file. The oldest rollouts, with a bare first line and
unwrapped items, are read, too, as is the even older document of `session` and `items`.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from convtree._engine.codec import BYTE_ORDER_MARK
from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.files import SourceFile
from convtree._formats.common.headers import make_header
from convtree._formats.common.ids import Ids, make_ref
from convtree._formats.common.json_arrays import has_key, item_keys
from convtree._formats.common.jsonl import is_record, read_document, read_objects
from convtree._formats.common.parents_first import Node
from convtree._formats.common.parsing import Object
from convtree._formats.common.session_builder import SessionBuilder, envelope_of, extension_data
from convtree._formats.common.values import key, moment, text
from convtree._model.entries import CompactionEntry, Entry, MessageEntry, ModelChangeEntry, Record

NAME = "codex"
SHAPE = "openai-responses"

_RETAINED = 80_000  # bytes of what the user said; Codex takes 20,000 tokens
_REMEMBERED = 500  # things the user said
_LOOK = 20  # objects in which a rollout is recognised
_WRAPPED = (
    "session_meta",
    "response_item",
    "event_msg",
    "turn_context",
    "compacted",
)
_ITEMS = (
    *("message", "reasoning", "function_call", "function_call_output", "custom_tool_call"),
    *("custom_tool_call_output", "local_shell_call", "web_search_call"),
)
#: what the tool itself says in the role of the user
_CONTEXTUAL = (
    *("<environment_context>", "<user_instructions>", "# AGENTS.md instructions", "<turn_aborted>", "<skill"),
    *("<user_shell_command>", "<subagent_notification>"),
)
#: items that Codex writes and never sends
_UNSENT = ("ghost_snapshot",)


def recognises(source: Source) -> bool:
    """Recognises a rollout by its lines: wrapped items, or bare ones in old files."""
    if _is_document(source.beginning):
        return True
    first: dict[str, Any] = {}
    known, findings = False, Findings()
    objects = islice(read_objects(io.BytesIO(source.beginning), findings, is_record), _LOOK)
    for number, (fields, _) in enumerate(objects, 1):
        known = known or (fields.get("type") in _WRAPPED and isinstance(fields.get("payload"), dict))
        known = known or (number == 1 and _is_bare_meta(fields)) or (number == 2 and _are_bare(first, fields))
        if known and number >= findings.count("source_bad_line"):  # else it may be a text that shows such lines
            return True
        first = first or fields
    start = source.beginning[:4096].removeprefix(BYTE_ORDER_MARK).lstrip(b"\0 \t\r\n")
    return start.startswith(b"{") and b'"type":"session_meta"' in start and b'"payload":{' in start


class _About(NamedTuple):
    """The metadata of the session, the time of the first line, and the records if the file is a document."""

    meta: dict[str, Any]
    time: Any
    document: list[Object] | None = None


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the only session, which one of the first lines names."""
    findings = Findings()
    with SourceFile(source.path) as file:
        if _is_document(source.beginning):
            document = list(_document(file, findings))
            about = _about(document)._replace(document=document)
        else:
            about = _about(read_objects(file, Findings(), is_record))
    named = (str(about.meta[name]) for name in ("id", "session_id") if about.meta.get(name))
    yield make_ref(NAME, next(named, str(about.time)), findings, about)


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads the session."""
    about: _About = ref.content
    meta, time, document = about
    git = meta.get("git")
    header = make_header(
        NAME,
        ref.source_id,
        time=meta.get("timestamp") if moment(meta.get("timestamp")) else time,
        cwd=meta.get("cwd"),
        parent=key(meta.get("forked_from_id")),
        version=meta.get("cli_version"),
        git=git if isinstance(git, dict) else None,
    )
    findings = Findings(ref.findings)
    reader = _Reader(SessionBuilder(Ids(NAME, ref.source_id), findings), text(meta.get("model_provider")))
    if document is not None:
        return SourceSession(header, reader.records(iter(document)), findings.listed)
    file = source.open_file()
    records = reader.records(read_objects(file, findings, is_record))
    return SourceSession(header, records, findings.listed, file.position)


def _about(objects: Iterable[Object]) -> _About:
    time = None
    for fields, _ in islice(objects, _LOOK):
        time = time if time is not None else fields.get("timestamp")
        payload = fields.get("payload")
        if fields.get("type") == "session_meta" and isinstance(payload, dict):
            return _About(payload, time)
        if _is_bare_meta(fields) or _is_bare(fields):
            return _About(fields, time)
    return _About({}, time)


def _document(file: SourceFile, findings: Findings) -> Iterator[Object]:
    """Yields a document as the lines of a rollout: the metadata of the session, then the items."""
    if (whole := read_document(file, findings)) is not None:
        fields, span = whole
        about = fields["session"] if isinstance(fields.get("session"), dict) else {}
        more = {name: value for name, value in fields.items() if name not in ("session", "items")}
        yield Object({"type": "session_meta", "timestamp": about.get("timestamp"), "payload": about | more}, span)
        items = fields.get("items")
        for item in items if isinstance(items, list) else [items]:
            if not isinstance(item, dict):
                findings.add("source_bad_record", span)
            yield Object(item if isinstance(item, dict) else {"type": "unknown", "payload": {"item": item}}, span)


class _Turn(NamedTuple):
    """A message of the user, and the id of the entry before it."""

    before: str | None
    item: dict[str, Any]


class _Reader:
    """Reads one rollout, in the order of the file, and makes entries."""

    def __init__(self, builder: SessionBuilder, provider: str | None) -> None:
        self._builder = builder
        self._provider = provider
        self._tip: str | None = None
        self._turns: list[_Turn] = []  # on the way to the tip

    def records(self, objects: Iterator[Object]) -> Iterator[Record]:
        """Yields the rollout's records."""
        return self._builder.records(self._nodes(objects), self._make)

    def _nodes(self, objects: Iterator[Object]) -> Iterator[Node]:
        for ordinal, (fields, span) in enumerate(objects, 1):
            wrapped = _unwrapped(fields)
            kind, payload = wrapped["type"], wrapped["payload"]
            if kind == "response_item" and _is_turn(payload):
                self._turns.append(_Turn(self._tip, payload if span.length < _RETAINED else {}))
                self._forget()
            elif kind == "event_msg" and payload.get("type") == "thread_rolled_back":
                self._roll_back(payload.get("num_turns"))
            yield self._node(self._builder.ids.claim(None, ordinal), wrapped, span)
            for number, item in enumerate(self._replacement(kind, payload)):
                follower = {"timestamp": wrapped.get("timestamp"), "type": "response_item", "payload": item}
                yield self._node(self._builder.ids.derive(ordinal, number), follower, span)

    def _node(self, id: str, fields: dict[str, Any], span: SourceSpan) -> Node:
        """Makes a node below the tip; it becomes the tip."""
        node = self._builder.leaf = Node(id, self._tip, None, span, fields)
        self._tip = id
        return node

    def _roll_back(self, turns: Any) -> None:
        """Moves the tip to before the newest turns, at most to before the first message of the user."""
        number = turns if isinstance(turns, int) else 0
        if number > 0 and self._turns:
            self._tip = self._turns[max(0, len(self._turns) - number)].before
            del self._turns[max(0, len(self._turns) - number) :]

    def _forget(self) -> None:
        """Drops the content of old messages of the user: only recent ones are repeated after a compaction."""
        if len(self._turns) > _REMEMBERED:
            self._turns[-_REMEMBERED - 1] = self._turns[-_REMEMBERED - 1]._replace(item={})

    def _replacement(self, kind: str, payload: dict[str, Any]) -> list[dict[str, Any]]:
        """Returns the messages that follow a compaction in the context, without the summary itself."""
        if kind != "compacted":
            return []
        history, summary = payload.get("replacement_history"), payload.get("message")
        if isinstance(history, list):
            return [item for item in history if isinstance(item, dict) and item and not _tells(item, summary)]
        kept: list[dict[str, Any]] = []
        room = _RETAINED
        for turn in reversed(self._turns):
            room -= len(_text_of(turn.item).encode())
            if room < 0 or not turn.item:
                break
            kept.append(turn.item)
        return kept[::-1]

    def _make(self, node: Node) -> Entry:
        """Makes the entry of a node whose parent's entry was made."""
        fields, envelope = node.fields, envelope_of(node)
        kind, payload = fields["type"], fields["payload"]
        more = {name: value for name, value in fields.items() if name not in ("type", "payload", "timestamp")}
        if kind == "response_item" and payload.get("type") in _UNSENT:
            return extension_data(NAME, payload["type"], payload | more, envelope)
        if kind == "response_item" and payload:
            self._report(more, node)
            return MessageEntry(message=payload, shape=SHAPE, **envelope)
        if kind == "turn_context" and (model := text(payload.get("model"))):
            self._report(more, node)
            settings = {name: value for name, value in payload.items() if name != "model" and value is not None}
            return ModelChangeEntry(provider=self._provider, model=model, settings=settings or None, **envelope)
        if kind == "compacted" and isinstance(summary := payload.get("message", ""), str):
            self._report(more, node)
            details = {name: payload[name] for name in payload.keys() - {"message", "replacement_history"}}
            return CompactionEntry(summary=summary, first_kept_entry_id=None, details=details or None, **envelope)
        if kind in ("response_item", "turn_context", "compacted"):
            self._builder.findings.add("source_bad_record", node.span, node.id)
        return extension_data(NAME, kind, payload | more, envelope)

    def _report(self, more: dict[str, Any], node: Node) -> None:
        for name in more.keys() - {"ordinal"}:
            self._builder.findings.add_once(name, "source_field_dropped", node.span, node.id)


def _unwrapped(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns a line as `timestamp`, `type` and `payload`, also where it was not wrapped."""
    kind, payload = fields.get("type"), fields.get("payload")
    if isinstance(payload, dict):
        return fields if isinstance(kind, str) else fields | {"type": "unknown"}
    if kind in _ITEMS or (kind is None and isinstance(fields.get("role"), str)):
        return {"timestamp": None, "type": "response_item", "payload": fields}
    if _is_bare_meta(fields) or _is_bare(fields):
        return {"timestamp": fields.get("timestamp"), "type": "session_meta", "payload": fields}
    named = kind if isinstance(kind, str) else "state" if "record_type" in fields else "unknown"
    return {"timestamp": fields.get("timestamp"), "type": named, "payload": fields}


def _is_document(beginning: bytes) -> bool:
    """Returns whether a file is one JSON document, as the oldest versions wrote it."""
    return any(keys >= {"session", "items"} for keys in item_keys(beginning)) and has_key(beginning, "session", r"\{")


def _are_bare(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Returns whether these are the first lines of an old rollout, whose first line has only an id and a time."""
    return _is_bare(first) and second.get("type") in _ITEMS and "payload" not in second


def _is_bare(fields: dict[str, Any]) -> bool:
    return fields.keys() == {"id", "timestamp"} and isinstance(fields["id"], str)


def _is_bare_meta(fields: dict[str, Any]) -> bool:
    known = any(name in fields for name in ("instructions", "git"))
    return "type" not in fields and isinstance(fields.get("id"), str) and "timestamp" in fields and known


def _is_turn(item: dict[str, Any]) -> bool:
    """Returns whether an item is a message that the user wrote."""
    if item.get("type", "message") != "message" or item.get("role") != "user":
        return False
    return not _text_of(item).lstrip().startswith(_CONTEXTUAL)


def _text_of(item: dict[str, Any]) -> str:
    content = item.get("content")
    blocks = content if isinstance(content, list) else [content]
    texts = (block.get("text") if isinstance(block, dict) else block for block in blocks)
    return "\n".join(each for each in texts if isinstance(each, str))


def _tells(item: dict[str, Any], summary: Any) -> bool:
    """Returns whether an item repeats the summary of a compaction."""
    return isinstance(summary, str) and summary != "" and item.get("role") == "user" and summary in _text_of(item)
