"""An entry as the page holds it: markup, and a row of numbers and words for the tree, the contents and the sums. Pure.

A row is a JSON array: row in the log, parent's row, id, kind, time, first words, usage, flags, model, the row that it
refers to, title, note, states, number of tool results. `Tree.add` in `assets/tree.js` reads it. The script draws the
tree from rows alone, and puts the markup of an entry into the page when it comes into view.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import Environment, FunctionLoader, StrictUndefined

from convtree._engine.outline import Outline, changed_fields
from convtree._engine.tree import MISSING
from convtree._formats.common.export import as_data
from convtree._formats.common.gaps import NO_GAPS, Gaps
from convtree._formats.documents.html import texts
from convtree._formats.documents.html.parts import Piece, Pieces
from convtree._messages.parts import Result, Text, Unknown
from convtree._messages.said import read
from convtree._model.entries import (
    HIDDEN_FROM_MODEL,
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    ExtensionDataEntry,
    LostEntry,
    MessageEntry,
    ModelChangeEntry,
    VacuumEntry,
)
from convtree._model.usage import usage_of, usage_stored_in

UNSEEN, PINNED, INTERRUPTED, FAILED = 1, 2, 4, 8  # flags: not for the model, pinned, stopped, a tool failed
_HAS = {"text": 16, "file": 16, "unknown": 16, "call": 32, "result": 32, "thought": 64}  # flags by kind of piece

_WORDS = 140  # characters in the contents and in the map
_FEW_WORDS = 60  # of an entry that is not in the contents
_LISTED = ("user", "compaction", "summary")
_NAME = 120
_SHOWN_ROLES = {"user": "user", "assistant": "assistant", "tool": "tool", "system": "system", "developer": "system"}
_HIDDEN = {"user": "not for the model", "model": "not for the user", "nobody": "hidden"}


class Shown(NamedTuple):
    """What the page holds of an entry."""

    row: list[Any]
    markup: str


class Said(NamedTuple):
    """What is shown of an entry: its kind, title, a note beside the title, first words, pieces, states and flags."""

    kind: str
    title: str
    note: str = ""
    words: str = ""
    pieces: Sequence[Piece] = ()
    states: Sequence[str] = ()
    flags: int = 0


class EntryMarkup:
    """Makes markup of entries. Remembers what one entry means for the next."""

    def __init__(self, outline: Outline, gaps: Gaps = NO_GAPS) -> None:
        self.outline = outline
        self.gaps = gaps
        self._pieces = Pieces()
        self._template = environment().get_template("entry.html")

    def of(self, number: int, entry: Entry) -> Shown:
        """Returns an entry. `number` is its row in the log."""
        said = self._said(number, entry)
        model = texts.one_line(getattr(entry, "model", None) or "", _NAME)
        markup = self._template.render(pieces=said.pieces) if said.pieces else ""
        parents = self.outline.tree.parents
        parent = parents[number] if number < len(self.outline.tree) else MISSING
        words = texts.one_line(said.words, _WORDS if said.kind in _LISTED else _FEW_WORDS)
        row = [number, parent, entry.id, said.kind, entry.timestamp, words, _spent(entry), said.flags, model or None]
        results = sum(piece.kind == "result" for piece in said.pieces)
        return Shown([*row, self._link(entry), said.title, said.note, said.states, results], markup)

    def _said(self, number: int, entry: Entry) -> Said:
        match entry:
            case MessageEntry():
                return self._message(number, entry)
            case LostEntry():
                return Said("lost", "Damaged", self.gaps.at(entry.id))
            case _:
                return _aside(entry)

    def _message(self, number: int, entry: MessageEntry) -> Said:
        source = read(entry.message, entry.shape)
        pieces = list(self._pieces.of(source.parts))
        changed = changed_fields(self.outline, number)
        seen_by, is_pinned = changed.get("visible_to", entry.visible_to), changed.get("pinned", entry.pinned)
        is_interrupted = entry.status is not None
        states = {_HIDDEN.get(seen_by): True, "pinned": is_pinned, "interrupted": is_interrupted}
        flags = UNSEEN * (seen_by in HIDDEN_FROM_MODEL) | PINNED * bool(is_pinned) | INTERRUPTED * is_interrupted
        is_result = bool(source.parts) and all(isinstance(part, Result) for part in source.parts)
        kind = "tool" if is_result else _SHOWN_ROLES.get(source.role or "", "other")
        said = (part.text for part in source.parts if isinstance(part, Text | Unknown) and part.text.strip())
        for piece in pieces:
            flags |= _HAS[piece.kind]
        first = f"{pieces[0].title} {pieces[0].gist}" if pieces else ""
        return Said(
            kind=kind,
            title=texts.one_line((source.role or "message").capitalize(), _NAME),
            note="" if pieces else "(empty)",
            words="" if kind == "tool" else next(said, first),
            pieces=pieces,
            states=[state for state, is_so in states.items() if state and is_so],
            flags=flags | FAILED * any(piece.is_error for piece in pieces),
        )

    def _link(self, entry: Entry) -> int | None:
        """Returns the row that an entry refers to: the first kept, the replaced, or the end of the other branch."""
        match entry:
            case CompactionEntry(first_kept_entry_id=target):
                pass
            case BranchSummaryEntry(from_id=target):
                pass
            case MessageEntry(replaces=target):
                pass
            case _:
                target = None
        return None if target is None else self.outline.row(target)


def _aside(entry: Entry) -> Said:
    """Returns what an entry says that is no message."""
    match entry:
        case CompactionEntry():
            counts = {"before": entry.tokens_before, "after": entry.tokens_after}
            note = ", ".join(f"{count:,} tokens {when}" for when, count in counts.items() if count is not None)
            details = {"read": entry.read_files, "modified": entry.modified_files, "details": entry.details}
            said = Said("compaction", "Summary of what came before", note, entry.summary, _summary(entry, details))
        case BranchSummaryEntry():
            pieces = _summary(entry, {"details": entry.details})
            said = Said("summary", "Summary of another branch", words=entry.summary, pieces=pieces)
        case ModelChangeEntry():
            pieces = [Piece("data", "Settings", texts.data(entry.settings))] if entry.settings else []
            name = texts.one_line(" ".join(filter(None, (entry.provider, entry.model))), _NAME)
            said = Said("model", "Model", name, entry.model, pieces)
        case ExtensionDataEntry():
            name = texts.one_line(entry.ext_type, _NAME)
            said = Said("data", "Data of an extension", name, name, [_whole("Content", entry)])
        case VacuumEntry():
            said = Said("data", "Removed", f"entries: {entry.dropped:,}", "", [_whole("What they leave", entry)])
        case _:
            name = texts.one_line(f"an entry of the type {entry.type}", _NAME)
            said = Said("data", "Not understood", name, name, [_whole("All of it, as JSON", entry)])
    return said


def _summary(entry: CompactionEntry | BranchSummaryEntry, details: dict[str, Any]) -> list[Piece]:
    pieces = [Piece("text", body=texts.markdown(entry.summary))] if entry.summary.strip() else []
    left = {name: value for name, value in details.items() if value}
    return [*pieces, Piece("data", "Details", texts.data(left))] if left else pieces


def _whole(title: str, entry: Entry) -> Piece:
    return Piece("data", title, texts.data(as_data(entry)))


def _spent(entry: Entry) -> list[float] | None:
    """Returns the tokens of an entry (input, output, read from the cache, written to it) and its cost."""
    stored = usage_stored_in(entry)
    if stored is None:
        return None
    usage = usage_of(stored)
    tokens = [usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens]
    return [*tokens, round(usage.cost, 8)]


def environment() -> Environment:
    """Returns the templates of the page. They escape everything that is not `Markup`."""
    return Environment(
        loader=FunctionLoader(asset), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )


def asset(name: str) -> str:
    """Returns a file of the page: a template, a style sheet, a script."""
    return files("convtree._formats.documents.html").joinpath("assets", name).read_text(encoding="utf-8")
