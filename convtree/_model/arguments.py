"""Arguments at the door: a public call checks what it is given against its own annotations. Pure.

The annotation of a parameter is the one place that says what it takes. An argument of another type raises TypeError
before the call does anything, and the error names the parameter, what it takes, and what was given. What an annotation
cannot say, such as whether an id is known, the call checks itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import wraps
from math import isnan
from types import FunctionType
from typing import Any, TypeVar, cast

import msgspec
from msgspec import UNSET

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_IS_COROUTINE = 0x80  # the flag of a coroutine function, as `inspect.CO_COROUTINE`: that module is slow to import

AT_LEAST = {
    "batch_size": 1,
    "fewest": 1,
    "keep": 0,
    "keep_bytes": 0,
    "keep_open": 0,
    "keep_tokens": 0,
    "last": 1,
    "limit": 1,
    "lock_timeout_s": 0,
    "start": 0,
}
"""The least number that a parameter of this name takes."""

_SHOWN = 60  # characters of a value in an error


class _Kind(msgspec.Struct, frozen=True):
    """A type that a parameter takes: how it is known, and what errors call it."""

    accepts: Callable[[Any], bool]
    words: str
    is_choice: bool = False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_object(value: Any) -> bool:
    """Returns whether a value may be an object of an SDK, which knows how to become a mapping."""
    if any(hasattr(value, name) for name in ("model_dump", "to_dict")):
        return True
    return not isinstance(value, str | bytes | int | float | Iterable | None)


def _is_list(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)


_KINDS = {
    "AtLeaf": _Kind(lambda value: isinstance(value, Enum), ""),
    "None": _Kind(lambda value: value is None, "None"),
    "SDKObject": _Kind(_is_object, ""),
    "UnsetType": _Kind(lambda value: value is UNSET, ""),
    "bool": _Kind(lambda value: isinstance(value, bool), "True or False"),
    "bytes": _Kind(lambda value: isinstance(value, bytes), "bytes"),
    "float": _Kind(_is_number, "a number"),
    "int": _Kind(lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number"),
    "os.PathLike": _Kind(lambda value: hasattr(value, "__fspath__"), "a path"),
    "str": _Kind(lambda value: isinstance(value, str), "a text"),
    "list": _Kind(lambda value: isinstance(value, list), "a list"),
    "tuple": _Kind(lambda value: isinstance(value, tuple), "a tuple"),
    "builtins.type": _Kind(lambda value: isinstance(value, type), "a class"),
    **dict.fromkeys(("Collection", "Iterable", "Sequence"), _Kind(_is_list, "a list")),
    **dict.fromkeys(("dict", "Mapping"), _Kind(lambda value: isinstance(value, Mapping), "a mapping")),
    **dict.fromkeys(("Callable", "Clock", "Counter", "IdSource", "Progress"), _Kind(callable, "a function")),
    **dict.fromkeys(("Reader", "Redact", "Render", "Summarize", "SummarizeBranch"), _Kind(callable, "a function")),
}
_UNIONS = {
    "Directory": "str | os.PathLike[str]",
    "Key": "str | int | tuple[Any, ...] | list[Any]",
    "Record": "Entry | Mark",
}
#: types that the calls check themselves, with their own words, and those that take anything
_OPEN = frozenset(
    {"Any", "Conversation", "Durability", "Exported", "Log", "Mode", "OnStale", "Redactor", "SeenBy", "Shape"}
    | {"Status", "Summary", "ViewShape", "Visibility", "object"}
)


class _Parameter(msgspec.Struct, frozen=True):
    """What a parameter takes; nothing is checked if it has no kinds."""

    name: str
    default: Any
    kinds: list[_Kind]


_NO_DEFAULT = object()


class _Parameters(dict[str, _Parameter]):
    """The parameters of a function, by name. Each is looked at when it is first given: most never are."""

    def __init__(self, function: FunctionType) -> None:
        super().__init__()
        code, defaults = function.__code__, function.__defaults__ or ()
        self.positional = code.co_varnames[: code.co_argcount]
        self._named = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        self._defaults = dict(zip(self.positional[::-1], defaults[::-1], strict=False)) | (
            function.__kwdefaults__ or {}
        )
        self._annotations = function.__annotations__

    def __missing__(self, name: str) -> _Parameter:
        annotation = self._annotations.get(name) if name in self._named and name != "self" else None
        found = self[name] = _Parameter(name, self._defaults.get(name, _NO_DEFAULT), _kinds(annotation))
        return found


def checked(function: F) -> F:
    """Makes a function check its arguments against its annotations before it does anything."""
    parameters: _Parameters | None = None  # made by the first call: most functions of a program are never called
    inner: Any = function
    while hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__

    def check(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        nonlocal parameters
        if parameters is None:
            parameters = _Parameters(inner)
        for name, value in zip(parameters.positional, args, strict=False):
            if (parameter := parameters[name]).kinds:
                _check(parameter, value)
        for name, value in kwargs.items():
            if (parameter := parameters[name]).kinds:
                _check(parameter, value)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        check(args, kwargs)
        return function(*args, **kwargs)

    @wraps(function)
    async def call_async(*args: Any, **kwargs: Any) -> Any:
        check(args, kwargs)
        return await function(*args, **kwargs)

    return cast(F, call_async if cast(Any, function).__code__.co_flags & _IS_COROUTINE else call)


def checked_methods(cls: type[T]) -> type[T]:
    """Makes the public methods that a class defines check their arguments, but for those that wrap another function."""
    for name, member in list(vars(cls).items()):
        if isinstance(member, FunctionType) and not name.startswith("_") and not hasattr(member, "__wrapped__"):
            setattr(cls, name, checked(member))
    return cls


def _check(parameter: _Parameter, value: Any) -> None:
    if value is parameter.default or any(kind.accepts(value) for kind in parameter.kinds):
        if isinstance(value, float) and isnan(value):
            raise ValueError(f"{parameter.name}: expected a number, not {shown(value)}")
        least = AT_LEAST.get(parameter.name)
        if least is not None and _is_number(value) and value < least:
            raise ValueError(f"{parameter.name}: expected at least {least}, not {value!r}")
        return
    choices = ", ".join(kind.words for kind in parameter.kinds if kind.is_choice)
    if choices and isinstance(value, str):
        raise ValueError(f"{parameter.name} is one of {choices}, not {value!r}")
    expected = " or ".join(dict.fromkeys(kind.words for kind in parameter.kinds if kind.words))
    raise TypeError(f"{parameter.name}: expected {expected}, not {shown(value)}")


def shown(value: Any) -> str:
    """Returns how an error shows a value: its type, and the beginning of its representation."""
    if value is None:
        return "None"
    text = repr(value)
    return f"the {type(value).__name__} {text if len(text) <= _SHOWN else text[: _SHOWN - 1] + '…'}"


def _kinds(annotation: object) -> list[_Kind]:
    """Returns the types that a parameter with an annotation takes; empty if it takes others, too."""
    if not isinstance(annotation, str):
        return []
    kinds = [_kind(each) for each in _alternatives(annotation)]
    known = [kind for kind in kinds if kind is not None]
    return known if len(known) == len(kinds) else []


def _alternatives(annotation: str) -> list[str]:
    """Splits an annotation at the bars outside of brackets; a name that stands for several types is several."""
    found: list[str] = []
    for part in annotation.split("|"):
        if found and found[-1].count("[") + found[-1].count("(") > found[-1].count("]") + found[-1].count(")"):
            found[-1] += "|" + part
        else:
            found.append(part)
    names = [each.strip() for each in found]
    return [each for name in names for each in (_alternatives(_UNIONS[name]) if name in _UNIONS else [name])]


def _kind(annotation: str) -> _Kind | None:
    """Returns what one type of an annotation accepts; None if the call checks it."""
    name, _, inside = annotation.partition("[")
    if name in _KINDS:
        return _KINDS[name]
    if name == "Literal":
        from ast import literal_eval  # slow to import

        choices = literal_eval(f"[{inside}")
        return _Kind(lambda value: isinstance(value, str) and value in choices, ", ".join(map(repr, choices)), True)
    if name in _OPEN:
        return None
    article = "an" if name[0] in "AEIOU" else "a"
    return _Kind(lambda value: any(each.__name__ == name for each in type(value).__mro__), f"{article} {name}")
