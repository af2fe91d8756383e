"""The public API: its modules and names, and every function and method that a user can call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

from stand_ins import stand_ins

MODULES = (
    "convtree",
    "convtree.aio",
    "convtree.exchange",
    "convtree.repair",
    "convtree.shapes",
    "convtree.testing",
    "convtree.stores.base",
)
"""Those that need nothing but what convtree needs. The others are `stand_ins.ADAPTERS`."""


def names(module: ModuleType) -> list[str]:
    """Returns the public names of a module: its `__all__`, or else the names it defines without an underscore."""
    defined = [name for name, each in vars(module).items() if getattr(each, "__module__", None) == module.__name__]
    return list(getattr(module, "__all__", [name for name in defined if not name.startswith("_")]))


def objects() -> Iterator[tuple[str, Any]]:
    """Yields every public name and its object. The adapters are there whether or not their frameworks are."""
    with stand_ins() as adapters:
        modules = [*map(import_module, MODULES), *adapters]
    for module in modules:
        for each in names(module):
            yield f"{module.__name__}.{each}", getattr(module, each)


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """Yields the public methods and properties of a class that convtree defines, as descriptors."""
    for name in dir(cls):
        if name.startswith("_"):
            continue
        member = inspect.getattr_static(cls, name)
        unwrapped = inspect.unwrap(getattr(member, "fget", None) or getattr(member, "__func__", member))
        if inspect.isroutine(unwrapped) and str(getattr(unwrapped, "__module__", "")).startswith("convtree"):
            yield name, member


def callables() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yields every public function, and every public method of a public class."""
    for name, each in objects():
        if inspect.isclass(each):
            for member, stored in members(each):
                if not isinstance(stored, property):
                    yield f"{name}.{member}", getattr(each, member)
        elif inspect.isfunction(each):
            yield name, each
