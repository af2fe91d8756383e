"""`convtree browse`: the application as a person uses it, over real logs and stores."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import Hand, browse
from helpers import assistant, log_of, node, user

import convtree
from convtree import Session

MINUTE = 60 * 10**9
BEGIN = 30_000_000 * MINUTE  # 15 January 2027, 08:00 UTC


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The clock of the terminal is that of Greenwich."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def calls(name: str, id: str, **arguments: object) -> dict[str, object]:
    """An answer that calls a tool."""
    return {"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": name, "input": arguments}]}


def result(id: str, text: str) -> dict[str, object]:
    """The result of a call."""
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": text}]}


@pytest.fixture
def trip(tmp_path: Path) -> Path:
    """A conversation with tools, two answers to one question, and a third question."""
    path = tmp_path / "trip.jsonl"
    ids, clock = (f"e{number}" for number in itertools.count(1)), itertools.count(BEGIN, MINUTE)
    with Session.open(path, id="s", name="Trip", clock=lambda: next(clock), id_source=lambda: next(ids)) as session:
        question = session.append(user("Where shall we go?"))
        session.append(assistant("To Oslo."))
        session.append(assistant("To **Rome**."), parent_id=question.id)
        session.append(user("What is there?"))
        session.append_many([calls("read", "a", path="rome.md"), result("a", "A forum."), calls("read", "b", path="x")])
        session.append_many([result("b", "An aqueduct."), calls("bash", "c", command="ls"), result("c", "rome.md")])
        session.append(assistant("A forum and an aqueduct."))
        session.append(user("Three days, then."))
    return path


TURNS = """\
Trip                                                                      turns
● you       Where shall we go?                                      01-15 08:01
  ○ answer    To Oslo.                                              01-15 08:02
