"""Turns objects of SDKs and frameworks into plain values: pydantic models, objects with `to_dict`, dataclasses. Pure.

No SDK is imported: an object is recognised by its attributes, and becomes what its own SDK would send.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

_LEVELS = 128  # as on a line; an object may lead back to itself


def is_convertible(value: Any) -> bool:
    """Returns whether `plain` accepts an object that is not a mapping."""
    if isinstance(value, type):
        return False
    return _has(value, "model_dump") or _has(value, "to_dict") or is_dataclass(value)


def plain(value: Any) -> dict[str, Any]:
    """Returns an object as a dict; the objects in it, too.

    Raises:
        TypeError: it is not an object of a kind that is known.
    """
    if isinstance(value, Mapping):
        return dict(value)
    if not is_convertible(value):
        raise TypeError(f"{type(value).__name__} is not a JSON value")
    dumped = _dumped(value)
    if not isinstance(dumped, Mapping):
        raise TypeError(f"{type(value).__name__} is not a JSON object: it became a {type(dumped).__name__}")
    copied = [dict(dumped)]
    stack: list[tuple[Any, Any, int]] = [(copied[0], name, 1) for name in copied[0]]
    while stack:
        holder, key, level = stack.pop()
        member = holder[key]
        if level < _LEVELS and is_convertible(member):
            member = holder[key] = _dumped(member)
        if isinstance(member, Mapping) and level < _LEVELS:
            holder[key] = dict(member)
            stack.extend((holder[key], name, level + 1) for name in member)
        elif isinstance(member, list | tuple) and level < _LEVELS:
            holder[key] = list(member)
            stack.extend((holder[key], number, level + 1) for number in range(len(member)))
    return copied[0]


def _has(value: Any, name: str) -> bool:
    return callable(getattr(value, name, None))


def _dumped(value: Any) -> Any:
    """Returns what an object says of itself. Its members may still be objects."""
    if not _has(value, "model_dump"):
        return value.to_dict() if _has(value, "to_dict") else asdict(value)
    if type(value).__module__.startswith("google.genai"):
        options = {"by_alias": True, "exclude_none": True, "warnings": False}
        return _with_standard_base64(value.model_dump(mode="json", **options), value.model_dump(**options))
    excluded = getattr(value, "__api_exclude__", None)
    # OpenAI's SDK stores parsed results where its types have none, and pydantic would warn of each.
    return value.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude=excluded, warnings=False)


def _with_standard_base64(dumped: Any, original: Any) -> Any:
    """Replaces the URL-safe base64 of Google's SDK: other providers, and their SDKs, refuse it.

    `original` is the same value before its bytes became text.
    """
    whole = [dumped]
    stack: list[tuple[Any, Any, Any]] = [(whole, 0, original)]
    while stack:
        holder, key, before = stack.pop()
        after = holder[key]
        if isinstance(before, bytes):
            holder[key] = b64encode(before).decode()
        elif isinstance(before, Mapping):
            stack.extend((after, name, before[name]) for name in after)
        elif isinstance(before, list):
            stack.extend((after, number, each) for number, each in enumerate(before))
    return whole[0]
