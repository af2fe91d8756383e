"""Sample logs with every kind of record, the same bytes for the same seed; and a full view of a log to compare."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from convtree import (
    CompactionEntry,
    Context,
    ConvtreeError,
    Entry,
    ExtensionDataEntry,
    MessageEntry,
    ModelChangeEntry,
    OpaqueEntry,
    Session,
)

_WORDS = (
    "Rom",
    "Oslo",
    "東京",
    "Zürich",
    "“quote”",
    "\\",
    "\n",
    "\t",
    "🚂",
    "\u2028",
    "null",
    "{}",
    "[1,2]",
    "0.1",
    "ticket",
)


#: every kind, early
_BEGINNING = (7, 13, 11, 2, 13, 4, 13, 6, 1, 3, 5, 8, 9, 10, 12, 2, 13, 4, 13, 0, 2, 3, 14, 15, 16, 17, 18, 19)
_START_NS = 1_767_225_600 * 10**9  # 2026-01-01T00:00:00Z


@contextmanager
def folder() -> Iterator[Path]:
    """Makes a temporary folder, in memory if possible."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield Path(name)


def message(id: str, text: str = "said") -> MessageEntry:
    """Returns an answer that took one token."""
    return MessageEntry(id=id, message={"role": "assistant", "content": text}, model="m", usage={"output_tokens": 1})


def write(path: Path, entries: int, seed: int, *, visibility: bool = True) -> None:
    """Writes a log with this many entries and marks: branches, compactions, pins, labels, summaries, state.

    Without `visibility`, no message is hidden or pinned afterwards: contexts then follow from the entries alone.
    """
    rng = random.Random(seed)
    ticks = iter(range(10**9))
    with Session.open(
        path,
        id="sample",
        name="Trip",
        durability="process",
        clock=lambda: _START_NS + next(ticks) * 1000,
        id_source=lambda: f"{rng.getrandbits(64):016x}",
    ) as session:
        kinds = iter(_BEGINNING)
        while len(session._index.tree) < entries:
            _grow(session, rng, next(kinds, rng.randint(0, 21)))
            if visibility and rng.random() < 0.1:
                _mark(session, rng)


def _text(rng: random.Random) -> str:
    return " ".join(rng.choice(_WORDS) for _ in range(rng.randint(1, 12)))


def _grow(session: Session, rng: random.Random, kind: int) -> None:
    tree = session._index.tree
    ids = [session._index.id_of(rng.randrange(len(tree))) for _ in range(2 if len(tree) else 0)]
    ids = [id for id in ids if session._index.node(id) is not None]
    some = rng.choice(ids) if ids else None
    match kind:
        case 0 if some:
            session.branch(some)
        case 1 if some:
            session.branch(some, summary=_text(rng), details={"n": rng.random()})
        case 2 if some:
            session.label(some, _text(rng) if rng.random() < 0.8 else None)
        case 3:
            session.append(ExtensionDataEntry(ext_type=rng.choice(("todo", "plan")), data=[_text(rng), rng.random()]))
        case 4 if session.leaf_id is not None:
            kept = rng.choice((None, rng.choice(session.path()[-6:]).id))
            session.append(
                CompactionEntry(summary=_text(rng), first_kept_entry_id=kept, tokens_before=rng.getrandbits(20))
            )
        case 5:
            session.append(ModelChangeEntry(provider="p", model=f"m{rng.randint(1, 3)}", settings={"t": rng.random()}))
        case 6 if some:
            session.append({"role": "assistant", "content": _text(rng)}, parent_id=some, model="m", provider="q")
        case 7:
            session.append({"role": "system", "content": _text(rng)})
        case 8:
            session.append(OpaqueEntry(unknown_type="tool.note", fields={"n": rng.getrandbits(40)}))
        case 9:
            session.rename(_text(rng))
        case 10:
            session.update_metadata(**{rng.choice("abc"): rng.choice((None, _text(rng)))})
        case 11:
            calls = [
                {"id": f"c{rng.getrandbits(16)}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ]
            session.append_many(
                [
                    {"role": "assistant", "content": None, "tool_calls": calls},
                    {"role": "tool", "tool_call_id": calls[0]["id"], "content": _text(rng)},
                ]
            )
        case 12:
            session.append({"role": "user", "content": _text(rng)}, visible_to=rng.choice(("user", "model")))
        case 14 if session.leaf_id is not None:
            asked = rng.choice(session.path()[-4:]).id
            session.append({"role": "assistant", "content": _text(rng)}, reply_to=asked, status="interrupted")
        case 15:
            session.set_system(_text(rng))
        case 16:
            session.append({"role": "user", "content": _text(rng)}, move_leaf=False, label=_text(rng))
        case 17 if session.leaf_id is not None:
            replaced = rng.choice(session.path()[-4:]).id
            session.append({"role": "user", "content": _text(rng)}, replaces=replaced, extra={"n": rng.random()})
        case 18:
            session.hold(rng.random() < 0.5)
        case 19:
            session.set_directories(cwd=_text(rng), git_root=None)
        case _:
            session.append({"role": rng.choice(("user", "assistant")), "content": _text(rng)})


def _mark(session: Session, rng: random.Random) -> None:
    messages = [entry.id for entry in session.path()[-8:] if isinstance(entry, MessageEntry)]
    if messages:
        change = rng.choice((session.hide, session.show, session.pin))
        change(rng.choice(messages))


class View(NamedTuple):
    """Everything that a reader sees of a log."""

    leaf: str | None
    labels: dict[str, str]
    name: str | None
    archived: bool
    metadata: dict[str, Any]
    entries: list[Entry]
    contexts: dict[str | None, Context]
    states: dict[str | None, list[ExtensionDataEntry]]


def view(session: Session, tips: list[str | None] | None = None) -> View:
    """Reads everything; errors of reading are raised."""
    index = session._index
    entries = index.entries([row for row in range(len(index.tree)) if index.tree.is_node(row)])
    tips = tips if tips is not None else [entry.id for entry in session.leaves()]
    leaf = session.leaf_id
    return View(
        leaf=leaf,
        labels=session.labels,
        name=session.name,
        archived=session.archived,
        metadata=session.metadata,
        entries=entries,
        contexts={tip: session.build_context(leaf=tip) for tip in (*tips, leaf)},
        states={tip: session.extension_data(leaf=tip) for tip in (*tips, leaf)},
    )


def wrong_contexts(session: Session, sound: View) -> Iterator[str]:
    """Yields a text for every leaf whose context is neither as before nor refused with an error."""
    for tip, expected in sound.contexts.items():
        try:
            if session.build_context(leaf=tip) != expected:
                yield f"the context of {tip} has changed"
            if session.extension_data(leaf=tip) != sound.states[tip]:
                yield f"the state of {tip} has changed"
        except ConvtreeError:
            pass


def verifies(line: bytes) -> bool:
    """Returns whether the checksum of a line holds, by FORMAT.md, without the engine."""
    sealed = crc32(line[:-18] + b"}")
    return line[-36:-27] == b',"prev":"' and line[-19:-18] == b'"' and line[-18:] == b',"crc":"%08x"}' % sealed
