"""`ConvtreeSaver` for LangGraph: it answers as `InMemorySaver` does, and a thread can be read."""

import asyncio
import json
import random
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypedDict

import pytest
from crashing import killed_while_writing
from guide import run_block
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import example, printed

import convtree
from convtree import MessageEntry, open_store

pytest_plugins = ["stores"]

pytest.importorskip("langgraph.checkpoint.base")
adapter: Any = pytest.importorskip("convtree.adapters.langgraph")
conformance: Any = pytest.importorskip("langgraph.checkpoint.conformance")

from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage  # noqa: E402
from langgraph.channels.delta import DeltaChannel  # noqa: E402
from langgraph.checkpoint.base import empty_checkpoint  # noqa: E402
from langgraph.checkpoint.memory import InMemorySaver  # noqa: E402
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer  # noqa: E402
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME  # noqa: E402
from langgraph.graph import START, MessagesState, StateGraph  # noqa: E402
from langgraph.types import Command, Send, interrupt  # noqa: E402
from pydantic import BaseModel  # noqa: E402

Saver: Any = adapter.ConvtreeSaver


def config(thread: Any = "t", namespace: str = "", id: str | None = None) -> Any:
    named = {"thread_id": thread, "checkpoint_ns": namespace}
    return {"configurable": named if id is None else {**named, "checkpoint_id": id}}


def checkpoint(id: str, values: dict[str, Any], versions: dict[str, Any]) -> Any:
    return {**empty_checkpoint(), "id": id, "channel_values": values, "channel_versions": versions}


def test_conformance(where: str) -> None:
    """LangGraph's own tests for checkpointers, with everything that is optional."""

    async def main() -> None:
        async def saver() -> Any:
            yield Saver(where)

        report = await conformance.validate(conformance.checkpointer_test(name="convtree")(saver))
        failed = {name: each.failures for name, each in report.results.items() if not each.passed}
        assert (failed, len(report.results) >= 8) == ({}, True)

    asyncio.run(main())


# --- a law: it answers as the saver in memory ---

MESSAGES = [
    HumanMessage("Where?", id="h1"),
    AIMessage("Rome", id="a1", usage_metadata={"input_tokens": 5, "output_tokens": 1, "total_tokens": 6}),
    HumanMessage("When?", id="h2"),
    ToolMessage("sunny", tool_call_id="c1", id="t1", artifact={"raw": b"\x00"}),
    AIMessage([{"type": "text", "text": "In May"}], id="a2"),
]
IDS = [f"{number:02}" for number in range(8)] + ["ü x", "zz/?"]
VALUES = st.one_of(st.none(), st.integers(0, 9), st.text(max_size=3), st.just((1, {2})))
CHANNELS = st.dictionaries(st.sampled_from(["a", "b"]), VALUES, max_size=2)
STATES = st.lists(st.sampled_from(MESSAGES), max_size=4)
THREADS = st.sampled_from(["t", "user@example.com"])
PLACES = st.tuples(THREADS, st.sampled_from(["", "", "child:1"]), st.sampled_from(IDS))
WRITES = st.lists(st.tuples(st.sampled_from(["a", ERROR, INTERRUPT, RESUME]), VALUES), max_size=3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), PLACES, st.sampled_from([None, *IDS]), CHANNELS, STATES),
        st.tuples(st.just("writes"), PLACES, WRITES, st.sampled_from(["k1", "k2"]), st.sampled_from(["", "p"])),
        st.tuples(st.just("delete"), THREADS),
        st.tuples(st.just("reopen")),
    ),
    max_size=14,
)


class Both:
    """A saver and the one in memory, with the versions of channels as LangGraph counts them."""

    def __init__(self, place: Any) -> None:
        self.place = place
        self.saver, self.model = Saver(place), InMemorySaver()
        self.versions: dict[Any, dict[str, str]] = {}
        self.known: dict[Any, dict[str, Any]] = {}

    def put(self, place: tuple[str, str, str], parent: str | None, values: dict[str, Any], state: list[Any]) -> None:
        """Puts a checkpoint: channels whose values are not those of the parent have new versions."""
        thread, namespace, id = place
        parent = None if parent is None or parent >= id else parent  # a circle of parents hangs the model
        above = (thread, namespace, parent)
        before, versions = self.known.get(above, {}), dict(self.versions.get(above, {}))
        values = {**values, "messages": state}
        new = {name: self.model.get_next_version(versions.get(name), None) for name in values if name not in before}
        new |= {
            name: self.model.get_next_version(versions[name], None)
            for name in values
            if name in before and before[name] != values[name]
        }
        gone = {name: self.model.get_next_version(versions[name], None) for name in before if name not in values}
        versions |= new | gone
        stored = checkpoint(id, values, versions)
        metadata = {"source": "loop", "step": len(id), "run_id": f"run-{id[0]}"}
        for each in (self.saver, self.model):
            each.put(config(thread, namespace, parent), stored, metadata, new | gone)
        self.versions[place], self.known[place] = versions, values

    def writes(self, place: tuple[str, str, str], writes: list[Any], task: str, path: str) -> None:
        for each in (self.saver, self.model):
            each.put_writes(config(*place), writes, task, path)

    def delete(self, thread: str) -> None:
        for each in (self.saver, self.model):
            each.delete_thread(thread)

    def reopen(self) -> None:
        self.saver.close()
        self.saver = Saver(self.place)

    def check(self) -> None:
        """Compares all that can be asked."""
        ours, theirs = self.saver, self.model
        for thread in ("t", "user@example.com", "nobody"):
            for namespace in ("", "child:1", "other"):
                asked = config(thread, namespace)
                for named in (asked, *(config(thread, namespace, id) for id in IDS)):
                    assert ours.get_tuple(named) == theirs.get_tuple(named)
                    about: Any = {"config": named, "channels": ["a", "x", "messages"]}
                    assert ours.get_delta_channel_history(**about) == theirs.get_delta_channel_history(**about)
                options: Any
                for options in ({}, {"before": config(id=IDS[4]), "limit": 3}, {"filter": {"run_id": "run-0"}}):
                    assert list(ours.list(asked, **options)) == list(theirs.list(asked, **options))
            found, expected = [list(each.list({"configurable": {"thread_id": thread}})) for each in (ours, theirs)]
            assert [id_of(each) for each in found] == sorted(map(id_of, expected), reverse=True)
        assert sorted(ours.list(None), key=key_of) == sorted(theirs.list(None), key=key_of)


