"""Readers that an application adds for its own message formats.

A reader gets a message and returns the same in a format that convtree knows, one message or several, or None if the
message is not in its format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from convtree._messages.parts import as_json

Custom = Callable[[Mapping[str, Any]], Mapping[str, Any] | Sequence[Mapping[str, Any]] | None]

#: by the name of the format
CUSTOM: dict[str, Custom] = {}


class Translation(msgspec.Struct, frozen=True):
    """What a reader made of a message: messages in formats that convtree knows, or why there are none."""

    messages: Sequence[Mapping[str, Any]] = ()
    fault: str | None = None


def translate(name: str, message: Mapping[str, Any]) -> Translation | None:
    """Returns what a reader makes of a message; None if it does not know it.

    A reader that raises, or returns something else than messages, must not keep anyone from storing or listing.
    """
    try:
        found = CUSTOM[name](dict(message))
        if found is None:
            return None
        messages = [found] if isinstance(found, Mapping) else found
        if isinstance(messages, list | tuple) and all(isinstance(each, Mapping) and each for each in messages):
            as_json(messages)
            return Translation(messages)
    except Exception as error:  # an application's code may raise anything
        return Translation(fault=f"a message for which the reader {name!r} raised {type(error).__name__}: {error}")
    return Translation(fault=f"a message of which the reader {name!r} made a {type(found).__name__}, not messages")
