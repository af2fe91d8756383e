"""`ConvtreeSessionStore` for the Claude Agent SDK: transcripts come back as they were, and can be read."""

import asyncio
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crashing import KINDS, killed_while_writing
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import printed

import convtree
from convtree import CompactionEntry, InvalidMessage, MessageEntry, open_store

pytest_plugins = ["stores"]

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


def reply(uuid: str, parent: str, content: Any, id: str = "", tokens: int = 5, **fields: Any) -> dict[str, Any]:
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    usage = {"input_tokens": tokens, "output_tokens": 1}
    said = {"id": id or f"msg_{uuid}", "role": "assistant", "model": "claude-x", "content": blocks, "usage": usage}
    return line("assistant", uuid, parent, message=said, **fields)


def call(uuid: str, parent: str, name: str, id: str) -> dict[str, Any]:
    block = {"type": "tool_use", "id": name, "name": "look", "input": {"at": name}}
    return reply(uuid, parent, [block], id=id, tokens=10)


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """Runs an async function without arguments."""
    return (lambda main: asyncio.run(main())) if request.param == "asyncio" else trio.run


@pytest.mark.parametrize("kind", [*KINDS, "memory"])
def test_conformance(run: Callable[[Any], Any], kind: str, new_place: Callable[[str], str]) -> None:
    """The SDK's own 14 contracts."""
    made: list[Any] = []

    def make() -> Any:
        made.append(Store(new_place(kind)))
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
        "compactMetadata": st.fixed_dictionaries(
            {"preservedMessages": st.fixed_dictionaries({"uuids": st.lists(UUIDS)})}
        ),
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
            name = tuple(key[part] for part in ("project_key", "session_id", "subpath") if part in key)  # in any order
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


# --- what convtree reads ---


def test_a_turn_with_parallel_calls_is_one_chain(run: Callable[[Any], Any], where: str) -> None:
    """In the transcript, the results are on two branches. Tokens that each line repeats count once."""
    lines = [
        user("u1", None, "Where shall we go?"),
        call("a1", "u1", "c1", "msg_1"),
        call("a2", "a1", "c2", "msg_1"),
        result("r2", "a2", "c2"),
        result("r1", "a1", "c1"),
        {"type": "last-prompt", "lastPrompt": "Where shall we go?", "leafUuid": "r1", "sessionId": KEY["session_id"]},
        reply("a3", "r1", "To Rome."),
        {"type": "ai-title", "aiTitle": "Rome", "sessionId": KEY["session_id"]},
    ]

    async def main() -> None:
        store = Store(where)
        await store.append(KEY, lines[:3])
        await store.append(KEY, lines[3:])
        assert await store.load(KEY) == lines
        with store.log(KEY) as log:
            assert [entry.id for entry in log.path()] == ["u1", "a1", "a2", "r2", "r1", "a3"]
            assert [entry.role for entry in log.path(type=MessageEntry)] == [
                *("user", "assistant", "assistant", "user", "user", "assistant")
            ]
            paid = [(entry.usage or {}).get("input_tokens") for entry in log.path(type=MessageEntry)]
            assert paid == [None, 10, None, None, None, 5]
            messages = log.build_context().to("openai-chat")["messages"]
            assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool", "assistant"]
            assert (log.name, log.cwd, log.path()[-1].text) == ("Rome", "/home/me/trip", "To Rome.")
        assert [branch.leaf.id for branch in await store.branches(KEY)] == ["a3"]
        store.close()

    run(main)


def test_a_rewind_is_a_branch(where: str) -> None:
    """The other answer stays, and lines of an open turn that come later are its own."""
    lines = [
        user("u1", None, "Where?"),
        reply("a1", "u1", "Rome"),
        reply("b1", "u1", "Oslo"),
        line("system", "s1", "b1", subtype="turn_duration"),
    ]

    async def main() -> None:
        store = Store(where)
        await store.append(KEY, lines)
        with store.log(KEY) as log:
            assert [entry.id for entry in log.children("u1")] == ["a1", "b1"]
            assert log.leaf_id == "b1"
        await store.checkout(KEY, "a1")
        with store.log(KEY) as log:
            assert log.leaf_id == "a1"
        await store.branch(KEY, "u1")
        with store.log(KEY) as log:
            assert log.path()[0].id == "u1"
        *_, note, pointer = await store.load(KEY)
        assert (note["parentUuid"], pointer["leafUuid"], pointer["lastPrompt"]) == ("u1", note["uuid"], "Where?")
        assert {branch.leaf.id for branch in await store.branches(KEY)} == {"a1", "s1", note["uuid"]}
        with pytest.raises(convtree.EntryNotFound):
            await store.branch(KEY, "nowhere")
        with pytest.raises(convtree.SessionNotFound):
            await store.branch(AGENT, "u1")
        store.close()

    asyncio.run(main())


