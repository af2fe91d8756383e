"""What the writers of all providers share: groups of parts, texts in place of what a provider does not take. Pure."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from itertools import groupby
from typing import Any

import orjson

from convtree._messages.dialects import SPEAKERS
from convtree._messages.parts import (
    Call,
    Hosted,
    Media,
    Part,
    Result,
    Role,
    Text,
    Thinking,
    Unknown,
    as_json,
    is_plain,
)
from convtree._providers.target import Target

#: the first user message, for providers that require one before an assistant's message
OPENING = "(The conversation begins here.)"
PDF = "application/pdf"
#: the image types that every provider with images accepts
IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
#: the text of an error that says nothing: Anthropic refuses an error without one
SILENT_ERROR = "Error (no output)"
#: whether a provider takes a part as it is
Takes = Callable[[Part], bool]
_WORDS = ("application/json", "application/xml", "application/yaml")  # text files, besides text/*
_FILES_OF_GEMINI = "https://generativelanguage.googleapis.com/"  # readable by Google only
#: keys of messages, for providers that refuse others, and roles
_FRAMES: dict[str, tuple[Set[str] | None, tuple[str, ...]]] = {
    "openai-chat": (None, ("system", "developer", "user", "assistant", "tool", "function")),
    "openai-responses": (None, ("system", "developer", "user", "assistant")),
    "anthropic": ({"role", "content"}, ("user", "assistant")),
    "gemini": ({"role", "parts"}, ("user", "model")),
}


def verbatim(group: Sequence[Part], shape: str, *, plain: bool = True) -> dict[str, Any] | None:
    """Returns the message that a group was read from, if the group is the whole of it, unchanged, and in this shape.

    `plain`: whether the shape accepts a message with only a role and a text.
    """
    source = group[0].source
    if not source.whole or len(group) != len(source.parts):
        return None
    if any(mine is not theirs for mine, theirs in zip(group, source.parts, strict=True)):
        return None
    if group[0].role != SPEAKERS.get(source.role or "", group[0].role):
        return None  # a call in a message of the user, for instance
    if any(part.shape not in (None, shape) for part in group) or not _fits_frame(source.message, shape):
        return None  # blocks of one provider in a message of another
    if source.shape == shape or (plain and source.shape is None and is_plain(source.message)):
        return dict(source.message)
    return None


def _fits_frame(message: Mapping[str, Any], shape: str) -> bool:
    """Returns whether a shape takes the role and the keys of a message: not those of a response, or another word."""
    keys, roles = _FRAMES[shape]
    return (keys is None or message.keys() == keys) and message.get("role", roles[-1]) in roles


def by_role(parts: Iterable[Part]) -> list[tuple[Role, list[Part]]]:
    """Groups consecutive parts of one role."""
    return [(role, list(group)) for role, group in groupby(parts, key=lambda part: part.role)]


def by_source(parts: Iterable[Part]) -> list[list[Part]]:
    """Groups consecutive parts that were read from one message."""
    return [list(group) for _, group in groupby(parts, key=lambda part: id(part.source))]


def without_system(parts: Iterable[Part], target: Target) -> tuple[list[Text], list[Part]]:
    """Separates the system's texts, for providers that have a field of their own for them. It takes nothing else.

    Raises:
        UnknownMessage: a part cannot be expressed, and the target refuses that.
    """
    listed = list(parts)
    said = accepted((part for part in listed if part.role == "system"), is_text, target)
    return [part for part in said if isinstance(part, Text)], [part for part in listed if part.role != "system"]


def is_text(part: Part) -> bool:
    """Returns whether a part is text that is not blank."""
    return isinstance(part, Text) and bool(part.text.strip())


def text_part(role: Role, text: str, like: Part) -> Text:
    """Makes a text part with the source of another part."""
    return Text(role=role, source=like.source, text=text)


def readable(media: Media, target: Target) -> Text:
    """Returns media as text, for a provider that does not accept them: a text file's text, else a name."""
    text = media.text or _file_text(media)
    if text is None:
        target.leave_out(media, "media", f"{named(media)} is only named: the shape does not carry it")
    return text_part(media.role, text or named(media), media)


