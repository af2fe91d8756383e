"""Laws of the importers: no node is lost, nothing is raised, and a second time adds nothing."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import zstandard
from foreign_adk import adk_database
from foreign_stores import all_records, entries_of, read, shown, source_of, write_database, write_json, write_lines
from hypothesis import given, settings
from hypothesis import strategies as st
from test_formats_agents import ADVANCED, AGENT_TABLES, CHECKPOINTS, GRAPH
from test_formats_exports import SAMPLES, WEBUI
from test_formats_messages import PLAIN, PYDANTIC
from test_formats_stores import (
    ATUIN,
    CLAW,
    GOOSE,
    GOOSE_CALL,
    GOOSE_RESULT,
    GOOSE_SESSION,
    KUBECTL,
    LLM_NEW,
    LLM_OLD,
    event,
    goose_row,
    opencode_database,
    part,
    response,
)

from convtree import Session
from convtree._formats import (
    atuin_ai,
    chatgpt,
    claude_ai,
    goose,
    kubectl_ai,
    librechat,
    openai_agents,
    openwebui,
    picoclaw,
)
from convtree._formats.common import json_arrays as arrays
from convtree._formats.common.base import Findings, Format, Source
from convtree._formats.common.files import SourceFile
from convtree._formats.gemini_cli import checkpoint as gemini_checkpoint
from convtree._formats.google_adk import reader as google_adk
from convtree._formats.langgraph import reader as langgraph
from convtree._formats.llm import reader as llm
from convtree._formats.message_list import pydantic_ai
from convtree._formats.message_list import reader as message_list
from convtree._formats.opencode import reader as opencode
from convtree._logs.memory import MemoryLog

CHECKPOINT = [
    {"role": "user", "parts": [{"text": "a"}]},
    {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
    {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"output": "b"}}}]},
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that examples share; each writes its files anew."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


# --- trees ---


@st.composite
def parents(draw: st.DrawFn) -> list[tuple[str, str | None]]:
    """Ids with parents: above, below, themselves, in circles, nowhere, none."""
    ids = draw(st.lists(st.text(min_size=1, max_size=3), unique=True, min_size=1, max_size=12))
    other = st.sampled_from([*ids, "nowhere", "nowhere else"])
    return [(id, draw(st.none() | other)) for id in ids]


def as_chatgpt(tree: list[tuple[str, str | None]]) -> Any:
    children = {id: [child for child, above in tree if above == id] for id, _ in tree}
    message = {"author": {"role": "user"}, "content": {"content_type": "text"}}
    mapping = {
        id: {
            "id": id,
            "parent": parent,
            "children": children[id][::-1],
            "message": message | {"content": {"parts": [id]}},
        }
        for id, parent in tree
    }
    return [{"id": "chat", "title": "", "mapping": mapping, "current_node": tree[-1][0]}]


def as_openwebui(tree: list[tuple[str, str | None]]) -> Any:
    messages = {id: {"parentId": parent, "role": "user", "content": id} for id, parent in tree}
    return [{"id": "chat", "chat": {"history": {"messages": messages, "currentId": tree[-1][0]}}}]


def as_claude(tree: list[tuple[str, str | None]]) -> Any:
    messages = [{"uuid": id, "parent_message_uuid": parent, "sender": "human", "text": id} for id, parent in tree]
    return [{"uuid": "chat", "chat_messages": messages}]


def as_librechat(tree: list[tuple[str, str | None]]) -> Any:
    messages = [
        {"messageId": id, "parentMessageId": parent, "isCreatedByUser": True, "text": id} for id, parent in tree
    ]
    return {"conversationId": "chat", "messages": messages}


@pytest.mark.parametrize(
    ("form", "write"),
    [(chatgpt, as_chatgpt), (openwebui, as_openwebui), (claude_ai, as_claude), (librechat, as_librechat)],
)
@settings(max_examples=60, deadline=None)
@given(tree=parents())
def test_no_node_of_a_tree_is_lost(folder: Path, form: Format, write: Any, tree: list[tuple[str, str | None]]) -> None:
    """Each comes out once; below the parent it names, unless that is not there or below it, which is reported."""
    (found,) = read(form, write_json(folder / "tree.json", write(tree)))
    entries = {entry.source_id or entry.id: entry for entry in entries_of(found.session)}
    assert entries.keys() == {id for id, _ in tree}
    assert len(entries_of(found.session)) == len(tree)
    cut = 0
    for id, parent in tree:
        if entries[id].parent_id is None:
            cut += parent is not None
        else:
            assert entries[str(parent)].id == entries[id].parent_id
    reported = found.codes.count("source_orphan") + found.codes.count("source_cycle")
    assert reported == cut
    if form in (chatgpt, openwebui):
        assert entries[tree[-1][0]].id == found.session.leaf_id


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.fixed_dictionaries({"mapping": st.dictionaries(st.text(), json_values)}), max_size=3))
def test_any_value_in_place_of_a_node_is_kept(folder: Path, values: list[Any]) -> None:
    """It is kept."""
    chats = [value | {"title": "x", "id": f"chat{number}"} for number, value in enumerate(values)]
    path = write_json(folder / "odd.json", [{"mapping": {}, "title": ""}, *chats])
    found = read(chatgpt, path)
    for each, chat in zip(found[1:], chats, strict=False):
        saying = [node for node in chat["mapping"].values() if not isinstance(node, dict) or any(node.values())]
        assert len(entries_of(each.session)) >= len(saying)


# --- arrays ---


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.dictionaries(st.text(), json_values, max_size=3), max_size=5),
    size=st.integers(1, 40),
    indent=st.none() | st.just(2),
    is_ascii=st.booleans(),
)
def test_items_are_those_of_the_array(values: list[Any], size: int, indent: int | None, is_ascii: bool) -> None:
    """However the file is cut into pieces; each stands where its place says."""
    data = json.dumps(values, indent=indent, ensure_ascii=is_ascii).encode(errors="surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "_CHUNK", size)
        parts = list(arrays._Splitter(io.BytesIO(data)).parts())
    found = [(item.data or b"").decode(errors="surrogatepass") for item in parts]
    assert [json.dumps(json.loads(each)) for each in found] == [json.dumps(value) for value in values]
    for item in parts:
        assert data[item.span.offset :][: item.span.length] == item.data
        assert data[: item.span.offset].count(b"\n") + 1 == item.span.line


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=200) | st.text('[]{}",\\a1: \n').map(str.encode), size=st.integers(1, 40))
def test_any_bytes_are_split(data: bytes, size: int) -> None:
    """The same whatever the pieces, and nothing is raised."""
    with pytest.MonkeyPatch.context() as patch:
        whole = list(arrays._Splitter(io.BytesIO(data)).parts())
        patch.setattr(arrays, "_CHUNK", size)
        assert list(arrays._Splitter(io.BytesIO(data)).parts()) == whole
    list(arrays.read_items(io.BytesIO(data), Findings(), lambda _: True))
    arrays.item_keys(data)


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 3000))
def test_conversations_before_a_cut_are_found(folder: Path, at: int) -> None:
    """Every conversation that ends before it."""
    sample = SAMPLES["chatgpt"][1][0]
    data = json.dumps([sample | {"id": f"c{number}", "conversation_id": None} for number in range(3)]).encode()
    (folder / "cut.json").write_bytes(data[: len(data) - min(at, len(data) // 2)])
    items = arrays._Splitter(io.BytesIO((folder / "cut.json").read_bytes())).parts()
    whole = sum(item.is_whole for item in items)
    assert [each.session.id for each in read(chatgpt, folder / "cut.json")][:whole] == [f"c{n}" for n in range(whole)]


# --- bytes ---


def sources(folder: Path) -> dict[str, tuple[Format, Path]]:
    """A sample of each format, the databases with rows that have something in every column."""
    folder.mkdir(exist_ok=True)
    rows = [goose_row(1, "user", "a"), goose_row(2, "assistant", GOOSE_CALL), goose_row(3, "user", GOOSE_RESULT)]
    events = [event("e1", None, "user_message", 1, content="a"), event("e2", "e1", "text", 2, content="b")]
    heads = [{"id": "s1", "head_id": "e1"}]
    found: dict[str, tuple[Format, Path]] = {
        name: (form, write_json(folder / name, sample)) for name, (form, sample) in SAMPLES.items()
    }
    old = {"conversations": [{"id": "c1"}], "responses": [response("r1", "a", "b"), response("r2", "c", "d")]}
    new = {
        "messages": [{"hash": "b2:1", "role": "user"}, {"hash": "b2:2", "parent_hash": "b2:1", "role": "assistant"}],
        "parts": [part("b2:1", "a"), part("b2:2", "b")],
        "threads": [{"id": "t1", "tip_message_hash": "b2:2"}],
    }
    chats = [{"id": "c1", "user_id": "u", "title": "T", "chat": json.dumps(SAMPLES["openwebui"][1][0]["chat"])}]
    said = [
        {"id": "c1-d1", "chat_id": "c1", "parent_id": "c1", "role": "assistant", "content": '"May"', "created_at": 1}
    ]
    return found | {
        "goose": (goose, write_database(folder / "goose", GOOSE, sessions=[GOOSE_SESSION], messages=rows)),
        "atuin": (atuin_ai, write_database(folder / "atuin", ATUIN, sessions=heads, session_events=events)),
        "llm": (llm, write_database(folder / "llm", LLM_OLD, **old)),
        "llm, new": (llm, write_database(folder / "llm, new", LLM_NEW, **new)),
        "opencode": (opencode, opencode_database(folder / "opencode")),
        "kubectl": (kubectl_ai, write_lines(folder / "kubectl" / "history.json", KUBECTL)),
        "picoclaw": (picoclaw, write_lines(folder / "picoclaw", CLAW)),
        "checkpoint": (gemini_checkpoint, write_json(folder / "checkpoint", CHECKPOINT)),
        "agents": (openai_agents, write_database(folder / "agents", ADVANCED, **AGENT_TABLES)),
        "langgraph": (langgraph, write_database(folder / "langgraph", CHECKPOINTS, checkpoints=GRAPH)),
        "adk": (google_adk, adk_database(folder / "adk")),
        "messages": (message_list, write_json(folder / "messages", PLAIN)),
        "tuning": (message_list, write_lines(folder / "tuning", [{"messages": PLAIN}, {"messages": PLAIN[1:]}])),
        "pydantic": (pydantic_ai, write_json(folder / "pydantic", PYDANTIC)),
        "webui": (openwebui, write_database(folder / "webui", WEBUI, chat=chats, chat_message=said)),
    }  # fmt: skip


NAMES = (
    *SAMPLES,
    "goose",
    "atuin",
    "llm",
    "llm, new",
    "opencode",
    "kubectl",
    "picoclaw",
    "checkpoint",
    "webui",
    "agents",
    "langgraph",
    "adk",
    "messages",
    "tuning",
    "pydantic",
)
changes = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 3), st.binary(max_size=4)),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def samples(folder: Path) -> dict[str, tuple[Format, Path]]:
    """The samples, written once."""
    return sources(folder / "samples")


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=50, deadline=None)
@given(changes=changes, is_cut=st.booleans())
def test_damage_raises_nothing(
    samples: dict[str, tuple[Format, Path]], folder: Path, name: str, changes: list[Any], is_cut: bool
) -> None:
    """Bytes exchanged, put in, taken out, cut off: what can be read is read, twice the same."""
    form, path = samples[name]
    data = path.read_bytes()
    for where, taken, put in changes:
        at = int(where * len(data))
        data = data[:at] + put + data[at + taken :]
    target = folder / "damaged" / "history.json"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(data[: int(changes[0][0] * len(data))] if is_cut else data)
    if not form.recognises(source_of(target)):
        return
    once, twice = (all_records(form, source_of(target)) for _ in range(2))
    assert once == twice
    for header, records, _ in once:
        session = Session(MemoryLog(), header)
        session.extend(records)
        assert session.extend(records) == 0


@pytest.mark.parametrize("name", [*SAMPLES, "kubectl"])
def test_a_compressed_source_says_the_same(samples: dict[str, tuple[Format, Path]], tmp_path: Path, name: str) -> None:
    """Whatever its name."""
    form, path = samples[name]
    (tmp_path / "kubectl").mkdir()
    packed = tmp_path / "kubectl" / path.name
    packed.write_bytes(zstandard.compress(path.read_bytes()))
    with SourceFile(packed) as file:
        source = Source(packed, file.read())
    assert form.recognises(source)
    expected, found = ([records for _, records, _ in all_records(form, one)] for one in (source_of(path), source))
    assert expected == found
    assert any(found)


def test_pipes_and_folders_in_place_of_files_are_reported(tmp_path: Path) -> None:
    """A pipe or a folder where a part of a session should be is a finding."""
    history = write_lines(tmp_path / "kube" / "history.json", KUBECTL)
    os.mkfifo(history.with_name("metadata.yaml"))
    found = read(kubectl_ai, history.parent)[0]
    assert (found.codes, found.session.leaf_id is None) == (["source_bad_line", "source_not_understood"], False)
    claw = write_lines(tmp_path / "claw.jsonl", CLAW)
    os.mkfifo(claw.with_name("claw.meta.json"))
    assert read(picoclaw, claw)[0].session.leaf_id is not None
    storage = tmp_path / "code"
    write_json(storage / "message" / "s1" / "m1.json", {"role": "user", "time": {"created": 1}})
    write_json(storage / "part" / "m1" / "p1.json", {"type": "text", "text": "hello"})
    os.mkfifo(storage / "part" / "m1" / "p2.json")
    (storage / "message" / "s1" / "m2.json").mkdir()
    found = read(opencode, storage)[0]
    assert (shown(found.session), sorted(found.codes)) == (
        ["user: hello"],
        ["source_bad_line", "source_bad_line", "source_no_session"],
    )


# --- values ---


def places_in(value: Any) -> list[tuple[Any, Any]]:
    """Every place inside a value: what it lies in, and its name there."""
    found: list[tuple[Any, Any]] = []
    stack = [value]
    while stack:
        inside = stack.pop()
        for name, each in list(inside.items() if isinstance(inside, dict) else enumerate(inside)):
            found.append((inside, name))
            if isinstance(each, dict | list):
                stack.append(each)
    return found


def with_another(data: st.DataObject, value: Any) -> Any:
    """The value with something else at one place inside."""
    value = json.loads(json.dumps(value))
    inside, name = data.draw(st.sampled_from(places_in(value)))
    inside[name] = data.draw(json_values)
    return value


def check(form: Format, path: Path) -> None:
    """What is recognised is read without an error, and stored; a second time adds nothing."""
    if form.recognises(source_of(path)):
        read(form, path)


@pytest.mark.parametrize("name", [*SAMPLES, "kubectl", "picoclaw", "checkpoint"])
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_any_value_in_any_field(folder: Path, name: str, data: st.DataObject) -> None:
    """Of exports and lines."""
    if name in SAMPLES:
        form, sample = SAMPLES[name]
        check(form, write_json(folder / "value.json", with_another(data, sample)))
    elif name == "checkpoint":
        check(gemini_checkpoint, write_json(folder / "value.json", with_another(data, CHECKPOINT)))
    elif name == "kubectl":
        check(kubectl_ai, write_lines(folder / "value" / "history.json", with_another(data, KUBECTL)))
    else:
        meta = with_another(data, {"key": "k", "summary": "S", "skip": 1, "created_at": None, "scope": {"a": 1}})
        write_json(folder / "claw.meta.json", meta)
        check(picoclaw, write_lines(folder / "claw.jsonl", with_another(data, CLAW)))


CELLS = [
    (goose, "goose", "messages", "content_json", [GOOSE_CALL, GOOSE_RESULT]),
    (goose, "goose", "messages", "metadata_json", {"userVisible": True, "agentVisible": False}),
    (goose, "goose", "sessions", "extension_data", {"a": 1}),
    (atuin_ai, "atuin", "session_events", "event_data", {"content": "x", "id": "y", "input": {}}),
    (opencode, "opencode", "message", "data", {"role": "assistant", "tokens": {}, "time": {"created": 1}}),
    (opencode, "opencode", "part", "data", {"type": "tool", "state": {"status": "error", "input": {}}}),
    (llm, "llm, new", "parts", "payload", {"text_ref": [{"fragment": 1}, {"literal": "x"}]}),
    (llm, "llm", "responses", "options_json", {"a": 1}),
    (google_adk, "adk", "events", "event_data", {"author": "user", "actions": {"rewind_before_invocation_id": "i1"}}),
    (google_adk, "adk", "sessions", "state", {"a": 1}),
    (openwebui, "webui", "chat", "chat", SAMPLES["openwebui"][1][0]["chat"]),
    (openwebui, "webui", "chat_message", "content", [{"type": "text", "text": "x"}]),
]  # fmt: skip


@pytest.mark.parametrize(("form", "name", "table", "column", "sample"), CELLS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_value_in_any_cell(
    samples: dict[str, tuple[Format, Path]],
    folder: Path,
    form: Format,
    name: str,
    table: str,
    column: str,
    sample: Any,
    data: st.DataObject,
) -> None:
    """JSON of any kind, other types, and in any other column."""
    path = folder / "cells"
    path.write_bytes(samples[name][1].read_bytes())
    other = data.draw(st.integers(-(2**63), 2**63 - 1) | st.floats() | st.binary() | st.text() | st.none())
    with closing(sqlite3.connect(path)) as database, database:
        names = [row[1] for row in database.execute(f"pragma table_info({table})") if not row[3]]
        database.execute(f"update {table} set {column} = ?", (json.dumps(with_another(data, sample)),))
        wanted = data.draw(st.sampled_from(names))
        with suppress(sqlite3.IntegrityError):  # a key that is a number takes nothing else
            database.execute(f'update or ignore {table} set "{wanted}" = ?', (other,))
    check(form, path)
