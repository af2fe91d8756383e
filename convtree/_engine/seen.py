"""What a model sees of an entry's message. Pure."""

from __future__ import annotations

from convtree._messages.parts import Source
from convtree._messages.reading import read_for_model
from convtree._model.entries import MessageEntry


def seen(entry: MessageEntry) -> Source:
    """Reads the message of an entry as a model sees it, whichever model that is."""
    source = Source(message=entry.message, entry_id=entry.id, shape=entry.shape, interrupted=entry.status is not None)
    read_for_model(source)
    return source
