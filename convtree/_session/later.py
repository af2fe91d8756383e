"""Methods whose modules are imported when they are first asked for: most programs need few of those of a session.

A class names such a method as it names any other, `path = method(walking.path)`, where `walking` is a `LateModule`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, wraps
from importlib import import_module
from types import FunctionType
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


class LateModule:
    """Stands for a module of this folder that is not imported yet. Its attributes are `LateFunction`s."""

    def __init__(self, name: str) -> None:
        self._name = f"{__package__}.{name}"

    def __getattr__(self, name: str) -> LateFunction:
        if name.startswith("__"):  # Python and its tools ask for such names, to see what this is
            raise AttributeError(name)
        return LateFunction(self._name, name)


class LateFunction:
    """Stands for a function of such a module. In a class, the function takes its place when it is first asked for.

    Whatever reads it from the `__dict__` of the class, such as `mock.patch` and tools that wrap methods, may keep it,
    and finds it to be a function.
    """

    __isabstractmethod__ = False  # `abc` asks

    def __init__(self, module: str, name: str, make: Callable[[Any], Any] = lambda function: function) -> None:
        self._module = module
        self._name = name
        self._make = make

    @property  # type: ignore[misc]  # nobody assigns it
    def __class__(self) -> type:
        """What `isinstance` is to find, so that a specification of a mock knows the signature."""
        return FunctionType

    @cached_property
    def __wrapped__(self) -> Callable[..., Any]:
        """The function."""
        found: Callable[..., Any] = self._make(getattr(import_module(self._module), self._name))
        return found

    def then(self, make: Callable[[Any], Any]) -> LateFunction:
        """Returns what stands for what `make` makes of the function."""
        return LateFunction(self._module, self._name, lambda function: make(self._make(function)))

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner, self._attribute = owner, name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if vars(self._owner).get(self._attribute) is self:  # nothing has taken its place, such as a mock
            setattr(self._owner, self._attribute, self.__wrapped__)
        return self.__wrapped__.__get__(instance, owner)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name == "__wrapped__":
            raise AttributeError(f"{self.__dict__['_module']} has no {self.__dict__['_name']!r}")
        return getattr(self.__wrapped__, name)


def or_later(make: F) -> F:
    """Makes a function that turns a function into a method take a `LateFunction`, too."""

    @wraps(make)
    def made(function: Any, *more: Any) -> Any:
        if isinstance(function, LateFunction):
            return function.then(lambda found: make(found, *more))
        return make(function, *more)

    return cast(F, made)
