"""What a message says, as a flat list of parts. Pure.

Every provider and framework groups parts into messages in its own way. A part keeps the message it was read from, so a
whole message that is already in the target's shape is sent unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import orjson

Role = Literal["system", "user", "assistant"]
Kind = Literal["image", "audio", "video", "document"]


class Source(msgspec.Struct, kw_only=True, eq=False):
    """The message that parts were read from.

    `shape` is None if several providers accept it. `trusted`: it goes to the model that made it. `whole`: no part of it
    was left out. `foreign`: it is in the format of another tool, not of a provider. `summary`: it replaces messages
    that are not in the context. `interrupted`: the reply was stopped, so its calls may lack a result.
    """

    message: Mapping[str, Any]
    entry_id: str = ""
    shape: str | None = None
    trusted: bool = False
    whole: bool = True
    foreign: bool = False
    summary: bool = False
    interrupted: bool = False
    parts: tuple[Part, ...] = ()


class Part(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A part of a message; `raw` is the provider's block, part or item, in the shape `shape`."""

    role: Role
    source: Source
    raw: Mapping[str, Any] | None = None
    shape: str | None = None

    def as_read(self, shape: str) -> dict[str, Any] | None:
        """Returns a copy of `raw` if it is of this shape."""
        return dict(self.raw) if self.raw is not None and self.shape == shape else None


class Text(Part, frozen=True, kw_only=True, eq=False):
    """Plain text."""

    text: str


class Thinking(Part, frozen=True, kw_only=True, eq=False):
    """Reasoning; `sealed` if it has content that only its own model can read."""

    text: str
    sealed: bool = False


class Media(Part, frozen=True, kw_only=True, eq=False):
    """An image or a file: base64 `data`, a `url`, or neither if only its provider has it."""

    kind: Kind
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


class Other(Part, frozen=True, kw_only=True, eq=False):
    """A part that only its own provider understands, such as a search on its servers."""


def as_json(value: Any) -> str:
    """Returns a JSON value as text."""
    return orjson.dumps(value).decode()
