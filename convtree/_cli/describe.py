"""Describes entries and messages in words. The result is foreign text; escape it before printing."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import orjson

from convtree._engine.outline import Changed
from convtree._formats.common.gaps import Gap
from convtree._formats.documents.turns import stopped, words_of
from convtree._messages.parts import Media, Result, Source, Text, Thinking, Unknown
from convtree._messages.said import read
from convtree._model.entries import (
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    ExtensionDataEntry,
    LostEntry,
    MessageEntry,
    ModelChangeEntry,
    OpaqueEntry,
    VacuumEntry,
    Visibility,
)
from convtree._model.notes import INSTRUCTS
from convtree._model.usage import usage_of

_HIDDEN = {"user": ["hidden from the model"], "model": ["hidden from the user"], "nobody": ["hidden"]}
_GIST = 2000  # more characters than fit into a preview of one line


class Description(NamedTuple):
    """An entry in words: its kind, remarks, a preview (`gist`), and its whole text."""

    kind: str
    remarks: list[str]
    gist: str
    whole: str


def describe(entry: Entry, changed: Changed = (None, None)) -> Description:
    """Describes an entry; `changed` is what marks say about who sees it, and whether it is pinned."""
    match entry:
        case MessageEntry():
            return _message(entry, changed)
        case CompactionEntry():
            kept = entry.first_kept_entry_id
            facts = ["keeps nothing" if kept is None else f"keeps from {kept}", *_tokens(entry), *_cost(entry)]
            return _summary("compaction", facts, entry.summary, entry.details)
        case BranchSummaryEntry():
            facts = [] if entry.from_id is None else [f"of the branch that ends at {entry.from_id}"]
            described = _summary("summary", [*facts, *_cost(entry)], entry.summary, entry.details)
            return described._replace(remarks=_visibility("all", None, changed))
        case ModelChangeEntry():
            named = " ".join(filter(None, (entry.provider, entry.model)))
            gist = named + (f" {brief(entry.settings)}" if entry.settings else "")
            return Description("model", [], gist, named + _more(entry.settings))
        case ExtensionDataEntry():
            whole = f"{entry.ext_type}\n{indented(entry.data)}"
            return Description("data", _cost(entry), f"{entry.ext_type} {brief(entry.data)}", whole)
        case LostEntry() | VacuumEntry() | OpaqueEntry():
            return _rare(entry)
    raise AssertionError(f"an entry of the class {type(entry).__name__}")  # all subclasses of Entry are above


def describe_message(message: Any, shape: str | None = None) -> Description:
    """Describes a provider's message."""
    if not isinstance(message, dict):
        return Description("message", [], brief(message), indented(message))
    said = read(message, shape)
    text, results = said.text, said.results
    shown = words_of(said) if any(isinstance(part, Media) for part in said.parts) else text.lstrip()
    gists = [shown[:_GIST]] if shown else []
    gists += [f"calls {', '.join(call.name or '?' for call in said.calls)}"] if said.calls else []
    if results:
        names = ", ".join(result.name or result.id or "?" for result in results)
        gists.append(f"answers {names}: {' '.join(filter(None, map(_result_text, results)))}")
    is_only_text = bool(text) and all(isinstance(part, Text) for part in said.parts)
    gist = "; ".join(gists) or _wordless(said) or brief(message)
    remarks = ["not understood"] if any(isinstance(part, Unknown) for part in said.parts) else []
    return Description(said.role or "message", remarks, gist, text if is_only_text else indented(message))


def _wordless(said: Source) -> str:
    """Returns the gist of a message without words, calls and results; empty if there is something else in it."""
    thoughts = [part.text.strip() for part in said.parts if isinstance(part, Thinking)]
    if len(thoughts) < len(said.parts):
        return ""
    return f"thinks: {' '.join(filter(None, thoughts))}"[:_GIST].removesuffix(": ") if thoughts else "(no text)"


def brief(value: Any) -> str:
    """Returns the beginning of a value as JSON on one line."""
    return to_json(value).decode()[:_GIST]


def indented(value: Any) -> str:
    """Returns a value as JSON on many lines."""
    return to_json(value, orjson.OPT_INDENT_2).decode()


def to_json(value: Any, option: int = 0) -> bytes:
    """Encodes a value from a log as JSON. Integers may have any size."""
    try:
        return orjson.dumps(value, option=option)
    except TypeError:
        return msgspec.json.format(msgspec.json.encode(value), indent=2 if option else -1)


def remarks_of(entry: MessageEntry, changed: Changed) -> list[str]:
    """Returns remarks on who sees a message, on whether it is pinned, and on what became of it."""
    pinned = entry.pinned and entry.role not in INSTRUCTS
    remarks = _visibility(entry.visible_to, pinned, changed)
    remarks += [why] if (why := stopped(entry)) is not None else []
    return remarks + ([f"replaces {entry.replaces}"] if entry.replaces is not None else [])


def _message(entry: MessageEntry, changed: Changed) -> Description:
    described = describe_message(entry.message, entry.shape)
    return described._replace(remarks=[*described.remarks, *remarks_of(entry, changed)])


def _visibility(visible_to: Visibility, pinned: bool | None, changed: Changed) -> list[str]:
    """Returns remarks on who sees an entry, and on whether it is pinned."""
    remarks = _HIDDEN.get(changed[0] or visible_to, [])
    return [*remarks, *(["pinned"] if (pinned if changed[1] is None else changed[1]) else [])]


def _rare(entry: LostEntry | VacuumEntry | OpaqueEntry) -> Description:
    if isinstance(entry, OpaqueEntry):
        return Description(entry.type, ["unknown type"], brief(entry.fields), indented(entry.fields))
    if isinstance(entry, Gap):
        return Description("gap", [], entry.words, entry.words)
    if isinstance(entry, LostEntry):
        whole = "Its line was damaged. The entry can be put back from a copy of the log."
        proof = "" if entry.line_crc is None else f"\nchecksum of its line: {entry.line_crc}"
        return Description("lost", [], "a damaged entry was here", whole + proof)
    gist = f"stands for {entry.dropped:,} dropped entries"
    facts = {
        "provider": entry.provider,
        "model": entry.model,
        "settings": entry.settings,
        "state": entry.state,
        "usage": entry.usage,
    }
    return Description("vacuum", [], gist, gist + _more({name: fact for name, fact in facts.items() if fact}))


def _summary(kind: str, facts: list[str], summary: str, details: Any) -> Description:
    whole = "\n".join(filter(None, (", ".join(facts), summary)))
    return Description(kind, [], summary.lstrip()[:_GIST], whole + _more(details))


def _result_text(result: Result) -> str:
    """Returns the text of a tool result."""
    return " ".join(part.text.strip()[:_GIST] for part in result.content if isinstance(part, Text))


def _tokens(entry: CompactionEntry) -> list[str]:
    if entry.tokens_before is None:
        return []
    after = "" if entry.tokens_after is None else f" to {entry.tokens_after:,}"
    return [f"{entry.tokens_before:,}{after} tokens"]


def _cost(entry: CompactionEntry | BranchSummaryEntry | ExtensionDataEntry) -> list[str]:
    """Returns which model was paid for a summary or a note, and the tokens that it took."""
    model = " ".join(filter(None, (entry.provider, entry.model)))
    spent = usage_of(entry.usage).total_tokens if entry.usage else 0
    facts = [f"written by {model}"] if model else []
    return [*facts, f"took {spent:,} tokens"] if spent else facts


def _more(details: Any) -> str:
    return f"\n{indented(details)}" if details else ""
