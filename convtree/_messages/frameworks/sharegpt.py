"""Reads messages of ShareGPT, the form of many data sets: `from` and `value`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convtree._messages.blocks import members
from convtree._messages.frameworks.making import (
    as_value,
    at,
    called,
    returned,
    role_of_speaker,
    said,
    speaker_of,
    structured,
    unknown,
)
from convtree._messages.parts import Part, ReadInner, Source

_ASSISTANTS = ("gpt", "chatgpt", "bing", "bard", "claude")
_CALL = "function_call"
_RESULTS = ("observation", "function_response", "tool_response")


def fits(message: Mapping[str, Any]) -> bool:
    """Returns whether a message has the two keys of ShareGPT, and no role."""
    return isinstance(message.get("from"), str) and "value" in message and "role" not in message


def read(source: Source, _: ReadInner) -> list[Part]:
    """Reads a message."""
    speaker, value = source.message["from"].lower(), source.message["value"]
    if speaker in (*_ASSISTANTS, _CALL):
        source.role = "assistant"
    else:
        source.role = "tool" if speaker in _RESULTS else speaker_of(speaker, otherwise=speaker)
    where = role_of_speaker(source.role), source
    if speaker == _CALL:
        call = members(as_value(value))
        if "name" in call:
            return [*at(("value",), called(None, call["name"], call.get("arguments"), where))]
    if source.role == "tool":
        return [*at(("value",), returned(None, None, [structured(value, where)], where))]
    if value is not None and not isinstance(value, str):
        return [*at(("value",), unknown(value, type(value).__name__, where))]
    return [*at(("value",), said(value, where))]
