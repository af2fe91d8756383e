"""Groups the entries of a path into turns, for everything that shows a conversation to people. Pure.

It is given entries and reads nothing. A turn begins with a user's message and ends before the next one. A compaction, a
summary, an instruction to the model, and whatever is no message of user, model or tool, stand alone. They end a turn,
and what the model says after them is a turn without a prompt.

A change of the model counts where another model comes into effect, so ten changes to the same model are none. It comes
before the turn in which it happens, and ends a turn that has an answer of the model before. Of several changes in a
row, the last one counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from convtree._engine.outline import Changed
from convtree._messages.dialects import FAILED_STOPS
from convtree._messages.parts import Hosted, Media, Result, Source, Text, Unknown
from convtree._messages.said import read
from convtree._model.entries import Entry, ExtensionDataEntry, MessageEntry, ModelChangeEntry, VacuumEntry
from convtree._model.notes import INSTRUCTS
from convtree._model.usage import Usage, usage_of, usage_stored_in

_NOTHING = Usage()
_SPEAKERS = ("user", "assistant", "tool")


class Model(NamedTuple):
    """A model and its provider, as far as they are named."""

    provider: str | None = None
    model: str | None = None

    def is_same(self, other: Model) -> bool:
        """Returns whether both may be the same model: a provider that is not named may be any."""
        return self.model == other.model and (
            None in (self.provider, other.provider) or self.provider == other.provider
        )


NO_MODEL = Model()


class NewModel(NamedTuple):
    """Another model comes into effect, by the entry in this row. `before` names no model at the beginning."""

    row: int
    before: Model
    after: Model


class Single(NamedTuple):
    """An entry that stands alone; None if it cannot be read."""

    row: int
    entry: Entry | None


class Turn(msgspec.Struct, kw_only=True):
    """A user's message and all that follows it up to the next one, or the part of that which was given.

    Attributes:
        rows: its entries, notes between the messages included.
        prompt: the message of the user. None if the turn goes on after an entry that stands alone, or after a fork.
        prompt_row: its row.
        asked: its text, with images and documents named.
        answer: the last message of the model that has a text, or the last one at all.
        answer_row: its row.
        answered: its text, with images named.
        tools: how often each tool was called, in the order of their first calls.
        results: how many results of tools came.
        failed: how many of them are failures.
        tool_seconds: how long the results took to come, as far as the entries have times; None if none has.
        usage: the tokens and the cost of all entries.
        hidden: how many messages a person does not see.
        stopped: why the answer is not complete: "interrupted", or what the tool wrote about it; None if it is.
        begun, ended: the times of the first and the last message.
    """

    rows: list[int]
    prompt: MessageEntry | None = None
    prompt_row: int | None = None
    asked: str = ""
    answer: MessageEntry | None = None
    answer_row: int | None = None
    answered: str = ""
    tools: dict[str, int] = {}
    results: int = 0
    failed: int = 0
    tool_seconds: float | None = None
    usage: Usage = _NOTHING
    hidden: int = 0
    stopped: str | None = None
    begun: str | None = None
    ended: str | None = None

    @property
    def is_silent(self) -> bool:
        """Whether nobody said anything: all entries are notes."""
        return self.prompt is None and self.answer is None and not (self.tools or self.results or self.hidden)


Item = Turn | Single | NewModel


class Turns:
    """Groups entries, one path after the other. `model` is the model in effect after the entries so far.

    Where a path forks, go on for each branch with a new object that has the model of the fork.
    """

    def __init__(self, visibility: Mapping[int, Changed], model: Model = NO_MODEL) -> None:
        self.model = model
        self._visibility = visibility
        self._shown = model  # the last one that was announced
        self._changed_in = 0
        self._turn: Turn | None = None
        self._time: str | None = None  # of the last message

    def group(self, entries: Iterable[tuple[int, Entry | None]]) -> Iterator[Item]:
        """Yields the turns of consecutive entries, which are given with their rows. None cannot be read."""
        for row, entry in entries:
            if isinstance(entry, MessageEntry):
                yield from self._message(row, entry)
            elif isinstance(entry, ModelChangeEntry | ExtensionDataEntry):
                yield from self._note(row, entry)
            else:
                yield from self._end()
                if isinstance(entry, VacuumEntry) and entry.model is not None:
                    self._use(row, Model(entry.provider, entry.model))
                yield from self._end()
                yield Single(row, entry)
        yield from self._end()

    def _message(self, row: int, entry: MessageEntry) -> Iterator[Item]:
        said = read(entry.message, entry.shape)
        sees = (self._visibility.get(row) or (None,))[0] or entry.visible_to
        is_hidden = sees in ("model", "nobody")
        if said.role not in _SPEAKERS and not is_hidden:
            yield from self._end()
            yield Single(row, entry)
            return
        asked = None if is_hidden or said.role in INSTRUCTS else _asked(said)
        if asked is not None:
            yield from self._end()
        turn = self._add(row, entry)
        turn.begun, turn.ended = turn.begun or entry.timestamp, entry.timestamp or turn.ended
        if is_hidden:
            turn.hidden += 1
        elif asked is not None:
            turn.prompt, turn.prompt_row, turn.asked = entry, row, asked
        if said.role == "assistant":
            self._answer(turn, row, entry, said, is_hidden)
        self._results(turn, entry, said)
        self._time = entry.timestamp or self._time

    def _answer(self, turn: Turn, row: int, entry: MessageEntry, said: Source, is_hidden: bool) -> None:
        if entry.model is not None:
            self._use(row, Model(entry.provider, entry.model))
        for call in said.calls:
            turn.tools[call.name] = turn.tools.get(call.name, 0) + 1
        turn.stopped = stopped(entry)
        text = "" if is_hidden else words_of(said)
        if not is_hidden and (text or not turn.answered):
            turn.answer, turn.answer_row, turn.answered = entry, row, text

    def _results(self, turn: Turn, entry: MessageEntry, said: Source) -> None:
        results = said.results
        turn.results += len(results)
        turn.failed += sum(result.is_error for result in results)
        if (
            results
            and said.role != "assistant"
            and (seconds := seconds_between(self._time, entry.timestamp)) is not None
        ):
            turn.tool_seconds = (turn.tool_seconds or 0) + max(seconds, 0)

    def _note(self, row: int, entry: ModelChangeEntry | ExtensionDataEntry) -> Iterator[Item]:
        if isinstance(entry, ModelChangeEntry):
            model = Model(entry.provider, entry.model)
            if self._turn is not None and self._turn.answer is not None and not self.model.is_same(model):
                yield from self._end()  # what was said before was not said by the new model
            self._use(row, model)
        self._add(row, entry)

    def _use(self, row: int, model: Model) -> None:
        if not self.model.is_same(model):
            self._changed_in = row
        self.model = model if model.provider is not None or self.model.model != model.model else self.model

    def _add(self, row: int, entry: Entry) -> Turn:
        """Returns the turn that is going on, or a new one, with an entry added."""
        self._turn = turn = self._turn or Turn(rows=[])
        turn.rows.append(row)
        if (spent := usage_stored_in(entry)) is not None:
            turn.usage = turn.usage + usage_of(spent)
        return turn

    def _end(self) -> Iterator[Item]:
        if not self._shown.is_same(self.model):
            yield NewModel(self._changed_in, self._shown, self.model)
        self._shown = self.model
        if self._turn is not None:
            yield self._turn
        self._turn = None


def seconds_between(earlier: str | None, later: str | None) -> float | None:
    """Returns the seconds from one time of the log to another; None if one of them is missing or no time."""
    if earlier is None or later is None:
        return None
    try:
        return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
    except (ValueError, TypeError):  # no time at all, or only one of them has a time zone
        return None


def stopped(entry: MessageEntry) -> str | None:
    """Returns why a reply is not complete: "interrupted", or what the tool wrote about it; None if it is complete."""
    if entry.status is not None:
        return entry.status
    reason = entry.message.get("stopReason")
    if reason not in FAILED_STOPS:
        return None
    why = entry.message.get("errorMessage")
    return f"{reason}: {why}" if isinstance(why, str) and reason == "error" else str(reason)


def line_of_message(entry: MessageEntry) -> str:
    """Returns the text of a message for one line, with images, documents and what is not understood named."""
    return words_of(read(entry.message, entry.shape))


def _asked(said: Source) -> str | None:
    """Returns what a person asks with a message; None if it only has results of tools, or is not a person's."""
    if said.role == "user" and not said.parts:
        return ""
    is_asking = any(
        (part.role == "user" and isinstance(part, Text | Media)) or (isinstance(part, Unknown) and said.role == "user")
        for part in said.parts
    )
    return words_of(said, "user") if is_asking and said.role != "tool" else None


def words_of(said: Source, role: str | None = None) -> str:
    """Returns what a message says to people, for one line; with `role`, only what this one says."""
    words = []
    for part in said.parts:
        if role is not None and part.role != role and not isinstance(part, Unknown):
            continue
        match part:
            case Text(text=text) | Hosted(text=text):
                words.append(text.strip())
            case Media():
                words.append(f"[{part.kind}{f' {part.name}' if part.name else ''}]")
            case Unknown():
                words.append(part.text.strip() or f"[not understood: {part.why}]")
            case Result():
                pass
    return " ".join(filter(None, words))
