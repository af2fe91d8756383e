"""What a message says, and who speaks. Pure.

`reading` does the work. It and all that it reads with are imported when the first message is read: an append of a plain
text reads none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convtree._messages.custom import CUSTOM
from convtree._messages.dialects import ROLES
from convtree._messages.parts import Source


def read(message: Any, shape: str | None = None) -> Source:
    """Returns all that a message says, also what a model must not see."""
    from convtree._messages.reading import read_parts

    source = Source(message=message if isinstance(message, Mapping) else {"content": message}, shape=shape)
    source.parts = tuple(read_parts(source))
    return source


def role_of(message: Any, shape: str | None = None) -> str | None:
    """Returns who speaks, see `Source.role`."""
    said = message.get("role") if isinstance(message, Mapping) else None
    if isinstance(said, str) and said in ROLES and shape not in CUSTOM:
        return ROLES[said]  # what every reader would say
    return read(message, shape).role


def text_of(message: Any, shape: str | None = None) -> str:
    """Returns the text of a message for people, see `Source.text`."""
    return read(message, shape).text
