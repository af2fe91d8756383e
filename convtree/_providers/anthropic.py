"""Writes Anthropic messages: a `system` field, then user and assistant in turns, the user first. Pure.

Consecutive parts of one role become one message, with results first. Thinking goes back unchanged to the model that
signed it, and to no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from convtree._messages.dialects import ANTHROPIC
from convtree._messages.parts import Call, Hosted, Media, Part, Result, Text, Thinking, Unknown, is_plain
from convtree._providers.anthropic_rules import (
    thinking_first,
    with_few_marks,
    with_whole_pairs,
    without_last_thoughts,
)
from convtree._providers.pairing import pair
from convtree._providers.target import Target
from convtree._providers.writing import (
    IMAGES,
    OPENING,
    PDF,
    SILENT_ERROR,
    accepted,
    as_object,
    by_role,
    link_of,
    media_of,
    verbatim,
    without_system,
)

ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
Block = dict[str, Any]


def write(parts: Sequence[Part], target: Target) -> dict[str, Any]:
    """Writes a conversation as `messages`, with `system` if there are system messages."""
    system, rest = without_system(parts, target)
    messages: list[Block] = []
    said = without_last_thoughts(with_whole_pairs(pair(rest, target, _takes, fits=_fits)), target)
    for role, group in by_role(said):
        if not messages and role == "assistant":
            messages.append({"role": "user", "content": OPENING})
        messages.append(verbatim(group, ANTHROPIC) or {"role": role, "content": _content(group, target)})
    if messages and messages[-1]["role"] == "assistant":
        messages[-1] = trimmed(messages[-1])
    words = {"system": _system(system)} if system else {}
    return words | {"messages": with_few_marks(words.get("system"), messages)}


def content_of(parts: Iterable[Part], target: Target) -> str | list[Block]:
    """Writes the content of one message; empty if nothing of it can be sent. Calls and results keep their places."""
    return _content(list(accepted(parts, _takes, target)), target)


def _content(group: list[Part], target: Target) -> str | list[Block]:
    """Returns blocks, or a text if there is nothing else."""
    results = [part for part in group if isinstance(part, Result)]
    others = [part for part in group if not isinstance(part, Result)]
    apart = [media for result in results if result.is_error for media in accepted(media_of(result), _takes, target)]
    written = [_result(result, target) for result in results]
    blocks = written + [_block(part) for part in (*apart, *thinking_first(others))]
    is_text = len(blocks) == 1 and blocks[0].keys() == {"type", "text"}
    return str(blocks[0]["text"]) if is_text else blocks


def _fits(call: Call) -> bool:
    return ID.fullmatch(call.id or "") is not None


def _system(texts: list[Text]) -> str | list[Block]:
    """Returns one text, or blocks if one of them has more fields than its text."""
    blocks = [_block(part) for part in texts]
    if any(block.keys() != {"type", "text"} for block in blocks):
        return blocks
    return "\n\n".join(part.text for part in texts)


def _takes(part: Part) -> bool:
    own = part.shape == ANTHROPIC and part.raw is not None and (part.source.trusted or part.role == "user")
    if isinstance(part, Thinking):
        return own and part.sealed
    if isinstance(part, Text):
        return bool(part.text.strip())
    if isinstance(part, Media):
        return part.role == "user" and _takes_media(part)
    if isinstance(part, Unknown):
        return own and isinstance((part.raw or {}).get("type"), str)
    return own or not isinstance(part, Hosted)


def _takes_media(media: Media) -> bool:
    if media.shape == ANTHROPIC:
        return True
    given = media.data is not None or (link_of(media) or "").startswith("https:")
    mimes = IMAGES if media.kind == "image" else (None, PDF)
    fits = media.mime in mimes or (media.data is None and media.mime is None)
    return given and fits and media.kind in ("image", "document")


def _block(part: Part) -> Block:
    raw = part.as_read(ANTHROPIC)
    if isinstance(part, Call):
        start = raw or {"type": "tool_use"}
        return start | {"id": part.id, "name": part.name, "input": as_object(part)}
    if raw is not None:
        return raw
    if isinstance(part, Media):
        return _media(part)
    assert isinstance(part, Text)
    return {"type": "text", "text": part.text}


def _result(result: Result, target: Target) -> Block:
    """Returns a result block. An error result holds text, and only text; its media are written behind the results."""
    is_silent = result.is_error and not any(isinstance(part, Text) and part.text.strip() for part in result.content)
    if not is_silent and (raw := result.as_read(ANTHROPIC)) is not None:
        return raw | {"tool_use_id": result.id}
    given = [part for part in result.content if isinstance(part, Text)] if result.is_error else result.content
    content = [_block(part) for part in accepted(given, _takes, target)]
    if is_silent:
        content = [{"type": "text", "text": SILENT_ERROR}]
    block: Block = {"type": "tool_result", "tool_use_id": result.id}
    if content and all(each.keys() == {"type", "text"} for each in content):
        block["content"] = "\n".join(each["text"] for each in content)
    elif content:
        block["content"] = content
    return block | ({"is_error": True} if result.is_error else {})


def _media(media: Media) -> Block:
    if media.data is None:
        return {"type": media.kind, "source": {"type": "url", "url": media.url}}
    mime = media.mime or PDF
    return {"type": media.kind, "source": {"type": "base64", "media_type": mime, "data": media.data}}


def trimmed(message: Block) -> Block:
    """Removes white space from the end of the last text: Anthropic refuses a request that ends with it."""
    if is_plain(message):
        return message | {"content": message["content"].rstrip()}
    last = message["content"][-1]
    if last.get("type") != "text" or last["text"] == last["text"].rstrip():
        return message
    return message | {"content": [*message["content"][:-1], last | {"text": last["text"].rstrip()}]}
