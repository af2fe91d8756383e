"""Reads sessions of the Gemini CLI: JSONL whose records can be replaced and undone, or an older JSON document.

Mapping:

- `user`: a message of Gemini's shape, its content as parts.
- `gemini`: a message of the model: thoughts, content and calls as parts; model and tokens go to the envelope. The
  results of its calls, which are in the same record, follow as a message of their own.
- A repeated id replaces the message: the new version becomes a sibling of the old one, and the later messages are
  repeated below it. An equal version is ignored. At most the last `_REACH` messages are repeated; if an older one is
  replaced, the later messages stay below the old version, which is reported.
- `$rewindTo`: extension data below the entry before that message; later messages are appended there. So an undo makes a
  branch, and an unknown id starts a new root, as in the tool.
- `$set`: metadata of the session under `gemini-cli`, in one mark at the end; `summary` is its name. `$set.messages`,
  which has the whole conversation, branches at the last message that both have in common.
- `info`, `error`, `warning` and any other type: extension data `gemini-cli.<type>`.

Every other field of a message is dropped and reported once.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

import orjson

from convtree._engine.codec import BYTE_ORDER_MARK
from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.files import SourceFile
from convtree._formats.common.headers import make_header
from convtree._formats.common.ids import Ids, derive_id, make_ref
from convtree._formats.common.jsonl import read_document, read_objects
from convtree._formats.common.parents_first import Node
from convtree._formats.common.parsing import Object
from convtree._formats.common.session_builder import SessionBuilder, envelope_of, extension_data
from convtree._formats.common.values import key, text
from convtree._model.entries import Entry, MessageEntry, Record

NAME = "gemini-cli"
SHAPE = "gemini"

_REACH = 256  # messages that are repeated when one before them is replaced
_LOOK = 20  # objects in which a session is recognised
_ABOUT = ("sessionId", "projectHash", "startTime", "lastUpdated", "kind", "summary", "directories")
_FIELDS = frozenset(
    {"id", "timestamp", "type", "content", "displayContent", "toolCalls", "thoughts", "tokens", "model"}
)
_CALL = frozenset({"id", "name", "args", "result"})


def recognises(source: Source) -> bool:
    """Recognises a session by its first record, which names it and its project."""
    start = source.beginning.removeprefix(BYTE_ORDER_MARK).lstrip()
    if not start.startswith(b"{") or b'"sessionId"' not in start:
        return False
    for fields, _ in islice(read_objects(io.BytesIO(start), Findings(), _is_record), _LOOK):
        if _is_about(fields):
            return True
    return b'"projectHash"' in start[:4096] and b'"messages"' in start and b'"startTime"' in start[:4096]


class _About(NamedTuple):
    """The record that names the session, and the records of a document."""

    fields: dict[str, Any]
    document: list[Object] | None = None


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the only session, which one of the first records names."""
    findings = Findings()
    with SourceFile(source.path) as file:
        if _is_document(source):
            whole = read_document(file, findings)
            document = [] if whole is None else [whole]
            about = _About(_named(source, document), document)
        else:
            about = _About(_named(source, read_objects(file, Findings(), _is_record)))
    yield make_ref(NAME, str(about.fields["sessionId"]), findings, about)


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads the session."""
    about: _About = ref.content
    time, project = about.fields.get("startTime"), about.fields.get("projectHash")
    header = make_header(NAME, ref.source_id, time=time, project=project, kind=about.fields.get("kind"))
    findings = Findings(ref.findings)
    reader = _Reader(SessionBuilder(Ids(NAME, ref.source_id), findings))
    if about.document is not None:
        return SourceSession(header, reader.records(iter(about.document)), findings.listed)
    file = source.open_file()
    return SourceSession(
        header, reader.records(read_objects(file, findings, _is_record)), findings.listed, file.position
    )


def _named(source: Source, objects: Iterable[Object]) -> dict[str, Any]:
    """Returns the record that names the session."""
    unnamed = {"sessionId": derive_id(NAME, source.beginning.hex())}
    return next((fields for fields, _ in objects if _is_about(fields)), unnamed)


def _is_document(source: Source) -> bool:
    """Returns whether the file is one JSON document, as older versions wrote it."""
    first_line = source.beginning.lstrip().split(b"\n", 1)[0].rstrip()
    return not first_line.endswith(b"}") and b'"projectHash"' not in first_line


class _Said(NamedTuple):
    """A message on the path to the tip: its source id, a digest, its last entry, the entry before it, its fields."""

    source_id: str
    digest: str
    id: str
    before: str | None
    fields: dict[str, Any] | None


class _Reader:
    """Reads one session, in the order of the file, and makes entries."""

    def __init__(self, builder: SessionBuilder) -> None:
        self._builder = builder
        self._tip: str | None = None
        self._said: list[_Said] = []
        self._known: dict[str, int] = {}  # source id to the place in `_said`
        self._about: dict[str, Any] = {}

    def records(self, objects: Iterator[Object]) -> Iterator[Record]:
        """Yields the session's records."""
        return self._builder.records(self._nodes(objects), self._make)

    def _nodes(self, objects: Iterator[Object]) -> Iterator[Node]:
        noted: tuple[Node, int] | None = None
        for ordinal, (fields, span) in enumerate(objects, 1):
            change = fields.get("$set")
            if "$rewindTo" in fields:
                self._rewind(key(fields["$rewindTo"]))
                yield self._plain(fields | {"type": "rewind"}, span, ordinal)
            elif isinstance(change, dict) or _is_about(fields):
                about = change if isinstance(change, dict) else fields
                self._about |= {name: value for name, value in about.items() if name != "messages"}
                noted = Node("", None, None, span, {"timestamp": about.get("lastUpdated")}), ordinal
                if isinstance(messages := about.get("messages"), list):
                    yield from self._checkpoint(messages, span, ordinal)
            elif (source_id := key(fields.get("id"))) is not None and "type" in fields:
                yield from self._message(fields, source_id, span, (ordinal,))
            else:
                yield self._plain(fields, span, ordinal)
        if noted is not None:
            info: dict[str, Any] = {"metadata": {NAME: self._about}}
            if title := text(self._about.get("summary")):
                info["name"] = title
            self._builder.set_info(*noted, **info)

    def _checkpoint(self, messages: list[Any], span: SourceSpan, ordinal: int) -> Iterator[Node]:
        """Goes on from the last message that the old and the new conversation have in common."""
        noted = [each for each in messages if isinstance(each, dict) and key(each.get("id")) is not None]
        for number, fields in enumerate(each for each in messages if each not in noted):
            yield self._plain({"data": fields}, span, ordinal, number)
        common = 0
        for said, fields in zip(self._said, noted, strict=False):
            if (said.source_id, said.digest) != (key(fields.get("id")), _digest(fields)):
                break
            common += 1
        if common < len(self._said):
            self._cut(common)
        for number, fields in enumerate(noted[common:], common):
            yield from self._message(fields, str(key(fields.get("id"))), span, (ordinal, number))

    def _rewind(self, source_id: str | None) -> None:
        self._cut(self._known.get(source_id or "", 0))

    def _cut(self, at: int) -> list[_Said]:
        """Moves the tip before a message; returns that and all behind it."""
        gone = self._said[at:]
        if gone:
            self._tip = gone[0].before
        del self._said[at:]
        for said in gone:
            del self._known[said.source_id]
        return gone

    def _message(
        self, fields: dict[str, Any], source_id: str, span: SourceSpan, ordinals: tuple[int | str, ...]
    ) -> Iterator[Node]:
        """Yields the nodes of a message; where it replaces one, of those behind that again."""
        digest = _digest(fields)
        at = self._known.get(source_id)
        behind: list[_Said] = []
        if at is not None:
            if self._said[at].digest == digest:
                return
            behind = self._cut(at)[1:]
            if any(said.fields is None for said in behind):
                self._builder.findings.add("source_unsupported", span)
                behind = [said for said in behind if said.fields is not None]
        yield from self._message_nodes(fields, source_id, digest, span, ordinals)
        for number, said in enumerate(behind):
            assert said.fields is not None
            yield from self._message_nodes(said.fields, said.source_id, said.digest, span, (*ordinals, "again", number))

    def _message_nodes(
        self, fields: dict[str, Any], source_id: str, digest: str, span: SourceSpan, ordinals: tuple[int | str, ...]
    ) -> Iterator[Node]:
        """Yields the nodes of one message, at the tip."""
        before, ids = self._tip, self._builder.ids
        is_new = ids.known(source_id) is None
        id = ids.claim(source_id, 0) if is_new else ids.derive(source_id, *ordinals)
        yield self._node(id, fields, span, source_id)
        if results := _results(fields):
            more = {"timestamp": fields.get("timestamp"), "type": "results", "parts": results}
            yield self._node(ids.derive(id, "results"), more, span)
        self._known[source_id] = len(self._said)
        self._said.append(_Said(source_id, digest, str(self._tip), before, fields))
        if len(self._said) > _REACH:
            self._said[-_REACH - 1] = self._said[-_REACH - 1]._replace(fields=None)

    def _plain(self, fields: dict[str, Any], span: SourceSpan, *ordinals: int) -> Node:
        return self._node(self._builder.ids.derive("record", *ordinals), fields, span)

    def _node(self, id: str, fields: dict[str, Any], span: SourceSpan, source_id: str | None = None) -> Node:
        """Makes a node below the tip; it becomes the tip."""
        node = self._builder.leaf = Node(id, self._tip, None if source_id == id else source_id, span, fields)
        self._tip = id
        return node

    def _make(self, node: Node) -> Entry:
        """Makes the entry of a node whose parent's entry was made."""
        fields, envelope = node.fields, envelope_of(node)
        kind = fields.get("type")
        if kind == "results" and isinstance(fields.get("parts"), list):
            return MessageEntry(message={"role": "user", "parts": fields["parts"]}, shape=SHAPE, **envelope)
        if kind not in ("user", "gemini"):
            data = {name: value for name, value in fields.items() if name not in ("type", "id", "timestamp")}
            return extension_data(NAME, kind, data, envelope)
        for name in sorted(fields.keys() - _FIELDS):
            self._builder.findings.add_once(name, "source_field_dropped", node.span, node.id)
        for call in _calls(fields):
            for name in sorted(call.keys() - _CALL):
                self._builder.findings.add_once(f"toolCalls.{name}", "source_field_dropped", node.span, node.id)
        if kind == "user":
            return MessageEntry(message={"role": "user", "parts": _parts(fields)}, shape=SHAPE, **envelope)
        model, tokens = text(fields.get("model")) or None, fields.get("tokens")
        message = {"role": "model", "parts": [*_thoughts(fields), *_parts(fields), *map(_called, _calls(fields))]}
        usage = tokens if isinstance(tokens, dict) else None
        provider = "google" if model else None
        return MessageEntry(message=message, shape=SHAPE, provider=provider, model=model, usage=usage, **envelope)


