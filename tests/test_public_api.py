"""The public API is documented: docstrings, and signatures that show every argument to `help()` and to an IDE."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from typing import Any, get_origin

import pytest
from public_api import callables, members, objects
from stand_ins import ADAPTERS

import convtree
from convtree import aio
from convtree._session.later import LateModule

#: from this number of parameters on, a docstring lists them
MANY = 6

#: functions that accept any argument: metadata keys belong to the caller, `throw` has the signature of a coroutine's
OPEN = {
    "convtree.Session.update_metadata",
    "convtree.aio.Session.update_metadata",
    "convtree.aio.AwaitableContext.throw",
    "convtree.session_key",
    "convtree.adapters.agent_framework.ConvtreeHistoryProvider.after_run",  # what the framework may pass in time
    "convtree.adapters.agent_framework.ConvtreeHistoryProvider.get_messages",
    "convtree.adapters.agent_framework.ConvtreeHistoryProvider.save_messages",
}


def parameters(function: Any) -> list[inspect.Parameter]:
    """Returns the parameters of a function, without self."""
    return [each for name, each in inspect.signature(function).parameters.items() if name not in ("self", "cls")]


def undocumented_parameters(function: Any) -> list[str]:
    """Returns the parameters that the section `Args:` of a docstring does not name."""
    _, _, section = (inspect.getdoc(function) or "").partition("Args:\n")
    heads = re.findall(r"^ {4}(\S[^:]*):", section.partition("\n\n")[0], re.MULTILINE)  # "name:" or "name, other:"
    listed = {name for head in heads for name in re.findall(r"\w+", head)}
    return [each.name for each in parameters(function) if each.name not in listed]


@pytest.mark.parametrize(("name", "each"), [pytest.param(*pair, id=pair[0]) for pair in objects()])
def test_every_public_name_has_a_docstring(name: str, each: Any) -> None:
    """Functions, classes, and the methods and properties of classes."""
    if not callable(each) or get_origin(each) is not None:
        return  # a constant or a type alias
    assert inspect.getdoc(each), name
    if inspect.isclass(each):
        without = [member for member, stored in members(each) if not inspect.getdoc(stored)]
        assert without == []


def test_signatures_show_every_keyword_with_its_type() -> None:
    """No public function takes *args or **kwargs, and every parameter is annotated."""
    hidden = []
    for name, function in callables():
        for each in parameters(function):
            takes_any = each.kind in (each.VAR_KEYWORD, each.VAR_POSITIONAL) and "Unpack" not in str(each.annotation)
            may = name in OPEN or name.startswith("convtree.testing.")
            if each.annotation is each.empty or (takes_any and not may):
                hidden.append(f"{name}({each})")
    assert hidden == []


def test_adapters_have_the_same_extras() -> None:
    """What a tree adds has the same names for every framework; every adapter is among what is looked at here."""
    found = {name: {member for member, _ in members(each)} for name, each in objects() if inspect.isclass(each)}
    names = {name.rpartition(".")[0]: each for name, each in found.items() if name.startswith("convtree.adapters.")}
    assert names.keys() == set(ADAPTERS)
    names["convtree.adapters.pydantic_ai"].add("branch")  # which pydantic-ai's own class has
    assert {name: {"branch", "branches", "checkout", "log"} - each for name, each in names.items() if each} == {
        name: set() for name in ADAPTERS
    }


def test_help_shows_the_keywords_of_append() -> None:
    """`help(Session.append)` shows every keyword with its type and default."""
    shown = {each.name: (each.annotation, each.default) for each in parameters(convtree.Session.append)}
    assert shown["provider"] == ("str | None", None)
    assert shown["usage"] == ("Mapping[str, Any] | SDKObject | None", None)
    assert shown["visible_to"] == ("Visibility", "all")
    assert shown["on_stale"] == ("OnStale | None", None)


LATE = """
import inspect, pydoc, sys
from convtree import Session

class Mine(Session):
    pass

assert "convtree._session.walking" not in sys.modules
mine = Mine.memory()
mine.append({"role": "user", "content": "Hello"})
assert [entry.text for entry in mine.path()] == ["Hello"]
assert Mine.path is Session.path is inspect.getattr_static(Session, "path")
assert "path" not in vars(Mine)
assert (Session.path.__name__, Session.path.__qualname__) == ("path", "Session.path")
assert list(inspect.signature(mine.children).parameters) == ["entry_id", "limit", "after"]
for name in dir(Session):
    getattr(Mine, name)
    assert "Late" not in type(inspect.getattr_static(Session, name)).__name__, name
assert " compact(self" in pydoc.plain(pydoc.render_doc(Session))
"""


def test_a_method_is_there_when_it_is_asked_for() -> None:
    """Its module is imported then; a subclass, `help` and `inspect` see the method of the class."""
    subprocess.run([sys.executable, "-c", LATE], check=True)


WRAPPED = """
import inspect, sys
from unittest import mock
from convtree import Session

session = Session.memory()
with mock.patch.object(Session, "path", autospec=True, return_value=[]) as path:
    assert list(inspect.signature(path).parameters)[:2] == ["self", "entry_id"]
    assert session.path() == []
    path.assert_called_once_with(session)
assert session.path() == []

class Counted:  # as a tool that traces calls wraps a method: it keeps what the class has, and binds it for each call
    calls = 0

    def __init__(self, wrapped):
        self.wrapped = wrapped

    def __get__(self, instance, owner=None):
        self.calls += 1
        return self.wrapped.__get__(instance, owner)

assert "convtree._session.branches" not in sys.modules
Session.branches = counted = Counted(vars(Session)["branches"])
assert (session.branches(), session.branches(), counted.calls) == ([], [], 2)
assert vars(Session)["branches"] is counted

kept = vars(Session)["records"]
assert (list(kept(session)), kept.__name__) == ([], "records")
"""


def test_a_method_is_wrapped_before_it_is_asked_for() -> None:
    """What the class has in its `__dict__` until then can be called, and specifies a mock. A wrapper stays in place."""
    subprocess.run([sys.executable, "-c", WRAPPED], check=True)


@pytest.mark.parametrize("name", ["Session", "SessionStore"])
def test_async_calls_have_the_signatures_of_the_sync_ones(name: str) -> None:
    """Both have the same methods, with equal parameters, except where `summarize` is a coroutine function."""
    sync, awaited = getattr(convtree, name), getattr(aio, name)
    assert {member for member, _ in members(sync)} == {member for member, _ in members(awaited)}
    for member, stored in members(awaited):
        is_property = isinstance(stored, property) or isinstance(inspect.getattr_static(sync, member), property)
        if not is_property and member not in ("compact", "branch"):
            assert parameters(getattr(awaited, member)) == parameters(getattr(sync, member)), member


def test_functions_with_many_parameters_list_them() -> None:
    """Six parameters or more are documented one by one, in a section `Args:`."""
    missing = {}
    for name, function in callables():
        if len(parameters(function)) >= MANY:
            missing[name] = undocumented_parameters(function)
    assert {name: listed for name, listed in missing.items() if listed} == {}


def test_a_module_that_is_not_imported_yet_has_no_special_names() -> None:
    """Tools ask each name of a module for them; a name that the module does not have is an error once it is used."""
    late = LateModule("walking")
    assert inspect.unwrap(late) is late  # type: ignore[arg-type]
    with pytest.raises(AttributeError, match=r"walking has no 'walk'"):
        late.walk()
