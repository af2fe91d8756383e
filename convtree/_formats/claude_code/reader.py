"""Reads transcripts of Claude Code: a tree in JSONL, in which one message of the model can take several lines.

Mapping:

- `user`, `assistant`: a message of Anthropic's shape, its role and content; model and usage go to the envelope. A
  message that the tool puts into the mouth of the user (`isMeta`, an `origin` that is no person, such as a task that
  has ended, or what it makes of a slash command and its output) is for the model; one for the transcript only, or of an
  error of the API (`isApiErrorMessage`), is for the user.
- One message of the model in several lines (same `message.id`): several entries, so that a longer file adds entries and
  changes none. Each line has the counts so far, so each keeps what it adds to the line before. The lines and the
  results of their calls form one chain in the order of the file: in the file, parallel calls are branches, and on each
  branch the other results would be missing. The first line that continues from there is appended to the chain; later
  ones are branches, at the parent that the file names.
- `system` of the subtype `compact_boundary`: extension data below its `logicalParentUuid`, so that the path does not
  end there. The `isCompactSummary` message that follows: a compaction, with the message in its details, that keeps the
  entries named by `preservedSegment` or `preservedMessages` if they are above it. The boundary is then placed below the
  last kept entry, and lines that continue that entry below the compaction, as Claude Code reads them.
- Side chains (`isSidechain`): branches, mostly with a root of their own. A file that begins in the side chain of an
  agent is a session of its own, `<session>.<agent>`, and a task of the main session.
- `last-prompt`: names the leaf, which moves on with the lines below it.
- `convtree` in a line of an export: what the line does not say of its entry, or all of it (`kept`).
- `custom-title`, else `ai-title`, else a `summary` of an entry in this file: also the session's name.
- `attachment` that the model saw (`attachments`): a message of the user, for the model only unless a person typed it.
- Any other type, and any line without the fields of its type: extension data `claude-code.<type>`. Lines without a
  `uuid` form a chain of their own beside the conversation.

A line that comes again with the same `uuid`, parent and words is nothing new. Any other one with a known `uuid` is a
branch, and reported.

The header of a fork names its parent, and the last line that was copied (`forks`).

Without a `last-prompt`, the leaf is the last message of the main chain that is not hidden: Claude Code resumes there.
All other fields of a line, and what a message has besides role and content, are the `extra` of the entry. Of fields
that most lines repeat, only values that are new are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from convtree._formats.claude_code.attachments import is_typed, shown_to_model
from convtree._formats.claude_code.forks import origin_of
from convtree._formats.claude_code.lines import (
    LAST_PROMPT,
    NAMING,
    NO_MODEL,
    SPOKEN,
    TITLES,
    Segment,
    digest_of,
    has_message,
    is_boundary,
    is_kept_whole,
    is_line,
    is_node,
    message_id_of,
    results_of,
    segment_of,
    stands_between,
    text_of_content,
    visibility_of,
)
from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession, SourceSpan
from convtree._formats.common.counts import ReportedUsage
from convtree._formats.common.files import SourceFile
from convtree._formats.common.headers import Origin, make_header
from convtree._formats.common.ids import Ids, make_ref
from convtree._formats.common.jsonl import has_known_line, is_record, read_objects
from convtree._formats.common.kept import FIRST_KEPT, OURS, completed, restored
from convtree._formats.common.parents_first import Node
from convtree._formats.common.parsing import Object
from convtree._formats.common.session_builder import SessionBuilder, envelope_of, extension_data
from convtree._formats.common.values import as_object, count, key, misfits, text
from convtree._model.entries import CompactionEntry, Entry, MessageEntry, Record

NAME = "claude-code"
SHAPE = "anthropic"

_LOOK = 200  # objects in which a session id must have been seen
#: members of a line that have a place in the entry, or in the header
_PLACED = frozenset({"type", "uuid", "parentUuid", "timestamp", "message", OURS})
#: members of a model's message that have a place in the entry
_OF_MESSAGE = frozenset({"role", "content", "model", "usage"})
#: members that most lines repeat; only what differs from the line that names the session is kept
_REPEATED = frozenset(
    {"sessionId", "cwd", "version", "gitBranch", "userType", "entrypoint", "isSidechain", "agentId", "slug"}
)


def recognises(source: Source) -> bool:
    """Recognises a transcript by its first lines: messages with `uuid`, or bookkeeping of this tool."""
    if (is_known := has_known_line(source, is_line, _LOOK)) is not None:
        return is_known
    return all(name in source.beginning for name in (b'"parentUuid":', b'"sessionId":', b'"isSidechain":'))


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the only session, which one of the first lines names."""
    facts = _identifying_record(source)
    source_id, agent = _names(source, facts)
    yield make_ref(NAME, source_id if agent is None else f"{source_id}.{agent}", None, facts)


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads the session."""
    facts: dict[str, Any] = ref.content
    source_id, agent = _names(source, facts)
    fork = facts.get("forkedFrom")
    origin = Origin(source_id) if agent is not None else origin_of(source, source_id)
    header = make_header(
        NAME,
        ref.source_id,
        time=facts.get("timestamp"),
        cwd=facts.get("cwd"),
        parent=origin.parent,
        parent_kind="fork" if agent is None else "task",
        copied_to=origin.copied_to,
        version=facts.get("version"),
        git_branch=facts.get("gitBranch"),
        user_type=facts.get("userType"),
        entrypoint=facts.get("entrypoint"),
        slug=facts.get("slug"),
        forked_from=fork,
        **misfits(facts, {"isSidechain": bool}),
    )
    file, findings = source.open_file(), Findings()
    builder = SessionBuilder(Ids(NAME, ref.source_id), findings)
    records = _Reader(builder, facts, agent is not None).records(read_objects(file, findings, is_record))
    return SourceSession(header, records, findings.listed, file.position)


def _names(source: Source, facts: dict[str, Any]) -> tuple[str, str | None]:
    """Returns the id of the conversation, and of the agent if the file is an agent's side chain."""
    source_id = next((str(facts[name]) for name in NAMING if facts.get(name)), source.path.stem)
    return source_id, key(facts.get("agentId")) if facts.get("isSidechain") else None