def id_of(each: Any) -> str:
    return str(each.checkpoint["id"])


def key_of(each: Any) -> Any:
    named = each.config["configurable"]
    return named["thread_id"], named["checkpoint_ns"], named["checkpoint_id"]


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_it_answers_as_the_saver_in_memory(steps: list[tuple[Any, ...]]) -> None:
    """Whatever was put, in whatever order: also the same checkpoint twice, and writes before their checkpoint."""
    with open_store("memory:") as store:
        both = Both(store)
        for name, *arguments in steps:
            getattr(both, name)(*arguments)
        both.check()


@pytest.mark.parametrize("seed", range(4))
def test_it_answers_so_on_disk(seed: int, where: str) -> None:
    """With a store on a disk, opened anew in the middle."""
    if where == "memory:":
        pytest.skip("the law has it")
    choose, both = random.Random(seed), Both(where)
    for _ in range(25):
        place = ("t", choose.choice(["", "", "child:1"]), choose.choice(IDS))
        match choose.randrange(6):
            case 0:
                both.reopen()
            case 1:
                both.writes(place, [("a", choose.randrange(9)), (choose.choice([ERROR, RESUME]), 1)], "k1", "p")
            case _:
                state = choose.sample(MESSAGES, choose.randrange(4))
                both.put(place, choose.choice([None, *IDS]), {"a": choose.randrange(3)}, state)
    both.check()
    both.reopen()
    both.check()
    both.saver.close()


# --- threads of graphs ---


def graph_of(saver: Any, *, asks: bool = False) -> Any:
    """A graph that answers with the number of messages; with `asks`, it waits for an answer before."""

    def reply(state: MessagesState) -> Any:
        said = len(state["messages"])
        answer = interrupt("go on?") if asks else "yes"
        usage: Any = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
        return {
            "messages": [AIMessage(f"{answer} {said}", response_metadata={"model_name": "m"}, usage_metadata=usage)]
        }

    builder = StateGraph(MessagesState)
    builder.add_node("reply", reply)
    builder.add_edge(START, "reply")
    return builder.compile(checkpointer=saver)


def say(text: str) -> Any:
    return {"messages": [("user", text)]}


def texts(graph: Any, thread: Any = "t") -> list[str]:
    return [each.content for each in graph.get_state(config(thread)).values["messages"]]


def test_a_thread_is_a_conversation(where: str) -> None:
    """The path to a checkpoint is its messages, with who paid for them; and other providers can go on."""
    saver = Saver(where)
    graph = graph_of(saver)
    for text in ("Where?", "When?"):
        graph.invoke(say(text), config("my thread"))
    with saver.log("my thread") as log:
        said = log.path(type=MessageEntry)
        assert [(each.role, each.text) for each in said] == [
            *(("user", "Where?"), ("assistant", "yes 1"), ("user", "When?"), ("assistant", "yes 3"))
        ]
        assert log.build_context().to("anthropic")["messages"][-1] == {"role": "assistant", "content": "yes 3"}
        assert (said[1].model, said[1].usage) == ("m", {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5})
        assert all(each.extra == {"langgraph": None} for each in said)
    usage = saver._engine.store.usage(by="model")
    assert [(each.model, each.usage.input_tokens) for each in usage] == [("m", 6)]
    saver.close()


