"""Turns: how the entries of a path are grouped for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from convtree import (
    BranchSummaryEntry,
    CompactionEntry,
    ExtensionDataEntry,
    LostEntry,
    MessageEntry,
    ModelChangeEntry,
    VacuumEntry,
)
from convtree._formats.documents.turns import Item, Model, NewModel, Single, Turn, Turns, seconds_between
from convtree._model.entries import Entry
from convtree._model.usage import Usage


def said(role: str, content: Any, second: int | None = None, **fields: Any) -> MessageEntry:
    time = None if second is None else f"2026-01-01T10:00:{second:02}Z"
    return MessageEntry(message={"role": role, "content": content}, timestamp=time, **fields)


def calls(*names: str, text: str = "", second: int | None = None, **fields: Any) -> MessageEntry:
    blocks: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    blocks += [{"type": "tool_use", "id": f"{name}{at}", "name": name, "input": {}} for at, name in enumerate(names)]
    return said("assistant", blocks, second, **fields)


def results(*ids: str, second: int | None = None, failed: bool = False) -> MessageEntry:
    blocks = [{"type": "tool_result", "tool_use_id": id, "content": "done", "is_error": failed} for id in ids]
    return said("user", blocks, second)


def grouped(*entries: Entry | None, **marks: Any) -> list[Item]:
    return [*Turns(marks.get("visibility", {}), marks.get("model", Model())).group(enumerate(entries))]


def the_turn(*entries: Entry) -> Turn:
    items = grouped(*entries)
    assert len(items) == 1
    assert isinstance(items[0], Turn)
    return items[0]


def test_a_turn_has_prompt_tools_answer_times_and_usage() -> None:
    """All that follows a prompt is summed. The answer is the last message of the model that has a text."""
    turn = the_turn(
        said("user", "Fix it", 0),
        calls("read", "read", text="Let me look.", second=2, usage={"input_tokens": 10, "output_tokens": 2}),
        results("read0", second=3),
        results("read1", second=6, failed=True),
        calls("edit", second=9, usage={"input_tokens": 20, "output_tokens": 3}),
        results("edit0", second=11),
        said("assistant", "Fixed.", 12, usage={"input_tokens": 30, "output_tokens": 4, "cost": 0.5}),
        ExtensionDataEntry(ext_type="note", data=1),
    )
    assert (turn.asked, turn.answered, turn.prompt_row, turn.answer_row) == ("Fix it", "Fixed.", 0, 6)
    assert (turn.tools, turn.results, turn.failed) == ({"read": 2, "edit": 1}, 3, 1)
    assert turn.tool_seconds == 6.0
    assert turn.usage == Usage(input_tokens=60, output_tokens=9, cost=0.5)
    assert (turn.begun, turn.ended) == ("2026-01-01T10:00:00Z", "2026-01-01T10:00:12Z")
    assert turn.rows == [*range(8)]


def test_each_prompt_begins_a_turn() -> None:
    """Results of tools do not, though they are messages of the user in some shapes. An empty message does."""
    items = grouped(said("user", "a"), said("user", ""), calls("x"), results("x0"), said("user", "c"))
    assert [item.asked for item in items if isinstance(item, Turn)] == ["a", "", "c"]
    assert [item.rows for item in items if isinstance(item, Turn)] == [[0], [1, 2, 3], [4]]


def test_a_result_with_words_of_the_user_is_a_prompt() -> None:
    """The user has interrupted the tools."""
    block = {"type": "tool_result", "tool_use_id": "x0", "content": "no"}
    items = grouped(calls("x"), said("user", [block, {"type": "text", "text": "Stop!"}]))
    assert [(item.asked, item.tools) for item in items if isinstance(item, Turn)] == [("", {"x": 1}), ("Stop!", {})]


def test_images_documents_and_the_unknown_are_named() -> None:
    """No part of a prompt is left out without a word."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    turn = the_turn(said("user", [image, {"type": "text", "text": "What is this?"}, {"type": "hologram"}]))
    assert turn.asked == "[image] What is this? [not understood: a block of the type 'hologram']"


def test_what_stands_alone_ends_a_turn() -> None:
    """What the model says after it is a turn without a prompt."""
    alone: list[Entry | None] = [
        said("system", "Be kind."),
        said("moderator", "Calm down."),
        CompactionEntry(summary="S", first_kept_entry_id=None),
        BranchSummaryEntry(from_id=None, summary="S"),
        LostEntry(),
        None,
    ]
    for each in alone:
        items = grouped(said("user", "a"), each, said("assistant", "b"))
        assert [type(item) for item in items] == [Turn, Single, Turn]
        assert items[1] == Single(1, each)
        assert isinstance(items[2], Turn)
        assert (items[2].prompt, items[2].answered) == (None, "b")


