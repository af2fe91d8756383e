"""Writes Gemini contents: `system_instruction`, and user and model in turns, the user first. Pure.

Results are in the order of the calls, so calls need no ids; an id is sent only if the call came with one. A signature
is sent only to the model that made it. For calls of other models Gemini expects a constant instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convtree._messages.dialects import GEMINI, GEMINI_UNSIGNED
from convtree._messages.parts import Call, Hosted, Media, Part, Result, Text, Thinking, Unknown
from convtree._providers.pairing import pair
from convtree._providers.target import Target
from convtree._providers.writing import (
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

UNSIGNED = GEMINI_UNSIGNED[0]
_MIMES = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp"}
_IMAGES = (*_MIMES.values(), "image/heic", "image/heif")
Block = dict[str, Any]


def write(parts: Sequence[Part], target: Target) -> dict[str, Any]:
    """Writes a conversation as `contents`, with `system_instruction` if there are system messages."""
    system, rest = without_system(parts, target)
    groups = by_role(pair(rest, target, _takes))
    contents: list[Block] = []
    calls: list[Call] = []
    for role, group in groups:
        if not contents and role == "assistant":
            contents.append({"role": "user", "parts": [{"text": OPENING}]})
        written = _model(group) if role == "assistant" else _user(group, calls, target)
        whole = verbatim(group, GEMINI, plain=False)
        if whole is None or whole["parts"] != written:
            whole = {"role": "model" if role == "assistant" else "user", "parts": written}
        contents.append(whole)
        calls = [part for part in group if isinstance(part, Call)]
    if not system:
        return {"contents": contents}
    return {"system_instruction": "\n\n".join(part.text for part in system), "contents": contents}


def _takes(part: Part) -> bool:
    if isinstance(part, Thinking):
        return part.shape == GEMINI and part.source.trusted
    if isinstance(part, Media):
        found = part.data is not None or link_of(part) is not None
        mime = _mime(part) or ""
        fits = mime in (*_IMAGES, PDF) or mime.startswith(("text/", "audio/", "video/"))
        return part.shape == GEMINI or (found and fits)
    if isinstance(part, Text):
        return bool(part.text.strip()) or part.shape == GEMINI
    return (part.shape == GEMINI and part.raw is not None) or not isinstance(part, Hosted | Unknown)


def _mime(media: Media) -> str | None:
    if media.mime is not None:
        return media.mime
    if media.kind == "document":
        return PDF
    return _MIMES.get((media.url or "").rpartition(".")[2].lower())


def _lacks_signature(group: list[Part]) -> bool:
    """Returns whether the first call of a group comes from another model and so has no signature."""
    first = next((part for part in group if isinstance(part, Call)), None)
    return first is not None and not (first.shape == GEMINI and first.source.trusted)


def _model(group: list[Part]) -> list[Block]:
    # Required in the current turn only. It is sent in all turns, so that an earlier request stays a prefix of the next.
    unsigned = _lacks_signature(group)
    written = []
    for part in group:
        block = _part(part)
        if unsigned and isinstance(part, Call):
            block["thoughtSignature"], unsigned = UNSIGNED, False
        written.append(block)
    return written


def _part(part: Part) -> Block:
    if (raw := part.as_read(GEMINI)) is not None:
        return raw
    if isinstance(part, Call):
        return {"functionCall": {"name": part.name, "args": as_object(part)}}
    if isinstance(part, Media):
        if part.data is not None:
            return {"inlineData": {"mimeType": _mime(part), "data": part.data}}
        return {"fileData": {"mimeType": _mime(part), "fileUri": part.url}}
    assert isinstance(part, Text)
    return {"text": part.text}


def _user(group: list[Part], calls: list[Call], target: Target) -> list[Block]:
    """Returns the results in the order of `calls`, then their media, then the user's other parts."""
    results = [part for part in group if isinstance(part, Result)]
    written = [_result(result, call) for result, call in zip(results, calls, strict=True)]
    for result in results:
        if result.as_read(GEMINI) is None:
            written += [_part(part) for part in accepted(media_of(result), _takes, target)]
    return written + [_part(part) for part in group if not isinstance(part, Result)]


def _result(result: Result, call: Call) -> Block:
    raw = result.as_read(GEMINI)
    id = _given_id(call)
    key = "functionResponse" if "functionResponse" in (raw or ()) else "function_response"
    if raw is not None and isinstance(raw[key].get("response"), dict):
        answer = {name: value for name, value in raw[key].items() if name != "id"} | {"name": call.name}
        return raw | {key: answer | ({"id": id} if id else {})}
    text = "\n".join(part.text for part in result.content if isinstance(part, Text))
    response = {"error": text if text.strip() else SILENT_ERROR} if result.is_error else {"output": text}
    return {"functionResponse": ({"id": id} if id else {}) | {"name": call.name, "response": response}}


def _given_id(call: Call) -> str | None:
    """Returns the id of a call that came in this shape; None for any other."""
    raw = call.as_read(GEMINI)
    if raw is None:
        return None
    own = raw.get("functionCall", raw.get("function_call"))
    id = own.get("id") if isinstance(own, dict) else None
    return id if isinstance(id, str) else None
