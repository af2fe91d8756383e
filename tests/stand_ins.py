"""Stands in for the packages of frameworks, whose pins collide, where they are not installed.

With the stand-ins, the adapters can be imported and looked at: what is public, what it is documented as, and which
arguments it takes. They do not work. Everything in a stand-in is a class, which takes any arguments.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

_PACKAGES = (
    *("agent_framework", "agents", "chatkit", "claude_agent_sdk", "google.adk", "google.genai", "langchain_core"),
    *("langgraph", "pydantic", "pydantic_ai", "pydantic_core"),
)
ADAPTERS = tuple(
    f"convtree.adapters.{path.stem}"
    for path in sorted((Path(__file__).parents[1] / "convtree" / "adapters").glob("[a-z]*.py"))
)
"""The public modules of `convtree.adapters`, one for each framework."""


class _Anything(type):
    """The class of the classes in a stand-in: one has every attribute, and can be subscripted."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _class(name, cls.__module__)

    def __getitem__(cls, item: Any) -> Any:
        return cls


def _class(name: str, module: str) -> Any:
    def take(self: object, *args: Any, **kwargs: Any) -> None:
        """Takes any arguments."""

    members = {
        "__module__": module,
        "__init__": take,
        "__get_pydantic_core_schema__": classmethod(lambda *_: {"type": "any"}),  # where pydantic is installed
    }
    return _Anything(name, (), members)


class _StandIn(ModuleType):
    """A module that has every name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = _class(name, self.__name__)
        setattr(self, name, made)
        return made


class _Finder(MetaPathFinder, Loader):
    """Finds a stand-in for every module of some packages."""

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = packages

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:  # noqa: ARG002
        """Returns where a module is found: here, if it is of one of the packages."""
        if not any(name == each or name.startswith(f"{each}.") for each in self._packages):
            return None
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Makes a stand-in."""
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Does nothing."""


@contextmanager
def stand_ins() -> Iterator[list[ModuleType]]:
    """Gives the modules of the adapters, imported with stand-ins for what is not installed, and takes both back."""
    before = set(sys.modules)
    finder = _Finder([name for name in _PACKAGES if not _is_installed(name)])
    sys.meta_path.insert(0, finder)
    try:
        yield [import_module(name) for name in ADAPTERS]
    finally:
        sys.meta_path.remove(finder)
        for name in set(sys.modules) - before:
            if name.startswith("convtree.adapters.") or isinstance(sys.modules[name], _StandIn):
                del sys.modules[name]
                package, _, module = name.rpartition(".")
                if package in before:
                    vars(sys.modules[package]).pop(module, None)


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False
