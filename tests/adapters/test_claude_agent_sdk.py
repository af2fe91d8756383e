"""`ConvtreeSessionStore` for the Claude Agent SDK: transcripts come back as they were, and are read as conversations."""

import asyncio
import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convtree
from convtree import CompactionEntry, MessageEntry, open_store

sdk: Any = pytest.importorskip("claude_agent_sdk")
testing: Any = pytest.importorskip("claude_agent_sdk.testing")
trio: Any = pytest.importorskip("trio")
adapter: Any = pytest.importorskip("convtree.adapters.claude_agent_sdk")
Store: Any = adapter.ConvtreeSessionStore

KEY = {"project_key": "-home-me-trip", "session_id": "5d0d3b21-0000-4000-8000-000000000001"}
AGENT = {**KEY, "subpath": "subagents/agent-a1"}


def line(kind: str, uuid: str, parent: str | None, **fields: Any) -> dict[str, Any]:
    placed = {"uuid": uuid, "parentUuid": parent, "sessionId": KEY["session_id"], "isSidechain": False}
    return {"type": kind, "cwd": "/home/me/trip", "timestamp": "2026-01-01T00:00:00.000Z"} | placed | fields


def user(uuid: str, parent: str | None, content: Any, **fields: Any) -> dict[str, Any]:
    return line("user", uuid, parent, message={"role": "user", "content": content}, **fields)


def result(uuid: str, parent: str, call: str) -> dict[str, Any]:
    return user(uuid, parent, [{"type": "tool_result", "tool_use_id": call, "content": f"result of {call}"}])


def reply(uuid: str, parent: str, content: Any, id: str = "", **usage: int) -> dict[str, Any]:
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    said = {"id": id or f"msg_{uuid}", "role": "assistant", "model": "claude-x", "content": blocks}
    return line("assistant", uuid, parent, message=said | {"usage": usage or {"input_tokens": 5, "output_tokens": 1}})


def call(uuid: str, parent: str, name: str, id: str) -> dict[str, Any]:
    block = {"type": "tool_use", "id": name, "name": "look", "input": {"at": name}}
    return reply(uuid, parent, [block], id=id, input_tokens=10, output_tokens=3)


@pytest.fixture(params=["folder", "sqlite", "memory"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store is; a store in memory is of one object only."""
    return {"folder": str(tmp_path / "s"), "sqlite": f"sqlite:///{tmp_path}/s.db", "memory": "memory:"}[request.param]


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """Runs an async function without arguments."""
    return (lambda main: asyncio.run(main())) if request.param == "asyncio" else trio.run


def test_conformance(run: Callable[[Any], Any], where: str, tmp_path: Path) -> None:
    """The SDK's own 14 contracts."""
    made: list[Any] = []

    def make() -> Any:
        place = where if where == "memory:" else where.replace(str(tmp_path), f"{tmp_path}/{len(made)}")
        (tmp_path / str(len(made))).mkdir()
        made.append(Store(place))
        return made[-1]

    async def main() -> None:
        await testing.run_session_store_conformance(make)

    run(main)
    for store in made:
        store.close()


# --- a law: the lines are those of the SDK's store in memory ---

UUIDS = st.sampled_from(["a", "b", "c", "d", "k-1", "üñ/..", "x" * 200])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
LINES = st.fixed_dictionaries(
    {"type": st.sampled_from(["user", "assistant", "system", "attachment", "tag", "custom-title", "ai-title", "x"])},
    optional={
        "uuid": UUIDS,
        "parentUuid": st.none() | UUIDS,
        "logicalParentUuid": UUIDS,
        "subtype": st.just("compact_boundary"),
        "compactMetadata": st.fixed_dictionaries({"preservedMessages": st.fixed_dictionaries({"uuids": st.lists(UUIDS)})}),
        "message": VALUES
        | st.fixed_dictionaries({"content": st.text() | st.lists(VALUES)}, optional={"role": VALUES, "id": UUIDS}),
        "isSidechain": st.booleans(),
        "isMeta": st.booleans(),
        "isCompactSummary": st.booleans(),
        "leafUuid": UUIDS,
        "customTitle": VALUES,
        "tag": VALUES,
        "convtree:line": VALUES,
        "timestamp": VALUES | st.just("2026-01-01T00:00:00Z"),
        "more": VALUES,
    },
)
KEYS = st.fixed_dictionaries(
    {"project_key": st.sampled_from(["p", "p/q", "P q"]), "session_id": st.sampled_from(["s", "t"])},
    optional={"subpath": st.sampled_from(["subagents/agent-1", "subagents/x/agent-2"])},
)
STEPS = st.lists(
    st.tuples(st.just("append"), KEYS, st.lists(LINES, max_size=5))
    | st.tuples(st.just("delete"), KEYS, st.none())
    | st.tuples(st.just("reopen"), KEYS, st.none()),
    max_size=10,
)


@settings(max_examples=80, deadline=None)
@given(steps=STEPS)
def test_transcripts_are_those_of_the_store_in_memory(steps: list[tuple[str, Any, Any]]) -> None:
    """Whatever the lines say, without those whose uuid came before; so are the lists, and the summaries of the SDK."""

    async def main() -> None:
        place, expected = open_store("memory:"), sdk.InMemorySessionStore()
        store, known = Store(place), dict[tuple[str, ...], set[str]]()
        for step, key, lines in steps:
            name = tuple(key.values())
            if step == "append":
                seen, new = known.setdefault(name, set()), []
                for each in lines:
                    if each.get("uuid") not in seen:
                        seen.update([each["uuid"]] if "uuid" in each else [])
                        new.append(each)
                given_lines = copy.deepcopy(lines)
                await store.append(key, lines)
                assert lines == given_lines
                if new:
                    await expected.append(key, new)
            elif step == "delete":
                await store.delete(key)
                await expected.delete(key)
                known = {each: uuids for each, uuids in known.items() if each[: len(name)] != name}
            else:
                store.close()
                store = Store(place)
            assert await store.load(key) == await expected.load(key)
            main_key = {"project_key": key["project_key"], "session_id": key["session_id"]}
            assert sorted(await store.list_subkeys(main_key)) == sorted(await expected.list_subkeys(main_key))
            listed = await store.list_sessions(key["project_key"])
            assert {each["session_id"] for each in listed} == {
                each["session_id"] for each in await expected.list_sessions(key["project_key"])
            }
            sums = {each["session_id"]: each for each in await store.list_session_summaries(key["project_key"])}
            assert {each["session_id"]: each["mtime"] for each in listed} == {id: sums[id]["mtime"] for id in sums}
            for each in await expected.list_session_summaries(key["project_key"]):
                if all(is_text(value) for value in each["data"].values()):
                    assert sums[each["session_id"]]["data"] == each["data"]
        place.close()

    asyncio.run(main())


def is_text(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