def test_a_compaction_keeps_the_originals(where: str) -> None:
    """The context is the summary and what it keeps; the path has everything."""
    kept = {"preservedMessages": {"uuids": ["u2", "a2"]}, "trigger": "auto"}
    boundary = line("system", "c1", None, subtype="compact_boundary", logicalParentUuid="a2", compactMetadata=kept)
    lines = [
        user("u1", None, "Where?"),
        reply("a1", "u1", "Rome"),
        user("u2", "a1", "When?"),
        reply("a2", "u2", "In May"),
        boundary,
        user("s1", "c1", "They chose Rome.", isCompactSummary=True),
        user("u3", "a2", "How long?"),
    ]

    async def main() -> None:
        store = Store(where)
        for each in lines:
            await store.append(KEY, [each])
        assert await store.load(KEY) == lines
        with store.log(KEY) as log:
            assert [entry.id for entry in log.path()] == ["u1", "a1", "u2", "a2", "c1", "s1", "u3"]
            assert [each.first_kept_entry_id for each in log.path(type=CompactionEntry)] == ["u2"]
            texts = json.dumps(log.build_context().to("anthropic")["messages"])
        assert [text in texts for text in ("They chose Rome.", "When?", "In May", "How long?", "Where?")] == [
            *(True, True, True, True, False)
        ]
        store.close()

    asyncio.run(main())


def test_sub_agents_and_forks_belong_to_their_session(tmp_path: Path) -> None:
    """An agent's transcript is a task, deleted with its session; a fork counts no tokens that it copied."""
    fork = {**KEY, "session_id": "5d0d3b21-0000-4000-8000-000000000002"}
    copied = {"sessionId": KEY["session_id"], "messageUuid": "a1"}

    async def main() -> None:
        store = Store(tmp_path)
        await store.append(AGENT, [user("x1", None, "Look around", isSidechain=True)])
        await store.append(KEY, [user("u1", None, "Where?"), reply("a1", "u1", "Rome")])
        copies = [user("f1", None, "Where?", forkedFrom=copied), reply("f2", "f1", "Rome", forkedFrom=copied)]
        await store.append(fork, copies)
        with store.log(AGENT) as agents, store.log(fork) as forked, store.log(KEY) as log:
            assert agents.header.parent_session == convtree.ParentSession(id=log.id, kind="task")
            assert forked.header.parent_session == convtree.ParentSession(id=log.id)
            assert agents.leaf_id == "x1"
        with open_store(tmp_path) as opened:
            assert len(opened.list().sessions) == 2
            assert sum(row.usage.input_tokens for row in opened.usage()) == 5
        await store.delete(KEY)
        assert [await store.load(key) for key in (KEY, AGENT)] == [None, None]
        assert len(await store.load(fork)) == 2
        store.close()

    asyncio.run(main())


# --- what is stored ---


def test_what_json_cannot_hold_comes_back_whole(run: Callable[[Any], Any], where: str) -> None:
    """Half an emoji, infinity and an integer of 70 bits; everybody else sees them cleaned. Too much is refused."""
    lines = [
        user("u1", None, "Where?"),
        user("u2", "u1", "half \ud83d", toolUseResult={"n": [2**70, float("inf")]}),
        {"type": "custom-title", "customTitle": "half \ud83d"},
        {"type": "x", "uuid": "half \ud83d", "convtree:line": "mine"},
    ]

    async def main() -> None:
        store = Store(where)
        await store.append(KEY, copy.deepcopy(lines))
        await store.append(KEY, copy.deepcopy(lines[:2]))
        assert await store.load(KEY) == lines
        with store.log(KEY) as log:
            assert (log.entry("u2").text, log.name) == ("half \ufffd", "half \ufffd")
        with pytest.raises(convtree.InvalidMessage, match="limit"):
            await store.append(KEY, [user("u3", "u2", "fits"), user("u4", "u3", "x" * 17_000_000)])
        assert await store.load(KEY) == lines
        store.close()

    run(main)


