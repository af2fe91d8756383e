"""What a request does not hold of a conversation."""

from __future__ import annotations

from typing import Literal, NamedTuple


class LeftOut(NamedTuple):
    """A part of a conversation that a request does not hold.

    Attributes:
        entry_id: its entry.
        what: "reasoning", "media", "sealed" (a provider's own encrypted state) or "unknown".
        why: the reason, in words.
        place: leads from the message to the part; empty for the message as a whole.
    """

    entry_id: str
    what: Literal["reasoning", "media", "sealed", "unknown"]
    why: str
    place: tuple[str | int, ...] = ()