def test_hidden_messages_are_counted() -> None:
    """A message that a person does not see is no prompt and no answer. What a mark says counts."""
    entries = [said("user", "a"), said("user", "note", visible_to="model"), said("assistant", "b")]
    (turn,) = grouped(*entries)
    assert isinstance(turn, Turn)
    assert (turn.asked, turn.answered, turn.hidden) == ("a", "b", 1)
    shown = grouped(*entries, visibility={1: ("all", None), 2: ("nobody", None)})
    assert [(each.asked, each.answered, each.hidden) for each in shown if isinstance(each, Turn)] == [
        ("a", "", 0),
        ("note", "", 1),
    ]


def test_only_another_model_is_a_change() -> None:
    """It comes before the turn in which it happens. A provider that is not named may be any."""
    turns = Turns({})
    entries = [
        ModelChangeEntry(provider="x", model="one"),
        ModelChangeEntry(provider="x", model="one", settings={"thinking": "high"}),
        said("user", "a"),
        said("assistant", "b", model="one"),
        said("user", "c"),
        said("assistant", "d", provider="x", model="two"),
        VacuumEntry(provider="y", model="two"),
        ModelChangeEntry(provider="z", model="three"),
    ]
    found = [item for item in turns.group(enumerate(entries)) if isinstance(item, NewModel)]
    one, two, other, three = Model("x", "one"), Model("x", "two"), Model("y", "two"), Model("z", "three")
    assert found == [
        NewModel(0, Model(), one),
        NewModel(5, one, two),
        NewModel(6, two, other),
        NewModel(7, other, three),
    ]
    assert turns.model == three


def test_a_change_after_an_answer_ends_the_turn() -> None:
    """What was said before was not said by the new model."""
    two = ModelChangeEntry(provider="x", model="two")
    items = grouped(said("user", "a"), said("assistant", "b", model="one"), two, said("assistant", "c"))
    assert [type(item) for item in items] == [NewModel, Turn, NewModel, Turn]
    assert [item.answered for item in items if isinstance(item, Turn)] == ["b", "c"]


def test_notes_alone_are_a_silent_turn() -> None:
    """Nobody said anything, but the entries are there."""
    (turn,) = grouped(ExtensionDataEntry(ext_type="note", data=1))
    assert isinstance(turn, Turn)
    assert (turn.is_silent, turn.rows) == (True, [0])


def test_why_an_answer_stopped() -> None:
    """The word of the entry, or that of the tool."""
    assert the_turn(said("assistant", "Ro", status="interrupted")).stopped == "interrupted"
    failed = {"role": "assistant", "content": [], "stopReason": "error", "errorMessage": "overloaded"}
    assert the_turn(MessageEntry(message=failed)).stopped == "error: overloaded"
    assert the_turn(MessageEntry(message=failed | {"stopReason": "aborted"})).stopped == "aborted"
    assert the_turn(said("assistant", "Rome")).stopped is None


def test_times_that_are_none() -> None:
    """A time that is missing, or is no time, gives no seconds."""
    noon = "2026-01-01T12:00:00Z"
    for earlier, later in ((None, noon), (noon, None), ("noon", noon), ("2026-01-01T12:00:00", noon)):
        assert seconds_between(earlier, later) is None
    assert seconds_between(noon, "2026-01-01T14:00:01+01:00") == 3601.0


ENTRIES = st.sampled_from(
    [
        said("user", "a"),
        said("assistant", "b", model="m"),
        calls("x"),
        results("x0"),
        said("system", "s"),
        said("user", "h", visible_to="nobody"),
        ModelChangeEntry(provider="p", model="n"),
        ExtensionDataEntry(ext_type="e", data=1),
        LostEntry(),
        None,
    ]
)


@given(st.lists(ENTRIES, max_size=30))
def test_every_entry_is_in_one_item(entries: list[Entry | None]) -> None:
    """In the order of the path, whatever comes after what; each prompt is shown once."""
    items = grouped(*entries)
    assert [*rows_of(items)] == [*range(len(entries))]
    prompts = [entry for entry in entries if isinstance(entry, MessageEntry) and entry.message["content"] == "a"]
    assert [item.prompt for item in items if isinstance(item, Turn) and item.prompt is not None] == prompts


def rows_of(items: Iterable[Item]) -> Iterable[int]:
    for item in items:
        if isinstance(item, Turn):
            yield from item.rows
        elif isinstance(item, Single):
            yield item.row
