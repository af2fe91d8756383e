"""Writes OpenAI chat completions: `messages`, including the system's. Pure.

A tool message holds text only, so media of a result go into a user message behind the results. An assistant message
holds no images; a short text names them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from convtree._messages.dialects import CHAT, REASONING_KEYS, SYSTEM_ROLES
from convtree._messages.parts import Call, Hosted, Media, Part, Result, Text, Thinking, Unknown
from convtree._providers.pairing import pair
from convtree._providers.target import Target
from convtree._providers.writing import (
    accepted,
    as_content,
    as_text,
    by_role,
    by_source,
    data_url,
    media_of,
    verbatim,
    without_blanks,
    words_of,
)

ID_LIMIT = 40  # OpenAI's limit; ids made by the same model are not checked
_OWN_KEYS = {"role", "content", "tool_calls", "function_call", "refusal", "audio", "parsed", "images", "annotations"}
_OWN_KEYS |= {*REASONING_KEYS}
_RESULT_KEYS = ("role", "content", "tool_call_id", "name", "cache_control")
#: the field that DeepSeek's thinking mode wants in every reply with calls
_REASONING = "reasoning_content"
Message = dict[str, Any]


def write(parts: Sequence[Part], target: Target) -> Message:
    """Writes a conversation as the `messages` of a request."""
    messages: list[Message] = []
    for role, group in by_role(pair(without_blanks(parts), target, partial(_takes, target=target), fits=_fits)):
        if role == "assistant":
            messages += _assistant(group, target)
        else:
            results = [part for part in group if isinstance(part, Result)]
            messages += [_result(part) for part in results]
            messages += _media_message(results, target)
            for own in by_source(part for part in group if not isinstance(part, Result)):
                messages += _user_messages(role, own)
    return {"messages": messages}


def _fits(call: Call) -> bool:
    return (call.shape == CHAT and call.source.trusted) or len(call.id or "") <= ID_LIMIT


def _takes(part: Part, target: Target) -> bool:
    source = part.source
    if isinstance(part, Thinking):
        if part.shape == CHAT:
            return source.trusted or (source.same_provider and bool(part.text))
        return wants_reasoning(target.provider) and source.same_provider and bool(part.text) and not part.sealed
    if isinstance(part, Media):
        return part.role == "user" and _media_block(part) is not None
    if isinstance(part, Unknown):
        own = part.shape == CHAT and isinstance((part.raw or {}).get("type"), str)
        return own and (source.trusted or part.role != "assistant")
    return not isinstance(part, Hosted)


def wants_reasoning(provider: str | None) -> bool:
    """Returns whether a provider wants reasoning in every reply with calls."""
    return "deepseek" in (provider or "").lower()


def _assistant(group: list[Part], target: Target) -> list[Message]:
    """Returns a message for each source; from the first call on, they are merged (all, if it has another shape)."""
    sources = by_source(group)
    calling = next((place for place, own in enumerate(sources) if any(isinstance(part, Call) for part in own)), None)
    apart, rest = sources, list[Part]()
    if calling is not None:  # words before a call stay apart only if both came like this
        first = calling if sources[calling][0].source.shape == CHAT else 0
        apart, rest = sources[:first], [part for own in sources[first:] for part in own]
    messages = []
    for own in (*apart, rest):
        if own and all(isinstance(part, Thinking) for part in own):  # without a content there is no message
            target.leave_out(own[0], "reasoning", "no reply follows the reasoning")
        elif own:
            message = verbatim(own, CHAT) or _rebuilt(own)
            messages.append(message if "content" in message else message | {"content": None})
    if wants_reasoning(target.provider):
        messages = [{_REASONING: ""} | message if "tool_calls" in message else message for message in messages]
    return messages


def _rebuilt(group: list[Part]) -> Message:
    """Returns an assistant's message made of parts."""
    calls = [_call(part) for part in group if isinstance(part, Call)]
    refused = [part.text for part in group if _is_refusal(part) and isinstance(part, Text)]
    said = [part for part in group if isinstance(part, Text | Unknown) and not _is_refusal(part)]
    content: Any = "\n".join(part.text for part in said) or None
    if any(isinstance(part, Unknown) for part in said):  # of this shape, and unchanged
        content = [part.as_read(CHAT) or {"type": "text", "text": part.text} for part in said]
    message = {"role": "assistant"} | _kept(group) | {"content": content}
    message |= {"refusal": "\n".join(refused)} if refused else {}
    return message | ({"tool_calls": calls} if calls else {})


