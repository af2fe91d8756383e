"""Writes a session as one Markdown document for people: the path to the leaf, then the last message of other branches.

The text of a message is written unchanged, because it is mostly Markdown. But lines that look like headings of this
document are escaped, and so is HTML. Calls and their results are in code blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import orjson

from convtree._formats.common.base import Exported
from convtree._formats.common.export import entries_of
from convtree._formats.common.speech import Call, Image, Part, Result, Text, Thought, speech_of
from convtree._messages.reading import role_of
from convtree._model.entries import BranchSummaryEntry, CompactionEntry, Entry, MessageEntry, ModelChangeEntry
from convtree._model.terminal_text import escape_controls

NAME = "markdown"

_HIDDEN = {"user": ", not for the model", "model": ", not for the user", "nobody": ", hidden"}
_GIST = 80  # characters of a branch's last words
_HEADING = re.compile(r"^( {0,3})(#{1,6}(?=\s|$)|={1,}\s*$|-{1,}\s*$)")
_FENCE = re.compile(r" {0,3}(`{3,}(?!.*`)|~{3,})")
_TICKS = re.compile("`{3,}")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")


def write(session: Exported) -> Iterator[bytes]:
    """Yields the document, paragraph by paragraph."""
    return (paragraph.encode() + b"\n\n" for paragraph in _paragraphs(session))


def _paragraphs(session: Exported) -> Iterator[str]:
    header = session.header
    yield f"# {_inline(session.name or session.id)}"
    facts = {"Session": session.id, "Begun": header.timestamp, "Directory": header.cwd}
    yield "\n".join(f"- {name}: {_inline(value)}" for name, value in facts.items() if value)
    outline = session.outline()
    for entry in session.path(session.leaf_id):
        row = outline.row(entry.id)
        seen_by, _ = outline.visibility.get(-1 if row is None else row, (None, None))
        yield from _entry(entry, seen_by, session.labels.get(entry.id))
    branches = list(_branches(session))
    if branches:
        yield "## Other branches"
        yield "\n".join(branches)


def _entry(entry: Entry, seen_by: str | None, label: str | None) -> Iterator[str]:
    """Yields the paragraphs of an entry. `seen_by` is what a mark says of who sees it; None without such a mark."""
    mark = f" ({_inline(label)})" if label else ""
    match entry:
        case MessageEntry():
            model = f", {_inline(entry.model)}" if entry.model else ""
            hidden = _HIDDEN.get(seen_by or entry.visible_to, "")
            yield f"## {_inline((role_of(entry.message) or 'message').capitalize())}{model}{hidden}{mark}"
            for part in speech_of(entry.message).parts:
                yield from _part(part)
        case CompactionEntry():
            yield f"## Summary of what came before{mark}"
            yield _prose(entry.summary)
        case BranchSummaryEntry() if entry.summary:
            yield f"## Summary of another branch{mark}"
            yield _prose(entry.summary)
        case ModelChangeEntry():
            yield f"*Model: {_inline(' '.join(filter(None, (entry.provider, entry.model))))}*"


def _part(part: Part) -> Iterator[str]:
    match part:
        case Text(said):
            yield _prose(said)
        case Thought(said):
            yield "\n".join(f"> {line}" for line in _prose(said).split("\n"))
        case Image(_, kind):
            yield f"*An image ({_inline(kind)})*"
        case Call(_, name, arguments):
            yield f"Calls **{_inline(name)}**:"
            yield _fenced(orjson.dumps(arguments, option=orjson.OPT_INDENT_2).decode(), "json")
        case Result(_, name, said, is_error, images):
            yield f"{'Failed' if is_error else 'Result'}{f' of **{_inline(name)}**' if name else ''}:"
            yield _fenced(said, "")
            for image in images:
                yield from _part(image)


def _branches(session: Exported) -> Iterator[str]:
    """Yields a line for each leaf that is not the session's."""
    entries = list(entries_of(session))
    parents = {entry.parent_id for entry in entries}
    on_path = {entry.id for entry in session.path(session.leaf_id)}
    for entry in entries:
        if entry.id not in parents and entry.id not in on_path:
            said = entry.text if isinstance(entry, MessageEntry) else entry.type
            yield f"- `{entry.id}`: {_inline(said[: _GIST * 2])[:_GIST]}"


def _prose(said: str) -> str:
    """Returns a text whose lines cannot look like headings or HTML of the document."""
    lines, fence = [], ""
    for each in escape_controls(said, lines=True).split("\n"):
        found = _FENCE.match(each)
        if fence:
            fence = "" if found and found[1].startswith(fence) and not each[found.end() :].strip() else fence
            lines.append(each)
        else:
            fence = found[1] if found else ""
            lines.append(_TAG.sub("&lt;", each if found else _HEADING.sub(r"\1\\\2", each)))
    return "\n".join([*lines, fence] if fence else lines)  # a block left open would take all that follows


def _fenced(said: str, language: str) -> str:
    longest = max((len(found) for found in _TICKS.findall(said)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{escape_controls(said, lines=True)}\n{fence}"


def _inline(said: str) -> str:
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", escape_controls(said))
