"""Reads messages of Bedrock's Converse, and of Strands, which stores the same with notes beside them. Pure.

A block has no `type`: its one key says what it is. Bytes are base64 text here. Strands encodes them as an object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from convtree._messages.blocks import Where, listed, members, text_or_none
from convtree._messages.frameworks.making import (
    at,
    called,
    hosted,
    media,
    numbered,
    redacted_thought,
    returned,
    role_of_speaker,
    said,
    speaker_of,
    structured,
    thought,
    unknown,
)
from convtree._messages.parts import Kind, Media, Part, ReadInner, Source, Text

#: formats whose MIME type is not the kind and the format
_MIME_TYPES = {
    "pdf": "application/pdf",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv",
    "html": "text/html",
    "txt": "text/plain",
    "md": "text/markdown",
    "mov": "video/quicktime",
    "mkv": "video/x-matroska",
    "three_gp": "video/3gpp",
    "jpg": "image/jpeg",
    "mp3": "audio/mpeg",
}
#: a tool that ran at the provider
_SERVER_TOOL = "server_tool_use"


def fits(message: Mapping[str, Any]) -> bool:
    """Returns whether a message has a block of Converse. One with texts only is like those of others."""
    content = message.get("content")
    if not isinstance(content, list | tuple) or not isinstance(message.get("role"), str):
        return False
    return any(_is_block(block) for block in content)


def fits_strands(message: Mapping[str, Any]) -> bool:
    """Returns whether a message has the notes of Strands."""
    content = message.get("content")
    if not isinstance(content, list | tuple) or not isinstance(message.get("role"), str):
        return False
    return "tracking_id" in message or (isinstance(message.get("metadata"), Mapping) and fits(message))


def read(source: Source, _: ReadInner) -> list[Part]:
    """Reads a message."""
    source.role = speaker_of(source.message.get("role"))
    where = role_of_speaker(source.role), source
    return [
        part
        for place, block in numbered("content", source.message["content"])
        for part in at(place, _part(block, where))
    ]


def facts_of_strands(message: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the usage that Strands notes beside a reply."""
    usage = members(message.get("metadata")).get("usage")
    return {"usage": dict(usage)} if isinstance(usage, Mapping) else {}


def _is_block(block: Any) -> bool:
    if not isinstance(block, dict) or "type" in block:
        return False
    return any(isinstance(block.get(key), Mapping) for key in _READERS if key != "text")


def _part(block: Any, where: Where) -> Part | None:
    """Reads a block; None if it is blank, or a mark for the cache."""
    for key, value in members(block).items():
        if key in _READERS and (key == "text" or isinstance(value, Mapping)):
            return _READERS[key](value, where)
        if key == "cachePoint":
            return None
    return unknown(block, next(iter(members(block)), None), where)


def _media(kind: Kind) -> Callable[[Any, Where], Part | None]:
    def read_media(value: Any, where: Where) -> Part | None:
        form, source = text_or_none(value.get("format")), members(value.get("source"))
        if (text := _words(source)) is not None:
            return said(text, where)
        mime = None if form is None else _MIME_TYPES.get(form, f"{kind}/{form}")
        url = members(source.get("s3Location", source.get("location"))).get("uri")
        data = _base64(source.get("bytes"))
        made = media(where, kind=kind, mime=mime, data=data, url=url, name=value.get("name"))
        return unknown({kind: value}, kind, where) if made is None else made

    return read_media


def _words(value: Mapping[str, Any]) -> str | None:
    """Returns the text of a document, or of a result of a search; None if it has none."""
    if (text := text_or_none(value.get("text"))) is not None:
        return text
    texts = (text_or_none(members(each).get("text")) for each in listed(value.get("content")))
    return "\n".join(text for text in texts if text is not None) or None


def _base64(value: Any) -> Any:
    """Returns base64 text. Strands stores bytes as an object with `data`."""
    return members(value).get("data") if isinstance(value, Mapping) else value


def _reasoning(value: Any, where: Where) -> Part | None:
    text = members(value.get("reasoningText"))
    made = thought(text.get("text"), where, text.get("signature"))
    return made if made is not None else redacted_thought(_base64(value.get("redactedContent")), where)


def _guarded(value: Any, where: Where) -> Part | None:
    if isinstance(value.get("image"), Mapping):
        return _READERS["image"](value["image"], where)
    return said(members(value.get("text")).get("text"), where)


def _searched(value: Any, where: Where) -> Part | None:
    lines = (text_or_none(value.get("title")), text_or_none(value.get("source")), _words(value))
    return said("\n".join(each for each in lines if each), where)


def _call(value: Any, where: Where) -> Part | None:
    if value.get("type") == _SERVER_TOOL:
        return hosted(value.get("name"), value.get("input"), where)
    return called(value.get("toolUseId"), value.get("name"), value.get("input"), where)


def _result(value: Any, where: Where) -> Part | None:
    if isinstance(value.get("type"), str):  # of a tool that ran at the provider
        return hosted(value["type"], value.get("content"), where)
    content = [_in_result(each, where) for each in listed(value.get("content"))]
    return returned(value.get("toolUseId"), None, content, where, is_error=value.get("status") == "error")


def _in_result(block: Any, where: Where) -> Part | None:
    if isinstance(block, Mapping) and "json" in block:
        return structured(block["json"], where)
    part = _part(block, where)
    return part if part is None or isinstance(part, Text | Media) else structured(block, where)


_READERS: dict[str, Callable[[Any, Where], Part | None]] = {
    "text": said,
    "image": _media("image"),
    "document": _media("document"),
    "video": _media("video"),
    "audio": _media("audio"),
    "toolUse": _call,
    "toolResult": _result,
    "reasoningContent": _reasoning,
    "guardContent": _guarded,
    "citationsContent": lambda value, where: said(_words(value), where),
    "searchResult": _searched,
}
