"""Reads content blocks of every provider into parts. Pure.

No two providers use one type of block for different things, so one table reads them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from convtree._messages.dialects import (
    ANTHROPIC,
    ARGUMENT_KEYS,
    CALL_BLOCKS,
    FRAME_KEYS,
    HOSTED_BLOCKS,
    OUTPUT_KEYS,
    PI,
    SHAPE_OF_BLOCK,
    TEXT_BLOCKS,
    TEXT_KEYS,
)
from convtree._messages.hosted import text_of_hosted
from convtree._messages.parts import (
    Call,
    Hosted,
    Kind,
    Media,
    Part,
    Result,
    Role,
    Source,
    Text,
    Thinking,
    Unknown,
    as_json,
    placed,
)

Where = tuple[Role, Source]
#: keys of a block that add nothing to what it says
_QUIET_KEYS = FRAME_KEYS | {"cache_control", "citations", "annotations", "logprobs", "signature"}
_KINDS = {
    bool: "a truth value",
    int: "a number",
    float: "a number",
    dict: "an object of an unknown kind",
    list: "a list",
}


def read_block(block: Mapping[str, Any], role: Role, source: Source) -> Part | None:
    """Reads one block; None if it is empty."""
    kind = block.get("type", "text" if "text" in block else None)
    read = _READERS.get(kind) if isinstance(kind, str) else None
    if read is not None:
        return read(block, (role, source))
    if kind in HOSTED_BLOCKS or (isinstance(kind, str) and kind.endswith("_tool_result")):
        return Hosted(role=role, source=source, raw=block, shape=source.shape, text=text_of_hosted(block))
    return unknown_block(block, role, source)


def _is_blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


def first_said(value: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """Returns the first of some keys under which something is said; None if there is none."""
    found = (name for name in names if value.get(name) not in (None, "", [], {}) and not _is_blank(value[name]))
    return next(found, None)


def unknown_block(block: Any, role: Role, source: Source) -> Unknown:
    """Returns a block that no reader knows. The provider whose shape the message has may know it."""
    kind = block.get("type") if isinstance(block, Mapping) else None
    why = (
        f"a block of the type {kind!r}" if isinstance(kind, str) else f"{_KINDS.get(type(block), 'a value')} as content"
    )
    raw = block if isinstance(block, Mapping) else None
    return Unknown(role=role, source=source, raw=raw, shape=source.shape, value=block, why=why)


def read_content(content: Any, role: Role, source: Source, *place: str | int) -> list[Part]:
    """Reads a message's content: a text, a block, or blocks. `place` leads to it.

    Empty blocks are left out, and the source is then not whole.
    """
    if isinstance(content, str):
        return [Text(role=role, source=source, text=content)] if content.strip() else []
    if content is None or content == {}:
        return []
    if not isinstance(content, list | tuple):
        source.whole = False
        content = [content]
    found = []
    for number, each in enumerate(content):
        block = {"text": each} if isinstance(each, str) else each
        part = read_block(block, role, source) if isinstance(block, Mapping) else unknown_block(block, role, source)
        if part is None:
            source.whole = False
        else:
            found.append(placed(part, *place, number))
    return found


def media_from_url(url: Any, kind: Kind, block: Mapping[str, Any], where: Where, name: Any = None) -> Media:
    """Reads media from a link, which may be a data URL."""
    mime, data = None, None
    if isinstance(url, str) and url.startswith("data:") and ";base64," in url:
        head, data = url.split(";base64,", 1)
        mime, url = mime_of(head[5:]), None
    return Media(
        role=where[0],
        source=where[1],
        raw=block,
        shape=_shape_of_block(block, where[1]),
        kind=kind,
        mime=mime,
        data=data,
        url=text_or_none(url),
        name=text_or_none(name),
    )


def text_or_none(value: Any) -> str | None:
    """Returns a non-empty text, or None for anything else."""
    return value if isinstance(value, str) and value else None


def mime_of(value: Any) -> str | None:
    """Returns a MIME type with the spelling that providers accept, or None for anything else."""
    mime = text_or_none(value)
    return "image/jpeg" if mime == "image/jpg" else mime


def members(value: Any) -> Mapping[str, Any]:
    """Returns an object, or an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def listed(value: Any) -> Sequence[Any]:
    """Returns a list, or an empty one for anything else."""
    return value if isinstance(value, list | tuple) else ()


