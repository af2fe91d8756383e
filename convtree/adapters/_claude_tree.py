"""Where the entries of new lines of Claude Code belong in a session.

Lines are a tree by `parentUuid`. The entry of a line is below that of its parent, with the exceptions that an import
makes:

* The lines of one message of the model, and the results of its calls, are one chain. In the transcript, parallel calls
  are branches, and each branch would lack the results of the others.
* What continues the last message that a compaction keeps is below its summary.
* Lines without a uuid are a chain of their own, beside the conversation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

from convtree import BrokenPath, Entry, EntryNotFound, LostEntry, Session
from convtree.adapters._claude_lines import Line, entry_of, id_of, kept_line, line_of, now
from convtree.adapters._claude_summaries import STATE
from convtree.exchange import ClaudeCodeLine, read_claude_code_line


class Growing:
    """A session, and the entries that are about to be added to it.

    Args:
        log: the session, refreshed.
        is_agents: whether it is that of a sub-agent, whose lines are all in a side chain.
        cleans: whether lines are cleaned of what a log cannot hold.

    Attributes:
        entries: the entries to add, by their ids.
        leaf: where the conversation goes on.
        beside: the last entry beside the conversation.
        rank: how well the conversation has been named so far, see `ClaudeCodeLine.title`.
        title: what the new lines call it; None if they do not.
    """

    def __init__(self, log: Session, *, is_agents: bool, cleans: bool) -> None:
        self._log, self._is_agents, self._cleans = log, is_agents, cleans
        self._below: dict[str | None, list[Entry]] = {}  # the entries to add, by their parents
        state = log.metadata.get(STATE) or {}
        beside = state.get("beside")
        self.entries: dict[str, Entry] = {}
        self.leaf = log.leaf_id
        self.beside: str | None = None if beside is None or self._find(beside) is None else beside
        self.rank: int = state.get("rank", 0)
        self.title: str | None = None

    def add(self, line: Line) -> bool:
        """Adds the entry of a line; returns False if there is one of its uuid."""
        said = read_claude_code_line(line)
        id = uuid4().hex if said.uuid is None else id_of(said.uuid)
        if said.uuid is not None and self._find(id) is not None:
            return False
        parent = self._place(said)
        placed = {"id": id, "parent_id": parent, "timestamp": said.time or now()}
        kept = kept_line(line, cleans=self._cleans)
        said = read_claude_code_line(kept)
        first = self._first_kept(parent) if said.summary is not None else None
        entry = entry_of(kept, said, placed, first_kept=first, usage=self._added_usage(said, parent))
        self.entries[id] = entry
        self._below.setdefault(parent, []).append(entry)
        if said.uuid is None:
            self.beside = id
        if said.leaf is not None and self._find(id_of(said.leaf)) is not None:
            self.leaf = id_of(said.leaf)
        elif said.uuid is not None and (self.leaf is None or (said.is_said and said.is_aside <= self._is_agents)):
            self.leaf = id
        if said.title is not None and said.title[0] >= self.rank:
            self.rank, self.title = said.title
        return True

    # --- what the entry says of those above it ---

    def _first_kept(self, parent: str | None) -> str | None:
        """Returns the first entry that the compaction below a boundary keeps, if it is above it."""
        with suppress(BrokenPath):
            path = self._upwards(parent)
            kept = next((said.kept for _, said in path if said.kept is not None or said.summary is not None), None)
            head = None if kept is None else id_of(kept[0])
            return next((entry.id for entry, _ in path if entry.id == head), None)
        return None

    def _added_usage(self, said: ClaudeCodeLine, parent: str | None) -> dict[str, Any] | None:
        """Returns what a line adds to the usage of its message: each of its lines has the tokens so far."""
        if said.forked_from is not None or said.usage is None:
            return None  # the tokens of a copy count in the original
        if said.message_id is None:
            return said.usage
        above = (each.usage for each in self._turn(parent) if each.message_id == said.message_id)
        return said.usage_since(next(above, None))

    # --- its place ---

    def _place(self, said: ClaudeCodeLine) -> str | None:
        """Returns the entry below which a line belongs; None: it is a root."""
        if said.uuid is None:
            return self.beside
        if said.parents is None:
            return self.leaf
        found = (self._find(id_of(each)) for each in said.parents)
        parent = next((entry.id for entry in found if entry is not None), None)
        if parent is None:
            return None
        try:
            return self._after_turn(said, self._after_compaction(said, parent))
        except BrokenPath:  # damage near it: the place that the line names is right, too
            return parent

    def _after_compaction(self, said: ClaudeCodeLine, parent: str) -> str:
        """Returns the summary of the compaction that kept the messages down to `parent`; else `parent`."""
        for boundary, each in self._children(parent):
            if each.kept is not None and id_of(each.kept[1]) == parent and each.is_aside == said.is_aside:
                for summary, below in self._children(boundary.id):
                    if below.summary is not None and said.kept is None:
                        return summary.id
        return parent

    def _after_turn(self, said: ClaudeCodeLine, parent: str) -> str:
        """Returns the end of the model's message that `parent` belongs to, with its results; else `parent`.

        What is answered again, or comes when the conversation went on from there, is a branch.
        """
        if not self._children(parent):
            return parent
        turn = list(self._turn(parent))
        message_id = next((each.message_id for each in turn if each.message_id is not None), None)
        if message_id is None or turn[0].is_aside != said.is_aside:
            return parent
        end, below = parent, self._children(parent)
        while below:
            following = next(((entry, each) for entry, each in below if _continues(each, message_id)), None)
            if following is None:
                return parent
            end, below = following[0].id, self._children(following[0].id)
            turn.append(following[1])
        return end if said.results.isdisjoint(id for each in turn for id in each.results) else parent

    def _turn(self, parent: str | None) -> Iterator[ClaudeCodeLine]:
        """Yields the lines of one message of the model and of the results of its calls, from one of them upwards."""
        message_id = None
        for _, said in self._upwards(parent):
            if not (_continues(said, message_id) or (message_id is None and said.message_id is not None)):
                return
            message_id = message_id or said.message_id
            yield said

    # --- entries, stored or to be added ---

    def _find(self, id: str) -> Entry | None:
        """Returns the entry with an id; None if there is none. One that is damaged counts as one."""
        if id in self.entries:
            return self.entries[id]
        try:
            found = self._log.entry(id)
        except EntryNotFound:
            return None
        except BrokenPath:
            return LostEntry(id=id)
        return found if found.id == id else None  # it was found by a label

    def _children(self, id: str) -> list[tuple[Entry, ClaudeCodeLine]]:
        stored = [] if id in self.entries else self._log.children(id)
        return [(entry, _said(entry)) for entry in (*stored, *self._below.get(id, ()))]

    def _upwards(self, id: str | None) -> Iterator[tuple[Entry, ClaudeCodeLine]]:
        while id in self.entries:
            entry = self.entries[id]
            yield entry, _said(entry)
            id = entry.parent_id
        if id is not None:
            yield from ((entry, _said(entry)) for entry in self._log.walk_up(id))


def _said(entry: Entry) -> ClaudeCodeLine:
    return read_claude_code_line(line_of(entry) or {})


def _continues(said: ClaudeCodeLine, message_id: str | None) -> bool:
    """Returns whether a line is of a message of the model, answers its calls, or stands between these."""
    is_same = message_id is not None and said.message_id == message_id
    return is_same or bool(said.results) or said.is_between
