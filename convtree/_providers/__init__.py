"""Writes conversations in the shape of a provider's request. Pure.

Calls are paired with their results once for all providers (`pairing`), and one module per provider writes the request.
The same messages always give the same request, because prompt caches depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args

from convtree._messages.matching import match
from convtree._messages.parts import Part, Source, without_repeats
from convtree._providers import anthropic, gemini, openai_chat, openai_responses
from convtree._providers.as_stored import as_stored
from convtree._providers.target import OnOpenCalls, OnUnknown, Request, Shape, Target

__all__ = ["WRITERS", "Request", "Shape", "as_stored", "check_choices", "write"]

#: writes parts as the conversation part of a provider's request
Write = Callable[[Sequence[Part], Target], dict[str, Any]]

WRITERS: dict[str, Write] = {
    "openai-chat": openai_chat.write,
    "openai-responses": openai_responses.write,
    "anthropic": anthropic.write,
    "gemini": gemini.write,
}


def check_choices(shape: object, open_calls: object, unknown: object) -> None:
    """Raises `ValueError` if there is no such shape or choice."""
    for name, value, choices in (
        ("shape", shape, Shape),
        ("open_calls", open_calls, OnOpenCalls),
        ("unknown", unknown, OnUnknown),
    ):
        if value not in get_args(choices):
            raise ValueError(f"{name} is one of {', '.join(map(repr, get_args(choices)))}, not {value!r}")


def write(
    sources: Iterable[Source],
    shape: Shape,
    *,
    open_calls: OnOpenCalls = "answer",
    unknown: OnUnknown = "raise",
    provider: str | None = None,
) -> Request:
    """Writes messages as the conversation part of a request.

    Raises:
        OpenCalls: a call has no result, and `open_calls` is "raise".
        UnknownMessage: a part cannot be expressed, and `unknown` is "raise".
    """
    parts = [part for source in sources for part in source.parts]
    target = Target(shape=shape, matches=match(parts), provider=provider, open_calls=open_calls, unknown=unknown)
    request = Request(WRITERS[shape](without_repeats(parts), target))
    request.left_out, request.answered = tuple(target.left_out), tuple(target.answered)
    return request
