"""Arguments of a wrong type or value are refused before anything is done, by an error that names the argument."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from helpers import user
from public_api import callables

import convtree
from convtree import Entry, InvalidMessage, Session, SessionStore, aio, exchange, open_store, repair
from convtree.exchange import ClaudeCodeLine

ENTRY = Session.memory().append(user("x"))
WRONG: list[Any] = [
    ["x"],
    {"x": 1},
    "text",
    b"bytes",
    None,
    Path("path"),
    ENTRY,
    0,
    -1,
    1.5,
    float("nan"),
    True,
    date(2026, 1, 2),
]

#: what each type of an annotation takes; None: the call itself says what is wrong
TAKES: dict[str, tuple[type, ...] | None] = {
    "AtLeaf": (),
    "Directory": (str, Path),
    "Entry": (Entry,),
    "Key": (str, int, tuple, list),
    "None": (type(None),),
    "Record": (Entry, convtree.Mark),
    "UnsetType": (),
    "bool": (bool,),
    "builtins.type": (type,),
    "datetime": (datetime,),
    "float": (float, int),
    "int": (int,),
    "list": (list,),
    "os.PathLike": (Path,),
    "str": (str,),
    "timedelta": (timedelta,),
    "tzinfo": (tzinfo,),
    **dict.fromkeys(("Collection", "Iterable", "Sequence"), (list,)),
    **dict.fromkeys(("Mapping", "dict"), (dict,)),
    **dict.fromkeys(("Any", "Durability", "Mode", "OnStale", "SDKObject", "Shape", "Status", "Visibility", "object")),
    **dict.fromkeys(("Conversation", "Exported", "Log", "Redactor", "SeenBy", "Summary", "ViewShape")),
}
AT_LEAST = {
    "batch_size": 1,
    "fewest": 1,
    "keep": 0,
    "keep_bytes": 0,
    "keep_open": 0,
    "keep_tokens": 0,
    "last": 1,
    "limit": 1,
}
AT_LEAST |= {"lock_timeout_s": 0, "start": 0}


def types_in(annotation: str) -> Iterable[str]:
    """Yields the names of the alternatives of an annotation, without what is in brackets."""
    depth, name = 0, ""
    for char in annotation + "|":
        depth += (char == "[") - (char == "]")
        if char == "|" and depth == 0:
            yield name.strip()
            name = ""
        elif depth == 0 and char != "]":
            name += char


def is_right(name: str, annotation: str, value: Any) -> bool | None:
    """Returns whether a parameter takes a value; None if its annotation does not tell."""
    found = False
    for each in types_in(annotation):
        if each == "Literal":
            found |= isinstance(value, str) and f"'{value}'" in annotation
            continue
        takes = TAKES.get(each, ())
        if takes is None:
            return None
        is_bool = isinstance(value, bool) and bool not in takes
        found |= isinstance(value, takes) and not is_bool and value == value
    is_small = isinstance(value, int | float) and not isinstance(value, bool) and value < AT_LEAST.get(name, value)
    return found and not is_small


def parameters() -> list[tuple[str, Callable[..., Any], inspect.Parameter]]:
    """Returns every parameter of the calls that users make."""
    starts: tuple[str, ...] = (
        "convtree.Session.",
        "convtree.SessionStore.",
        "convtree.aio.Session.",
        "convtree.aio.SessionStore.",
    )
    starts += (
        "convtree.open_store",
        "convtree.aio.open_store",
        "convtree.plan_",
        "convtree.exchange.",
        "convtree.repair.",
    )
    return [
        (name, call, parameter)
        for name, call in callables()
        if name.startswith(starts)
        for parameter in inspect.signature(call).parameters.values()
        if parameter.name not in ("self", "cls") and isinstance(parameter.annotation, str)
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]


async def awaited(result: Any) -> None:
    if isinstance(result, Awaitable):
        await result
    elif hasattr(result, "__anext__"):
        await anext(result)


def test_every_call_refuses_arguments_of_other_types() -> None:
    """The error names the argument and what was given. Other arguments are missing: this one is looked at first."""
    session, store = Session.memory(), open_store("memory:")
    loop = asyncio.new_event_loop()
    owners: dict[str, Any] = {"Session": session, "SessionStore": store, "ClaudeCodeLine": ClaudeCodeLine()}
    shared = {"Session": aio.Session(session), "SessionStore": aio.SessionStore(store)}
    tried = 0
    for name, call, parameter in parameters():
        *_, module, cls, _ = f"..{name}".split(".")
        bound: list[Any] = [(shared if module == "aio" else owners)[cls]] if cls in owners else []
        if inspect.ismethod(call) or next(iter(inspect.signature(call).parameters), "") != "self":
            bound = []
        for value in WRONG:
            if is_right(parameter.name, parameter.annotation, value) is not False:
                continue
            with pytest.raises((TypeError, ValueError)) as error:
                loop.run_until_complete(awaited(call(*bound, **{parameter.name: value})))
            said = str(error.value).removeprefix(parameter.name)
            assert said.startswith((": expected ", " is one of ")), (name, value, str(error.value))
            tried += 1
    loop.close()
    assert tried > 2000
    assert (session.leaf_id, list(session.records()), store.list().sessions) == (None, [], ())


def test_every_type_in_the_annotations_is_known() -> None:
    """A new one is added to the table above, or is a class."""
    known = TAKES.keys() | {"Literal", "Callable", "Clock", "Counter", "IdSource", "Progress", "Redact", "Render"}
    known |= {"Summarize", "SummarizeBranch", "Engine", "Header", "ParentSession", "BranchPlan", "CompactionPlan"}
    known |= {"Session", "SessionStore"}
    assert {each for _, _, parameter in parameters() for each in types_in(parameter.annotation)} <= known


@pytest.mark.parametrize("value", [*WRONG, object(), 2j, [user("x")], (1, 2)], ids=lambda value: type(value).__name__)
def test_append_says_what_it_takes(value: Any) -> None:
    """A message, an entry, or an answer; nothing else, and nothing is written."""
    session = Session.memory()
    if isinstance(value, Entry | Mapping):
        session.append(value)
        return
    with pytest.raises((TypeError, InvalidMessage), match="append takes a message or an entry"):
        session.append(value)
    assert list(session.records()) == []


SAID = {"role": "user", "content": "x"}
CALLS: dict[str, tuple[Callable[[Session, SessionStore], object], str]] = {
    "item": (lambda s, _: s.append_many([SAID, {"role": "user", "content": {1}}]), "items[1]: message.content: set"),
    "no item": (lambda s, _: s.append_many([SAID, 5]), "items[1]: append takes a message or an entry, not int"),
    "one message": (lambda s, _: s.append_many(SAID), "items: expected a list, not the dict {'role'"),
    "usage": (lambda s, _: s.append(SAID, usage=9), "usage: "),  # type: ignore[call-overload]
    "visible": (lambda s, _: s.append(SAID, visible_to="x"), "visible_to: "),  # type: ignore[call-overload]
    "stale": (lambda s, _: s.append(SAID, on_stale="x"), "on_stale"),  # type: ignore[call-overload]
    "status": (lambda s, _: s.append(SAID, status="x"), "status: "),  # type: ignore[call-overload]
    "shape": (lambda s, _: s.append(SAID, shape="openai"), "shape: there is no shape 'openai'"),
    "text": (lambda s, _: s.compact("text", keep_tokens=5), "summarize: expected a function, not the str 'text'"),  # type: ignore[arg-type]
    "session": (lambda *_: Session("x.jsonl"), "Session.open(path) opens the log in a file"),  # type: ignore[arg-type]
    "mode": (lambda *_: Session.open("x.jsonl", mode="w"), "mode"),  # type: ignore[arg-type]
    "path": (lambda *_: Session.open(""), "path: empty; expected the path of a file"),
    "nul": (lambda *_: Session.open("a\0b"), r"path: 'a\x00b' has the character NUL"),
    "nul of a reader": (lambda *_: Session.open(Path("a\0b"), mode="r"), r"path: 'a\x00b' has the character NUL"),
    "nul of a folder": (lambda *_: open_store("a\0b"), r"url: 'a\x00b' has the character NUL"),
    "durability": (lambda *_: Session.open("x.jsonl", durability="high"), "durability"),  # type: ignore[arg-type]
    "since": (lambda _, s: s.list(since="yesterday"), "since: not a time: 'yesterday'"),
    "until": (lambda _, s: s.list(until="x"), "until: not a time: 'x'"),
    "memory": (lambda *_: open_store(":memory:"), "url: ':memory:' would be a folder of that name; a store in memory"),
    "database": (lambda *_: open_store("chat.db"), "expected 'sqlite:///chat.db', or a folder"),
    "log": (lambda *_: open_store("chat.jsonl"), "url: 'chat.jsonl' is the name of a log; Session.open opens it"),
    "empty": (lambda *_: open_store(""), "url: empty; expected a folder"),
    "source": (lambda *_: exchange.import_file("", "x.jsonl"), "source: empty"),
    "repaired": (lambda *_: repair.repair(""), "path: empty"),
}


@pytest.mark.parametrize("name", CALLS)
def test_errors_say_what_to_pass(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They name the argument, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    call, said = CALLS[name]
    session = Session.memory()
    with pytest.raises((TypeError, ValueError)) as error:
        call(session, open_store("memory:"))
    assert said in str(error.value)
    assert (list(session.records()), list(tmp_path.iterdir())) == ([], [])


class Counts:
    """An object of an SDK: it becomes a mapping, and is iterable, too."""

    def to_dict(self) -> dict[str, Any]:
        return {"output_tokens": 7}

    def __iter__(self) -> Iterator[str]:
        return iter(self.to_dict())


def test_objects_of_sdks_are_mappings() -> None:
    """Also those that look like lists."""
    assert Session.memory().append(SAID, usage=Counts()).usage == {"output_tokens": 7}


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the paths of logs and of stores."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with Session.open("~/x.jsonl", durability="process") as session:
        session.append(user("x"))
    with open_store("~/chats") as store:
        assert store.location == str(tmp_path / "chats")
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".index") == ["chats", "x.jsonl"]


def test_a_folder_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of one that exists is not doubted."""
    monkeypatch.chdir(tmp_path)
    for name in (":memory:", "chat.db", "chat.jsonl"):
        (tmp_path / name).mkdir()
        with open_store(name, durability="process") as store:
            assert store.location == name


def test_metadata_comes_as_a_mapping_or_as_arguments() -> None:
    """Keys that are no Python names come in a mapping."""
    session = Session.memory()
    session.update_metadata({"a-b": 1, "c": 2}, c=3)
    assert session.metadata == {"a-b": 1, "c": 3}


def test_a_page_is_a_sequence() -> None:
    """It has a length, an order, and places."""
    store = open_store("memory:")
    for id in ("a", "b"):
        with store.create(id=id) as session:
            session.append(user("x"))
    page = store.list()
    assert (len(page), [page[0].id, page[-1].id], [each.id for each in page[:1]]) == (
        2,
        [page.sessions[0].id, page.sessions[1].id],
        [page.sessions[0].id],
    )
