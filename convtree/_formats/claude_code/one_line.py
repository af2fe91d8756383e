"""What one line of a transcript says, for a program that stores lines as they come. Pure.

The reader of transcripts has the same functions. It sees a whole file, so it knows more: which copies a fork begins
with, for example.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from convtree._formats.claude_code.attachments import is_typed, shown_to_model
from convtree._formats.claude_code.lines import (
    LAST_PROMPT,
    NO_MODEL,
    SPOKEN,
    TITLES,
    has_message,
    is_boundary,
    message_id_of,
    results_of,
    segment_of,
    stands_between,
    text_of_content,
    visibility_of,
)
from convtree._formats.common.counts import ReportedUsage
from convtree._formats.common.values import as_object, key, text, utc
from convtree._model.arguments import checked
from convtree._model.entries import Visibility


class ClaudeCodeLine(msgspec.Struct, frozen=True, kw_only=True):
    """What one line of a transcript of Claude Code says. Ids are those of the transcript.

    Attributes:
        uuid: the id of the line; None for bookkeeping, which is no node of the tree.
        time: when it was written, RFC 3339 in UTC; None if it does not say.
        parents: the lines that it may continue: the first one that is there counts. None if it says nothing about that:
            it continues the line before it.
        message: its message in Anthropic's format; None if it has none. Of an attachment, what the model saw of it.
        visible_to: who sees the message.
        model: the model that wrote it; None for a line of a person or of the tool.
        usage: the tokens of the model's message so far. A message may take several lines.
        message_id: the id of the model's message.
        results: the ids of the calls that it answers, if it does nothing else.
        is_between: whether it may stand between a call and its result.
        summary: the text of a compaction; None for other lines.
        kept: of the boundary before a compaction: the first and the last message that it keeps. None if it keeps none.
        is_aside: whether it is in a side chain: said by a sub-agent.
        is_said: whether a person or the model said it in this conversation, so that this goes on there.
        leaf: the line at which the conversation goes on, if this one names it.
        title: what it calls the conversation, and how well; a name with a higher number counts.
        forked_from: the conversation that it was copied from.
    """

    uuid: str | None = None
    time: str | None = None
    parents: tuple[str, ...] | None = None
    message: dict[str, Any] | None = None
    visible_to: Visibility = "all"
    model: str | None = None
    usage: dict[str, Any] | None = None
    message_id: str | None = None
    results: frozenset[str] = frozenset()
    is_between: bool = False
    summary: str | None = None
    kept: tuple[str, str] | None = None
    is_aside: bool = False
    is_said: bool = False
    leaf: str | None = None
    title: tuple[int, str] | None = None
    forked_from: str | None = None

    @checked
    def usage_since(self, before: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Returns what it adds to the usage of an earlier line of its message; None if nothing."""
        counts = ReportedUsage()
        counts.record("", before)
        return counts.added("", self.usage)


@checked
def read_claude_code_line(line: Mapping[str, Any]) -> ClaudeCodeLine:
    """Reads one line of a transcript of Claude Code as an import does. A line of another kind says nothing.

    >>> read_claude_code_line({"type": "user", "uuid": "u1", "message": {"role": "user", "content": "Hi"}}).message
    {'role': 'user', 'content': 'Hi'}
    """
    fields = dict(line)
    kind, uuid = fields.get("type"), fields.get("uuid")
    if not isinstance(uuid, str) or not uuid:
        return _bookkeeping(fields)
    segment = segment_of(fields) if is_boundary(fields) else None
    is_spoken = kind in SPOKEN and has_message(fields)
    is_summary = is_spoken and bool(fields.get("isCompactSummary"))
    is_aside = bool(fields.get("isSidechain"))
    common: dict[str, Any] = {
        "uuid": uuid,
        "time": utc(fields.get("timestamp")),
        "parents": _parents(fields, None if segment is None else segment.tail),
        "is_between": stands_between(fields),
        "kept": None if segment is None else (segment.head, segment.tail),
        "is_aside": is_aside,
        "forked_from": key(as_object(fields.get("forkedFrom")).get("sessionId")),
    }
    if is_summary:
        return ClaudeCodeLine(summary=text_of_content(fields["message"]["content"]), is_said=True, **common)
    if is_spoken:
        return ClaudeCodeLine(**_spoken(fields), **common)
    if kind == "attachment" and (blocks := shown_to_model(fields)):
        seen_by: Visibility = "all" if is_typed(fields) else "model"
        return ClaudeCodeLine(message={"role": "user", "content": blocks}, visible_to=seen_by, **common)
    return ClaudeCodeLine(**common)


def _bookkeeping(fields: dict[str, Any]) -> ClaudeCodeLine:
    kind = str(fields.get("type"))
    time = utc(fields.get("timestamp"))
    if kind == LAST_PROMPT:
        return ClaudeCodeLine(time=time, leaf=key(fields.get("leafUuid")))
    rank, name = TITLES.get(kind, (0, ""))
    title = text(fields.get(name))
    return ClaudeCodeLine(time=time, title=(rank, title) if rank > 1 and title else None)


def _parents(fields: dict[str, Any], tail: str | None) -> tuple[str, ...] | None:
    """Returns the lines that one may continue. A boundary goes below the messages that it compacts."""
    if fields.keys().isdisjoint(("parentUuid", "logicalParentUuid")):
        return None
    named = key(fields.get("parentUuid"))
    if named is not None or not is_boundary(fields):
        return () if named is None else (named,)
    return tuple(each for each in (tail, key(fields.get("logicalParentUuid"))) if each is not None)


def _spoken(fields: dict[str, Any]) -> dict[str, Any]:
    message, kind = fields["message"], fields["type"]
    model = text(message.get("model")) if kind == "assistant" else None
    is_model = bool(model) and model != NO_MODEL
    return {
        "message": {"role": text(message.get("role")) or kind, "content": message["content"]},
        "visible_to": visibility_of(fields),
        "model": model if is_model else None,
        "usage": as_object(message.get("usage")) or None if is_model else None,
        "message_id": message_id_of(fields),
        "results": results_of(fields),
        "is_said": not (fields.get("isMeta") or fields.get("teamName")),
    }
