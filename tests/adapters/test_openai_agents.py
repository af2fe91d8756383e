"""`ConvtreeSession` for the OpenAI Agents SDK, with the SDK's own runner and a scripted model."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crashing import killed_while_writing
from guide import run_block
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import example, printed

import convtree
from convtree import MessageEntry, open_store
from convtree.exchange import import_into

pytest_plugins = ["stores"]

agents: Any = pytest.importorskip("agents")
testing: Any = pytest.importorskip("agents.testing")
adapter: Any = pytest.importorskip("convtree.adapters.openai_agents")
Session: Any = adapter.ConvtreeSession

run: Callable[[Any], Any] = asyncio.run


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def answer(text: str) -> dict[str, Any]:
    return {
        "type": "message",
        "id": f"msg_{text}",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }


def call(name: str) -> dict[str, Any]:
    return {"type": "function_call", "call_id": name, "name": "look", "arguments": "{}"}


def output(name: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": name, "output": f"found by {name}"}


# --- a law: the items are those of a list ---

VALUES = st.integers(0, 99).map(lambda number: user(f"item {number}"))
VALUES |= st.sampled_from([call("c1"), output("c1")])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(VALUES, max_size=3)),
        st.tuples(st.just("pop"), st.none()),
        st.tuples(st.just("clear"), st.none()),
        st.tuples(st.just("replace"), st.lists(VALUES, max_size=2)),
        st.tuples(st.just("suffix"), st.tuples(st.integers(0, 4), st.integers(1, 9), st.lists(VALUES, max_size=2))),
        st.tuples(st.just("prune"), st.tuples(st.integers(0, 4), st.integers(1, 9), st.lists(VALUES, max_size=2))),
        st.tuples(st.just("reopen"), st.none()),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, limit=st.integers(-1, 5), parallel=st.sampled_from(["line", "branch"]))
def test_items_are_those_of_a_list(steps: list[tuple[str, Any]], limit: int, parallel: str) -> None:
    """Whatever was added, popped, cleared and compacted before. No message of the log is ever gone."""

    async def main() -> None:
        store = open_store("memory:")
        session, model, added = Session("a", store, parallel=parallel), list[Any](), 0
        for name, argument in steps:
            if name == "add":
                await session.add_items(argument)
                model += argument
                added += len(argument)
            elif name == "pop":
                assert await session.pop_item() == (model.pop() if model else None)
            elif name == "clear":
                await session.clear_session()
                model = []
            elif name == "replace":
                assert await session._atomic_replace_items(argument)
                model = list(argument)
            elif name in ("suffix", "prune"):
                start, size, output = argument
                prune = None if name == "suffix" else lambda item: item.get("content", "item 50") < "item 50"
                snapshot = await session._get_compaction_snapshot(size, prune_prefix=prune)
                assert (snapshot.items, snapshot.complete) == (model[-size:], len(model) <= size)
                replaced = await snapshot.replace_suffix(start, output)
                assert replaced is (start < len(snapshot.items))
                if replaced:
                    prefix = model[: len(model) - len(snapshot.items) + start]
                    while name == "prune" and prefix and prune is not None and prune(prefix[0]):
                        del prefix[0]
                    model = prefix + output
            elif parallel == "line":
                session.close()
                session = Session("a", store)
            assert await session.get_items() == model
        assert await session.get_items(limit) == (model if limit < 0 else model[len(model) - min(limit, len(model)) :])
        with session.log() as log:
            stored = [record for _, record in log.records() if isinstance(record, MessageEntry)]
        assert len(stored) == added
        store.close()

    run(main())


# --- what a tree adds ---


def test_edit_and_regenerate_keep_the_sibling(where: str) -> None:
    """A question asked again is a second branch; the first can be gone back to."""

    async def main() -> None:
        session = Session("trip", where)
        await session.add_items([user("Where?"), answer("Rome"), user("How long?"), answer("A week")])
        await session.branch(1)
        await session.add_items([user("By train?"), answer("Yes")])
        texts = [(branch.leaf.text, len(branch.labels)) for branch in await session.branches()]
        assert sorted(texts) == [("A week", 0), ("Yes", 0)]
        with session.log() as log:
            week = next(entry.id for _, entry in log.records() if getattr(entry, "text", "") == "A week")
        await session.checkout(week)
        assert await session.get_items(1) == [answer("A week")]
        await session.branch(-3)
        assert await session.get_items() == [user("Where?"), answer("Rome")]
        await session.branch(None)
        assert await session.get_items() == []
        with pytest.raises(IndexError):
            await session.branch(4)
        with pytest.raises(convtree.EntryNotFound):
            await session.branch("nowhere")
        await session.delete_session()
        assert await session.get_items() == []
        session.close()

    run(main())


@pytest.mark.parametrize("parallel", ["line", "branch"])
def test_a_result_is_an_item_where_it_was_added(parallel: str, where: str) -> None:
    """Also when the call that it answers was left by a branch, or cleared."""

    async def main() -> None:
        session = Session("trip", where, parallel=parallel)
        await session.add_items([user("Look!"), call("c1")])
        await session.branch(0)
        await session.add_items([output("c1"), answer("Found")])
        assert await session.get_items() == [user("Look!"), output("c1"), answer("Found")]
        await session.clear_session()
        await session.add_items([output("c1")])
        assert await session.get_items() == [output("c1")]
        assert [branch.leaf.role for branch in await session.branches()] == ["assistant", "assistant", "tool"]
        session.close()

    run(main())


def test_a_compaction_keeps_the_originals_for_other_providers(where: str) -> None:
    """The SDK sees what its compaction left; a request to another provider has every original."""

    async def main() -> None:
        session = Session("trip", where)
        await session.add_items([user("Where?"), answer("Rome"), user("How long?"), answer("A week")])
        snapshot = await session._get_compaction_snapshot(10)
        compacted = {"type": "compaction", "id": "cmp_1", "encrypted_content": "c2VjcmV0"}
        assert await snapshot.replace_suffix(1, [compacted])
        await session.add_items([user("Now?")])
        assert await session.get_items() == [user("Where?"), compacted, user("Now?")]
        with session.log() as log:
            request = log.build_context().to("anthropic")
        texts = [
            part["text"] if isinstance(part, dict) else part
            for message in request["messages"]
            for part in ([message["content"]] if isinstance(message["content"], str) else message["content"])
        ]
        assert texts == ["Where?", "Rome", "How long?", "A week", "Now?"]
        assert not await snapshot.replace_suffix(0, []), "another has written meanwhile"
        await session.branch(1)
        assert await session.get_items() == [user("Where?"), compacted]
        session.close()

    run(main())


def test_a_message_that_is_hidden_later_is_no_item(where: str) -> None:
    """Until it is shown again. What is visible to the model only is one."""

    async def main() -> None:
        session = Session("trip", where)
        await session.add_items([user("a"), user("b"), user("c")])
        with session.log() as log:
            first, second, _ = log.path()
            log.hide(second)
            log.hide(first, visible_to="model")
        assert await session.get_items() == [user("a"), user("c")]
        with session.log() as log:
            log.show(second)
        assert await session.get_items(2) == [user("b"), user("c")]
        session.close()

    run(main())


def test_objects_at_the_same_time_branch_if_wanted(place: str) -> None:
    """With parallel="branch" each object goes on where it began; otherwise they share one line."""

    async def main() -> None:
        base = Session("s", place)
        await base.add_items([user("q")])
        one, two = (Session("s", place, parallel="branch") for _ in range(2))
        assert await one.get_items() == await two.get_items() == [user("q")]
        await one.add_items([answer("1")])
        await two.add_items([answer("2")])
        await one.add_items([user("more 1")])
        assert await one.get_items() == [user("q"), answer("1"), user("more 1")]
        assert await two.get_items() == [user("q"), answer("2")]
        assert await two.pop_item() == answer("2")
        assert await two.get_items() == [user("q")]
        assert len(await base.branches()) == 2
        for session in (base, one, two):
            session.close()

    run(main())


@pytest.mark.parametrize("parallel", ["line", "branch"])
def test_an_erased_conversation_begins_anew_for_every_object(parallel: str, place: str) -> None:
    """Also for one that goes on where it began: that place is gone."""

    async def main() -> None:
        one, two = (Session("s", place, parallel=parallel) for _ in range(2))
        await one.add_items([user("old")])
        assert await two.get_items() == [user("old")]
        await one.delete_session()
        assert await two.get_items() == []
        await two.add_items([user("new")])
        assert await two.get_items() == [user("new")]
        for session in (one, two):
            session.close()

    run(main())


def test_what_another_process_does_between_two_writes(place: str) -> None:
    """What it added is above the next items; what it erased begins anew."""

    async def main() -> None:
        with open_store(place, create=True) as store, open_store(place) as other:
            ours, theirs = Session("a", store), Session("a", other)
            await ours.add_items([user("1")])
            await theirs.add_items([user("2")])
            await ours.add_items([user("3")])
            assert await ours.get_items() == await theirs.get_items() == [user("1"), user("2"), user("3")]
            await theirs.delete_session()
            await ours.add_items([user("4")])
            assert await ours.get_items() == await theirs.get_items() == [user("4")]

    run(main())


def test_every_pop_gets_another_item(place: str) -> None:
    """Objects of several threads pop and add at the same time: nothing comes twice, and nothing is lost."""

    async def main() -> None:
        sessions = [Session("s", place) for _ in range(4)]
        await sessions[0].add_items([user(str(number)) for number in range(40)])

        async def pops(session: Any) -> list[Any]:
            return [await session.pop_item() for _ in range(10)]

        popped = await asyncio.gather(*map(pops, sessions))
        texts = sorted(int(item["content"]) for items in popped for item in items)
        assert texts == list(range(40))
        assert await sessions[0].pop_item() is None
        for session in sessions:
            session.close()

    run(main())


# --- what is stored ---


def test_what_json_cannot_hold_never_ends_a_run(where: str) -> None:
    """Half an emoji, NaN and an integer of 70 bits are cleaned, and the entry says so."""

    async def main() -> None:
        session = Session("s", where)
        output = {"type": "function_call_output", "call_id": "c", "output": "half \ud83d", "n": [2**70, float("nan")]}
        await session.add_items([user("q"), output])
        clean = {**output, "output": "half \ufffd", "n": ["1180591620717411303424", None]}
        assert await session.get_items() == [user("q"), clean]
        with session.log() as log:
            first, second = log.path(type=MessageEntry)
        assert first.extra is None
        assert second.extra == {
            "cleaned": [
                "output: a lone surrogate became U+FFFD",
                "n[0]: an integer beyond 64 bits became a text",
                "n[1]: nan became null",
            ]
        }
        with pytest.raises(convtree.InvalidMessage, match=r"items\[1\]: .* limit"):
            await session.add_items([user("q"), user("x" * 17_000_000)])
        assert await session.get_items() == [user("q"), clean]
        session.close()

    run(main())


def test_ids_may_be_any_text(tmp_path: Path) -> None:
    """No two share a session, also if one is what another is stored under."""
    names = ["user-42", "user@example.com", "+49 30 1234", "日本", "x" * 300, "a/b", "..", convtree.session_key("a/b")]

    async def main() -> None:
        for name in names:
            session = Session(name, tmp_path)
            await session.add_items([user(name)])
            session.close()
        for name in names:
            session = Session(name, tmp_path)
            assert await session.get_items() == [user(name)]
            session.close()

    run(main())
    with open_store(tmp_path) as store:
        assert store.info("user-42").messages == 1
        assert len(store.list()) == len(names)


def test_a_store_that_was_given_stays_open(tmp_path: Path) -> None:
    """One that was opened by path is closed with its last user, and a closed session says so."""

    async def main() -> None:
        with open_store(tmp_path) as store:
            session = Session("s", store)
            await session.add_items([user("q")])
            session.close()
            session.close()
            assert store.info("s").messages == 1
            for call in (session.get_items(), session.add_items([]), session.pop_item(), session.clear_session()):
                with pytest.raises(RuntimeError, match="ConvtreeSession is closed"):
                    await call
        one, two = Session("s", tmp_path), Session("t", tmp_path)
        one.close()
        await two.add_items([user("q")])
        two.close()

    run(main())


def test_a_block_closes_the_session(tmp_path: Path) -> None:
    """With and without async."""

    async def main() -> None:
        async with Session("s", tmp_path) as session:
            await session.add_items([user("q")])
        with Session("s", tmp_path) as again:
            assert await again.get_items() == [user("q")]
        for closed in (session, again):
            with pytest.raises(RuntimeError, match="ConvtreeSession is closed"):
                await closed.get_items()
            with pytest.raises(RuntimeError, match="ConvtreeSession is closed"):
                closed.log()

    run(main())


@pytest.mark.parametrize("store", ["conversations", "sqlite:///conversations.db"])
def test_a_relative_place_is_that_of_the_directory(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that was made in one directory stays there, and one made in another is there."""

    async def main() -> None:
        sessions = []
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            monkeypatch.chdir(tmp_path / name)
            sessions.append(Session("s", store))
            await sessions[-1].add_items([user(name)])
        assert [await each.get_items() for each in sessions] == [[user("a")], [user("b")]]
        for each in sessions:
            each.close()

    run(main())
    assert all(any((tmp_path / name).iterdir()) for name in ("a", "b"))