def test_edit_and_regenerate_keep_the_sibling(where: str) -> None:
    """By LangGraph's time travel, and by `branch` and `checkout`. What branches share is stored once."""
    saver = Saver(where)
    graph = graph_of(saver)
    graph.invoke(say("Where?"), config())
    graph.invoke(say("When?"), config())
    before = next(each for each in graph.get_state_history(config()) if len(each.values["messages"]) == 2)
    graph.invoke(say("How?"), before.config)
    assert texts(graph) == ["Where?", "yes 1", "How?", "yes 3"]
    with saver.log("t") as log:
        first, other = log.path(type=MessageEntry)[1].id, log.path(type=MessageEntry)[3].id
        stored = [each for _, each in log.records() if isinstance(each, MessageEntry)]
        assert [each.text for each in stored] == ["Where?", "yes 1", "When?", "yes 3", "How?", "yes 3"]
        log.label(first, "Rome")
    copied = saver.branch("t", "Rome")
    assert graph.get_state(config()).config == copied
    assert texts(graph) == ["Where?", "yes 1"]
    assert saver.branch("t", copied["configurable"]["checkpoint_id"]) == copied
    graph.invoke(say("Why?"), config())
    assert texts(graph) == ["Where?", "yes 1", "Why?", "yes 3"]
    saver.checkout("t", other)
    assert texts(graph) == ["Where?", "yes 1", "How?", "yes 3"]
    tips = [each.leaf.id for each in saver.branches("t")]
    with saver.log("t") as log:
        ends = [[each.text for each in log.path(tip, type=MessageEntry)][2] for tip in tips]
        assert sorted(set(ends)) == ["How?", "When?", "Why?"]
    saver.branch("t", None)
    assert not graph.get_state(config()).values.get("messages")
    graph.invoke(say("Anew"), config())
    assert texts(graph) == ["Anew", "yes 1"]
    with pytest.raises(convtree.EntryNotFound):
        saver.branch("t", "nowhere")
    with pytest.raises(convtree.SessionNotFound):
        saver.branch("nobody", None)
    saver.close()


def test_the_async_twins_of_the_extras(where: str) -> None:
    """`abranch`, `acheckout` and `abranches`."""

    async def main() -> None:
        saver = Saver(where)
        graph = graph_of(saver)
        await graph.ainvoke(say("Where?"), config())
        await graph.ainvoke(say("When?"), config())
        with saver.log("t") as log:
            messages = log.path(type=MessageEntry)
        await saver.abranch("t", messages[1].id)
        assert texts(graph) == ["Where?", "yes 1"]
        await saver.acheckout("t", messages[3].id)
        assert len(texts(graph)) == 4
        assert len(await saver.abranches("t")) == 3
        saver.close()

    asyncio.run(main())


def test_a_state_that_is_edited_counts_no_tokens_twice(where: str) -> None:
    """A removed message makes a branch; the messages that are repeated there are paid already."""
    saver = Saver(where)
    graph = graph_of(saver)
    graph.invoke(say("Where?"), config())
    graph.invoke(say("When?"), config())
    first = graph.get_state(config()).values["messages"][0]
    graph.update_state(config(), {"messages": [RemoveMessage(first.id)]})
    assert texts(graph) == ["yes 1", "When?", "yes 3"]
    assert [each.usage.input_tokens for each in saver._engine.store.usage()] == [6]
    saver.close()


def test_what_is_stored_late_does_not_move_the_leaf(where: str) -> None:
    """LangGraph's threads may store writes of a checkpoint after the next one."""
    saver = Saver(where)
    graph = graph_of(saver)
    for text in ("one", "two"):
        graph.invoke(say(text), config())
    late = list(graph.get_state_history(config()))[2]
    saver.put_writes(late.config, [("late", 1)], "another task")
    with saver.log("t") as log:
        assert [each.text for each in log.path(type=MessageEntry)] == texts(graph)
    graph.invoke(say("three"), config())
    with saver.log("t") as log:
        assert [each.text for each in log.path(type=MessageEntry)] == texts(graph)
    saver.close()


def test_writes_that_come_late_are_no_branch(where: str) -> None:
    """Neither does `checkout` end at them: the branch ends where its newest checkpoint is."""
    saver = Saver(where)
    graph = graph_of(saver)
    graph.invoke(say("one"), config())
    graph.invoke(say("two"), config())
    states = list(graph.get_state_history(config()))
    end = texts(graph)
    graph.invoke(say("other"), next(each.config for each in states if len(each.values["messages"]) == 2))
    before = [each.leaf for each in saver.branches("t")]
    assert len(before) == 2
    late = next(each for each in states if len(each.values["messages"]) == 3)  # of the branch that was left
    saver.put_writes(late.config, [("late", 1)], "another task")
    assert [each.leaf for each in saver.branches("t")] == before
    saver.checkout("t", late.config["configurable"]["checkpoint_id"])
    assert texts(graph) == end
    saver.close()


def test_prune_frees_space_and_the_thread_goes_on(where: str) -> None:
    """Only the newest checkpoint is left, with all that it had; the conversation can still be read."""
    saver = Saver(where)
    graph = graph_of(saver, asks=True)
    for number in range(4):
        graph.invoke(say("x" * 1000), config())
        if number < 3:
            graph.invoke(Command(resume=f"answer {number}"), config())
    before, size = graph.get_state(config()), size_of(saver)
    assert before.interrupts
    saver.prune(["t", "nobody"])
    assert graph.get_state(config()) == before._replace(parent_config=None)
    assert [each.config for each in saver.list(config())] == [before.config]
    assert size_of(saver) < size / 2
    saver.prune(["t"])
    graph.invoke(Command(resume="the last"), config())
    assert texts(graph)[-1] == "the last 7"
    with saver.log("t") as log:
        assert [each.text for each in log.path(type=MessageEntry)] == texts(graph)
        assert not log.findings
    with pytest.raises(ValueError, match="keep_latest"):
        saver.prune(["t"], strategy="other")
    saver.prune(["t"], strategy="delete")
    assert saver.get_tuple(config()) is None
    saver.close()


