"""`convtree browse` on a damaged log: what is left is shown, and the gap in its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from browsing import Hand, browse
from helpers import assistant, log_of, node, user

import convtree


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A question, an answer in line 3 of which one letter is another one, and a question below it."""
    path = tmp_path / "log.jsonl"
    log = log_of(node("q", None), node("a", "q", message=assistant("yes")), node("z", "a", message=user("and?")))
    path.write_bytes(log.replace(b'"yes"', b'"yea"'))
    return path


def test_a_damaged_entry(damaged: Path) -> None:
    """The title says so, and the entry below what is missing. The others are shown."""

    async def steps(hand: Hand) -> None:
        assert [line.rstrip() for line in hand.lines[:3]] == [
            "q                                              damaged, try --allow-gaps, turns",
            "○ you        q",
            "◉ you        ([messages are missing here: line 3]) and?",
        ]

    browse(damaged, steps)


def test_a_gap_in_its_place(damaged: Path) -> None:
    """With --allow-gaps, what is below a damaged line hangs from it. Exports have the gap, too, and so do new lines."""
    path = damaged.parent / "log.jsonl"
    log = log_of(node("q", None), node("a", "q", message=assistant("yes")), node("z", "a", message=user("and?")))
    path.write_bytes(log.replace(b'"yes"', b'"yea"'))
    tree = ["● you        q", "● missing    [1 message is missing here: line 3]", "◉ you        and?"]

    async def steps(hand: Hand) -> None:
        assert [line.rstrip() for line in hand.lines[:4]] == [
            "q                                                damaged, gaps are shown, turns",
            *tree,
        ]
        await hand.press("up", "enter")
        assert [line.strip() for line in hand.lines[1:5]] == [
            "[1 message is missing here: line 3]",
            "id a",
            "",
            "Its line was damaged. The entry can be put back from a copy of the log.",
        ]
        await hand.press("escape", "e")
        await hand.type(str(damaged.parent / "x.md"))
        await hand.press("enter")
        with convtree.Session.open(damaged, mode="r+") as writer:
            writer.append(assistant("more"))
        for _ in range(40):
            await hand.pilot.pause(0.1)
            if len(hand.tree.listing) == 4:
                break
        await hand.settle()
        assert [line[2:50].strip() for line in hand.lines[1:5]] == [*(each[2:] for each in tree), "answer     more"]

    browse(damaged, steps, allow_gaps=True)
    assert "*[1 message is missing here: line 3]*" in (damaged.parent / "x.md").read_text()


def test_an_export_that_is_refused_says_what_helps(damaged: Path) -> None:
    """The error of a damaged path names the option."""

    async def steps(hand: Hand) -> None:
        await hand.press("e")
        await hand.type(str(damaged.parent / "x.md"))
        await hand.press("enter")
        assert "--allow-gaps shows the rest" in hand.said[0]

    browse(damaged, steps)
    assert not (damaged.parent / "x.md").exists()
