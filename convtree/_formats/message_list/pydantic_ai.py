"""Message histories of pydantic-ai, as `ModelMessagesTypeAdapter.dump_json` writes them: an array of messages.

Documented in pydantic-ai's guide (Messages and chat history, "Storing and loading messages"), the fields in
`pydantic_ai/messages.py` of version 2.68. Read like every list of messages (`reader`), with these facts of its own:

- `kind` is "request" or "response", `parts` have a `part_kind`. A message is stored unchanged, in the shape
  `pydantic-ai`.
- `provider_name`, `model_name` and `usage` of a response: its provider, model and usage.
- `conversation_id` of the first message: the id of the session. Versions before 2 have none.
- `timestamp` of a message, or of its first part: its time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from convtree._formats.common.base import Findings, SessionRef, Source, SourceSession
from convtree._formats.common.json_arrays import read_items
from convtree._formats.common.values import objects, text
from convtree._formats.message_list.reader import list_conversations, read_conversation

NAME = "pydantic-ai"


def recognises(source: Source) -> bool:
    """Recognises a history by its first message."""
    first = next(read_items(source.open_beginning(), Findings(), _is_message), None)
    return first is not None and _is_message(first.fields)


def sessions(source: Source) -> Iterator[SessionRef]:
    """Lists the only session."""
    return list_conversations(source, NAME, lambda fields: text(fields.get("conversation_id")))


def read(source: Source, ref: SessionRef) -> SourceSession:
    """Reads the session."""
    return read_conversation(source, ref, NAME)


def _is_message(fields: dict[str, Any]) -> bool:
    parts = objects(fields.get("parts"))
    return text(fields.get("kind")) in ("request", "response") and any("part_kind" in part for part in parts)