def test_an_item_is_a_dict(tmp_path: Path) -> None:
    """Another value is an error with its place, and nothing is stored."""

    async def main() -> None:
        with Session("s", tmp_path) as session:
            with pytest.raises(TypeError, match=r"items\[1\]: expected a dict, not int"):
                await session.add_items([user("q"), 5])
            assert await session.get_items() == []

    run(main())


def test_the_history_of_another_tool_goes_on(tmp_path: Path) -> None:
    """Messages of other shapes, and convtree's compactions, are read as items."""
    with open_store(tmp_path) as store, store.create(id="s") as log:
        log.append({"role": "user", "content": [{"type": "text", "text": "Where?"}]}, shape="anthropic")
        log.append({"role": "assistant", "content": [{"type": "text", "text": "Rome"}]}, shape="anthropic")

    async def main() -> None:
        session = Session("s", tmp_path)
        await session.add_items([user("How long?")])
        items = await session.get_items()
        assert [item["role"] for item in items] == ["user", "assistant", "user"]
        assert [text in json.dumps(item) for text, item in zip(["Where?", "Rome", "How long?"], items, strict=True)]
        assert await session.pop_item() == user("How long?")
        assert (await session.pop_item())["role"] == "assistant"
        assert [item["role"] for item in await session.get_items()] == ["user"]
        session.close()

    run(main())


