"""A message of any provider as neutral parts, for the writers. Pure.

The parts of `_messages.said`, also those that no model sees. A part without a neutral form (an image by reference,
a document) becomes a text that names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Literal, NamedTuple

from convtree._messages import parts as read
from convtree._messages import said
from convtree._messages.dialects import SPEAKERS
from convtree._providers.writing import as_object, named


class Text(NamedTuple):
    """A text."""

    text: str


class Thought(NamedTuple):
    """Reasoning of a model, and its signature."""

    text: str
    signature: str | None = None


class Image(NamedTuple):
    """An image in base64."""

    data: str
    media_type: str


class Call(NamedTuple):
    """A tool call."""

    id: str
    name: str
    arguments: dict[str, Any]


class Result(NamedTuple):
    """The result of a tool call."""

    id: str
    name: str
    text: str
    is_error: bool = False
    images: tuple[Image, ...] = ()


Part = Text | Thought | Image | Call | Result
Role = Literal["system", "user", "assistant"]


class Speech(NamedTuple):
    """A role and the parts of a message."""

    role: Role
    parts: list[Part]


def speech_of(message: Mapping[str, Any], shape: str | None = None) -> Speech:
    """Returns a message of any known shape as neutral parts. `shape` is that of its entry."""
    source = said.read(message, shape)
    role = SPEAKERS.get(source.role or "", "user")
    return Speech(role, said_in(source.parts))


def speeches_of(message: Mapping[str, Any], shape: str | None = None) -> list[Speech]:
    """Returns a message as messages of one speaker each, with results apart: behind their calls, before other words.

    Some frameworks store a system prompt and a question, or a call, its result and the answer, as one message.
    """
    source = said.read(message, shape)
    speeches: list[Speech] = []
    for role, parts in by_speaker(source.parts):
        speeches.append(Speech(role, said_in(parts)))
    return speeches or [Speech(SPEAKERS.get(source.role or "", "user"), [])]


def said_in(parts: Iterable[read.Part]) -> list[Part]:
    """Returns parts in their neutral form."""
    return [said for part in parts for said in _said(part)]


def by_speaker(parts: Iterable[read.Part]) -> Iterator[tuple[Role, list[read.Part]]]:
    """Yields parts by who speaks, with results apart: behind their calls, before other words."""
    for _, run in groupby(parts, lambda part: part.role == "assistant" and not _is_result(part)):
        ordered = sorted(run, key=lambda part: not _is_result(part))
        for (role, _), group in groupby(ordered, lambda part: (part.role, _is_result(part))):
            yield role, list(group)


def _is_result(part: read.Part) -> bool:
    return isinstance(part, read.Result)


def _said(part: read.Part) -> Iterator[Part]:
    match part:
        case read.Thinking():
            signature = (part.raw or {}).get("signature")
            if part.text or signature:
                yield Thought(part.text, signature if isinstance(signature, str) else None)
        case read.Text() | read.Media():
            yield _shown(part)
        case read.Call():
            yield Call(part.id or part.name, part.name, as_object(part))
        case read.Result():
            shown = [_shown(each) for each in part.content]
            text = "\n".join(each.text for each in shown if isinstance(each, Text))
            images = tuple(each for each in shown if isinstance(each, Image))
            yield Result(part.id or part.name, part.name, text, part.is_error, images)
        case read.Hosted(text=text):
            yield Text(text or read.as_json(part.raw))
        case read.Unknown(value=value):
            yield Text(read.as_json(value))


def _shown(part: read.Text | read.Media) -> Text | Image:
    if isinstance(part, read.Text):
        return Text(part.text)
    if part.kind == "image" and part.data is not None:
        return Image(part.data, part.mime or "image/png")
    return Text(named(part))