def _is_refusal(part: Part) -> bool:
    return part.shape == CHAT and (part.raw or {}).get("type") == "refusal"


def _kept(group: list[Part]) -> Message:
    """Returns the reasoning of a group, and the other fields of the message that all of it comes from."""
    source = group[0].source
    thoughts = [part for part in group if isinstance(part, Thinking)]
    if source.shape != CHAT or any(part.source is not source for part in group):
        return {_REASONING: "\n".join(part.text for part in thoughts)} if thoughts else {}
    names = set(REASONING_KEYS if source.trusted else REASONING_KEYS[:2]) if thoughts else set()
    left = source.message.keys() if source.foreign else _OWN_KEYS
    kept = {name: value for name, value in source.message.items() if name in names or name not in left}
    return {name: value for name, value in kept.items() if value is not None}


def _call(call: Call) -> Message:
    if raw := call.as_read(CHAT):
        return {"type": "custom" if call.custom else "function"} | raw | {"id": call.id}
    if call.custom:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": as_text(call.arguments)}}
    function = {"name": call.name, "arguments": as_text(call.arguments)}
    return {"id": call.id, "type": "function", "function": function}


def _result(result: Result) -> Message:
    raw = result.as_read(CHAT)
    if raw is not None and raw.get("role") == "tool" and isinstance(raw.get("content"), str):
        return {name: raw[name] for name in _RESULT_KEYS if name in raw} | {"tool_call_id": result.id}
    words = words_of(result) or ("(see the next user message)" if media_of(result) else "(no output)")
    return {"role": "tool", "tool_call_id": result.id, "content": words}


def _media_message(results: list[Result], target: Target) -> list[Message]:
    """Returns a user message with the images and files of results."""
    media = [part for result in results for part in media_of(result)]
    if not media:
        return []
    start = {"type": "text", "text": "Returned by the tools above:"}
    shown = accepted(media, partial(_takes, target=target), target)
    return [{"role": "user", "content": [start, *(_block(part) for part in shown)]}]


def _user_messages(role: str, group: list[Part]) -> list[Message]:
    if message := verbatim(group, CHAT):
        return [message]
    blocks = [_block(part) for part in group]
    said = str(group[0].source.message.get("role")).lower()
    return [{"role": said if role == "system" and said in SYSTEM_ROLES else role, "content": as_content(blocks)}]


def _block(part: Part) -> Mapping[str, Any]:
    if raw := part.as_read(CHAT):
        return raw
    if isinstance(part, Media):
        block = _media_block(part)
        assert block is not None  # only such media are accepted
        return block
    assert isinstance(part, Text)
    return {"type": "text", "text": part.text}


def _media_block(media: Media) -> Mapping[str, Any] | None:
    """Returns media as a block; None if no block can hold them."""
    if raw := media.as_read(CHAT):
        return raw
    if media.kind == "image" and (url := data_url(media)):
        return {"type": "image_url", "image_url": {"url": url}}
    if media.kind == "audio" and media.data and media.mime in ("audio/wav", "audio/mp3", "audio/mpeg"):
        audio = {"data": media.data, "format": "wav" if media.mime == "audio/wav" else "mp3"}
        return {"type": "input_audio", "input_audio": audio}
    if media.kind == "document" and media.data and (url := data_url(media)):
        return {"type": "file", "file": {"filename": media.name or "file.pdf", "file_data": url}}
    return None