def test_a_line_that_cannot_be_stored_is_named(tmp_path: Path) -> None:
    """By its place among the new ones. Nothing is stored."""

    async def main() -> None:
        async with Store(tmp_path) as store:
            with pytest.raises(InvalidMessage, match=r"records\[1\]: .*bytes"):
                await store.append(KEY, [user("u1", None, "Where?"), user("u2", "u1", "x" * 17_000_000)])
            with pytest.raises(TypeError, match=r"entries\[1\]: expected a dict, not int"):
                await store.append(KEY, [user("u1", None, "Where?"), 5])
            assert await store.load(KEY) is None

    asyncio.run(main())


def test_a_store_that_was_given_stays_open(tmp_path: Path) -> None:
    """A closed object says so; one that was opened by path is closed with its last user, also a collected one."""

    async def main() -> None:
        with open_store(tmp_path) as given:
            store = Store(given)
            await store.append(KEY, [user("u1", None, "Where?")])
            store.close()
            store.close()
            assert len(given.list().sessions) == 1
            for asked in (store.append(KEY, []), store.load(KEY), store.delete(KEY), store.list_sessions("p")):
                with pytest.raises(RuntimeError, match="ConvtreeSessionStore is closed"):
                    await asked
        one, two = Store(tmp_path), Store(tmp_path)
        one.close()
        await two.append(KEY, [user("u2", "u1", "When?")])
        del two
        assert len(await Store(tmp_path).load(KEY)) == 2

    asyncio.run(main())


def test_damage_is_said_and_not_passed_over(tmp_path: Path) -> None:
    """A conversation that lost lines would go on as if they had never been."""

    async def main() -> None:
        store = Store(tmp_path)
        await store.append(KEY, [user("u1", None, "Where?"), reply("a1", "u1", "Rome")])
        await store.append(KEY, [user("u2", "a1", "When?")])
        store.close()
        (path,) = tmp_path.glob("*.jsonl")
        path.write_bytes(path.read_bytes().replace(b"Where?", b"Whe\x00e?", 1))
        store = Store(tmp_path)
        with pytest.raises(convtree.CorruptLog, match="convtree repair"):
            await store.load(KEY)
        store.close()

    asyncio.run(main())


# --- at the same time, crashes and cancelling ---


def test_writers_at_the_same_time_lose_nothing(run: Callable[[Any], Any], place: str) -> None:
    """Each line is stored once, in the order of its writer, and the summary has seen all."""

    async def main() -> None:
        stores = [Store(place), Store(open_store(place))]

        async def write(number: int) -> None:
            for each in range(8):
                lines = [user(f"{number}-{each}", None, "x", timestamp="x"), user(f"all-{each}", None, "x")]
                await stores[number % 2].append(KEY, lines)

        await gather([lambda number=number: write(number) for number in range(4)])
        uuids = [each["uuid"] for each in await stores[0].load(KEY)]
        assert len(uuids) == len(set(uuids)) == 8 * 5
        for number in (0, 1, 2, 3, "all"):
            own = [uuid for uuid in uuids if uuid.startswith(f"{number}-")]
            assert own == [f"{number}-{each}" for each in range(8)]
        assert await stores[0].list_sessions(KEY["project_key"]) == await stores[1].list_sessions(KEY["project_key"])
        for store in stores:
            store.close()

    run(main)


async def gather(functions: list[Any]) -> None:
    """Runs functions at the same time, under asyncio and trio."""
    import anyio

    async with anyio.create_task_group() as group:
        for function in functions:
            group.start_soon(function)


