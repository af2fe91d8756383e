"""Values that LangGraph's serializer refuses, made into some that it takes: an integer beyond 64 bits becomes a text.

They may be in any object that the serializer takes apart. An object in which nothing is changed stays the same object.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from typing import Any, NamedTuple

from langgraph.checkpoint.serde.types import SendProtocol
from langgraph.store.base import Item
from pydantic import BaseModel

from convtree.adapters._cleaning import clean, cleaned_name, renamed

_Make = Callable[[list[Any]], Any]


class _Opened(NamedTuple):
    """An object that is taken apart.

    Attributes:
        value: it; a dictionary with cleaned names.
        place: where it is.
        parts: what it consists of, each with its place in it.
        make: makes such an object of other parts.
        done: the parts that were looked at, cleaned.
    """

    value: Any
    place: str
    parts: list[tuple[str, Any]]
    make: _Make
    done: list[Any]


def clean_value(value: Any, place: str, changes: list[str]) -> Any:
    """Returns a value with texts and numbers as `clean` makes them.

    Args:
        value: what the serializer has refused.
        place: where it is, for the changes.
        changes: takes what was changed, each as "place: what".
    """
    way = [_Opened(None, place, [("", value)], lambda done: done[0], [])]
    inside: list[int] = []  # the ids of the objects on the way: one in itself is left to the serializer
    while True:
        at = way[-1]
        if len(at.done) < len(at.parts):
            name, part = at.parts[len(at.done)]
            inner = _opened(part, at.place + name, changes)
            if inner is None or id(part) in inside:
                at.done.append(_clean_scalar(part, at.place + name, changes))
            else:
                way.append(inner)
                inside.append(id(part))
            continue
        way.pop()
        is_same = all(new is old for new, (_, old) in zip(at.done, at.parts, strict=True))
        made = at.value if way and is_same else at.make(at.done)
        if not way:
            return made
        inside.pop()
        way[-1].done.append(made)


def _opened(value: Any, place: str, changes: list[str]) -> _Opened | None:
    """Returns an object taken apart; None if the serializer does not do so, or not by these parts."""
    make: _Make
    if isinstance(value, dict):
        count = len(changes)
        cleaned = renamed(value, place, changes, _clean_name)
        names = list(value := value if len(changes) == count else cleaned)
        parts, make = _named(value.items()), lambda done: dict(zip(names, done, strict=True))
    elif isinstance(value, BaseModel):
        names = [name for name, _ in value]
        parts, make = _named(value), lambda done: value.model_copy(update=dict(zip(names, done, strict=True)))
    elif isinstance(value, list | tuple | set | frozenset | deque):
        parts, make = [(f"[{index}]", each) for index, each in enumerate(value)], type(value)
        if labels := getattr(value, "_fields", None):  # a named tuple
            parts, make = _named(zip(labels, value, strict=True)), lambda done: type(value)(*done)
    elif isinstance(value, Enum):
        parts, make = [("", value.value)], lambda done: done[0]
    elif names := _fields_of(value):
        parts = _named((name, getattr(value, name)) for name in names if hasattr(value, name))
        make = partial(_with, value, parts)
    else:
        return None
    return _Opened(value, place, parts, make, [])


def _named(parts: Iterable[tuple[Any, Any]]) -> list[tuple[str, Any]]:
    return [(f".{name}", each) for name, each in parts]


def _fields_of(value: Any) -> list[str]:
    """Returns the names of the attributes by which the serializer stores an object."""
    if is_dataclass(value) and not isinstance(value, type):
        return [each.name for each in fields(value)]
    if isinstance(value, Item):
        return list(value.__slots__)
    return ["node", "arg", "timeout"] if isinstance(value, SendProtocol) else []


def _with(value: Any, parts: list[tuple[str, Any]], done: list[Any]) -> Any:
    """Returns a copy of an object, which may be frozen, with other attributes."""
    made = copy(value)
    for (name, old), new in zip(parts, done, strict=True):
        if new is not old:
            object.__setattr__(made, name[1:], new)
    return made


def _clean_name(name: Any, place: str, changes: list[str]) -> Any:
    if isinstance(name, str):
        return cleaned_name(name, place, changes)
    return _clean_scalar(name, place, changes) if isinstance(name, int) else name


def _clean_scalar(value: Any, place: str, changes: list[str]) -> Any:
    if not isinstance(value, str | int | float):
        return value
    cleaned, what = clean(value)
    changes += [f"{place}{each}" for each in what]
    return cleaned if what else value
