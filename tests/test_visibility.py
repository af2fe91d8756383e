"""Hiding, showing, pinning and replacing: what a context has, against a model of lists, and in cases by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
from helpers import assistant, codes, contents, ids, log_of, mark, node, system, user
from hypothesis import given, settings
from hypothesis import strategies as st

from convtree import (
    BranchSummaryEntry,
    CompactionEntry,
    EntryNotFound,
    InvalidMessage,
    MessageEntry,
    ReadOnlySession,
    Session,
)
from convtree._engine import journal

#: what a step of a random history does
KINDS = ("say", "say", "say", "hidden", "pinned", "replace", "compact", "note", "hide", "show", "pin", "unpin", "move")
STEPS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 99), st.integers(0, 99)), max_size=40)


class Line(NamedTuple):
    """A line of the model's log: an entry, or a mark with a target."""

    id: str
    kind: str
    parent: str | None = None
    refers_to: str | None = None  # what is replaced, what is kept first, or the target


class Model:
    """A history as a list of lines, and the contexts that it gives, in the words of the format."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.leaf: str | None = None

    def at(self, id: str) -> int:
        return next(number for number, line in enumerate(self.lines) if line.id == id)

    def path(self, id: str | None) -> list[Line]:
        found: list[Line] = []
        while id is not None:
            found.insert(0, self.lines[self.at(id)])
            id = found[0].parent
        return found

    def marks(self, id: str, kinds: tuple[str, str], before: int) -> list[str]:
        return [line.kind for line in self.lines[:before] if line.refers_to == id and line.kind in kinds]

    def visible(self, entry: Line, before: int) -> bool:
        marks = self.marks(entry.id, ("hide", "show"), before)
        return marks[-1] == "show" if marks else entry.kind != "hidden"

    def is_pinned(self, entry: Line, before: int) -> bool:
        marks = self.marks(entry.id, ("pin", "unpin"), before)
        return marks[-1] == "pin" if marks else entry.kind == "pinned"

    def context(self, leaf: str | None) -> list[str]:
        """Returns the ids of the entries of a context."""
        path, now = self.path(leaf), len(self.lines)
        replaced = {entry.refers_to for entry in path if entry.kind == "replace"}
        shown = [
            entry
            for entry in path
            if entry.kind != "compact" and self.visible(entry, now) and entry.id not in replaced
        ]
        compactions = [entry for entry in path if entry.kind == "compact"]
        if not compactions:
            return [entry.id for entry in shown]
        last = compactions[-1]
        then = self.at(last.id)
        start = path.index(next(entry for entry in path if entry.id == (last.refers_to or last.id)))
        before = [
            entry.id
            for entry in shown
            if path.index(entry) < start
            and (
                (self.is_pinned(entry, then) and self.visible(entry, then))
                or "pin" in self.marks(entry.id, ("pin", "unpin"), now)[len(self.marks(entry.id, ("pin", "unpin"), then)) :]
            )
        ]
        summary = [] if last.id in replaced else [last.id]
        return [*before, *summary, *(entry.id for entry in shown if path.index(entry) >= start)]


class Both:
    """A session and its model, changed together."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.model = Model()

    def step(self, kind: str, first: int, second: int) -> None:
        model = self.model
        path = model.path(model.leaf)
        entries = [line for line in model.lines if line.kind not in ("hide", "show", "pin", "unpin")]
        if kind in ("say", "hidden", "pinned"):
            self._append(
                kind,
                MessageEntry(
                    message=user("x"),
                    visible_to="user" if kind == "hidden" else "all",
                    pinned=True if kind == "pinned" else None,
                ),
            )
        elif kind == "note":
            self._append(kind, BranchSummaryEntry(from_id=None, summary="S"))
        elif kind == "replace" and path:
            target = path[first % len(path)].id
            self._append(kind, MessageEntry(message=user("x"), replaces=target), target)
        elif kind == "compact":
            kept = path[first % len(path)].id if path and second % 4 else None
            self._append(kind, CompactionEntry(summary="S", first_kept_entry_id=kept), kept)
        elif kind == "move" and entries:
            model.leaf = entries[first % len(entries)].id
            self.session.branch(model.leaf)
        elif kind in ("hide", "show", "pin", "unpin"):
            targets = [line.id for line in entries if line.kind != "compact"]
            if targets:
                self._mark(kind, targets[first % len(targets)])

    def _append(self, kind: str, entry: Any, refers_to: str | None = None) -> None:
        added = self.session.append(entry)
        self.model.lines.append(Line(added.id, kind, self.model.leaf, refers_to))
        self.model.leaf = added.id

    def _mark(self, kind: str, target: str) -> None:
        before = self.model.context(self.model.leaf)
        calls: dict[str, Callable[[], bool]] = {
            "hide": lambda: self.session.hide(target),
            "show": lambda: self.session.show(target),
            "pin": lambda: self.session.pin(target),
            "unpin": lambda: self.session.pin(target, False),
        }
        changed = calls[kind]()
        self.model.lines.append(Line(f"mark {len(self.model.lines)}", kind, None, target))
        assert changed is (self.model.context(self.model.leaf) != before)

    def check(self, session: Session) -> None:
        """Compares the contexts at every entry with those of the model."""
        for line in self.model.lines:
            if line.kind not in ("hide", "show", "pin", "unpin"):
                assert ids(session.build_context(leaf=line.id).entries) == self.model.context(line.id)


def eager() -> AbstractContextManager[Any]:
    """Makes every close of a writer save a snapshot."""
    return patch.multiple(journal, _TAIL_ROWS=0, _TAIL_BYTES=0, _TAIL_PART=0)


@given(STEPS)
@settings(max_examples=300)
def test_contexts_match_the_model(steps: list[tuple[str, int, int]]) -> None:
    """For random trees with compactions, replacements and marks, at every entry; and each call says what it changed."""
    both = Both(Session.memory())
    for step in steps:
        both.step(*step)
    both.check(both.session)


@given(STEPS, STEPS)
@settings(max_examples=60, deadline=None)
def test_contexts_match_the_model_after_reopening(
    before: list[tuple[str, int, int]], after: list[tuple[str, int, int]]
) -> None:
    """With a snapshot of the first part, after more lines, and by reading every line."""
    with TemporaryDirectory() as folder, eager():
        path = Path(folder, "log.jsonl")
        both = Both(Session.open(path, durability="process"))
        for step in before:
            both.step(*step)
        both.session.close()
        with Session.open(path, durability="process") as both.session:
            both.check(both.session)
            for step in after:
                both.step(*step)
            both.check(both.session)
        if path.exists():
            for _ in range(2):
                with Session.open(path, mode="r") as again:
                    both.check(again)
                path.with_name("log.jsonl.index").unlink(missing_ok=True)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_a_fork_has_the_contexts_of_its_path(steps: list[tuple[str, int, int]]) -> None:
    """At every entry of the path, not only at its leaf: marks keep their places among the entries."""
    both = Both(Session.memory())
    for step in steps:
        both.step(*step)
    with TemporaryDirectory() as folder:
        with both.session.fork(Path(folder, "fork.jsonl")) as fork:
            for entry in both.model.path(both.model.leaf):
                here, there = (each.build_context(leaf=entry.id) for each in (both.session, fork))
                assert there == here
            assert fork.findings == ()
