"""Reads what a summariser returned: a text, or the reply of a model, which also says what it cost. Pure."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any, NamedTuple

from convtree._engine.json_values import jsonable
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
        written = _read_reply(summary)
    except TypeError:
        name = type(summary).__name__
        raise InvalidMessage(
            f"the summary is a {name}; return a text, or the reply of a model", place="summary"
        ) from None
    if not written.text.strip():
        raise InvalidMessage("the reply has no text; return one that says what it stands for", place="summary")
    return written


def _read_reply(reply: Any) -> WrittenSummary:
    items = _field(reply, "output")
    if not isinstance(items, list | tuple):
        entry = message_entry(reply)
        return WrittenSummary(entry.text, _plain_usage(entry.usage), entry.provider, entry.model)
    texts = [message_entry(item).text for item in items]  # OpenAI's Response: several messages, and reasoning apart
    model = _field(reply, "model")
    return WrittenSummary(
        text="\n".join(filter(None, texts)),
        usage=_plain_usage(_field(reply, "usage")),
        model=model if isinstance(model, str) else None,
    )


def _field(reply: Any, name: str) -> Any:
    return reply.get(name) if isinstance(reply, Mapping) else getattr(reply, name, None)


def _plain_usage(usage: Any) -> dict[str, Any] | None:
    """Returns a usage as plain values. That of an SDK is an object, too."""
    if not isinstance(usage, Mapping) and not hasattr(usage, "model_dump"):
        return None
    return jsonable(usage) or None
