"""Keys of the screens that the footer does not show; the help does."""

from __future__ import annotations

from textual.binding import Binding, BindingType


def unlisted(*keys: tuple[str, str, str]) -> list[BindingType]:
    """Returns bindings that are not in the footer. Each is given as keys, action and description."""
    return [Binding(key, action, description, show=False) for key, action, description in keys]