● answer    To **Rome**.                                            01-15 08:03
● you       What is there?                                          01-15 08:04
▸ 3 tools   (2 min) read \N{MULTIPLICATION SIGN}2, bash                                   01-15 08:05
● answer    A forum and an aqueduct.                                01-15 08:09
◉ you       Three days, then.                                       01-15 08:10"""


def shown(hand: Hand) -> str:
    """The screen as one text, without empty lines at its end."""
    return "\n".join(hand.lines).rstrip()


def test_the_tree_by_turn(trip: Path) -> None:
    """Prompts and answers have lines, tools one together. Side branches come first. The cursor is at the leaf."""

    async def steps(hand: Hand) -> None:
        assert shown(hand) == TURNS
        assert hand.at.startswith("◉ you       Three days")

    browse(trip, steps)


def test_folding(trip: Path) -> None:
    """Tools are folded until they are asked for. Turns and side branches can be folded, and everything at once."""

    async def steps(hand: Hand) -> None:
        await hand.press("up", "up", "space")
        assert [line.split("  01-")[0].rstrip() for line in hand.lines[5:12]] == [
            "▾ 3 tools   (2 min) read \N{MULTIPLICATION SIGN}2, bash",
            "  ● calls     calls read",
            "  ● result    A forum.",
            "  ● calls     calls read",
            "  ● result    An aqueduct.",
            "  ● calls     calls bash",
            "  ● result    rome.md",
        ]
        await hand.press("left")
        assert shown(hand) == TURNS
        await hand.press("left")  # nothing to fold: the cursor goes to the prompt
        assert hand.at.startswith("● you       What is there?")
        await hand.press("space")
        assert hand.lines[4] == "▸ you       What is there?                                      +7  01-15 08:04"
        await hand.press("minus")
        assert [line[:11].rstrip() for line in hand.lines[1:6]] == ["● you", "  ▸ answer", "● answer", "▸ you", "◉ you"]
        await hand.press("plus")
        assert len([line for line in hand.lines[1:] if line]) == 13

    browse(trip, steps)


def test_filters(trip: Path) -> None:
    """Prompts only, no tools, everything, turns. The cursor stays on its entry, or on the one above it."""

    async def steps(hand: Hand) -> None:
        await hand.press("up")
        await hand.press("2")
        assert [line.split("  01-")[0][12:].rstrip() for line in hand.lines[1:5]] == [
            "Where shall we go?",
            "What is there?",
            "Three days, then.",
            "",
        ]
        assert hand.at.startswith("● you       What is there?")
        await hand.press("3")
        assert len([line for line in hand.lines[1:] if line]) == 6
        await hand.press("4")
        assert len([line for line in hand.lines[1:] if line]) == 12
        await hand.press("1")
        assert shown(hand) == TURNS

    browse(trip, steps)


def test_search_as_you_type(trip: Path) -> None:
    """Only entries with the text are listed, whatever is folded, and also those with it in a result or an argument."""

    async def steps(hand: Hand) -> None:
        await hand.press("slash")
        await hand.type("AQUEDUCT")
        assert [line.split("  01-")[0].rstrip() for line in hand.lines[:4]] == [
            "Trip" + " " * 61 + "turns, 2 found",
            "● result    An aqueduct.",
            "● answer    A forum and an aqueduct.",
            "",
        ]
        await hand.press("enter", "up")
        assert hand.at.startswith("● result")
        await hand.press("escape")
        assert shown(hand) == TURNS
        assert hand.at.startswith("▸ 3 tools")
        await hand.press("slash")
        await hand.press("x", "backspace")
        assert shown(hand).startswith(TURNS)

    browse(trip, steps)


def test_jumps_between_prompts_and_alternatives(trip: Path) -> None:
    """`p` and `n` go to prompts, brackets to alternatives, also to one on a folded branch."""

    async def steps(hand: Hand) -> None:
        await hand.press("p", "p", "n")
        assert hand.at.startswith("● you       What is there?")
        await hand.press("p", "p")
        assert hand.at.startswith("● you       Where shall we go?")
        await hand.press("down", "space", "down")
        await hand.press("left_square_bracket")
        assert hand.at.startswith("▸ answer    To Oslo.")
        await hand.press("left_square_bracket")
        assert hand.said == ["no further alternative here"]
        await hand.press("right_square_bracket")
        assert hand.at.startswith("● answer    To **Rome**.")

    browse(trip, steps)


MESSAGE = """\
Trip                                                                      turns
assistant, 2027-01-15 08:03:00
alternative 2/2
id e3