def size_of(saver: Any) -> int:
    """Returns how long the entries of thread "t" are."""
    with saver.log("t") as log:
        return sum(len(json.dumps(each.to_dict())) for _, each in log.records() if isinstance(each, convtree.Entry))


class Notes(TypedDict):
    """A state with a delta channel."""

    notes: Annotated[list[str], DeltaChannel(lambda old, new: [*old, *(note for some in new for note in some)])]


def test_delta_channels_survive_prune_and_delete_for_runs(where: str) -> None:
    """What a delta channel is made from stays, or is taken over by the checkpoint that follows."""
    saver = Saver(where)
    builder = StateGraph(Notes)
    builder.add_node("note", lambda state: {"notes": [str(len(state["notes"]))]})
    builder.add_edge(START, "note")
    graph = builder.compile(checkpointer=saver)
    for number in range(3):
        graph.invoke({"notes": [f"in {number}"]}, {**config(), "metadata": {"run_id": f"run-{number}"}})
    notes = graph.get_state(config()).values
    assert notes == {"notes": ["in 0", "1", "in 1", "3", "in 2", "5"]}
    saver.prune(["t"])
    assert graph.get_state(config()).values == notes
    saver.delete_for_runs(["run-0", "run-1"])
    assert graph.get_state(config()).values == notes
    assert {each.metadata["run_id"] for each in saver.list(config())} == {"run-2"}
    graph.invoke({"notes": ["more"]}, config())
    assert graph.get_state(config()).values["notes"][-2:] == ["more", "7"]
    saver.close()


def test_values_of_deleted_runs_stay_with_those_that_have_them(where: str) -> None:
    """A channel that did not change since is stored with the checkpoint that is deleted."""
    saver, versions = Saver(where), {"a": "1", "b": "1"}
    saver.put(config(), checkpoint("1", {"a": "kept", "b": 0}, versions), {"run_id": "one"}, versions)
    after = checkpoint("2", {"a": "kept", "b": 1}, {"a": "1", "b": "2"})
    saver.put(config(id="1"), after, {"run_id": "two"}, {"b": "2"})
    saver.put_writes(config(id="1"), [("a", 1)], "task")
    saver.put(config("other"), checkpoint("1", {}, {}), {"run_id": "one"}, {})
    saver.delete_for_runs(["one"])
    (found,) = saver.list(None)
    assert (found.checkpoint["channel_values"], found.parent_config) == ({"a": "kept", "b": 1}, None)
    assert saver._engine.store.count() == 1
    saver.close()


def test_a_copied_thread_is_another_one(where: str) -> None:
    """All of it, under an id of any text; and into a thread that is there already."""
    saver = Saver(where)
    graph = graph_of(saver, asks=True)
    graph.invoke(say("Where?"), config("a b"))
    saver.copy_thread("a b", "user@example.com")
    saver.copy_thread("nobody", "x")
    for thread in ("user@example.com", "a b"):
        assert graph.get_state(config(thread)).interrupts
        graph.invoke(Command(resume=thread), config(thread))
    assert [texts(graph, each)[-1] for each in ("a b", "user@example.com")] == ["a b 1", "user@example.com 1"]
    graph.invoke(say("Mine"), config("there"))
    saver.copy_thread("a b", "there")
    ids = [set(map(id_of, saver.list(config(each)))) for each in ("a b", "there")]
    assert ids[0] < ids[1]
    assert {each.config["configurable"]["thread_id"] for each in saver.list(None)} == {
        *("a b", "user@example.com", "there")
    }
    saver.close()


# --- what is stored ---


def test_what_the_serializer_refuses_never_ends_a_run(where: str) -> None:
    """Half an emoji and an integer of 70 bits are cleaned; too much is refused, and nothing was written."""
    saver = Saver(where)

    def node(state: MessagesState) -> Any:  # noqa: ARG001  # LangGraph passes it
        return {"messages": [ToolMessage("half \ud83d", tool_call_id="c", id="t"), AIMessage("ok", id="a")]}

    builder = StateGraph(MessagesState)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    graph = builder.compile(checkpointer=saver)
    graph.invoke(say("Where?"), config())
    assert texts(graph) == ["Where?", "half ?", "ok"]  # the question mark is pydantic's
    saver.put(config("n"), checkpoint("1", {"a": [2**70]}, {"a": "1"}), {}, {"a": "1"})
    assert saver.get_tuple(config("n")).checkpoint["channel_values"] == {"a": [str(2**70)]}
    with pytest.raises(convtree.InvalidMessage, match="limit"):
        saver.put(config("n", id="1"), checkpoint("2", {"a": "x" * 17_000_000}, {"a": "2"}), {}, {"a": "2"})
    assert id_of(saver.get_tuple(config("n"))) == "1"
    saver.close()


