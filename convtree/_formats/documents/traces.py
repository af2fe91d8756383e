"""Writes the path to the leaf as a session trace that Hugging Face's Hub shows. See `write`.

The form is the Hub's Session Trace Simple Format: a line with the session, then a line for each message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from convtree._engine.rendering import default_render
from convtree._formats.common.base import Exported, Findings, origin
from convtree._formats.common.call_ids import CallIds
from convtree._formats.common.export import Model, line
from convtree._formats.common.paths import lose_others
from convtree._formats.common.speech import Call, Part, Result, Role, Text, Thought, by_speaker, said_in
from convtree._formats.common.values import milliseconds, without
from convtree._messages.said import read
from convtree._model.entries import BranchSummaryEntry, CompactionEntry, Entry, MessageEntry
from convtree._providers.writing import as_text

NAME = "hf-traces"

_ANY_ID = re.compile(".{1,256}", re.DOTALL)
Fields = dict[str, Any]


def write(session: Exported, findings: Findings) -> Iterator[bytes]:
    """Yields the session, then the messages on the path to the leaf, except those that nobody sees.

    Contents are texts, so a picture is left out. Results are messages of the role `tool`, and summaries are the
    system's.
    """
    path = session.path(session.leaf_id)
    tool = origin(session.header).get("format")
    head: Fields = {"type": "session", "harness": "convtree", "id": session.id, "name": session.name, "tool": tool}
    yield line({name: value for name, value in head.items() if value is not None})
    lose_others(session, {entry.id for entry in path}, findings)
    model, ids = Model(), CallIds(_ANY_ID)
    for entry in path:
        model = model.after(entry)
        for fields in _messages(entry, ids, findings):
            stamp, named = milliseconds(entry.timestamp), model.model if fields["role"] == "assistant" else None
            message = fields | without({"timestamp": stamp, "model": named})
            yield line({"type": "message", "message": message})


def _messages(entry: Entry, ids: CallIds, findings: Findings) -> Iterator[Fields]:
    """Yields the messages of an entry."""
    if not isinstance(entry, MessageEntry):
        ids.name(entry, ())
        if isinstance(entry, CompactionEntry | BranchSummaryEntry):
            yield {"role": "system", "content": default_render(entry)["content"]}
        return
    parts = ids.name(entry, read(entry.message, entry.shape).parts)
    if entry.visible_to == "nobody":
        findings.lose("message that nobody sees", entry.id)
        return
    for role, group in by_speaker(parts):
        said = said_in(group)
        for each in said:
            if not isinstance(each, Text | Thought | Call | Result) or (isinstance(each, Result) and each.images):
                findings.lose("picture", entry.id)
        if results := [each for each in said if isinstance(each, Result)]:
            yield from ({"role": "tool", "toolCallId": each.id, "content": each.text} for each in results)
        else:
            yield _message(role, said)


def _message(role: Role, said: list[Part]) -> Fields:
    thought = "\n".join(each.text for each in said if isinstance(each, Thought) and each.text)
    calls = [
        {"id": each.id, "function": {"name": each.name, "arguments": as_text(each.arguments)}}
        for each in said
        if isinstance(each, Call)
    ]
    content = "\n".join(each.text for each in said if isinstance(each, Text))
    return {"role": role, "content": content} | without({"reasoningContent": thought, "toolCalls": calls})
