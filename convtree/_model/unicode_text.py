"""Texts that can be stored: those of Unicode. Pure."""

from __future__ import annotations

from convtree._model.errors import InvalidMessage


def check_text(text: str, place: str) -> None:
    """Raises InvalidMessage unless a text is Unicode, without lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise invalid(place, f"a lone surrogate at character {error.start} is not Unicode text") from None


def invalid(place: str, reason: str) -> InvalidMessage:
    """Makes the error that names the place of a value."""
    place = place if len(place) <= 200 else f"{place[:200]}…"
    return InvalidMessage(f"{place}: {reason}", place=place)
