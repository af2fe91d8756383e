"""Reads what a summariser returned: a text, or the reply of a model, which also says what it cost. Pure."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any, NamedTuple

from convtree._engine.sdk_objects import SDKObject, message_entry
from convtree._model.errors import InvalidMessage

Summary = str | Mapping[str, Any] | SDKObject


class WrittenSummary(NamedTuple):
    """The text of a summary, and the usage, provider and model of the reply that it was read from."""

    text: str
    usage: dict[str, Any] | None = None
    provider: str | None = None
    model: str | None = None


def read_summary(summary: object) -> WrittenSummary:
    """Reads a text, a message, or a reply as a provider's SDK returns it. Reasoning is not part of the text.

    Raises:
        InvalidMessage: it is something else, or a reply without text. Coroutines are awaited in `convtree.aio` only.
    """
    if isinstance(summary, str):
        return WrittenSummary(summary)
    if isinstance(summary, Coroutine):
        summary.close()  # or Python warns that it was never awaited
        raise InvalidMessage(
            "the summary is a coroutine; with a coroutine function, use the session of convtree.aio", place="summary"
        )
    try:
        entry = message_entry(summary)  # type: ignore[arg-type]  # it refuses what is no reply
    except TypeError:
        name = type(summary).__name__
        raise InvalidMessage(
            f"the summary is a {name}; return a text, or the reply of a model", place="summary"
        ) from None
    written = WrittenSummary(entry.text, entry.usage or None, entry.provider, entry.model)
    if not written.text.strip():
        raise InvalidMessage("the reply has no text; return one that says what it stands for", place="summary")
    return written
