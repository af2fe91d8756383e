"""The message formats of frameworks: how each is recognised, and the function that reads it. Data only.

A framework's message is recognised by keys that no provider uses. Its parts have no `raw`, because no provider accepts
them as they are, unless the framework keeps a provider's own block or signature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from convtree._messages.parts import Part, Source


class ReadInner(Protocol):
    """Reads a message that is stored inside another one, as if it stood alone, and sets the outer source's role."""

    def __call__(self, source: Source, message: Mapping[str, Any], *place: str | int) -> list[Part]:
        """Returns the parts; `place` leads from the outer message to the inner one."""
        ...


class Framework(NamedTuple):
    """A message format: its name, whether a message is in it (by keys alone), and its reader.

    The reader sets the source's `role`, and returns the parts in their order.
    """

    name: str
    fits: Callable[[Mapping[str, Any]], bool]
    read: Callable[[Source, ReadInner], list[Part]]


#: the most specific first
FRAMEWORKS: tuple[Framework, ...] = ()


def framework_of(message: Mapping[str, Any]) -> Framework | None:
    """Returns the framework whose format a message is in; None if it is in none of them."""
    return next((each for each in FRAMEWORKS if each.fits(message)), None)