def kind_of(mime: str | None) -> Kind:
    """Returns the kind of media of a MIME type."""
    start = (mime or "").partition("/")[0]
    return start if start in ("image", "audio", "video") else "document"  # type: ignore[return-value]  # just checked


def _shape_of_block(block: Mapping[str, Any], source: Source) -> str | None:
    return SHAPE_OF_BLOCK.get(str(block.get("type"))) or source.shape


def _text(block: Mapping[str, Any], where: Where) -> Part | None:
    own = "refusal" if block.get("type") == "refusal" else "text"
    text = block.get(own)
    role, source = where
    if not isinstance(text, str) or not text.strip():
        return _text_elsewhere(block, own, where)
    if block.get("type") in (None, "input_text" if role == "assistant" else "output_text"):  # no provider accepts it
        source.whole = False
        return Text(role=role, source=source, text=text)
    if role == "assistant" and block.get("citations") and not source.trusted:  # of searches that are not sent
        source.whole = False
        block = {name: value for name, value in block.items() if name != "citations"}
    return Text(role=role, source=source, raw=block, shape=_shape_of_block(block, source), text=text)


def _text_elsewhere(block: Mapping[str, Any], own: str, where: Where) -> Part | None:
    """Reads a block whose text is not under its own key; None if it says nothing."""
    role, source = where
    name = first_said(block, TEXT_KEYS)
    text = None if name is None else block[name]
    text = text if isinstance(text, str) else members(text).get("value")  # as OpenAI's threads have it
    if isinstance(text, str) and text.strip():
        source.whole = False
        return Text(role=role, source=source, text=text)
    if isinstance(block.get(own), str) or first_said(block, block.keys() - _QUIET_KEYS) is None:
        return None
    return unknown_block(block, role, source)


def _image_url(block: Mapping[str, Any], where: Where) -> Part | None:
    link = block.get("image_url")
    if block.get("type") == "image_url" and isinstance(link, str):  # as Mistral has it; OpenAI wants an object
        where[1].whole = False
        block = {"type": "image_url", "image_url": {"url": link}}
    return media_from_url(link.get("url") if isinstance(link, Mapping) else link, "image", block, where)


def _file(block: Mapping[str, Any], where: Where) -> Part | None:
    file = members(block.get("file", block))
    url = file.get("file_data") or file.get("file_url")
    return media_from_url(url, "document", block, where, file.get("filename") or file.get("file_id"))


def _audio(block: Mapping[str, Any], where: Where) -> Part | None:
    audio = members(block.get("input_audio"))
    mime = f"audio/{audio.get('format') or 'wav'}"
    return media_from_url(f"data:{mime};base64,{audio.get('data') or ''}", "audio", block, where)


def _image(block: Mapping[str, Any], where: Where) -> Part | None:
    """Reads images and documents of Anthropic, which have a `source`, and images of pi, which have none."""
    source = members(block.get("source")) if "source" in block else block
    kind: Kind = "document" if block.get("type") == "document" else "image"
    if source.get("type") in ("text", "content"):
        words = _words(source.get("data", source.get("content")))
        about = text_or_none(block.get("context"))
        return _document(block, where, f"{about}\n{words}" if about else words)
    return Media(
        role=where[0],
        source=where[1],
        raw=block,
        shape=ANTHROPIC if "source" in block else PI,
        kind=kind,
        mime=mime_of(source.get("media_type", source.get("mimeType"))),
        data=text_or_none(source.get("data")),
        url=text_or_none(source.get("url")),
        name=text_or_none(block.get("title")),
    )


def _search_result(block: Mapping[str, Any], where: Where) -> Part | None:
    said = (text_or_none(block.get("title")), text_or_none(block.get("source")), _words(block.get("content")))
    return _document(block, where, "\n".join(each for each in said if each))


def _document(block: Mapping[str, Any], where: Where, text: str) -> Part | None:
    """Reads a document whose text is in the block."""
    if not text.strip():
        return None
    name = text_or_none(block.get("title"))
    return Media(role=where[0], source=where[1], raw=block, shape=ANTHROPIC, kind="document", text=text, name=name)


def _words(content: Any) -> str:
    """Returns the text of a text or of text blocks."""
    if isinstance(content, str):
        return content
    texts = (members(each).get("text") for each in listed(content))
    return "\n".join(text for text in texts if isinstance(text, str))