def test_a_run_with_a_tool(where: str) -> None:
    """The SDK's runner stores a tool turn and replays it; the second run sees the first. Usage is counted once."""

    def weather(city: str) -> str:
        """Returns the weather."""
        return f"sunny in {city}"

    async def main() -> None:
        def step(output: Any, sent: int, received: int) -> Any:
            total = sent + received
            paid = agents.Usage(requests=1, input_tokens=sent, output_tokens=received, total_tokens=total)
            return testing.ModelStep(output=[output], usage=paid)

        call = testing.function_call("weather", {"city": "Rome"}, call_id="call_1")
        steps = [step(call, 10, 1), step(testing.assistant_message("It is sunny."), 20, 2)]
        model = testing.ScriptedModel([*steps, step(testing.assistant_message("Rome."), 40, 4)])
        agent = agents.Agent(name="guide", model=model, tools=[agents.function_tool(weather)])
        session = Session("trip", where)
        first = await agents.Runner.run(agent, "Weather in Rome?", session=session)
        assert first.final_output == "It is sunny."
        second = await agents.Runner.run(agent, "Which city?", session=session)
        assert second.final_output == "Rome."
        kinds = [item.get("type", item.get("role")) for item in await session.get_items()]
        assert kinds == ["user", "function_call", "function_call_output", "message", "user", "message"]
        with session.log() as log:
            assert [entry.role for entry in log.path(type=MessageEntry)] == [
                "user",
                "assistant",
                "tool",
                "assistant",
                "user",
                "assistant",
            ]
            assert log.build_context().to("anthropic")["messages"][0]["role"] == "user"
            paid = [entry.usage for entry in log.path(type=MessageEntry) if entry.usage]
        assert sum(usage["input_tokens"] for usage in paid) == 70
        assert sum(usage["output_tokens"] for usage in paid) == 7
        session.close()

    run(main())