WRITER = """
import asyncio, sys
from convtree.adapters.claude_agent_sdk import ConvtreeSessionStore
async def main():
    store = ConvtreeSessionStore(sys.argv[1])
    for number in range(100000):
        lines = [{"type": "user", "uuid": f"{number}-{part}", "message": {"content": "x"}} for part in range(3)]
        await store.append({"project_key": "p", "session_id": "s"}, lines)
        print(number, flush=True)
asyncio.run(main())
"""


def test_a_killed_writer_loses_nothing_and_stores_no_half(place: str) -> None:
    """A batch that was acknowledged is there, and every batch is there whole or not at all."""
    acknowledged = killed_while_writing(WRITER, place)

    async def main() -> None:
        key, store = {"project_key": "p", "session_id": "s"}, Store(place)
        uuids = [each["uuid"] for each in await store.load(key)]
        assert len(uuids) >= 3 * (acknowledged + 1)
        assert uuids == [f"{number}-{part}" for number in range(len(uuids) // 3) for part in range(3)]
        await store.append(key, [{"type": "user", "uuid": uuids[-1]}, {"type": "user", "uuid": "after"}])
        assert len(await store.load(key)) == len(uuids) + 1
        store.close()

    asyncio.run(main())


def test_a_cancelled_caller_waits_for_the_outcome(place: str) -> None:
    """So when the cancellation arrives, the lines are stored or will never be."""

    async def main() -> None:
        store, outcomes = Store(place), set()
        await store.append(KEY, [user("first", None, "x")])
        for number in range(30):
            task = asyncio.create_task(store.append(KEY, [user(str(number), "first", "x")]))
            for _ in range(number % 3):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            seen = await store.load(KEY)
            await asyncio.sleep(0.002)
            assert await store.load(KEY) == seen
            outcomes.add(seen[-1]["uuid"] == str(number))
        assert True in outcomes
        store.close()

    asyncio.run(main())


def test_people_can_read_it(tmp_path: Path) -> None:
    """`convtree inspect`, `search` and `export` show a conversation of Claude."""

    async def main() -> None:
        store = Store(tmp_path)
        await store.append(KEY, [user("u1", None, "Where shall we go?"), reply("a1", "u1", "To Rome, by train.")])
        store.close()

    asyncio.run(main())
    (path,) = map(str, tmp_path.glob("*.jsonl"))
    for command, text in (
        (["inspect", path], "Where shall we go?"),
        (["search", "-s", str(tmp_path), "train"], "by train"),
        (["export", path, "--to", "markdown"], "To Rome, by train."),
        (["export", path, "--to", "claude-code"], "To Rome, by train."),
    ):
        assert text in printed(*command)


# --- a run: Claude Code itself, and a model that says what it is told to ---


def test_a_run_of_claude_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It resumes from the store alone, and behind an earlier answer after `branch`; the other answer stays."""
    executable = Path(sdk.__file__).parent / "_bundled" / "claude"
    if not executable.exists():
        pytest.skip("this build of the SDK has no Claude Code in it")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples"))
    from claude_agent_sdk_adapter import ask, scripted_model

    where, key = tmp_path / "work", {"project_key": sdk.project_key_for_directory(tmp_path / "work")}
    where.mkdir()
    seen: list[list[str]] = []

    async def main() -> None:
        store = Store(tmp_path / "s")
        with scripted_model(seen) as env:
            session = await ask(store, where, env, "Where shall we go?")
            await ask(store, where, env, "Use the tool", resume=session)
            key["session_id"] = session
            with store.log(key) as log:
                assert [entry.text for entry in said(log)] == [
                    *("Where shall we go?", "Answer 1", "Use the tool", "", "", "", "", "Answer 2")
                ]
                first = next(entry.id for entry in said(log) if entry.text == "Answer 1")
            await store.branch(key, first)
            await ask(store, where, env, "And by train?", resume=session)
        with store.log(key) as log:
            assert [entry.text for entry in said(log)] == [
                *("Where shall we go?", "Answer 1", "And by train?", "Answer 2")
            ]
        assert len(await store.branches(key)) == 2
        assert seen[-1] == ["Where shall we go?", "And by train?"]
        store.close()

    asyncio.run(main())


def said(log: Any) -> list[MessageEntry]:
    """Returns what was said in a conversation, without the notes of Claude Code to its model."""
    return [entry for entry in log.path(type=MessageEntry) if entry.visible_to == "all"]
