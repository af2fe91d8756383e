"""Turns objects of SDKs and frameworks into plain values: pydantic models, dataclasses, objects with `to_dict`. Pure.

No SDK is imported: an object is recognised by its attributes, and becomes what its own SDK would send or store as JSON.
What is no JSON value stays as it is. The codec refuses it when the line is made, and names its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from enum import Enum
from typing import Any

from convtree._model.entries import Entry

_LEVELS = 128  # as on a line; an object may lead back to itself


def is_convertible(value: Any) -> bool:
    """Returns whether `plain` accepts an object that is not a mapping."""
    if isinstance(value, type | Entry):  # an entry has `to_dict`, but it is no message
        return False
    return _has(value, "model_dump") or _has(value, "to_dict") or _is_dataclass(value)


def plain(value: Any) -> dict[str, Any]:
    """Returns an object as a dict; the objects in it, too. Of a mapping nothing is converted.

    Raises:
        TypeError: it is not an object of a kind that is known.
    """
    if isinstance(value, Mapping):
        return dict(value)
    if not is_convertible(value):
        raise TypeError(f"{type(value).__name__} is not a JSON value")
    found = as_on_wire(value)
    if not isinstance(found, dict):
        raise TypeError(f"{type(value).__name__} is not a JSON object: it became a {type(found).__name__}")
    return found


def as_on_wire(value: Any) -> Any:
    """Returns a copy of a value in which objects, bytes, times and links are what they are as JSON."""
    top: list[Any] = [value]
    stack: list[tuple[Any, Any, int]] = [(top, 0, 0)]
    while stack:
        holder, key, level = stack.pop()
        if level < _LEVELS:
            made = holder[key] = _opened(holder[key])
            inside = made if isinstance(made, dict) else range(len(made)) if isinstance(made, list) else ()
            stack.extend((made, each, level + 1) for each in inside)
    return top[0]


def _is_dataclass(value: Any) -> bool:
    """Returns whether a value is a dataclass or an object of one, as `dataclasses.is_dataclass` does."""
    return hasattr(value if isinstance(value, type) else type(value), "__dataclass_fields__")


def _as_base64(data: bytes | bytearray | memoryview) -> str:
    from base64 import b64encode  # not needed by most programs

    return b64encode(data).decode()


def _has(value: Any, name: str) -> bool:
    return callable(getattr(value, name, None))


def _opened(value: Any) -> Any:
    """Returns a scalar, or a new dict or list whose members are still as they were."""
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return _as_base64(value)
    if is_convertible(value):
        value = _dumped(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, list | tuple | Set):
        return list(value)
    if type(value).__module__.startswith("pydantic"):  # a link
        return str(value)
    return _time(value) if _has(value, "isoformat") else value


def _time(value: Any) -> str:
    """Returns a time in the form of RFC 3339."""
    text: str = value.isoformat()
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text


def _dumped(value: Any) -> Any:
    """Returns what an object says of itself. Its members may still be objects."""
    if _has(value, "model_dump"):
        return _of_google(value) if type(value).__module__.startswith("google.") else _of_model(value)
    if not _is_dataclass(value):
        return value.to_dict()
    # pydantic's dataclasses know more than their fields, such as the MIME type behind a link
    serializer: Any = getattr(type(value), "__pydantic_serializer__", None)
    if serializer is not None:
        return serializer.to_python(value, mode="json", by_alias=True)
    from dataclasses import fields  # slow to import, and loaded already where there is a dataclass

    return {field.name: getattr(value, field.name) for field in fields(value)}


def _of_model(model: Any) -> Any:
    """Returns the fields of a pydantic model that were set, and those whose default says something.

    A provider's SDK sets what the provider sent, null included. A framework tells its messages apart by defaults.
    OpenAI's SDK stores parsed results where its types have none, and pydantic would warn of each.
    """
    excluded = getattr(model, "__api_exclude__", None)
    options = {"mode": "json", "by_alias": True, "exclude": excluded, "warnings": False}
    whole = [model.model_dump(**options, exclude_none=True)]
    stack: list[tuple[Any, Any, Any]] = [(whole, 0, model.model_dump(**options, exclude_unset=True))]
    while stack:
        holder, key, given = stack.pop()
        found = holder[key]
        if isinstance(given, dict) and isinstance(found, dict):
            found |= {name: each for name, each in given.items() if name not in found}
            stack.extend((found, name, each) for name, each in given.items())
        elif isinstance(given, list) and isinstance(found, list):
            stack.extend((found, number, each) for number, each in enumerate(given[: len(found)]))
    return whole[0]


def _of_google(model: Any) -> Any:
    """Returns the fields of a model of Google's SDKs, with standard base64: other providers refuse the URL-safe one.

    The bytes are found in a second dump, in which they are not text yet.
    """
    options = {"by_alias": True, "exclude_none": True, "warnings": False}
    whole = [model.model_dump(mode="json", **options)]
    stack: list[tuple[Any, Any, Any]] = [(whole, 0, model.model_dump(**options))]
    while stack:
        holder, key, before = stack.pop()
        after = holder[key]
        if isinstance(before, bytes):
            holder[key] = _as_base64(before)
        elif isinstance(before, dict) and isinstance(after, dict):
            stack.extend((after, name, before[name]) for name in after if name in before)
        elif isinstance(before, list) and isinstance(after, list):
            stack.extend((after, number, each) for number, each in enumerate(before))
    return whole[0]
