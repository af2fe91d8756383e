"""Reads messages of LlamaIndex: a role, blocks that say their kind in `block_type`, and what did not fit into them.

Pure. Ids of calls and, from older versions, whole calls are in `additional_kwargs`.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from convtree._messages.blocks import Where, listed, members, text_or_none
from convtree._messages.frameworks.making import (
    at,
    called,
    kind_of_part,
    media,
    numbered,
    returned,
    role_of_speaker,
    said,
    speaker_of,
    structured,
    thought,
    unknown,
)
from convtree._messages.parts import Call, Kind, Part, ReadInner, Source, placed

#: block type -> the kind of media, and the keys of its data and its MIME type
_MEDIA: dict[str, tuple[Kind, str, str]] = {
    "image": ("image", "image", "image_mimetype"),
    "audio": ("audio", "audio", "format"),
    "video": ("video", "video", "video_mimetype"),
    "document": ("document", "data", "document_mimetype"),
}


def fits(message: Mapping[str, Any]) -> bool:
    """Returns whether a message is a `ChatMessage`; of an older version, it has a `content`."""
    if not isinstance(message.get("role"), str) or message.keys() & {"type", "parts", "contents", "tool_calls"}:
        return False
    blocks = message.get("blocks")
    if isinstance(blocks, list | tuple):
        return True
    return isinstance(message.get("additional_kwargs"), Mapping) and "content" in message


def read(source: Source, inner: ReadInner) -> list[Part]:  # noqa: ARG001  # a block never holds a provider's message
    """Reads a message."""
    message = source.message
    kwargs = members(message.get("additional_kwargs"))
    source.role = speaker_of(message["role"])
    where: Where = (role_of_speaker(source.role), source)
    parts = list(_blocks(message, where))
    if source.role == "tool":
        id, name = kwargs.get("tool_call_id"), kwargs.get("name", kwargs.get("tool_name"))
        return [returned(id, name, parts, where, kwargs.get("is_error") is True)]
    known = {part.id for part in parts if isinstance(part, Call) and part.id}
    thoughts = at(("additional_kwargs", "reasoning_content"), thought(kwargs.get("reasoning_content"), where))
    return [*thoughts, *parts, *_calls(kwargs, known, where)]


def facts(message: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001  # the response states them, not the message
    """Returns nothing: a message states no model and no usage."""
    return {}


def _blocks(message: Mapping[str, Any], where: Where) -> Iterator[Part]:
    blocks = message.get("blocks")
    if not isinstance(blocks, list | tuple):
        yield from at(("content",), structured(message.get("content"), where))
    for place, block in numbered("blocks", blocks):
        kind = kind_of_part(block, "block_type")
        if kind == "cache":
            continue
        read = None if kind is None else _READERS.get(kind)
        yield from at(place, unknown(block, kind, where) if read is None else read(block, where))


def _text(block: Mapping[str, Any], where: Where) -> Part | None:
    return structured(block.get("text"), where)


def _media(block: Mapping[str, Any], where: Where) -> Part | None:
    kind, data, mime = _MEDIA[block["block_type"]]
    given = text_or_none(block.get(mime))
    if kind == "audio" and given is not None and "/" not in given:
        given = f"audio/{given}"
    path = block.get("path")
    found = media(
        where,
        kind=kind,
        mime=given,
        data=_encoded_once(block.get(data), kind),
        url=block.get("url"),
        name=block.get("title") or path,
    )
    return found or unknown(block, block["block_type"], where)


def _encoded_once(data: Any, kind: Kind) -> Any:
    """Returns base64 text. LlamaIndex keeps base64 as bytes, which others encode a second time."""
    if not isinstance(data, str) or kind == "document":  # a document may be a text that looks like base64
        return data
    try:
        inner = b64decode(data, validate=True)
        b64decode(inner, validate=True)
        return inner.decode() if inner else data
    except ValueError:
        return data


def _thinking(block: Mapping[str, Any], where: Where) -> Part | None:
    """Reads reasoning. Whose signature it has is not stated, so it seals nothing."""
    return thought(block.get("content"), where)


def _call(block: Mapping[str, Any], where: Where) -> Call:
    return called(block.get("tool_call_id"), block.get("tool_name"), block.get("tool_kwargs"), where)


def _citable(block: Mapping[str, Any], where: Where) -> Part | None:
    """Reads a source, or a place of one, that a reply may cite."""
    content = block.get("content", [block.get("cited_content")])
    about = [block.get("title"), block.get("source"), *(members(each).get("text") for each in listed(content))]
    lines = [line for line in about if isinstance(line, str) and line.strip()]
    return said("\n".join(lines), where) or unknown(block, block["block_type"], where)


_READERS: dict[str, Callable[[Mapping[str, Any], Where], Part | None]] = {
    "text": _text,
    **dict.fromkeys(_MEDIA, _media),
    "thinking": _thinking,
    "tool_call": _call,
    **dict.fromkeys(("citable", "citation"), _citable),
}


def _calls(kwargs: Mapping[str, Any], known: set[str], where: Where) -> Iterator[Part]:
    """Reads the calls beside the blocks: those of OpenAI, Anthropic, and LlamaIndex itself."""
    for index, each in enumerate(listed(kwargs.get("tool_calls"))):
        call = members(each)
        body = members(call.get("function")) or call
        id = call.get("id") or call.get("tool_id") or call.get("tool_call_id")
        keys = ("arguments", "input", "args", "tool_kwargs")
        arguments = next((body[key] for key in keys if key in body), None)
        part = called(id, body.get("name") or body.get("tool_name"), arguments, where)
        if part.id is None or part.id not in known:
            yield placed(part, "additional_kwargs", "tool_calls", index)
