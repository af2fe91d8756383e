"""Writes a session as one Markdown document for people: the path to the leaf, then the first prompt of other branches.

The text of a message is mostly Markdown and stays readable as such. `prose` escapes what could reach beyond the
message. Calls and their results are in code blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, tzinfo
from typing import Any

import orjson

from convtree._catalogue.titles import title_in
from convtree._engine.outline import changed_fields
from convtree._formats.common.base import Exported, Findings
from convtree._formats.common.export import entries_of
from convtree._formats.common.gaps import Gap
from convtree._formats.common.speech import Call, Image, Part, Result, Text, Thought, speech_of
from convtree._formats.documents.prose import prose
from convtree._model.document_text import escape_json, escape_text
from convtree._model.entries import BranchSummaryEntry, CompactionEntry, Entry, MessageEntry, ModelChangeEntry

NAME = "markdown"

_HIDDEN = {"user": ", not for the model", "model": ", not for the user", "nobody": ", hidden"}
_GIST = 80  # characters of a branch's last words
_TICKS = re.compile("`{3,}")
_MARKUP = re.compile(r"[\\`*_\[\]<>#|]|&(?=#?\w+;)")
_BLANKS = re.compile(r"[ \t\r\n]+")


def write(session: Exported, _findings: Findings, zone: tzinfo | None = None) -> Iterator[bytes]:
    """Yields the document, paragraph by paragraph. Times are in a zone, which they name; None leaves them as stored."""
    return (paragraph.encode() + b"\n\n" for paragraph in _paragraphs(session, zone))


def _paragraphs(session: Exported, zone: tzinfo | None) -> Iterator[str]:
    header = session.header
    outline, path = session.outline(), session.path(session.leaf_id)  # first: raises if the path is damaged
    title = title_in(session.name, (record for _, record in session.records())) or session.id
    yield f"# {_inline(title)}"
    facts = {"Session": session.id, "Begun": _time(header.timestamp, zone), "Directory": header.cwd}
    yield "\n".join(f"- {name}: {_inline(value)}" for name, value in facts.items() if value)
    replaced = {entry.replaces for entry in path if isinstance(entry, MessageEntry)}
    for entry in path:
        seen_by = changed_fields(outline, outline.row(entry.id)).get("visible_to")
        label, time = session.labels.get(entry.id), _time(entry.timestamp, zone)
        yield from paragraphs(entry, seen_by, label, is_replaced=entry.id in replaced, time=time)
    branches = list(_branches(session))
    if branches:
        yield "## Other branches"
        yield "\n".join(branches)


def paragraphs(
    entry: Entry,
    seen_by: str | None = None,
    label: str | None = None,
    *,
    is_replaced: bool = False,
    time: str | None = None,
) -> Iterator[str]:
    """Yields the paragraphs of an entry, the heading first; of an entry that says nothing to people, none.

    `seen_by` is what a mark says of who sees it; None without such a mark. The heading of a message has its `time`.
    """
    mark = f" ({_inline(label)})" if label else ""
    match entry:
        case MessageEntry():
            model = f", {_inline(entry.model)}" if entry.model else ""
            state = _HIDDEN.get(seen_by or entry.visible_to, "")
            state += ", replaced below" if is_replaced else ""
            state += ", interrupted" if entry.status is not None else ""
            state += f", {_inline(time)}" if time else ""
            yield f"## {_inline((entry.role or 'message').capitalize())}{model}{state}{mark}"
            yield from message_paragraphs(entry.message, entry.shape)
        case CompactionEntry():
            yield f"## Summary of what came before{mark}"
            yield _prose(entry.summary)
        case BranchSummaryEntry() if entry.summary:
            yield f"## Summary of another branch{mark}"
            yield _prose(entry.summary)
        case Gap():
            yield f"*{entry.words}*"
        case ModelChangeEntry():
            yield f"*Model: {_inline(' '.join(filter(None, (entry.provider, entry.model))))}*"


def message_paragraphs(message: Mapping[str, Any], shape: str | None) -> list[str]:
    """Returns the paragraphs of a message, without a heading."""
    return list(_parts(speech_of(message, shape).parts))


def _parts(parts: list[Part]) -> Iterator[str]:
    texts: list[str] = []
    for part in parts:
        if isinstance(part, Text):
            texts.append(part.text)
            continue
        if texts:
            yield _prose(*texts)
            texts = []
        yield from _part(part)
    if texts:
        yield _prose(*texts)


def _part(part: Thought | Image | Call | Result) -> Iterator[str]:
    match part:
        case Thought(said):
            yield _quote(said)
        case Image(_, kind):
            yield f"*An image ({_inline(kind)})*"
        case Call(_, name, arguments):
            yield f"Calls **{_inline(name)}**:"
            yield from _arguments(arguments)
        case Result(_, name, said, is_error, images):
            yield f"{'Failed' if is_error else 'Result'}{f' of **{_inline(name)}**' if name else ''}:"
            yield _fenced(escape_text(said, lines=True), "")
            for image in images:
                yield from _part(image)


def _arguments(arguments: dict[str, Any]) -> Iterator[str]:
    """Yields the arguments of a call: texts of several lines as they are, the others as JSON."""
    texts = {name: value for name, value in arguments.items() if isinstance(value, str) and "\n" in value}
    others = {name: value for name, value in arguments.items() if name not in texts}
    if others or not texts:
        yield _fenced(escape_json(orjson.dumps(others, option=orjson.OPT_INDENT_2).decode()), "json")
    for name, text in texts.items():
        yield f"Argument **{_inline(name)}**:"
        yield _fenced(escape_text(text, lines=True), "")


def _time(timestamp: str | None, zone: tzinfo | None) -> str | None:
    """Returns a stored time in a zone; as it is stored without one, or if it cannot be read."""
    if timestamp is None or zone is None:
        return timestamp
    try:
        return f"{datetime.fromisoformat(timestamp).astimezone(zone):%Y-%m-%d %H:%M %Z}"
    except (ValueError, OverflowError):
        return timestamp


def _branches(session: Exported) -> Iterator[str]:
    """Yields a line for each leaf that is not the session's: its id, and the prompt with which its branch begins.

    A branch begins where it leaves the path, or a branch that has a line already.
    """
    entries = {entry.id: entry for entry in entries_of(session)}
    parents = {entry.parent_id for entry in entries.values()}
    known = {entry.id for entry in session.path(session.leaf_id)}
    for leaf in entries.values():
        if leaf.id in parents or leaf.id in known:
            continue
        branch: list[Entry] = []
        above: Entry | None = leaf
        while above is not None and above.id not in known:
            branch.append(above)
            known.add(above.id)
            above = entries.get(above.parent_id or "")
        yield f"- `{leaf.id}`: {_inline(_beginning(branch[::-1]), _GIST)}"


def _beginning(branch: list[Entry]) -> str:
    """Returns the first prompt of a branch; without one its first text, and without any the type of its last entry."""
    messages = [entry for entry in branch if isinstance(entry, MessageEntry) and entry.text]
    prompts = (entry.text for entry in messages if entry.role == "user")
    return next(prompts, None) or next((entry.text for entry in messages), branch[-1].type)


def _prose(*texts: str) -> str:
    return prose(*(escape_text(text, lines=True) for text in texts))


def _quote(said: str) -> str:
    return prose("\n".join(f"> {line}" for line in escape_text(said, lines=True).split("\n")))


def _fenced(code: str, language: str) -> str:
    longest = max((len(found) for found in _TICKS.findall(code)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{code}\n{fence}"


def _inline(said: str, longest: int | None = None) -> str:
    """Returns a text, or the beginning of it, as one line without markup."""
    return _MARKUP.sub(r"\\\g<0>", escape_text(_BLANKS.sub(" ", said)[:longest]))
