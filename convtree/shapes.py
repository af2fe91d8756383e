"""Message formats that convtree can read, and readers that an application adds for its own."""

from __future__ import annotations

import re

from convtree._messages.custom import CUSTOM, Custom
from convtree._messages.frameworks.table import known_shapes
from convtree._model.arguments import checked

__all__ = ["Reader", "names", "register"]

_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,63}")

Reader = Custom
"""Takes a message and returns the same in a format that convtree knows: one message, several, or None if unknown."""


def names() -> tuple[str, ...]:
    """Returns the names of the formats: those that `append` takes as `shape`."""
    return known_shapes()


@checked
def register(name: str, reader: Reader) -> None:
    """Adds a reader for an application's own message format, for this process.

    Messages that were appended with `shape=name` are read by it, and so are messages that nothing else knows. A second
    reader of the same name replaces the first. A message for which a reader raises, or returns something else, is
    unknown: it is stored, and `to` says what the reader did.

    >>> register("my-agent", lambda m: {"role": "user", "content": m["said"]} if "said" in m else None)

    Args:
        name: the name of the format, as in `append(…, shape=name)`: lower-case letters, digits, `_`, `.` and `-`.
        reader: returns the message in a format that convtree knows, such as `{"role": "user", "content": "…"}`; a list
            of messages if it says several things; None if it is not in this format.

    Raises:
        ValueError: the name is that of a format that convtree reads itself, or is no name.
        TypeError: the reader cannot be called.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"name is lower-case letters, digits, '_', '.' and '-', not {name!r}")
    if name in names() and name not in CUSTOM:
        raise ValueError(f"convtree reads {name!r} itself; choose another name")
    CUSTOM[name] = reader