# --- crashes and cancelling ---

WRITER = """
import asyncio, sys
from convtree.adapters.openai_agents import ConvtreeSession
async def main():
    session = ConvtreeSession("s", sys.argv[1])
    for number in range(100000):
        await session.add_items([{"role": "user", "content": f"{number}-{part}"} for part in range(3)])
        print(number, flush=True)
asyncio.run(main())
"""


def test_a_killed_writer_loses_nothing_and_stores_no_half(place: str) -> None:
    """A batch that was acknowledged is there, and every batch is there whole or not at all."""
    acknowledged = killed_while_writing(WRITER, place)

    async def main() -> None:
        session = Session("s", place)
        texts = [item["content"] for item in await session.get_items()]
        assert len(texts) >= 3 * (acknowledged + 1)
        assert texts == [f"{number}-{part}" for number in range(len(texts) // 3) for part in range(3)]
        await session.add_items([user("after")])
        session.close()

    run(main())


RACER = """
import asyncio, sys
from convtree.adapters.openai_agents import ConvtreeSession
async def main():
    session = ConvtreeSession("s", sys.argv[1])
    for number in range(12):
        await session.add_items([{"role": "user", "content": f"{sys.argv[2]}-{number}-{part}"} for part in range(2)])
    session.close()
asyncio.run(main())
"""


def test_racing_processes_lose_nothing(place: str) -> None:
    """The items of two processes follow each other in one line, and those of one call stay together."""
    racers = [subprocess.Popen([sys.executable, "-c", RACER, place, name]) for name in "ab"]
    assert [racer.wait() for racer in racers] == [0, 0]

    async def main() -> None:
        session = Session("s", place)
        texts = [item["content"] for item in await session.get_items()]
        assert [first[:-1] for first in texts[::2]] == [second[:-1] for second in texts[1::2]]
        for name in "ab":
            own = [text for text in texts if text[0] == name]
            assert own == [f"{name}-{number}-{part}" for number in range(12) for part in range(2)]
        session.close()

    run(main())


def test_a_cancelled_caller_waits_for_the_outcome(place: str) -> None:
    """So when the cancellation arrives, the items are stored or will never be."""

    async def main() -> None:
        session = Session("s", place)
        await session.add_items([user("first")])
        outcomes = set()
        for number in range(30):
            task = asyncio.create_task(session.add_items([user(str(number))]))
            for _ in range(number % 3):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            seen = await session.get_items()
            await asyncio.sleep(0.002)
            assert await session.get_items() == seen
            outcomes.add(seen[-1] == user(str(number)))
        assert True in outcomes
        session.close()

    run(main())


def test_people_can_read_it(tmp_path: Path) -> None:
    """`convtree inspect`, `search` and `export` show a conversation of the SDK."""

    async def main() -> None:
        session = Session("trip", tmp_path)
        await session.add_items([user("Where shall we go?"), answer("To Rome, by train.")])
        session.close()

    run(main())
    for command, text in (
        (["inspect", str(tmp_path / "trip.jsonl")], "Where shall we go?"),
        (["search", "-s", str(tmp_path), "train"], "by train"),
        (["export", str(tmp_path / "trip.jsonl"), "--to", "markdown"], "To Rome, by train."),
    ):
        assert text in printed(*command)


def test_the_example_runs() -> None:
    """It ends with the tree that its process left, and shows what was said."""
    done = example("openai_agents_adapter.py")
    assert "both are kept: ['A week.', 'Yes, over night.']" in done.stdout
    assert "12 messages, 2 branches" in done.stdout


def test_a_database_of_the_sdk_is_moved(tmp_path: Path) -> None:
    """Its sessions go on under their ids, also those that can be no id of a log. A second import adds nothing."""

    async def main() -> None:
        for id in ("user-42", "ann@example.org"):
            old = agents.SQLiteSession(id, tmp_path / "old.db")
            await old.add_items([user(f"from {id}"), answer("Rome")])
            old.close()
        for _ in range(2):
            with open_store(tmp_path / "new") as store:
                import_into([tmp_path / "old.db"], store)
        for id in ("user-42", "ann@example.org"):
            session = Session(id, str(tmp_path / "new"))
            assert await session.get_items() == [user(f"from {id}"), answer("Rome")]
            await session.add_items([user("More")])
            assert len(await session.get_items()) == 3
            session.close()

    run(main())


def test_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The block of the guide to frameworks, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    run_block("openai_agents")
    assert capsys.readouterr().out == "['Rome?', 'Oslo?']\n"
