"""Entries in words: what kind, what one should know, what they say. All of it is foreign text, not yet harmless."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import orjson

from convtree._model.entries import (
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    ExtensionDataEntry,
    MessageEntry,
    ModelChangeEntry,
    OpaqueEntry,
)
from convtree._model.messages import calls_of, results_of, role_of, text_of

_GIST = 2000  # characters of a text that can matter for a preview of one line


class Description(NamedTuple):
    """An entry in words: its kind, remarks, a gist of one line at most, and all it says."""

    kind: str
    remarks: list[str]
    gist: str
    whole: str


def describe(entry: Entry) -> Description:
    """Returns an entry in words."""
    match entry:
        case MessageEntry():
            return _message(entry)
        case CompactionEntry():
            kept = entry.first_kept_entry_id
            facts = ["keeps nothing" if kept is None else f"keeps from {kept}", *_tokens(entry)]
            return _summary("compaction", facts, entry.summary, entry.details)
        case BranchSummaryEntry():
            facts = [] if entry.from_id is None else [f"of the branch that ends at {entry.from_id}"]
            return _summary("summary", facts, entry.summary, entry.details)
        case ModelChangeEntry():
            named = " ".join(filter(None, (entry.provider, entry.model)))
            gist = named + (f" {brief(entry.settings)}" if entry.settings else "")
            return Description("model", [], gist, named + _more(entry.settings))
        case ExtensionDataEntry():
            whole = f"{entry.ext_type}\n{indented(entry.data)}"
            return Description("data", [], f"{entry.ext_type} {brief(entry.data)}", whole)
        case OpaqueEntry():
            return Description(entry.type, ["unknown type"], brief(entry.fields), indented(entry.fields))
    raise AssertionError(f"an entry of the class {type(entry).__name__}")  # there are no others


def describe_message(message: Any) -> Description:
    """Returns a provider's message in words."""
    if not isinstance(message, dict):
        return Description("message", [], brief(message), indented(message))
    text = text_of(message)
    calls, results = calls_of(message), results_of(message)
    gists = [text.lstrip()[:_GIST]] if text.strip() else []
    gists += [f"calls {', '.join(call.name or '?' for call in calls)}"] if calls else []
    if results:
        gists.append(f"answers {', '.join(result.name or result.id or '?' for result in results)}: {_answer(message)}")
    is_only_text = bool(text) and not calls and not results
    gist = "; ".join(gists) or brief(message)
    return Description(role_of(message) or "message", [], gist, text if is_only_text else indented(message))


def brief(value: Any) -> str:
    """Returns a value as JSON on one line, of which the beginning counts."""
    return to_json(value).decode()[:_GIST]


def indented(value: Any) -> str:
    """Returns a value as JSON on many lines."""
    return to_json(value, orjson.OPT_INDENT_2).decode()


def to_json(value: Any, option: int = 0) -> bytes:
    """Encodes what was read from a log, whole numbers of any size included."""
    try:
        return orjson.dumps(value, option=option)
    except TypeError:
        return msgspec.json.format(msgspec.json.encode(value), indent=2 if option else -1)


def _message(entry: MessageEntry) -> Description:
    described = describe_message(entry.message)
    remarks = {"user": ["not for the model"], "model": ["not for the user"]}.get(entry.visible_to, [])
    if entry.pinned and described.kind not in ("system", "developer"):
        remarks = [*remarks, "pinned"]
    return described._replace(remarks=remarks)


def _summary(kind: str, facts: list[str], summary: str, details: Any) -> Description:
    whole = "\n".join(filter(None, (", ".join(facts), summary)))
    return Description(kind, [], summary.lstrip()[:_GIST], whole + _more(details))


def _answer(message: dict[str, Any]) -> str:
    """Returns the text of tool results, wherever the shape has it."""
    texts: list[str] = []
    waiting = [message.get("content", message.get("output", message.get("parts")))]
    while waiting:
        match waiting.pop(0):
            case str(text):
                texts.append(text.strip()[:_GIST])
            case list(blocks):
                waiting[:0] = blocks
            case {"text": inner} | {"content": inner} | {"data": {"content": inner}}:
                waiting.insert(0, inner)
            case {"functionResponse": {"response": {"output": inner} | {"result": inner} | {"error": inner}}}:
                waiting.insert(0, inner)
    return " ".join(texts)


def _tokens(entry: CompactionEntry) -> list[str]:
    if entry.tokens_before is None:
        return []
    after = "" if entry.tokens_after is None else f" to {entry.tokens_after:,}"
    return [f"{entry.tokens_before:,}{after} tokens"]


def _more(details: Any) -> str:
    return f"\n{indented(details)}" if details else ""