def _parts(fields: Mapping[str, Any]) -> list[Any]:
    """Returns the content of a message as parts; a value that is not an object becomes a text part."""
    content = fields.get("content")
    found = content if isinstance(content, list) else [] if content in (None, "") else [content]
    return [
        part if isinstance(part, dict) else {"text": part if isinstance(part, str) else _json(part)} for part in found
    ]


def _thoughts(fields: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    thoughts = fields.get("thoughts")
    for each in thoughts if isinstance(thoughts, list) else ():
        if isinstance(each, dict):
            said = (text(each.get("subject")), text(each.get("description")))
            yield {"text": "\n".join(part for part in said if part), "thought": True}


def _calls(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    calls = fields.get("toolCalls")
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def _called(call: Mapping[str, Any]) -> dict[str, Any]:
    named = {name: call[name] for name in ("id", "name", "args") if name in call}
    return {"functionCall": named}


def _results(fields: Mapping[str, Any]) -> list[Any]:
    """Returns the results of the calls as parts."""
    found: list[Any] = []
    for call in _calls(fields) if fields.get("type") == "gemini" else ():
        result = call.get("result")
        if isinstance(result, list) and result and all(isinstance(part, dict) for part in result):
            found.extend(result)
        elif result is not None and result != []:
            named = {name: call[name] for name in ("id", "name") if name in call}
            response = result if isinstance(result, dict) else {"output": result}
            found.append(
                response if "functionResponse" in response else {"functionResponse": named | {"response": response}}
            )
    return found


def _is_about(fields: Mapping[str, Any]) -> bool:
    is_named = isinstance(fields.get("sessionId"), str)
    return is_named and ("projectHash" in fields or ("startTime" in fields and "lastUpdated" in fields))


def _is_record(fields: dict[str, Any]) -> bool:
    return (
        (isinstance(fields.get("id"), str) and isinstance(fields.get("timestamp"), str) and "type" in fields)
        or "$set" in fields
        or "$rewindTo" in fields
    )


def _digest(fields: Mapping[str, Any]) -> str:
    return derive_id(_json(fields))


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
