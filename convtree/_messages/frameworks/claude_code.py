"""Reads lines of Claude Code, and messages of the Claude Agent SDK. Pure.

Both hold a message of Anthropic's, which is read as if it stood alone. The SDK's own objects have blocks without a
type, so their keys say what they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from convtree._messages.blocks import members, text_or_none
from convtree._messages.frameworks.making import Place, said
from convtree._messages.parts import Part, ReadInner, Source, Unknown, placed

_SPOKEN = ("user", "assistant")
#: lines and events for the program or its user, not for the model
_SILENT = frozenset(
    {"system", "progress", "summary", "custom-title", "ai-title", "tag", "last-prompt", "mode", "permission-mode"}
    | {"queue-operation", "file-history-snapshot", "content-replacement", "pr-link", "stream_event", "tool_progress"}
    | {"rate_limit_event", "keep_alive", "auth_status", "tool_use_summary", "prompt_suggestion"}
)
#: marks of messages for the user alone
_HIDDEN = ("isVisibleInTranscriptOnly", "isApiErrorMessage", "error")
_OUTCOME = "result"
_LINE_KEYS = ("uuid", "sessionId", "session_id", "leafUuid", "messageId")
_SESSION_KEYS = ("parentUuid", "sessionId", "session_id")
_SDK_KEY = "parent_tool_use_id"  # every message of the SDK has it
#: keys that only events of the SDK have, which repeat what follows, or tell of the program
_EVENT_KEYS = frozenset({"event", "rate_limit_info", "new_conversation_id", "hook_event_name", "data"})
_NOBODY = "<synthetic>"  # the model of replies that Claude Code wrote itself
#: a key of a block of the SDK -> its type; the first one that is there counts
_TYPE_OF_KEY = {"thinking": "thinking", "tool_use_id": "tool_result", "input": "tool_use", "text": "text"}
_HOSTED_ID = "srvtoolu_"  # begins the ids of calls that ran at Anthropic
_HOSTED_TYPES = {"tool_use": "server_tool_use", "tool_result": "advisor_tool_result"}  # the only result the SDK has


def fits(message: Mapping[str, Any]) -> bool:
    """Returns whether a message is a line, or an object of the SDK."""
    kind = message.get("type")
    if "role" in message:
        return False
    if isinstance(kind, str):
        if kind in _SPOKEN and isinstance(message.get("message"), Mapping):
            return True
        if kind in _SILENT or kind == _OUTCOME:
            return any(isinstance(message.get(key), str) for key in _LINE_KEYS)
        return isinstance(message.get("uuid"), str) and any(key in message for key in _SESSION_KEYS)
    return kind is None and (_is_sdk_message(message) or _is_outcome(message) or _is_event(message))


def read(source: Source, inner: ReadInner) -> list[Part]:
    """Reads a line or an object. What Claude Code shows to its user alone says nothing."""
    message = source.message
    kind = message.get("type")
    if _is_outcome(message):
        source.role = "assistant"
        return _outcome(source)
    way: Place = ()
    if kind in _SPOKEN:
        body, way = members(message.get("message")), ("message",)
    elif _is_sdk_message(message):
        body = message
    elif kind is None or kind in _SILENT:
        return []
    else:
        return [Unknown(role="user", source=source, value=message, why=f"a line of kind {kind!r}")]
    role = "assistant" if kind == "assistant" or (kind is None and "model" in message) else "user"
    source.role = role
    if any(message.get(key) for key in _HIDDEN):
        return []
    content = body.get("content")
    if isinstance(content, list | tuple):
        content = [_typed(block) for block in content]
    parts = inner(source, {"role": role, "content": content}, *way)
    source.role = source.role or role
    return parts


def facts(message: Mapping[str, Any]) -> dict[str, Any]:
    """Returns provider, model and usage of a reply. An outcome has the usage of all replies: it states none."""
    body = message if _is_sdk_message(message) else members(message.get("message"))
    model, usage = text_or_none(body.get("model")), body.get("usage")
    if model is None or model == _NOBODY:
        return {}
    return {"provider": "anthropic", "model": model} | ({"usage": usage} if usage else {})


def _is_sdk_message(message: Mapping[str, Any]) -> bool:
    return message.get("type") is None and _SDK_KEY in message and "content" in message


def _is_outcome(message: Mapping[str, Any]) -> bool:
    """Returns whether a message tells how a query ended."""
    return message.get("type") in (None, _OUTCOME) and "num_turns" in message and "subtype" in message


def _is_event(message: Mapping[str, Any]) -> bool:
    if "subtype" in message and isinstance(message.get("data"), Mapping):
        return True
    return all(isinstance(message.get(key), str) for key in ("uuid", "session_id")) and bool(
        _EVENT_KEYS & message.keys()
    )


def _outcome(source: Source) -> list[Part]:
    """Reads the outcome of a query. Its text is that of the last reply."""
    text = said(source.message.get(_OUTCOME), ("assistant", source))
    return [] if text is None else [placed(msgspec.structs.replace(text, repeats=True), _OUTCOME)]


def _typed(block: Any) -> Any:
    """Returns a block with its type, and without empty fields, which Anthropic refuses."""
    if not isinstance(block, Mapping):
        return block
    block = {key: value for key, value in block.items() if value is not None}
    if "type" in block:
        return block
    kind = next((kind for key, kind in _TYPE_OF_KEY.items() if key in block), None)
    id = block.get("tool_use_id", block.get("id"))
    if isinstance(id, str) and id.startswith(_HOSTED_ID):
        kind = _HOSTED_TYPES.get(str(kind), kind)
    return block if kind is None else {"type": kind} | block