To Rome."""


def test_a_message(trip: Path) -> None:
    """Markdown is drawn. A group of tools shows all calls and results. Escape comes back."""

    async def steps(hand: Hand) -> None:
        await hand.press("home", "down", "down", "enter")
        assert shown(hand) == MESSAGE
        await hand.resize(80, 60)
        await hand.press("escape", "down", "down", "enter")
        text = shown(hand)
        assert "▾ calls read\n{\n" in text
        assert "▾ result of read\nA forum." in text
        assert "▾ result of bash\nrome.md" in text
        await hand.press("escape")
        assert shown(hand) == TURNS

    browse(trip, steps)


def test_thinking_is_folded(tmp_path: Path) -> None:
    """It is shown when it is asked for."""
    thought = {"type": "thinking", "thinking": "Which road?", "signature": "x"}
    with Session.open(tmp_path / "log.jsonl") as session:
        session.append({"role": "assistant", "content": [thought, {"type": "text", "text": "All roads."}]})

    async def steps(hand: Hand) -> None:
        await hand.press("enter")
        assert hand.lines[5:8] == ["▸ thinking (11 characters, x unfolds)", "", "All roads."]
        await hand.press("x")
        assert hand.lines[5:9] == ["▾ thinking", "Which road?", "", "All roads."]

    browse(tmp_path / "log.jsonl", steps)


def test_looking_changes_nothing(trip: Path) -> None:
    """Neither the log nor its folder."""
    before = trip.read_bytes(), sorted(os.listdir(trip.parent))

    async def steps(hand: Hand) -> None:
        await hand.press("up", "enter", "escape", "minus", "2", "4", "slash", "a", "escape", "n", "y")

    browse(trip, steps)
    assert (trip.read_bytes(), sorted(os.listdir(trip.parent))) == before


def test_label_an_entry(trip: Path) -> None:
    """The label is in the log, on its line and in the message. An empty one clears it."""

    async def steps(hand: Hand) -> None:
        await hand.press("up", "l")
        await hand.type("the answer")
        await hand.press("enter")
        assert '("the answer") A forum' in hand.at
        with Session.open(trip, mode="r") as session:
            assert session.labels == {"e13": "the answer"}
        await hand.press("l", "escape")
        assert '("the answer") A forum' in hand.at
        await hand.press("l", *["backspace"] * 10, "enter")
        assert "answer    A forum" in hand.at

    browse(trip, steps)
    with Session.open(trip, mode="r") as session:
        assert session.labels == {}


def test_a_locked_log_is_reported(trip: Path) -> None:
    """What another process holds is not labelled; the application goes on."""

    async def steps(hand: Hand) -> None:
        trip.unlink()
        await hand.press("l", "x", "enter")
        assert len(hand.said) >= 1
        assert "trip.jsonl" in hand.said[0]
        assert hand.at.startswith("◉ you")

    browse(trip, steps)


def test_fork_a_log(trip: Path) -> None:
    """A new file with the path up to the entry, which is then shown. One that exists is not replaced."""
    target = trip.parent / "fork.jsonl"

    async def steps(hand: Hand) -> None:
        await hand.press("home", "down", "down", "f")
        await hand.type(str(target))
        await hand.press("enter")
        assert [line.split("  01-")[0].rstrip() for line in hand.lines[1:3]] == [
            "● you       Where shall we go?",
            "◉ answer    To **Rome**.",
        ]
        await hand.press("escape", "f")
        await hand.type(str(target))
        await hand.press("enter")
        assert "fork.jsonl" in hand.said[-1]
        assert hand.lines[4].startswith("● you       What is there?")

    browse(trip, steps)
    with Session.open(target, mode="r") as session:
        assert [entry.id for entry in session.path()] == ["e1", "e3"]


def test_export(trip: Path) -> None:
    """The ending of the name chooses the format. A file that exists, and another ending, are refused."""
    target = trip.parent / "trip.md"

    async def steps(hand: Hand) -> None:
        for name in (target, target, trip.parent / "trip.doc"):
            await hand.press("e")
            await hand.type(str(name))
            await hand.press("enter")
        assert hand.said[0] == f"written: {target}"
        assert "trip.md" in hand.said[1]
        assert hand.said[2] == "trip.doc: no format has this ending; use .html, .md or .json"

    browse(trip, steps)
    assert target.read_text().startswith("# Trip\n")


def test_copy_an_id_and_help(trip: Path) -> None:
    """The id goes to the clipboard of the terminal. `?` shows the keys."""

    async def steps(hand: Hand) -> None:
        await hand.press("y")
        assert (hand.app.clipboard, hand.said) == ("e14", ["copied: e14"])
        await hand.press("question_mark")
        assert any("copy its id" in line for line in hand.lines) or any("next and previous" in x for x in hand.lines)
        await hand.press("escape")
        assert hand.at.startswith("◉ you")

    browse(trip, steps)


def test_another_size(trip: Path) -> None:
    """From 100 columns on, the message is beside the tree. At 40, times are left out. Nothing is wider than that."""

    async def steps(hand: Hand) -> None:
        await hand.press("up")
        await hand.resize(120, 12)
        assert hand.at.split("│")[0].rstrip() == "● answer  A forum and an aqueduct."
        assert hand.lines[1].split("│")[1].strip() == "assistant, 2027-01-15 08:09:00"
        await hand.resize(40, 6)
        assert (len(hand.lines), max(map(len, hand.lines)) <= 40) == (5, True)
        assert hand.at.startswith("● answer  A forum and an aqueduct.  ")
        await hand.press("enter")
        assert hand.lines[1] == "assistant, 2027-01-15 08:09:00"

    browse(trip, steps)


def test_a_log_that_grows(trip: Path) -> None:
    """What another process appends is listed within a second or so. The cursor stays on its entry."""

    async def steps(hand: Hand) -> None:
        await hand.press("up")
        with Session.open(trip, mode="r+") as writer:
            writer.append(assistant("Day one: the Forum."))
            writer.label("e4", "here")
        for _ in range(40):
            await hand.pilot.pause(0.1)
            if len(hand.tree.listing) == 8:
                break
        await hand.settle()
        assert '("here") What is there?' in hand.lines[4]
        assert hand.lines[8].startswith("◉ answer    Day one: the Forum.")
        assert hand.at.startswith("● answer    A forum and an aqueduct.")

    browse(trip, steps)


def test_a_damaged_entry(tmp_path: Path) -> None:
    """The title says so, and the entry below what is missing. The others are shown."""
    path = tmp_path / "log.jsonl"
    log = log_of(node("q", None), node("a", "q", message=assistant("yes")), node("z", "a", message=user("and?")))
    path.write_bytes(log.replace(b'"yes"', b'"yea"'))

    async def steps(hand: Hand) -> None:
        assert [line.rstrip() for line in hand.lines[:3]] == [
            "s1                                        damaged, see `convtree verify`, turns",
            "○ you       q",
            "◉ you       (what was above is missing) and?",
        ]

    browse(path, steps)


def test_the_sessions_of_a_store() -> None:
    """Pages are read as one goes down. A search finds messages of all sessions and opens one at its place."""
    with convtree.open_store("memory:") as store:
        for number in range(120):
            with store.create(id=f"s{number}", name=f"[b]Trip {number}[/b]", cwd="/work") as session:
                session.append(user(f"Where shall we go in week {number}?"))
                session.append(assistant("To Rome."))

        async def steps(hand: Hand) -> None:
            assert " ".join(hand.lines[0].split()) == "memory 100 sessions and more"
            assert [line.split() for line in hand.lines[1:3]] == [
                ["[b]Trip", "119[/b]", "/work", "2", "now"],
                ["[b]Trip", "118[/b]", "/work", "2", "now"],
            ]
            await hand.press("end")
            assert " ".join(hand.lines[0].split()) == "memory 120 sessions"
            await hand.press("slash")
            await hand.type("week 7")
            assert " ".join(hand.lines[0].split()) == "memory 1 message with these words"
            assert " ".join(hand.lines[1].split()) == "[b]Trip 7[/b] user: Where shall we go in week 7?"
            await hand.press("enter", "enter")
            assert hand.at.startswith("● you       Where shall we go in week 7?")
            await hand.press("f", "enter")  # a fork in the same store
            assert store.count() == 121
            await hand.press("escape", "l", "h", "i", "enter", "escape", "escape")
            assert " ".join(hand.lines[0].split()) == "memory 121 sessions"
            await hand.press("q")

        browse(store, steps)
        with store.open("s7", read_only=True) as session:
            assert list(session.labels.values()) == ["hi"]


def test_an_empty_store_and_one_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both say so. Nothing is raised."""
    with convtree.open_store(tmp_path / "store") as store:

        async def empty(hand: Hand) -> None:
            assert hand.lines[0].endswith("no sessions")
            await hand.press("enter", "down", "end")

        browse(store, empty)

        def fail(**_: object) -> None:
            raise OSError(5, "the disk is gone\x1b")

        monkeypatch.setattr(store, "list", fail)

        async def failing(hand: Hand) -> None:
            assert hand.said == ["[Errno 5] the disk is gone\\x1b"]

        browse(store, failing)
