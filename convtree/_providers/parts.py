"""The middle form between providers: a conversation as a flat run of parts. Pure.

One idea carries it: where one message ends and the next begins is the provider's business. A part remembers the
message it was read from, so that whole messages in the target's own shape go out as they came.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Literal

import msgspec
import orjson

Role = Literal["system", "user", "assistant"]
Kind = Literal["image", "audio", "video", "document"]

#: where a provider expects something to stand before an assistant's first words
OPENING = "(The conversation begins here.)"
PDF = "application/pdf"
#: the images that all providers take who take some
IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_WORDS = ("application/json", "application/xml", "application/yaml")  # besides all of text/
_FILES_OF_GEMINI = "https://generativelanguage.googleapis.com/"  # nobody else may read them
#: all that a message has for those who refuse what they do not know, and who may say it
_FRAMES = {"anthropic": ({"role", "content"}, ("user", "assistant")), "gemini": ({"role", "parts"}, ("user", "model"))}


class Source(msgspec.Struct, kw_only=True, eq=False):
    """The message that parts were read from.

    `shape` is None where several providers would take it. `trusted`: the model that made it is the one it goes to.
    `whole`: nothing in it had to be left out. `foreign`: a tool's own, of which no provider knows all. `summary`: it
    stands for what is not shown any more.
    """

    message: Mapping[str, Any]
    entry_id: str = ""
    shape: str | None = None
    trusted: bool = False
    whole: bool = True
    foreign: bool = False
    summary: bool = False
    parts: tuple[Part, ...] = ()


class Part(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Something said: `raw` is the block, part or item it was read from, in the shape `shape`."""

    role: Role
    source: Source
    raw: Mapping[str, Any] | None = None
    shape: str | None = None

    def as_read(self, shape: str) -> dict[str, Any] | None:
        """Returns what it was read from if that is of this shape."""
        return dict(self.raw) if self.raw is not None and self.shape == shape else None


class Text(Part, frozen=True, kw_only=True, eq=False):
    """Words for a person to read."""

    text: str


class Thinking(Part, frozen=True, kw_only=True, eq=False):
    """Reasoning; `sealed` when it carries what only its own model can read."""

    text: str
    sealed: bool = False


class Media(Part, frozen=True, kw_only=True, eq=False):
    """An image or a file: base64 `data`, or a `url`, or neither where only its provider has it."""

    kind: Kind
    mime: str | None = None
    data: str | None = None
    url: str | None = None
    name: str | None = None


class Call(Part, frozen=True, kw_only=True, eq=False):
    """A tool call; `arguments` as they came, an object or text; `custom` when the text is meant to be no JSON."""

    id: str | None
    name: str
    arguments: Any
    custom: bool = False


class Result(Part, frozen=True, kw_only=True, eq=False):
    """What a tool call gave."""

    id: str | None
    name: str
    content: tuple[Text | Media, ...]
    is_error: bool = False


class Other(Part, frozen=True, kw_only=True, eq=False):
    """What only its own provider understands (a search it made itself, say)."""


def verbatim(group: Sequence[Part], shape: str, *, plain: bool = True) -> dict[str, Any] | None:
    """Returns the message that a group was read from, if it is all of it, untouched, and of this shape.

    `plain` says whether the shape takes a message that is nothing but a role and a text.
    """
    source = group[0].source
    if not source.whole or len(group) != len(source.parts):
        return None
    if any(mine is not theirs for mine, theirs in zip(group, source.parts, strict=True)):
        return None
    if any(part.shape not in (None, shape) for part in group):
        return None  # blocks of one provider in a message of another
    keys, roles = _FRAMES.get(shape, (None, ()))
    if keys is not None and (source.message.keys() != keys or source.message["role"] not in roles):
        return None  # an answer as it came, with its id and its usage
    if source.shape == shape or (plain and source.shape is None and is_plain(source.message)):
        return dict(source.message)
    return None


def is_plain(message: Mapping[str, Any]) -> bool:
    """Returns whether a message has only a role and a text."""
    return message.keys() == {"role", "content"} and isinstance(message["content"], str)


def by_role(parts: Iterable[Part]) -> list[tuple[Role, list[Part]]]:
    """Groups neighbours of one role."""
    return [(role, list(group)) for role, group in groupby(parts, key=lambda part: part.role)]


def by_source(parts: Iterable[Part]) -> list[list[Part]]:
    """Groups neighbours that were read from one message."""
    return [list(group) for _, group in groupby(parts, key=lambda part: id(part.source))]


def without_system(parts: Iterable[Part]) -> tuple[list[Text], list[Part]]:
    """Takes the system's texts out, for providers that have one place for them."""
    listed = list(parts)
    system = [part for part in listed if part.role == "system" and isinstance(part, Text)]
    return system, [part for part in listed if part.role != "system"]


def said_by(role: Role, text: str, like: Part) -> Text:
    """Makes a text that was in no message as it stands."""
    return Text(role=role, source=like.source, text=text)


def readable(part: Thinking | Media) -> Text | None:
    """Returns in words what a provider does not take as it is; None where there are none."""
    if isinstance(part, Thinking):
        return said_by(part.role, part.text, part) if part.text.strip() else None
    return said_by(part.role, _written(part) or named(part), part)


def _written(media: Media) -> str | None:
    """Returns the words of a file that is nothing but words."""
    mime = (media.mime or "").partition(";")[0]
    if media.data is None or not (mime.startswith("text/") or mime in _WORDS):
        return None
    try:
        text = b64decode(media.data, validate=True).decode()
    except ValueError:
        return None
    return text if text.strip() else None


def link_of(media: Media) -> str | None:
    """Returns a link that another provider could follow."""
    url = media.url or ""
    return url if url.startswith(("https://", "http://")) and not url.startswith(_FILES_OF_GEMINI) else None


def named(media: Media) -> str:
    """Returns the text that replaces an image or a file."""
    where = media.url or media.name
    return f"[{media.kind}: {where}]" if where else f"[{media.kind}]"


def without_blanks(parts: Iterable[Part]) -> list[Part]:
    """Drops texts of white space only. Gemini puts signatures on such texts."""
    return [part for part in parts if not isinstance(part, Text) or part.text.strip()]


def sayable(parts: Iterable[Part], takes: Callable[[Part], bool]) -> Iterator[Part]:
    """Yields the parts that a provider takes. Other thinking and media become text; the rest is dropped."""
    for part in parts:
        if takes(part):
            yield part
        elif isinstance(part, Thinking | Media) and (text := readable(part)):
            yield text


def as_content(blocks: Sequence[Mapping[str, Any]]) -> str | Sequence[Mapping[str, Any]]:
    """Returns blocks, or one joined text if all of them are plain text. Both of OpenAI's shapes take either."""
    is_text = all(block.keys() == {"type", "text"} for block in blocks)
    return "\n".join(block["text"] for block in blocks) if is_text else blocks


def words_of(result: Result) -> str:
    """Returns the text of a result, for shapes without an error flag: the text of an error begins with "Error"."""
    text = "\n".join(part.text for part in result.content if isinstance(part, Text))
    if result.is_error and not text.lower().startswith("error"):
        return f"Error: {text}"
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


def as_json(value: Any) -> str:
    """Returns a JSON value as text."""
    return orjson.dumps(value).decode()


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