BIG, AS_TEXT = 2**70, str(2**70)


@dataclass(frozen=True)
class Found:
    """A state that is a dataclass."""

    what: Any
    kept: Any = None


class Point(NamedTuple):
    """A named tuple."""

    x: Any
    y: int


class Model(BaseModel):
    """A model of pydantic."""

    what: Any
    kept: int = 5


class Size(Enum):
    """An enumeration."""

    HUGE = BIG
    SMALL = 1


SAME = Found(1, {2})
KINDS: list[tuple[Any, Any, str]] = [
    (BIG, AS_TEXT, "a"),
    ({"x": [BIG, Size.SMALL]}, {"x": [AS_TEXT, Size.SMALL]}, "a.x[0]"),
    ({BIG: 1, AS_TEXT: 2}, {AS_TEXT + "_": 1, AS_TEXT: 2}, "a"),
    ((1, BIG), (1, AS_TEXT), "a[1]"),
    ({BIG}, {AS_TEXT}, "a[0]"),
    (deque([BIG]), deque([AS_TEXT]), "a[0]"),
    (Point(BIG, 1), Point(AS_TEXT, 1), "a.x"),
    (Found(BIG, SAME), Found(AS_TEXT, SAME), "a.what"),
    (Model(what={"n": BIG}), Model(what={"n": AS_TEXT}), "a.what.n"),
    (Size.HUGE, AS_TEXT, "a"),
    (Command(update={"n": BIG}), Command(update={"n": AS_TEXT}), "a.update.n"),
    (Send("tools", {"args": {"n": BIG}}), Send("tools", {"args": {"n": AS_TEXT}}), "a.arg.args.n"),
    (
        [ToolMessage("ok", tool_call_id="c", id="t", artifact=[BIG])],
        [ToolMessage("ok", tool_call_id="c", id="t", artifact=[AS_TEXT])],
        "a[0].artifact[0]",
    ),
]


@pytest.mark.parametrize(("value", "expected", "place"), KINDS, ids=lambda each: type(each).__name__)
def test_an_integer_of_70_bits_is_cleaned_in_all_that_the_serializer_takes(
    value: Any, expected: Any, place: str
) -> None:
    """As a value of a channel, in a write, and in what is sent to a node; and the entry says what was changed."""
    saver = Saver("memory:")
    saver.put(config(), checkpoint("1", {"a": value}, {"a": "1"}), {}, {"a": "1"})
    saver.put_writes(config(id="1"), [("a", value), ("b", 1)], "task")
    found = saver.get_tuple(config())
    expected = saver.serde.loads_typed(saver.serde.dumps_typed(expected))  # tuples come back as lists
    assert found.checkpoint["channel_values"] == {"a": expected}
    assert found.pending_writes == [("task", "a", expected), ("task", "b", 1)]
    with saver.log("t") as log:
        cleaned = [each.data["cleaned"] for each in log.path(type=convtree.ExtensionDataEntry)]
    assert cleaned == [[f"{place}: an integer beyond 64 bits became a text"]] * 2
    saver.close()


def test_what_contains_itself_is_refused_as_by_langgraph() -> None:
    """Cleaning ends, and the error is the serializer's."""
    saver, some, named = Saver("memory:"), list[Any]([BIG]), dict[Any, Any]({BIG: 1})
    some.append(some)
    named["again"] = named
    for value in (some, named):
        with pytest.raises(TypeError):
            saver.put(config(), checkpoint("1", {"a": value}, {"a": "1"}), {}, {"a": "1"})
    assert saver.get_tuple(config()) is None
    saver.close()