def _thinking(block: Mapping[str, Any], where: Where) -> Part | None:
    text = block.get("thinking", block.get("text"))
    if isinstance(text, list):  # Mistral's is made of blocks
        text = "\n".join(str(members(each).get("text") or "") for each in text)
    text = text if isinstance(text, str) else ""
    signature = block.get("signature", block.get("thinkingSignature"))  # pi's, if Anthropic's model made it
    raw = {"type": "thinking", "thinking": text} | ({} if signature is None else {"signature": signature})
    sealed = isinstance(signature, str) and bool(signature) and not signature.startswith("{")
    if str(where[1].message.get("api")).startswith(("google", "openai")):  # pi records whose signature it is
        sealed = False
    elif sealed and block.get("redacted") is True:
        raw, text = {"type": "redacted_thinking", "data": signature}, ""
    return Thinking(role=where[0], source=where[1], raw=raw, shape=ANTHROPIC, text=text, sealed=sealed)


def _redacted(block: Mapping[str, Any], where: Where) -> Part | None:
    sealed = bool(block.get("data"))
    return Thinking(role=where[0], source=where[1], raw=block, shape=ANTHROPIC, text="", sealed=sealed)


def _tool_use(block: Mapping[str, Any], where: Where) -> Part | None:
    is_pi = block.get("type") == "toolCall"
    own = "arguments" if is_pi else "input"
    name = own if own in block else first_said(block, ARGUMENT_KEYS) or own
    if name != own:
        where[1].whole = False
    return Call(
        role="assistant",
        source=where[1],
        raw=block if name == own else None,
        shape=PI if is_pi else ANTHROPIC,
        id=text_or_none(block.get("id")),
        name=text_or_none(block.get("name")) or "",
        arguments=block.get(name),
    )


def _tool_result(block: Mapping[str, Any], where: Where) -> Part | None:
    inner = Source(message={}, shape=ANTHROPIC)
    name = "content" if block.get("content") else first_said(block, OUTPUT_KEYS)
    content = result_content(block.get(name or "content"), inner)
    is_error = block.get("is_error") is True
    if is_error and not (content and all(isinstance(part, Text) for part in content)):
        inner.whole = False  # an error is text, and only text
    if name not in ("content", None) or ("content" in block and block["content"] is None):
        inner.whole = False
    if not inner.whole:
        where[1].whole = False
    return Result(
        role="user",
        source=where[1],
        raw=block if inner.whole else None,
        shape=ANTHROPIC,
        id=text_or_none(block.get("tool_use_id")),
        name="",
        content=content,
        is_error=is_error,
    )


def result_content(content: Any, source: Source) -> tuple[Text | Media, ...]:
    """Reads the content of a tool result. Whatever is not a text and no media becomes JSON text."""
    if not isinstance(content, str | list | tuple | None) and not text_or_none(members(content).get("type")):
        source.whole = False
        return (Text(role="user", source=source, text=as_json(content)),)
    found = read_content(content, "user", source)
    if found and all(isinstance(part, Unknown) for part in found):  # a list of something else
        return (Text(role="user", source=source, text=as_json(content)),)
    return tuple(map(_in_result, found))


def _in_result(part: Part) -> Text | Media:
    if isinstance(part, Text) or (isinstance(part, Media) and part.text is None):
        return part
    if isinstance(part, Media):  # a document whose text is in the block
        return Text(role="user", source=part.source, raw=part.raw, shape=part.shape, text=part.text or "")
    value = part.value if isinstance(part, Unknown) else part.raw
    return Text(role="user", source=part.source, raw=part.raw, shape=part.shape, text=as_json(value))


_READERS: dict[str, Callable[[Mapping[str, Any], Where], Part | None]] = {
    **dict.fromkeys(TEXT_BLOCKS, _text),
    **dict.fromkeys(("image_url", "input_image", "computer_screenshot"), _image_url),
    **dict.fromkeys(("file", "input_file"), _file),
    **dict.fromkeys(("image", "document"), _image),
    "input_audio": _audio,
    "search_result": _search_result,
    "thinking": _thinking,
    "redacted_thinking": _redacted,
    **dict.fromkeys(CALL_BLOCKS, _tool_use),
    "tool_result": _tool_result,
}