def _file_text(media: Media) -> str | None:
    """Returns the text of a text file; None for any other file."""
    mime = (media.mime or "").partition(";")[0]
    if media.data is None or not (mime.startswith("text/") or mime in _WORDS):
        return None
    try:
        text = b64decode(media.data, validate=True).decode()
    except ValueError:
        return None
    return text if text.strip() else None


def link_of(media: Media) -> str | None:
    """Returns a link that another provider can follow; None if there is none."""
    url = media.url or ""
    return url if url.startswith(("https://", "http://")) and not url.startswith(_FILES_OF_GEMINI) else None


def named(media: Media) -> str:
    """Returns the text that replaces an image or a file."""
    where = media.url or media.name
    return f"[{media.kind}: {where}]" if where else f"[{media.kind}]"


def without_blanks(parts: Iterable[Part]) -> list[Part]:
    """Leaves out blank texts. Gemini makes some, to carry a signature."""
    return [part for part in parts if not isinstance(part, Text) or part.text.strip()]


def accepted(parts: Iterable[Part], takes: Takes, target: Target) -> Iterator[Part]:
    """Yields the parts that a provider accepts, and others as text; records what is left out.

    Reasoning is never turned into text: a model must not take it for words that were spoken.

    Raises:
        UnknownMessage: a part cannot be expressed, and the target refuses that.
    """
    for part in parts:
        if takes(part):
            yield part
        elif isinstance(part, Media):
            yield readable(part, target)
        elif isinstance(part, Thinking):
            target.leave_out(part, "reasoning", "reasoning of another model, or without a signature")
        elif isinstance(part, Hosted):
            if part.text:
                yield text_part(part.role, part.text, part)
            else:
                why = "it has no content for a model" if part.raw is None else "only its own provider can read it"
                target.leave_out(part, "sealed", why)
        elif isinstance(part, Unknown):
            target.check_unknown(part)
            if target.unknown == "text":
                yield text_part(part.role, as_json(part.value), part)
            else:
                target.leave_out(part, "unknown", part.why)


def as_content(blocks: Sequence[Mapping[str, Any]]) -> str | Sequence[Mapping[str, Any]]:
    """Returns blocks, or one joined text if all of them are plain text. Both of OpenAI's shapes take either."""
    only_text = all(block.keys() == {"type", "text"} for block in blocks)
    return "\n".join(block["text"] for block in blocks) if only_text else blocks


def words_of(result: Result) -> str:
    """Returns the text of a result, for shapes without an error flag: the text of an error begins with "Error"."""
    text = "\n".join(part.text for part in result.content if isinstance(part, Text))
    if result.is_error and not text.lower().startswith("error"):
        return f"Error: {text}" if text.strip() else SILENT_ERROR
    return text


def media_of(result: Result) -> list[Media]:
    """Returns the images and files of a result."""
    return [part for part in result.content if isinstance(part, Media)]


def data_url(media: Media) -> str | None:
    """Returns a URL for media: its link, or a `data:` URL if OpenAI takes data of this type."""
    if media.data is None:
        return link_of(media)
    mime = media.mime or (PDF if media.kind == "document" else None)
    return f"data:{mime};base64,{media.data}" if mime in (*IMAGES, PDF) else None


def as_text(arguments: Any) -> str:
    """Returns arguments as JSON text. A text is returned unchanged, also if it is not valid JSON."""
    if isinstance(arguments, str):
        return arguments or "{}"
    return as_json({} if arguments is None else arguments)


def as_object(call: Call) -> dict[str, Any]:
    """Returns arguments as an object. Anything else becomes the member `arguments`, or `input` of a custom call."""
    arguments = call.arguments
    if isinstance(arguments, str) and not call.custom:
        try:
            arguments = orjson.loads(arguments or "{}")
        except orjson.JSONDecodeError:
            return {"arguments": call.arguments}
    if arguments is None:
        return {}
    if isinstance(arguments, dict):
        return arguments
    return {"input" if call.custom else "arguments": arguments}
