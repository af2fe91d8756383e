"""What a message says, as a flat list of parts. Pure.

Every provider and framework groups parts into messages in its own way. A part keeps the message it was read from, so a
whole message that is already in the target's shape is sent unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Protocol, TypeVar

import msgspec
import orjson

Role = Literal["system", "user", "assistant"]
Kind = Literal["image", "audio", "video", "document"]
P = TypeVar("P", bound="Part")


class Source(msgspec.Struct, kw_only=True, eq=False):
    """The message that parts were read from.

    Attributes:
        message: the message, or one message of several that are stored together.
        entry_id: its entry.
        shape: the format it is in; None if several providers accept it.
        role: who speaks: system, developer, user, assistant or tool; another word if that is all there is.
        trusted: it goes to the model that made it.
        same_provider: it goes to the provider whose model made it.
        whole: no part of it was left out.
        translated: an application's reader made it.
        foreign: it is in the format of another tool, not of a provider.
        summary: it replaces messages that are not in the context.
        interrupted: the reply was stopped, so its calls may lack a result.
        parts: what it says.
    """

    message: Mapping[str, Any]
    entry_id: str = ""
    shape: str | None = None
    role: str | None = None
    trusted: bool = False
    same_provider: bool = False
    whole: bool = True
    translated: bool = False
    foreign: bool = False
    summary: bool = False
    interrupted: bool = False
    parts: tuple[Part, ...] = ()

    @property
    def text(self) -> str:
        """The text for people, parts joined by newlines. Reasoning, documents and tool traffic are left out."""
        return "\n".join(part.text for part in self.parts if isinstance(part, Text | Unknown) and part.text)

    @property
    def calls(self) -> list[Call]:
        """The tool calls, in order."""
        return [part for part in self.parts if isinstance(part, Call)]

    @property
    def results(self) -> list[Result]:
        """The results of tool calls, in order."""
        return [part for part in self.parts if isinstance(part, Result)]


class Part(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A part of a message; `raw` is the provider's block, part or item, in the shape `shape`.

    `place` leads from the message to the block, such as `("content", 2)`; empty for the message as a whole.
    """

    role: Role
    source: Source
    raw: Mapping[str, Any] | None = None
    shape: str | None = None
    place: tuple[str | int, ...] = ()

    def as_read(self, shape: str) -> dict[str, Any] | None:
        """Returns a copy of `raw` if it is of this shape."""
        return dict(self.raw) if self.raw is not None and self.shape == shape else None


class Text(Part, frozen=True, kw_only=True, eq=False):
    """Plain text; `repeats` if its framework says it again and again: it is left out where it was said before."""

    text: str
    repeats: bool = False


class Thinking(Part, frozen=True, kw_only=True, eq=False):
    """Reasoning; `sealed` if it has content that only its own model can read."""

    text: str
    sealed: bool = False


class Media(Part, frozen=True, kw_only=True, eq=False):
    """An image or a file: base64 `data`, a `url`, its `text`, or none of them if only its provider has it."""

    kind: Kind
    text: str | None = None
    mime: str | None = None
    data: str | None = None
    url: str | None = None
    name: str | None = None


class Call(Part, frozen=True, kw_only=True, eq=False):
    """A tool call; `arguments` are an object or text, as received; `custom` if the text is not meant to be JSON."""

    id: str | None
    name: str
    arguments: Any
    custom: bool = False


class Result(Part, frozen=True, kw_only=True, eq=False):
    """The result of a tool call."""

    id: str | None
    name: str
    content: tuple[Text | Media, ...]
    is_error: bool = False


class Hosted(Part, frozen=True, kw_only=True, eq=False):
    """A part that only its own provider can use, such as a search on its servers.

    `text` tells other models what it says; empty if nobody else can read it.
    """

    text: str = ""


class Unknown(Part, frozen=True, kw_only=True, eq=False):
    """A message, or a part of one, that no reader knows.

    `value` is all of it and `why` says what is not known. `text` is what of it is certainly text for people.
    """

    value: Any
    why: str
    text: str = ""


class ReadInner(Protocol):
    """Reads a message that is stored inside another one, as if it stood alone, and sets the outer source's role."""

    def __call__(self, source: Source, message: Mapping[str, Any], *place: str | int) -> list[Part]:
        """Returns the parts; `place` leads from the outer message to the inner one."""
        ...


def without_repeats(parts: Iterable[Part]) -> list[Part]:
    """Leaves out texts that only repeat an earlier one, such as the instructions in every request of pydantic-ai."""
    heard: set[tuple[Role, str]] = set()
    kept: list[Part] = []
    for part in parts:
        if isinstance(part, Text):
            if part.repeats and (part.role, part.text) in heard:
                continue
            heard.add((part.role, part.text))
        kept.append(part)
    return kept


def placed(part: P, *place: str | int) -> P:
    """Returns a part with the place of its block. The part was made just now, so nobody has seen it without."""
    msgspec.structs.force_setattr(part, "place", place)
    return part


def as_json(value: Any) -> str:
    """Returns a JSON value as text. It may be one that no log holds: a message is read before it is refused."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # an integer of more than 64 bits, or a lone surrogate
        pass
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))


def is_plain(message: Mapping[str, Any]) -> bool:
    """Returns whether a message has only a role and a text."""
    return message.keys() == {"role", "content"} and isinstance(message["content"], str)
