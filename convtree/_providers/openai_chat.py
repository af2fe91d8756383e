"""Writes OpenAI chat completions: `messages`, including the system's. Pure.

A tool message holds text only, so media of a result go into a user message behind the results. An assistant message
holds no images; a short text names them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from convtree._messages.dialects import CHAT, SYSTEM_ROLES
from convtree._messages.parts import Call, Media, Part, Result, Text, Thinking
from convtree._providers.pairing import pair
from convtree._providers.writing import (
    as_content,
    as_text,
    by_role,
    by_source,
    data_url,
    media_of,
    readable,
    verbatim,
    without_blanks,
    words_of,
)

_ID_LIMIT = 40  # OpenAI's limit; ids made by the same model are not checked
_REASONING = {"reasoning_content", "reasoning", "reasoning_details"}
_OWN_KEYS = {"content", "tool_calls", "function_call", "refusal", "audio", "parsed"} | _REASONING
Message = dict[str, Any]


def write(parts: Sequence[Part], *, heal: bool) -> Message:
    """Writes a conversation as the `messages` of a request."""
    messages: list[Message] = []
    for role, group in by_role(pair(without_blanks(parts), CHAT, heal=heal, fits=_fits)):
        if role == "assistant":
            messages += _assistant(group)
        else:
            results = [part for part in group if isinstance(part, Result)]
            messages += [_result(part) for part in results]
            messages += _media_message(results)
            for own in by_source(part for part in group if not isinstance(part, Result)):
                messages += _user_messages(role, own)
    return {"messages": messages}


def _fits(call: Call) -> bool:
    return (call.shape == CHAT and call.source.trusted) or len(call.id or "") <= _ID_LIMIT


def _assistant(group: list[Part]) -> list[Message]:
    """Returns a message for each source; from the first call on, they are merged (all, if it has another shape)."""
    sources = by_source(group)
    calling = next((place for place, own in enumerate(sources) if any(isinstance(part, Call) for part in own)), None)
    apart, rest = sources, list[Part]()
    if calling is not None:  # words before a call stay apart only if both came like this
        first = calling if sources[calling][0].source.shape == CHAT else 0
        apart, rest = sources[:first], [part for own in sources[first:] for part in own]
    messages = [verbatim(own, CHAT) or _rebuilt(own) for own in (*apart, rest) if not _only_thinks(own)]
    return [message for message in messages if message]


def _only_thinks(group: list[Part]) -> bool:
    """Returns whether a group has only reasoning stored next to a content. Without a content there is no message."""
    return all(isinstance(part, Thinking) and part.shape == CHAT and part.source.trusted for part in group)


def _rebuilt(group: list[Part]) -> Message:
    """Returns an assistant's message made of parts; empty if no part can be written."""
    texts, calls = [], []
    for part in group:
        if isinstance(part, Call):
            calls.append(_call(part))
        elif isinstance(part, Thinking) and part.shape == CHAT and part.source.trusted:
            continue  # in a field of its own, see _kept
        elif isinstance(part, Text):
            texts.append(part.text)
        elif isinstance(part, Thinking | Media) and (said := readable(part)):
            texts.append(said.text)
    if not texts and not calls:
        return {}
    message = {"role": "assistant"} | _kept(group) | {"content": "\n".join(texts) or None}
    return message | ({"tool_calls": calls} if calls else {})


def _kept(group: list[Part]) -> Message:
    """Returns the other fields of the message, if all parts come from one message of this shape."""
    source = group[0].source
    if source.shape != CHAT or any(part.source is not source for part in group):
        return {}
    reasoning = _REASONING if source.trusted else set()
    left = _OWN_KEYS - reasoning if not source.foreign else source.message.keys() - reasoning
    return {name: value for name, value in source.message.items() if name not in left and value is not None}


def _call(call: Call) -> Message:
    if raw := call.as_read(CHAT):
        return {"type": "custom" if call.custom else "function"} | raw | {"id": call.id}
    if call.custom:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": as_text(call.arguments)}}
    function = {"name": call.name, "arguments": as_text(call.arguments)}
    return {"id": call.id, "type": "function", "function": function}


def _result(result: Result) -> Message:
    raw = result.as_read(CHAT)
    if raw is not None and raw.get("role") == "tool" and raw.get("content") is not None and not media_of(result):
        return raw | {"tool_call_id": result.id}
    words = words_of(result) or ("(see the next user message)" if media_of(result) else "(no output)")
    return {"role": "tool", "tool_call_id": result.id, "content": words}


def _media_message(results: list[Result]) -> list[Message]:
    """Returns a user message with the images and files of results."""
    media = [part for result in results for part in media_of(result)]
    if not media:
        return []
    start = {"type": "text", "text": "Returned by the tools above:"}
    return [{"role": "user", "content": [start, *(_block(part) for part in media)]}]


def _user_messages(role: str, group: list[Part]) -> list[Message]:
    if message := verbatim(group, CHAT):
        return [message]
    blocks = [_block(part) for part in group if isinstance(part, Text | Media)]
    if not blocks:
        return []
    said = group[0].source.message.get("role")
    return [{"role": said if role == "system" and said in SYSTEM_ROLES else role, "content": as_content(blocks)}]


def _block(part: Text | Media) -> Mapping[str, Any]:
    if raw := part.as_read(CHAT):
        return raw
    if isinstance(part, Media):
        if part.kind == "image" and (url := data_url(part)):
            return {"type": "image_url", "image_url": {"url": url}}
        if part.kind == "audio" and part.data and part.mime in ("audio/wav", "audio/mp3", "audio/mpeg"):
            audio = {"data": part.data, "format": "wav" if part.mime == "audio/wav" else "mp3"}
            return {"type": "input_audio", "input_audio": audio}
        if part.kind == "document" and part.data and (url := data_url(part)):
            return {"type": "file", "file": {"filename": part.name or "file.pdf", "file_data": url}}
    text = part.text if isinstance(part, Text) else getattr(readable(part), "text", "")
    return {"type": "text", "text": text}
