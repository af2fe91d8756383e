"""Objects of frameworks, which pydantic makes JSON of, also if they have what pydantic refuses.

`dump_clean` makes JSON of an object, and `append_clean` cleans what a log refuses in that.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from typing import Any

import msgspec

from convtree import InvalidMessage
from convtree.adapters._cleaning import Cleaned, cleaned_name, renamed

_LOSSY = ("\ufffd" * 3).encode()
_LEVELS = 128  # of nesting; a log refuses more
_SHOWN = 200  # characters of a place in an error, as in those of a log


def dump_clean(dump: Callable[..., Any], value: Any) -> Cleaned:
    """Makes JSON of an object, from a copy without what pydantic refuses if it refuses the object as it is.

    An object that JSON does not know becomes its `repr`. Names of dictionaries with lone surrogates, and bytes that are
    not UTF-8, become escapes. What a log refuses in the result is left to `append_clean`.

    Args:
        dump: is called with the object and pydantic's argument `fallback`.
        value: the object.

    Raises:
        InvalidMessage: the object contains itself or is nested too deep, with the place; or pydantic refuses the copy.
    """
    texts: list[str] = []

    def as_text(unknown: Any) -> str:
        texts.append(f"a {type(unknown).__name__} became a text")
        try:
            return repr(unknown)
        except Exception:  # its class is a user's
            return object.__repr__(unknown)

    try:
        dumped = dump(value, fallback=as_text)
    except Exception as error:  # of serializers, which are a user's as well
        refused = error
    else:
        if not _may_have_lost_names(dumped):
            return Cleaned(dumped, texts)
    for everything in (False, True):
        changes: list[str] = []
        copied = _dumpable(value, changes, everything=everything)
        texts.clear()
        try:
            return Cleaned(dump(copied, fallback=as_text), texts + changes)
        except Exception as error:
            refused = error
    raise InvalidMessage(f"the value cannot be JSON: {refused}") from refused


def _may_have_lost_names(dumped: Any) -> bool:
    """Returns whether pydantic may have replaced lone surrogates in names, so that two of them may have become one.

    Where a type says that names are texts, it writes three U+FFFD for each.
    """
    try:
        return _LOSSY in msgspec.json.encode(dumped)
    except Exception:  # a lone surrogate in a value, for example
        return True


def _dumpable(value: Any, changes: list[str], *, everything: bool) -> Any:
    """Returns a copy of the containers, models and dataclasses in a value, with cleaned names.

    `everything`: also names of rare kinds, and bytes that are not UTF-8. Some serializers take all bytes.
    """
    clean_name = _clean_any_name if everything else _clean_text_name
    root = [value]
    waiting: list[tuple[Any, Any, str, tuple[int, ...]]] = [(root, 0, "", ())]
    while waiting:
        owner, key, place, around = waiting.pop()
        child = owner[key]
        inner: list[tuple[Any, Any, str]] = []
        made: Any
        if isinstance(child, dict):
            made = owner[key] = renamed(child, place, changes, clean_name)
            inner = [(made, name, f"{place}.{name}".lstrip(".")) for name in made]
        elif isinstance(child, list | tuple | set | frozenset):
            made = owner[key] = [*child]
            inner = [(made, index, f"{place}[{index}]") for index in range(len(made))]
        elif _has_fields(child):
            owner[key] = copy(child)
            for fields in (vars(owner[key]), getattr(owner[key], "__pydantic_extra__", None) or {}):
                inner += [(fields, name, f"{place}.{name}".lstrip(".")) for name in fields]
        elif everything and is_dataclass(child) and not isinstance(child, type):  # it has slots
            fields = owner[key] = {each.name: getattr(child, each.name) for each in dataclass_fields(child)}
            inner = [(fields, name, f"{place}.{name}".lstrip(".")) for name in fields]
        elif everything and isinstance(child, bytes | bytearray):
            owner[key] = _text(child, place, changes)
        if not inner:
            continue
        if id(child) in around:
            raise _refused(place, "the value contains itself")
        if len(around) >= _LEVELS:
            raise _refused(place, f"more than {_LEVELS} levels of nesting")
        waiting.extend((*each, (*around, id(child))) for each in reversed(inner))
    return root[0]


def _has_fields(value: Any) -> bool:
    """Returns whether a value is a model of pydantic or a framework, or a dataclass, whose copy may be changed."""
    marks = ("__pydantic_fields__", "__dataclass_fields__", "to_dict")
    return hasattr(value, "__dict__") and any(hasattr(type(value), mark) for mark in marks)


def _refused(place: str, why: str) -> InvalidMessage:
    shown = place if len(place) <= _SHOWN else f"{place[:_SHOWN]}…"
    return InvalidMessage(f"{shown or 'the value'}: {why}", place=shown)


def _clean_text_name(name: Any, place: str, changes: list[str]) -> Any:
    return cleaned_name(name, place, changes) if isinstance(name, str) else name


def _clean_any_name(name: Any, place: str, changes: list[str]) -> Any:
    if isinstance(name, bytes):
        return _text(name, place, changes)
    return name if isinstance(name, int | float | None) else cleaned_name(str(name), place, changes)


def _text(value: bytes | bytearray, place: str, changes: list[str]) -> str:
    text = value.decode("utf-8", "backslashreplace")
    if text.encode() != value:
        changes.append(f"{place}: bytes that are not UTF-8 were escaped")
    return text
