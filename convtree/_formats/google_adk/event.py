"""One event of Google's ADK as a message."""

from __future__ import annotations

from typing import Any, Literal

from convtree._formats.common.values import as_object, text
from convtree._model.arguments import checked
from convtree._model.entries import MessageEntry, Visibility

_SHAPE: Literal["google-adk"] = "google-adk"


@checked
def read_google_adk_event(event: dict[str, Any]) -> MessageEntry:
    """Returns the message that an event of Google's ADK is, for programs that store events as they come.

    The event is as `Event.model_dump(mode="json")` gives it. It stays as it is, in the shape "google-adk". A compaction
    is visible to the user only, because what it sums up is still there. An event that says nothing, such as a change of
    state or a rewind, is visible to nobody. The entry has no id, no parent and no time.
    """
    model = text(event.get("model_version"))
    return MessageEntry(
        message=event,
        shape=_SHAPE,
        provider="google" if model is not None and model.startswith("gemini") else None,
        model=model,
        usage=as_object(event.get("usage_metadata")) or None,
        visible_to=_visible_to(event),
        pinned=False,
        status="interrupted" if event.get("interrupted") is True and event.get("author") != "user" else None,
    )


def _visible_to(event: dict[str, Any]) -> Visibility:
    if as_object(event.get("actions")).get("compaction") is not None:
        return "user"
    transcribed = event.get("input_transcription") or event.get("output_transcription")
    return "all" if transcribed or event.get("content") is not None else "nobody"
