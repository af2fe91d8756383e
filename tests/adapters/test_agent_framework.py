"""`ConvtreeHistoryProvider` for Microsoft Agent Framework: the history that its own providers have, as a tree."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import example, printed

import convtree
from convtree import InvalidMessage, MessageEntry, open_store

pytest_plugins = ["stores"]

maf: Any = pytest.importorskip("agent_framework")
adapter: Any = pytest.importorskip("convtree.adapters.agent_framework")
Provider: Any = adapter.ConvtreeHistoryProvider


@pytest.fixture
def run(running: Callable[[Any], Any]) -> Callable[[Callable[[Any], Awaitable[None]]], None]:
    """Runs an async function with a provider, and closes that."""
    made: Callable[[Callable[[Any], Awaitable[None]]], None] = running(Provider)
    return made


def user(text: str, **fields: Any) -> Any:
    return maf.Message("user", [text], **fields)


def reply(text: str, **fields: Any) -> Any:
    return maf.Message("assistant", [text], **fields)


async def texts(provider: Any, session_id: str | None = "s1") -> list[str]:
    return [message.text for message in await provider.get_messages(session_id)]


CONTENTS = st.text(max_size=3) | st.builds(
    lambda name, value: maf.Content.from_function_call("c1", name, arguments={"a": value}),
    st.sampled_from(["look", "go"]),
    st.none() | st.integers(-9, 9) | st.text(max_size=2),
)
MESSAGES = st.builds(
    lambda role, contents, name: maf.Message(role, contents, message_id=name),
    st.sampled_from(["user", "assistant"]),
    st.lists(CONTENTS, max_size=2),
    st.none() | st.sampled_from(["m1", "m2"]),
)
STEPS = st.lists(
    st.tuples(st.sampled_from([None, "s1", "a@b"]), st.lists(MESSAGES, max_size=3), st.booleans()), max_size=8
)


@settings(max_examples=100, deadline=None)
@given(steps=STEPS)
def test_the_history_is_that_of_the_provider_in_memory(steps: list[tuple[str | None, list[Any], bool]]) -> None:
    """Messages that repeat the history, or all of it, are stored once."""

    async def main() -> None:
        provider, expected = Provider("memory:"), maf.InMemoryHistoryProvider()
        states: dict[str | None, dict[str, Any]] = {None: {}, "s1": {}, "a@b": {}}
        for session_id, new, repeats in steps:
            state = states[session_id]
            messages = [*(await expected.get_messages(session_id, state=state) if repeats else []), *new]
            await provider.save_messages(session_id, messages)
            await expected.save_messages(session_id, messages, state=state)
            for each, known in states.items():
                found = [message.to_dict() for message in await provider.get_messages(each)]
                assert found == [message.to_dict() for message in await expected.get_messages(each, state=known)]
        provider.close()

    asyncio.run(main())


def test_edit_and_regenerate_keep_the_sibling(run: Callable[[Any], None]) -> None:
    """By the place of a message, or by an entry; hidden messages and those of other tools."""

    async def main(provider: Any) -> None:
        await provider.save_messages("s1", [user("Where to?"), reply("Rome")])
        await provider.save_messages("s1", [user("When?"), reply("In May")])
        await provider.branch("s1", 0)
        await provider.save_messages("s1", [reply("Oslo")])
        assert await texts(provider) == ["Where to?", "Oslo"]
        leaves = [branch.leaf for branch in await provider.branches("s1")]
        assert [leaf.text for leaf in leaves] == ["In May", "Oslo"]
        await provider.checkout("s1", leaves[0].id)
        await provider.branch("s1", -3)
        assert await texts(provider) == ["Where to?", "Rome"]
        with provider.log("s1") as log:
            log.append({"role": "user", "content": "How long?"})
            log.hide(log.path()[0])
        await provider.save_messages("s1", [reply("A week")])
        assert await texts(provider) == ["Rome", "How long?", "A week"]
        await provider.branch("s1", None)
        assert await texts(provider) == []
        with pytest.raises(IndexError):
            await provider.branch("s1", 0)
        with pytest.raises(convtree.EntryNotFound):
            await provider.checkout("s1", "nowhere")
        await provider.delete_session("s1")
        await provider.delete_session("s1")
        assert await provider.branches("s1") == []

    run(main)


def test_what_json_cannot_hold_is_cleaned(run: Callable[[Any], None]) -> None:
    """Half an emoji, infinity; the framework itself drops objects. Too much is refused, with all of its run."""

    async def main(provider: Any) -> None:
        odd = {"o": print, "n": float("inf"), "i": 2**70}
        await provider.save_messages("s1", [reply("half \ud83d", additional_properties=odd)])
        (message,) = await provider.get_messages("s1")
        assert message.text == "half \ufffd"
        assert message.additional_properties == {"n": None, "i": str(2**70)}
        with provider.log("s1") as log:
            assert len((log.path(type=MessageEntry)[0].extra or {})["cleaned"]) == 3
        with pytest.raises(InvalidMessage, match="limit"):
            await provider.save_messages("s1", [user("fits"), user("x" * 17_000_000)])
        assert await texts(provider) == ["half \ufffd"]

    run(main)


def test_names_that_json_cannot_hold_are_cleaned(run: Callable[[Any], None]) -> None:
    """Half an emoji in names; of two that become one both stay. What has no end is refused, with its place."""

    async def main(provider: Any) -> None:
        odd, clean = {"k\ud83d": 1, "k\\ud83d": 2}, {"k\\ud83d_": 1, "k\\ud83d": 2}
        call = maf.Content.from_function_call("c1", "look", arguments={"a": odd})
        await provider.save_messages("s1", [maf.Message("assistant", [call], additional_properties=odd)])
        await provider.save_messages("s1", [maf.Message("tool", [maf.Content.from_function_result("c1", result=odd)])])
        (message, _) = await provider.get_messages("s1")
        assert (message.contents[0].arguments, message.additional_properties) == ({"a": clean}, clean)
        with provider.log("s1") as log:
            assert (log.path()[0].extra or {})["cleaned"] == [
                "contents[0].arguments.a: a name with a lone surrogate was escaped",
                "additional_properties: a name with a lone surrogate was escaped",
            ]
        circle: list[Any] = [1]
        circle.append({"x": circle})
        deep: Any = 1
        for _ in range(5000):
            deep = [deep]
        for value, error in (
            (circle, r"^contents\[0\]\.arguments\.a\[1\]\.x: the value contains itself"),
            (deep, r"^contents\[0\]\.arguments\.a\[0\].*more than 128 levels"),
        ):
            endless = maf.Content.from_function_call("c2", "look", arguments={"a": value})
            with pytest.raises(InvalidMessage, match=error):
                await provider.save_messages("s2", [maf.Message("assistant", [endless])])
        assert await provider.get_messages("s2") == []

    run(main)


def test_an_empty_id_is_an_id(run: Callable[[Any], None]) -> None:
    """None is the session "default"; an empty text is a session of its own."""

    async def main(provider: Any) -> None:
        await provider.save_messages(None, [user("of none")])
        await provider.save_messages("", [user("of the empty text")])
        assert [each.text for each in await provider.get_messages("")] == ["of the empty text"]
        assert [each.text for each in await provider.get_messages("default")] == ["of none"]
        await provider.delete_session("")
        assert [each.text for each in await provider.get_messages(None)] == ["of none"]

    run(main)


@pytest.mark.parametrize("odd", ["a b", "日本", "../x", "x" * 3000, "k-", "\x00", "", None])
def test_ids_are_any_text(odd: str | None) -> None:
    """None and an empty one are the default session."""

    async def main() -> None:
        provider = Provider("memory:")
        await provider.save_messages("s1", [user("other")])
        await provider.save_messages(odd, [user("here")])
        assert await texts(provider, odd) == ["here"]
        provider.close()

    asyncio.run(main())


def test_a_store_that_was_given_stays_open(tmp_path: Path) -> None:
    """A closed object says so; excluded messages are left out where that is wanted."""

    async def main() -> None:
        with open_store(tmp_path) as given_store:
            provider = Provider(given_store, skip_excluded=True)
            await provider.save_messages("s1", [user("x", additional_properties={"_excluded": True}), user("y")])
            assert await texts(provider) == ["y"]
            provider.close()
            for asked in (provider.get_messages("s1"), provider.save_messages("s1", []), provider.branches("s1")):
                with pytest.raises(RuntimeError, match="ConvtreeHistoryProvider is closed"):
                    await asked
            assert len(given_store.list().sessions) == 1

    asyncio.run(main())


WRITER = """
import asyncio, sys
from agent_framework import Message
from convtree.adapters.agent_framework import ConvtreeHistoryProvider
async def main(where, name, count):
    provider = ConvtreeHistoryProvider(where)
    for number in range(count):
        await provider.save_messages("s1", [Message(role, [f"{name}-{number}"]) for role in ("user", "assistant")])
        print(number, flush=True)
asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def test_killed_and_parallel_writers_lose_nothing(place: str) -> None:
    """Runs of two processes follow each other; a killed one has stored each of its runs whole, or not at all."""

    def start(name: str, count: int) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", WRITER, place, name, str(count)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    async def main() -> None:
        assert [process.wait() for process in [start("a", 8), start("b", 8)]] == [0, 0]
        provider = Provider(place)
        found = await texts(provider)
        for name in "ab":
            expected = [f"{name}-{number}" for number in range(8) for _ in range(2)]
            assert [text for text in found if text[0] == name] == expected
        writer = start("c", 10_000)
        assert writer.stdout is not None
        for _ in range(5):
            writer.stdout.readline()
        writer.kill()
        acknowledged = max([4, *map(int, writer.stdout.read().split())])
        writer.wait()
        own = (await texts(provider))[32:]
        assert own == [f"c-{number}" for number in range(len(own) // 2) for _ in range(2)]
        assert len(own) // 2 > acknowledged
        provider.close()

    asyncio.run(main())


def test_a_cancelled_caller_waits_for_the_outcome(place: str) -> None:
    """So when the cancellation arrives, the messages are stored or will never be."""

    async def main() -> None:
        provider, outcomes = Provider(place), set()
        for number in range(20):
            task = asyncio.create_task(provider.save_messages("s1", [reply(f"{number}")]))
            for _ in range(number % 3):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            seen = await texts(provider)
            await asyncio.sleep(0.002)
            assert await texts(provider) == seen
            outcomes.add(f"{number}" in seen)
        assert True in outcomes
        provider.close()

    asyncio.run(main())


def test_a_run_of_an_agent(tmp_path: Path) -> None:
    """A tool turn with a scripted client: usage and model are stored, and people can read it."""
    seen: list[list[str]] = []

    class Scripted(maf.FunctionInvocationLayer, maf.BaseChatClient):  # type: ignore[misc]
        def _inner_get_response(self, *, messages: Any, **_: Any) -> Any:
            async def answer() -> Any:
                seen.append([message.text for message in messages if message.text])
                usage = maf.UsageDetails(input_token_count=7, output_token_count=2)
                if messages[-1].text == "Use the tool":
                    contents = [maf.Content.from_function_call("c1", "look", arguments={"at": "Rome"})]
                else:
                    contents = [f"Answer {len(seen)}"]
                message = maf.Message("assistant", contents)
                return maf.ChatResponse(messages=[message], usage_details=usage, model="model-x")

            return answer()

    def look(at: str) -> str:
        """Looks somewhere."""
        return f"sunny in {at}"

    async def main() -> None:
        provider = Provider(tmp_path)
        agent = maf.Agent(client=Scripted(), name="guide", tools=[look], context_providers=[provider])
        session = agent.create_session(session_id="s1")
        await agent.run("Where shall we go?", session=session)
        await agent.run("Use the tool", session=session)
        await provider.branch("s1", 1)
        await agent.run("And by train?", session=session)
        assert seen[-1] == ["Where shall we go?", "Answer 1", "And by train?"]
        with provider.log("s1") as log:
            assert [entry.role for entry in log.path(type=MessageEntry)] == ["user", "assistant", "user", "assistant"]
            assert log.path(type=MessageEntry)[-1].model == "model-x"
            tool_turn = log.path((await provider.branches("s1"))[0].leaf, type=MessageEntry)
            assert [entry.role for entry in tool_turn[2:]] == ["user", "assistant", "tool", "assistant"]
        provider.close()

    asyncio.run(main())
    with open_store(tmp_path) as store:
        assert sum(row.usage.input_tokens for row in store.usage()) == 4 * 7
    path = str(tmp_path / "s1.jsonl")
    for command, text in (
        (["inspect", path], "Where shall we go?"),
        (["search", "-s", str(tmp_path), "train"], "by train"),
        (["export", path, "--to", "markdown"], "And by train?"),
    ):
        assert text in printed(*command)


def test_the_example_runs() -> None:
    """It has a tool turn, an edit and a crash, and shows the result."""
    done = example("agent_framework_adapter.py")
    assert "both are kept: ['It is sunny in Rome.', 'It is sunny in Oslo.']" in done.stdout
    assert "12 messages of three questions" in done.stdout
    assert "4 prompts, 4 tool calls" in done.stdout
