"""Writes conversations in the shape of a provider's request. Pure.

Messages are read into one intermediate form (`reading`, `blocks`), calls are paired with their results once for all
providers (`pairing`), and one module per provider writes the request. The same messages always give the same request,
because prompt caches depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol

from convtree._messages.framework_parts import without_repeats
from convtree._messages.parts import Part, Source
from convtree._messages.reading import read_message
from convtree._providers import anthropic, gemini, openai_chat, openai_responses

Shape = Literal["openai-chat", "openai-responses", "anthropic", "gemini"]


class Write(Protocol):
    """Writes parts as a provider's request."""

    def __call__(self, parts: Sequence[Part], *, heal: bool) -> dict[str, Any]:
        """Returns the conversation part of the request."""
        ...


WRITERS: dict[str, Write] = {
    "openai-chat": openai_chat.write,
    "openai-responses": openai_responses.write,
    "anthropic": anthropic.write,
    "gemini": gemini.write,
}


def write(sources: Iterable[Source], shape: Shape, *, heal: bool = False) -> dict[str, Any]:
    """Writes messages as the conversation part of a request.

    Raises:
        OpenCalls: a call has no result, and `heal` is not set.
        ValueError: there is no such shape.
    """
    writer: Callable[..., dict[str, Any]] | None = WRITERS.get(shape)
    if writer is None:
        raise ValueError(f"shape is one of {', '.join(map(repr, WRITERS))}, not {shape!r}")
    parts = without_repeats(part for source in sources for part in read_message(source))
    return writer(parts, heal=heal)