def _identifying_record(source: Source) -> dict[str, Any]:
    """Returns the first record that names the session; nodes of the tree are preferred."""
    facts: dict[str, Any] = {}
    with SourceFile(source.path) as file:
        for number, (fields, _) in enumerate(read_objects(file, Findings(), is_record)):
            if is_node(fields) and "sessionId" in fields:
                return fields
            if not facts and any(name in fields for name in NAMING):
                facts = fields
            if number >= _LOOK and facts:
                break
    return facts


class _Turn:
    """One message of the model, in one or several lines, and the results of its calls."""

    def __init__(self, message_id: str, node: Node) -> None:
        self.message_id = message_id
        self.is_aside = bool(node.fields.get("isSidechain"))
        self.last_id = node.id
        self.answered: set[str] = set()
        self.is_closed = False  # the conversation went on from here


class _Reader:
    """Reads one transcript, in the order of the file, and makes entries."""

    def __init__(self, builder: SessionBuilder, facts: dict[str, Any], is_agents: bool) -> None:
        self._builder = builder
        self._facts = facts
        self._ids = builder.ids
        self._findings = builder.findings
        self._is_agents = is_agents
        self._turns: dict[str, _Turn] = {}  # open ones, by the ids of their entries
        # fields of compact boundaries, by the ids of the boundary and of the lines that follow it
        self._boundaries: dict[str, dict[str, Any]] = {}
        self._kept: dict[str, Segment] = {}  # by the id of the boundary, until its summary comes
        self._moved: dict[str, str] = {}  # new parents, by the last entry that a compaction kept
        self._usage = ReportedUsage()  # of the messages of the model: each of their lines has the counts so far
        self._said: dict[str, int] = {}  # digests of lines, by their ids
        self._resumed: str | None = None  # where Claude Code goes on, if a line has said so
        self._beside: str | None = None  # the last record outside of the tree
        self._last: str | None = None  # the last record in the tree
        self._title = 0  # rank of the name so far
        self._rank = -1  # rank of the leaf so far

    def records(self, objects: Iterator[Object]) -> Iterator[Record]:
        """Yields the transcript's records."""
        return self._builder.records(self._nodes(objects), self._make)

    def _nodes(self, objects: Iterator[Object]) -> Iterator[Node]:
        for ordinal, (fields, span) in enumerate(objects, 1):
            if not isinstance(fields.get("uuid"), str) or fields["uuid"] == "":
                id = self._ids.claim(None, ordinal)
                node, self._beside = Node(id, self._beside, None, span, fields), id
                self._note(node, ordinal)
            elif self._repeats(fields):
                continue
            else:
                node = self._joined(self._node(fields, span, ordinal))
                if node.parent_id is not None and node.parent_id == self._resumed:
                    self._resumed = node.id
            rank = self._leaf_rank(node)
            if rank >= self._rank:
                self._rank, self._builder.leaf = rank, node
            yield node
        if self._resumed is not None:
            self._builder.leaf = Node(self._resumed, None, None, SourceSpan(1, 0, 0), {})

    def _repeats(self, fields: dict[str, Any]) -> bool:
        """Returns whether a line says again what one with the same id has said; notes what it says."""
        if fields.get("type") not in (*SPOKEN, "attachment"):
            return False
        uuid, digest = fields["uuid"], digest_of(fields)
        if uuid in self._said:
            return self._said[uuid] == digest
        self._said[uuid] = digest
        return False

    def _node(self, fields: dict[str, Any], span: SourceSpan, ordinal: int) -> Node:
        """Makes the node of a line, below its parent. A compact boundary goes below the messages that it compacts."""
        parent = key(fields.get("parentUuid"))
        above = key(fields.get("logicalParentUuid"))
        segment = segment_of(fields) if is_boundary(fields) and OURS not in fields else None
        if parent is None and above is not None and is_boundary(fields):
            if segment is not None and self._ids.known(segment.tail) is not None:
                parent = segment.tail
            elif OURS in fields or self._ids.known(above) is not None:
                parent = above
            else:  # not waited for: all that follows would wait with it
                self._findings.add("source_orphan", span)
        node = self._builder.link(fields, span, fields["uuid"], parent, ordinal)
        if "parentUuid" not in fields and parent is None and above is None:  # not even null: a chain
            node = node._replace(parent_id=self._last)
        self._last = node.id
        if segment is not None:
            self._kept[node.id] = segment
        elif node.parent_id in self._kept:
            self._follow(node, self._kept.pop(node.parent_id))
        elif node.parent_id in self._moved and not fields.get("isSidechain"):
            node = node._replace(parent_id=self._moved[node.parent_id])
        return node

    def _follow(self, node: Node, segment: Segment) -> None:
        """At the summary behind a boundary, moves later children of the last kept message below the summary."""
        if not node.fields.get("isCompactSummary"):
            self._kept[node.id] = segment
        elif (tail := self._ids.known(segment.tail)) is not None:
            self._moved[tail] = node.id

    def _joined(self, node: Node) -> Node:
        """Puts a line of a model's message, or a result of its calls, below the last such line."""
        message_id = message_id_of(node.fields)
        turn = self._turns.get(node.parent_id or "")
        if turn is not None and not turn.is_closed and turn.is_aside == bool(node.fields.get("isSidechain")):
            results = results_of(node.fields)
            if turn.answered.isdisjoint(results):  # else it is answered again, and that is a branch
                node = node._replace(parent_id=turn.last_id)
                turn.is_closed = not (results or message_id == turn.message_id or stands_between(node.fields))
            if turn.answered.isdisjoint(results) and not turn.is_closed:
                turn.answered.update(results)
                turn.last_id = node.id
                self._turns[node.id] = turn
                return node
        if message_id is not None and OURS not in node.fields:
            self._turns[node.id] = _Turn(message_id, node)
        return node

    def _leaf_rank(self, node: Node) -> int:
        """Returns how well a node serves as the leaf: the main chain is better than a side chain."""
        fields = node.fields
        if fields.get("type") not in SPOKEN or not isinstance(fields.get("uuid"), str):
            return 0
        aside = fields.get("isSidechain") and not self._is_agents
        return 1 if aside or fields.get("teamName") or fields.get("isMeta") else 2

    def _note(self, node: Node, ordinal: int) -> None:
        """Notes the name of the session; a better one replaces it."""
        fields = node.fields
        kind, leaf = fields.get("type"), key(fields.get("leafUuid"))
        if kind == LAST_PROMPT:
            self._resumed = None if leaf is None else self._ids.known(leaf)
        if (
            not isinstance(kind, str)
            or kind not in TITLES
            or (kind == "summary" and (leaf is None or self._ids.known(leaf) is None))
        ):
            return
        rank, name = TITLES[kind]
        if rank >= self._title and (title := text(fields.get(name))):
            self._title = rank
            self._builder.set_info(node, ordinal, name=title)

    def _make(self, node: Node) -> Entry:
        """Makes the entry of a node whose parent's entry was made."""
        fields, envelope = node.fields, envelope_of(node)
        kind, message = fields.get("type"), fields.get("message")
        kept = fields.get(OURS)
        if is_kept_whole(fields):
            return restored(kept, envelope)
        if kind in SPOKEN and isinstance(message, dict) and message and is_node(fields):
            if fields.get("isCompactSummary"):
                return completed(self._compaction(node, message, envelope), kept)
            if has_message(fields):
                return completed(self._message(fields, message, envelope), kept)
        if kind == "attachment" and is_node(fields) and (blocks := shown_to_model(fields)):
            return MessageEntry(
                message={"role": "user", "content": blocks},
                shape=SHAPE,
                visible_to="all" if is_typed(fields) else "model",
                extra=self._extra(fields, {}),
                **envelope,
            )
        if kind in SPOKEN:
            self._findings.add("source_bad_record", node.span, node.id)
        if is_boundary(fields):
            self._boundaries[node.id] = fields
        elif node.parent_id in self._boundaries:
            self._boundaries[node.id] = self._boundaries[node.parent_id]
        left_out = {"timestamp", "type", *(("uuid", "parentUuid") if "uuid" in fields else ())}
        if fields.get("sessionId") == self._facts.get("sessionId"):
            left_out.add("sessionId")
        data = {name: value for name, value in fields.items() if name not in left_out}
        return extension_data(NAME, kind, data, envelope)

    def _compaction(self, node: Node, message: dict[str, Any], envelope: dict[str, Any]) -> CompactionEntry:
        fields, boundary = node.fields, self._boundaries.get(node.parent_id or "", {})
        segment, facts = segment_of(boundary), as_object(boundary.get("compactMetadata"))
        head = key(as_object(fields.get(OURS)).get(FIRST_KEPT)) or (segment and segment.head)
        kept = None if head is None else self._ids.known(head)
        if head is not None and (kept is None or not self._builder.made.is_above(kept, node.parent_id)):
            self._findings.add("source_bad_target", node.span, node.id)
            kept = None
        return CompactionEntry(
            summary=text_of_content(message.get("content")),
            first_kept_entry_id=kept,
            tokens_before=count(facts.get("preTokens")),
            tokens_after=count(facts.get("postTokens")),
            details=None if OURS in fields else self._said_in(fields, message),
            **envelope,
        )

    def _said_in(self, fields: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
        """Returns the line of a compaction's summary."""
        return {"message": message} | ({"line": extra} if (extra := self._extra(fields, {})) else {})

    def _message(self, fields: dict[str, Any], message: dict[str, Any], envelope: dict[str, Any]) -> MessageEntry:
        said: dict[str, Any] = {name: message[name] for name in ("role", "content") if name in message}
        more: dict[str, Any] = {}
        model = text(message.get("model")) if fields.get("type") == "assistant" else None
        if model and model != NO_MODEL:
            more = {"provider": "anthropic", "model": model, "usage": self._added_usage(fields, message)}
        elif model == "" and OURS in fields:  # an export of what names no model
            more = {"usage": self._added_usage(fields, message)}
        more["visible_to"] = visibility_of(fields)
        rest = {name: message[name] for name in message.keys() - _OF_MESSAGE}
        if "model" not in more and OURS not in fields:
            rest["model"] = message.get("model")
        if others := self._other_usage(fields, message, is_counted="usage" in more):
            rest["usage"] = others
        return MessageEntry(message=said, shape=SHAPE, extra=self._extra(fields, rest), **more, **envelope)

    def _extra(self, fields: dict[str, Any], message: dict[str, Any]) -> dict[str, Any] | None:
        """Returns what has no other place: of the line, and of its message."""
        kept = {
            name: value
            for name, value in fields.items()
            if name not in _PLACED
            and value not in (None, False, "", [], {})
            and not (name in _REPEATED and value == self._facts.get(name))
        }
        of_message = {name: message[name] for name in sorted(message) if message[name] not in (None, "", [], {})}
        return kept | ({"message": of_message} if of_message else {}) or None

    def _other_usage(self, fields: dict[str, Any], message: dict[str, Any], *, is_counted: bool) -> Any:
        """Returns what no entry counts of the usage of a message."""
        usage = message.get("usage")
        if not isinstance(usage, dict):
            return usage
        if not is_counted:
            is_said = any(type(value) is int and value for value in usage.values())
            return usage if is_said and OURS not in fields else None
        message_id = message_id_of(fields)
        return None if message_id is None else self._usage.others(message_id, usage)

    def _added_usage(self, fields: dict[str, Any], message: dict[str, Any]) -> dict[str, Any] | None:
        """Returns what a line adds to the usage of its message."""
        usage, message_id = message.get("usage"), message_id_of(fields)
        return as_object(usage) or None if message_id is None else self._usage.record(message_id, usage)