@pytest.mark.parametrize("argument", [BIG, float("nan"), "half \ud83d", {"half \ud83d": 1}, {(1, 2): {3}}])
def test_arguments_of_a_tool_never_end_a_run(argument: Any, where: str) -> None:
    """The agent sends its call to the tools, and the tool's result has what JSON cannot hold, too."""

    def call(state: MessagesState) -> Any:  # noqa: ARG001  # LangGraph passes it
        asked: Any = {"name": "count", "args": {"n": argument}, "id": "c"}
        return {"messages": [AIMessage("", tool_calls=[asked], id="a")]}

    def tools(sent: Any) -> Any:
        return {"messages": [ToolMessage("ok", tool_call_id="c", id="t", artifact=sent["call"]["args"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("call", call)
    builder.add_node("tools", tools)
    builder.add_edge(START, "call")
    builder.add_conditional_edges(
        "call", lambda state: [Send("tools", {"call": state["messages"][-1].tool_calls[0]})], ["tools"]
    )
    saver = Saver(where)
    graph = builder.compile(checkpointer=saver)
    graph.invoke(say("How many?"), config())
    assert texts(graph) == ["How many?", "", "ok"]
    with saver.log("t") as log:
        assert [each.role for each in log.path(type=MessageEntry)] == ["user", "assistant", "tool"]
        found = [bool((each.extra or {}).get("cleaned")) for each in log.path(type=MessageEntry)]
    assert found == [False, *([argument != {(1, 2): {3}}] * 2)]
    saver.close()


def test_what_is_too_long_is_refused_with_its_place(where: str) -> None:
    """The error names the message of the state, or the channel, or the task that wrote it."""
    saver, long = Saver(where), "x" * 17_000_000
    state = {"messages": [HumanMessage("one", id="1"), HumanMessage(long, id="2"), HumanMessage("three", id="3")]}
    saver.put(config(), checkpoint("1", {"messages": state["messages"][:1]}, {"messages": "1"}), {}, {"messages": "1"})
    with pytest.raises(convtree.InvalidMessage, match=r"^checkpoint '2', messages\[1\]: .* limit") as refused:
        saver.put(config(id="1"), checkpoint("2", state, {"messages": "2"}), {}, {"messages": "2"})
    assert refused.value.place == "checkpoint '2', messages[1]"
    values = {"a": 1, "b": long[:13_000_000]}  # a third more in base64
    with pytest.raises(convtree.InvalidMessage, match=r"^checkpoint '2', channel 'b': .* limit"):
        saver.put(config(id="1"), checkpoint("2", values, {"a": "1", "b": "1"}), {}, {"a": "1", "b": "1"})
    with pytest.raises(convtree.InvalidMessage, match=r"^writes of task 'k' at checkpoint '1', channel 'b': .* limit"):
        saver.put_writes(config(id="1"), [("a", 1), ("b", long)], "k")
    assert id_of(saver.get_tuple(config())) == "1"
    assert not saver.get_tuple(config()).pending_writes
    saver.close()


def test_what_is_no_json_comes_back_whole(where: str) -> None:
    """The artifact of a tool is an object: people see its text, LangGraph gets it back."""
    message = ToolMessage("sunny", tool_call_id="c", id="t", artifact={"raw": b"\x00", "set": {1}})
    store = open_store(where, create=True)
    Saver(store).put(config(), checkpoint("1", {"messages": [message]}, {"messages": "1"}), {}, {"messages": "1"})
    saver = Saver(store)
    assert saver.get_tuple(config()).checkpoint["channel_values"] == {"messages": [message]}
    with saver.log("t") as log:
        (entry,) = log.path(type=MessageEntry)
        assert (entry.role, entry.message["content"]) == ("tool", "sunny")
    store.close()


def test_what_is_encrypted_is_not_stored_in_plain_text(tmp_path: Path) -> None:
    """With a serializer of the user's, messages are what that writes, and nothing else."""
    pytest.importorskip("Crypto")
    saver = Saver(tmp_path, serde=EncryptedSerializer.from_pycryptodome_aes(key=b"1234567890123456"))
    graph = graph_of(saver)
    graph.invoke(say("a secret"), config())
    assert texts(graph) == ["a secret", "yes 1"]
    saver.close()
    assert not any(b"secret" in path.read_bytes() for path in tmp_path.iterdir() if path.is_file())


def test_what_others_do_to_the_session_is_not_in_the_state(where: str) -> None:
    """A message that was appended to the session, a label, and a vacuum."""
    store = open_store(where, create=True)
    graph = graph_of(Saver(store))
    graph.invoke(say("Where?"), config())
    with store.session("t") as log:
        note = log.append({"role": "user", "content": "a note of mine"})
        log.label(note.id, "mine")
    assert texts(graph) == ["Where?", "yes 1"]
    graph.invoke(say("When?"), config())
    with store.session("t") as log:
        assert [each.text for each in log.path(type=MessageEntry)] == ["Where?", "yes 1", "When?", "yes 3"]
    store.vacuum("t", dry_run=False)
    assert texts(graph) == ["Where?", "yes 1", "When?", "yes 3"]
    graph.invoke(say("How?"), config())
    assert texts(graph)[4:] == ["How?", "yes 5"]
    store.close()


def test_a_store_that_was_given_stays_open(tmp_path: Path) -> None:
    """One that was opened by path is closed with its last user."""
    with open_store(tmp_path) as given:
        saver = Saver(given)
        graph_of(saver).invoke(say("Where?"), config(7))
        saver.close()
        saver.close()
        assert given.count() == 1
        assert texts(graph_of(Saver(given)), "7") == ["Where?", "yes 1"]
    one, two = Saver(tmp_path), Saver(tmp_path)
    one.close()
    assert texts(graph_of(two), 7) == ["Where?", "yes 1"]


def test_every_call_of_a_closed_saver_raises(place: str) -> None:
    """Also while another one has its store open, and in a list that was begun before."""
    with Saver(place) as other:
        with Saver(place) as saver:
            graph_of(saver).invoke(say("Where?"), config())
            begun = saver.list(config())
            next(begun)
        new = checkpoint("1", {}, {})
        calls: list[Callable[[], Any]] = [
            lambda: saver.get_tuple(config()),
            lambda: saver.list(config()),
            lambda: next(begun),
            lambda: saver.put(config(), new, {}, {}),
            lambda: saver.put_writes(config(id="1"), [("a", 1)], "task"),
            lambda: saver.get_delta_channel_history(config=config(), channels=["a"]),
            lambda: saver.delete_thread("t"),
            lambda: saver.delete_for_runs(["run"]),
            lambda: saver.copy_thread("t", "u"),
            lambda: saver.prune(["t"]),
            lambda: saver.log("t"),
            lambda: saver.branches("t"),
            lambda: saver.branch("t", None),
            lambda: saver.checkout("t", "x"),
            lambda: asyncio.run(saver.aget_tuple(config())),
            lambda: asyncio.run(saver.aput(config(), new, {}, {})),
        ]
        for call in calls:
            with pytest.raises(RuntimeError, match="ConvtreeSaver is closed"):
                call()
        assert texts(graph_of(other)) == ["Where?", "yes 1"]


def test_damage_is_said_and_not_passed_over(tmp_path: Path) -> None:
    """A state that lost a message would go on as if it had never been."""
    saver = Saver(tmp_path)
    graph_of(saver).invoke(say("Where?"), config())
    saver.close()
    (path,) = tmp_path.glob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    (at,) = [number for number, line in enumerate(lines) if b'"type":"message"' in line and b"Where?" in line]
    lines[at] = lines[at].replace(b"Where?", b"Whe\x00e?")
    path.write_bytes(b"".join(lines))
    for index in tmp_path.glob("*.index"):
        index.unlink()
    saver = Saver(tmp_path)
    with pytest.raises(convtree.ConvtreeError):
        saver.get_tuple(config())
    saver.close()


# --- at the same time, crashes and cancelling ---


def test_what_another_process_does_between_two_writes(place: str) -> None:
    """Its checkpoint and its writes are found; a thread that it erased begins anew."""
    with open_store(place, create=True) as store, open_store(place) as other:
        ours, theirs = Saver(store), Saver(other)
        ours.put(config(), checkpoint("1", {"a": 1}, {"a": 1}), {}, {"a": 1})
        theirs.put(config(id="1"), checkpoint("2", {"a": 2}, {"a": 2}), {}, {"a": 2})
        ours.put_writes(config(id="2"), [("a", 3)], "task")
        theirs.put_writes(config(id="2"), [("a", 4)], "task")  # the same place: the first one counts
        ours.put(config(id="2"), checkpoint("3", {"a": 2}, {"a": 2}), {}, {})
        for saver in (ours, theirs):
            assert list(map(id_of, saver.list(config()))) == ["3", "2", "1"]
            assert saver.get_tuple(config(id="2")).pending_writes == [("task", "a", 3)]
            assert saver.get_tuple(config()).checkpoint["channel_values"] == {"a": 2}
        theirs.delete_thread(config()["configurable"]["thread_id"])
        ours.put(config(), checkpoint("4", {"a": 5}, {"a": 5}), {}, {"a": 5})
        assert list(map(id_of, theirs.list(config()))) == ["4"]


def test_writers_at_the_same_time_lose_nothing(place: str) -> None:
    """Two stores, four threads: every checkpoint and every write is there, and the newest is the greatest."""
    savers = [Saver(place), Saver(open_store(place, create=True))]

    def write(number: int) -> None:
        saver = savers[number % 2]
        for each in range(8):
            id = f"{each}-{number}"
            saver.put(config(), checkpoint(id, {"a": id}, {"a": id}), {"step": each}, {"a": id})
            saver.put_writes(config(id="0"), [("a", id)], id)

    savers[0].put(config(), checkpoint("0", {}, {}), {}, {})
    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    ids = [f"{each}-{number}" for each in range(8) for number in range(4)]
    for saver in (*savers, Saver(place)):
        assert list(map(id_of, saver.list(config()))) == sorted([*ids, "0"], reverse=True)
        assert id_of(saver.get_tuple(config())) == "7-3"
        assert [task for task, _, _ in saver.get_tuple(config(id="0")).pending_writes] == ids
    savers[1]._engine.store.close()


WRITER = """
import sys
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from convtree.adapters.langgraph import ConvtreeSaver
saver, config = ConvtreeSaver(sys.argv[1]), {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
messages = []
for number in range(100000):
    messages += [HumanMessage(f"{number}-{part}", id=f"{number}-{part}") for part in range(3)]
    version = {"messages": f"{number:06}"}
    checkpoint = {**empty_checkpoint(), "channel_values": {"messages": messages}, "channel_versions": version}
    config = saver.put(config, checkpoint | {"id": f"{number:06}"}, {"step": number}, version)
    saver.put_writes(config, [("messages", [number])], "task")
    print(number, flush=True)
"""


def test_a_killed_writer_loses_nothing_and_stores_no_half(place: str) -> None:
    """A checkpoint that was acknowledged is there with its writes, and every one with all of its messages."""
    acknowledged = killed_while_writing(WRITER, place)
    saver = Saver(place)
    found = list(saver.list(config()))[::-1]
    assert len(found) > acknowledged
    for number, each in enumerate(found):
        said = [message.content for message in each.checkpoint["channel_values"]["messages"]]
        assert said == [f"{before}-{part}" for before in range(number + 1) for part in range(3)]
        assert each.pending_writes == [("task", "messages", [number])] or number > acknowledged
    saver.put(found[-1].config, checkpoint("zz", {"a": 1}, {"a": "1"}), {}, {"a": "1"})
    assert id_of(saver.get_tuple(config())) == "zz"
    saver.close()


RACER = """
import sys
from langgraph.checkpoint.base import empty_checkpoint
from convtree.adapters.langgraph import ConvtreeSaver
saver, me = ConvtreeSaver(sys.argv[1]), sys.argv[2]
sys.stdin.readline()
for number in range(12):
    config = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    checkpoint = {**empty_checkpoint(), "id": f"{number:02}-{me}"}
    saver.put_writes(saver.put(config, checkpoint, {"step": number}, {}), [("a", me)], me)
"""


def test_racing_processes_lose_nothing(place: str) -> None:
    """Two processes write one thread at the same time."""
    Saver(place).put(config(), checkpoint("00", {}, {}), {}, {})
    command = [sys.executable, "-c", RACER, place]
    racers = [subprocess.Popen([*command, me], stdin=subprocess.PIPE, text=True) for me in "ab"]
    for each in racers:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    for each in racers:
        each.communicate()
        assert each.returncode == 0
    saver = Saver(place)
    ids = ["00", *(f"{number:02}-{me}" for number in range(12) for me in "ab")]
    assert list(map(id_of, saver.list(config()))) == sorted(ids, reverse=True)
    assert all(len(each.pending_writes) == 1 for each in saver.list(config()) if id_of(each) != "00")
    saver.close()


def test_a_cancelled_caller_waits_for_the_outcome(place: str) -> None:
    """So when the cancellation arrives, the checkpoint is stored or will never be."""

    async def main() -> None:
        saver, outcomes = Saver(place), set()
        await saver.aput(config(), checkpoint("00", {}, {}), {}, {})
        for number in range(1, 30):
            id = f"{number:02}"
            task = asyncio.create_task(saver.aput(config(), checkpoint(id, {}, {}), {}, {}))
            for _ in range(number % 3):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            seen = id_of(await saver.aget_tuple(config()))
            await asyncio.sleep(0.002)
            assert id_of(await saver.aget_tuple(config())) == seen
            outcomes.add(seen == id)
        assert True in outcomes
        saver.close()

    asyncio.run(main())


def test_people_can_read_it(tmp_path: Path) -> None:
    """`convtree inspect`, `search` and `export` show a thread."""
    saver = Saver(tmp_path)
    graph_of(saver).invoke(say("Where shall we go by train?"), config())
    saver.close()
    (path,) = map(str, tmp_path.glob("*.jsonl"))
    for command, text in (
        (["inspect", path], "yes 1"),
        (["search", "-s", str(tmp_path), "train"], "by train"),
        (["export", path, "--to", "markdown"], "Where shall we go by train?"),
        (["export", path, "--to", "claude-code"], "yes 1"),
    ):
        assert text in printed(*command)


def test_the_example_runs() -> None:
    """The example does what its comments say; it has assertions."""
    assert example("langgraph_adapter.py").stderr == ""


class Three(TypedDict):
    """A state with several channels."""

    a: int
    b: int
    c: int
    answer: int


def test_the_guide_moves_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every state of a thread is the same afterwards, and the graph goes on."""
    graphs = pytest.importorskip("langgraph.graph")
    sqlite = pytest.importorskip("langgraph.checkpoint.sqlite")
    monkeypatch.chdir(tmp_path)
    config = {"configurable": {"thread_id": "trip"}}
    waiting: Any = {"configurable": {"thread_id": "waiting"}}

    def asking(saver: Any) -> Any:
        """A task of this graph has several writes, which wait for another task."""
        builder = graphs.StateGraph(Three)
        builder.add_node("done", lambda _: {"a": 1, "b": 2, "c": 3})
        builder.add_node("ask", lambda _: {"answer": interrupt("?")})
        return builder.add_edge(graphs.START, "done").add_edge(graphs.START, "ask").compile(checkpointer=saver)

    def graph(saver: Any) -> Any:
        builder = graphs.StateGraph(graphs.MessagesState)
        builder.add_node("answer", lambda _: {"messages": [("ai", "Rome")]})
        return builder.add_edge(graphs.START, "answer").compile(checkpointer=saver)

    def states(saver: Any) -> list[Any]:
        return [(each.values, each.next, each.config) for each in graph(saver).get_state_history(config)]

    with sqlite.SqliteSaver.from_conn_string("threads.db") as old:
        for text in ("Where?", "Again?"):
            graph(old).invoke({"messages": [("user", text)]}, config)
        before = states(old)
        asking(old).invoke({"a": 0, "b": 0, "c": 0, "answer": 0}, waiting)
        pending = old.get_tuple(waiting).pending_writes
        assert len(pending) >= 4
    run_block("SqliteSaver", "ConvtreeSaver")
    new = adapter.ConvtreeSaver("threads")
    assert states(new) == before
    by_task = itemgetter(
        0
    )  # LangGraph goes by the task, and the order of tasks is by their paths, which no saver gives
    assert sorted(new.get_tuple(waiting).pending_writes, key=by_task) == sorted(pending, key=by_task)
    assert asking(new).invoke(Command(resume=9), waiting) == {"a": 1, "b": 2, "c": 3, "answer": 9}
    said = graph(new).invoke({"messages": [("user", "More?")]}, config)["messages"]
    assert [each.content for each in said] == ["Where?", "Rome", "Again?", "Rome", "More?", "Rome"]
