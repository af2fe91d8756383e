"""Readers that an application adds for its own message formats.

A reader gets a message and returns the same in a format that convtree knows, one message or several, or None if the
message is not in its format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Custom = Callable[[Mapping[str, Any]], Mapping[str, Any] | Sequence[Mapping[str, Any]] | None]

#: by the name of the format
CUSTOM: dict[str, Custom] = {}
