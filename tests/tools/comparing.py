"""Compares what was imported with what a tool sends, part by part, and counts with what a server handed out. Pure.

A request is a list of parts, each with the role that says it: a text, a call, a result. How they are put into messages
is no difference, as no provider makes one: two messages of the user in a row say the same as one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import chain, dropwhile, groupby, zip_longest
from typing import Any, Literal, NamedTuple

from .loopback import Asked, Handed

Shape = Literal["anthropic", "openai-chat", "openai-responses", "gemini"]

_ITEMS = {"anthropic": "messages", "openai-chat": "messages", "openai-responses": "input", "gemini": "contents"}


class Part(NamedTuple):
    """A part of a message, and who says it; the role is "" for items that have none."""

    role: str
    content: Mapping[str, Any]


class Rule(NamedTuple):
    """A difference that is the tool's, by name.

    Attributes:
        name: What the report calls it.
        reason: Why an import cannot have it, or has it in another form.
        change: Returns the part as the import has it, in one or several; none for a part that is on no disk, the part
            itself if the rule does not concern it.
        both: It also changes parts of the import, for a form that both sides may choose.
        rank: Where a part stands in its turn: what is said between two answers is sorted by it, on both sides. For
            parts that the tool does not send in the order in which it wrote them.
        repeats: Whether a part is one that the tool sends several times in a turn. Then the first one counts.
    """

    name: str
    reason: str
    change: Callable[[Part], Sequence[Part]] = lambda part: [part]
    both: bool = False
    rank: Callable[[Part], str] = lambda _: ""
    repeats: Callable[[Part], bool] = lambda _: False


def _without_error(part: Part) -> list[Part]:
    text = part.content.get("content")
    if part.role != "tool" or not isinstance(text, str):
        return [part]
    return [Part(part.role, {**part.content, "content": text.removeprefix("Error: ")})]


FAILED_RESULTS = Rule(
    "failed results",
    "a request of chat completions cannot mark a result as failed; convtree says so in its text",
    _without_error,
    both=True,
)
"""For the tools that send chat completions."""


class Uncounted(NamedTuple):
    """Requests whose tokens the tool writes nowhere, by name: for titles, for example."""

    name: str
    reason: str
    concerns: Callable[[Asked], bool]


class Difference(NamedTuple):
    """A part that only one side has, or that both have differently. One of them may be None."""

    imported: Part | None
    sent: Part | None


class Comparison(NamedTuple):
    """What was found: messages of the tool's request, differences, and parts that each rule changed on either side."""

    messages: int
    differences: list[Difference]
    explained: Counter[str]


class Counted(NamedTuple):
    """Token counts: what was handed out for requests that count, and what the import has. `skipped` is by rule."""

    handed: Handed
    imported: Handed
    skipped: Counter[str]

    @property
    def is_right(self) -> bool:
        """Whether both are the same."""
        return self.handed == self.imported


def messages_of(shape: Shape, request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the messages of a request, or its items, without the system prompt that some begin with."""
    items = request.get(_ITEMS[shape]) or []
    items = [{"role": "user", "content": items}] if isinstance(items, str) else items
    return [dict(item) for item in dropwhile(lambda item: item.get("role") == "system", items)]


def parts_of(shape: Shape, messages: Iterable[Mapping[str, Any]]) -> list[Part]:
    """Returns the parts of messages, in order."""
    return [part for message in messages for part in _parts(shape, message)]


def _parts(shape: Shape, message: Mapping[str, Any]) -> list[Part]:
    role = str(message.get("role", ""))
    content = message.get("parts" if shape == "gemini" else "content")
    if shape == "openai-responses" and message.get("type", "message") != "message":
        return [Part(role, message)]
    if role == "tool":
        return [Part(role, message)]
    blocks = [content] if isinstance(content, str) else content or []
    parts = [Part(role, {"type": "text", "text": each} if isinstance(each, str) else each) for each in blocks]
    rest = {name: message[name] for name in message if name not in ("role", "type", "id", "status", "content", "parts")}
    calls = rest.pop("tool_calls", None) or []
    parts += [Part(role, {"tool_call": call}) for call in calls]
    return parts + ([Part(role, rest)] if rest else [])


def compare(
    shape: Shape, imported: Mapping[str, Any], sent: Mapping[str, Any], said_next: str, rules: Sequence[Rule] = ()
) -> Comparison:
    """Compares a request made of an import with the one that the tool sent, up to what was said next in that."""
    theirs = messages_of(shape, sent)
    found = parts_of(shape, theirs)
    end = next((at for at, part in enumerate(found) if said_next in _json(part.content)), len(found))
    changed: Counter[str] = Counter()
    explained: Counter[str] = Counter()
    mine = _changed(parts_of(shape, messages_of(shape, imported)), [rule for rule in rules if rule.both], changed)
    other = _changed(found[:end], rules, explained)
    before = next((at for at, message in enumerate(theirs) if said_next in _json(message)), len(theirs))
    return Comparison(before, list(_differences(mine, other)), changed | explained)


def count(requests: Sequence[Asked], imported: Handed, uncounted: Sequence[Uncounted] = ()) -> Counted:
    """Compares the counts of an import with those of the requests."""
    skipped: Counter[str] = Counter()
    handed = Handed(0, 0, 0)
    for asked in requests:
        rule = next((rule for rule in uncounted if rule.concerns(asked)), None)
        if rule is None:
            handed = Handed(*(a + b for a, b in zip(handed, asked.usage, strict=True)))
        else:
            skipped[rule.name] += 1
    return Counted(handed, imported, skipped)


def _changed(parts: Iterable[Part], rules: Sequence[Rule], explained: Counter[str]) -> list[Part]:
    changed = list(parts)
    for rule in rules:
        before, changed = changed, []
        for part in before:
            after = rule.change(part)
            explained[rule.name] += list(after) != [part]
            changed += after
        turns = [list(turn) for _, turn in groupby(changed, _answers)]
        once = [
            [part for at, part in enumerate(turn) if not (rule.repeats(part) and part in turn[:at])] for turn in turns
        ]
        ranked = [part for turn in once for part in sorted(turn, key=rule.rank)]
        moved = sum(part is not other for part, other in zip(chain.from_iterable(once), ranked, strict=True))
        explained[rule.name] += moved + len(changed) - len(ranked)
        changed = ranked
    return changed


def _answers(part: Part) -> bool:
    return part.role in ("assistant", "model")


def _differences(mine: list[Part], other: list[Part]) -> Iterable[Difference]:
    matcher = SequenceMatcher(None, [_json(part) for part in mine], [_json(part) for part in other], autojunk=False)
    for tag, start, end, start_of_other, end_of_other in matcher.get_opcodes():
        if tag != "equal":
            yield from (Difference(*pair) for pair in zip_longest(mine[start:end], other[start_of_other:end_of_other]))


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
