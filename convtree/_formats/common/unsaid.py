"""What no reader took of a node of the source: its texts and numbers that none of its entries has. Pure.

A reader names the fields that it understands. A new version of a tool has others, at any depth, and a check of each
field in each reader would be forgotten in one of them. Here the node is compared with its entries instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import orjson

from convtree._formats.common.base import Findings, SourceSpan
from convtree._formats.common.values import moment
from convtree._model.entries import (
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    ExtensionDataEntry,
    MessageEntry,
    ModelChangeEntry,
)

_SECOND = len("2026-01-02T03:04:05")
_TEXT, _NUMBER = 4, 99  # a shorter text and a smaller number say too little to be looked for
_SEARCHES = 1000  # in all that is said of a node; what is not looked for then is kept, perhaps once more
_CHILDREN = "children"  # places a node in the tree
#: fields whose words have another name here
_WORDS = frozenset({"type", "role", "sender", "kind", "status", "content_type", _CHILDREN})


def unsaid(
    fields: Mapping[str, Any],
    said: Any,
    known: frozenset[str] = frozenset(),
    elsewhere: frozenset[str] = frozenset(),
    words: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Returns the texts and numbers of a node that are not in what is said of it, by their place (a JSON pointer).

    What is in `known`, such as the ids of the node and its parent, has its place in the tree. Fields named in
    `elsewhere` are not looked at: the format keeps them in another record, or reports them. Neither are texts in
    fields whose words have another name here (`words`, and those that all tools have, such as `role`).
    """
    leaves = set(_values(said))
    looked_for = _leaves(fields, elsewhere, _WORDS | words)
    missing = [(place, value) for place, value in looked_for if value not in leaves and value not in known]
    if not missing:
        return {}
    texts = _Texts("\n".join(leaf for leaf in leaves if isinstance(leaf, str)))
    return {place: value for place, value in missing if not texts.have(value)}


def with_unsaid(name: str, entries: list[Entry], found: dict[str, Any]) -> list[Entry]:
    """Returns the entries of a node; the first one has what was left."""
    return [_with(name, entries[0], found), *entries[1:]] if entries and found else entries


def _with(name: str, entry: Entry, found: dict[str, Any]) -> Entry:
    match entry:
        case MessageEntry(extra=extra):
            return msgspec.structs.replace(entry, extra=_joined(extra, name, found))
        case CompactionEntry(details=dict() | None as details) | BranchSummaryEntry(details=dict() | None as details):
            return msgspec.structs.replace(entry, details=_joined(details, name, found))
        case ModelChangeEntry(settings=settings):
            return msgspec.structs.replace(entry, settings=_joined(settings, name, found))
        case ExtensionDataEntry(data=dict() as data):
            return msgspec.structs.replace(entry, data=data | found)
    return entry


def _joined(kept: dict[str, Any] | None, name: str, found: dict[str, Any]) -> dict[str, Any]:
    """Returns what an entry keeps of its source, with more under the tool's name."""
    own = (kept or {}).get(name)
    return (kept or {}) | {name: own | found if isinstance(own, dict) else found}


def name_unsaid(
    fields: Mapping[str, Any],
    said: Any,
    span: SourceSpan,
    findings: Findings,
    elsewhere: frozenset[str] = frozenset(),
) -> None:
    """Reports the texts and numbers of an object that are not in what is said of it, by the names of their fields.

    For an object that has no entry which could keep them: a wrapper, a line that only counts or orders.
    """
    for place in unsaid(fields, said, elsewhere=elsewhere):
        names = [each for each in place.split("/") if not each.isdecimal()]
        findings.add_once(names[-1], "source_field_dropped", span)


def _leaves(
    fields: Mapping[str, Any], elsewhere: frozenset[str] = frozenset(), words: frozenset[str] = _WORDS
) -> Iterator[tuple[str, Any]]:
    """Yields the texts and numbers that are long or large enough, with their places."""
    stack: list[tuple[str, Any]] = [("", fields)]
    while stack:
        place, value = stack.pop()
        if isinstance(value, Mapping):
            for name, each in value.items():
                if name not in elsewhere and not (name in words and _is_word(name, each)):
                    stack.append((f"{place}/{name}", each))
        elif isinstance(value, list):
            stack += [(f"{place}/{at}", each) for at, each in enumerate(value)]
        elif isinstance(value, str):
            if len(value) >= _TEXT:
                yield place, value
        elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) > _NUMBER:
            yield place, value


def _is_word(name: str, value: Any) -> bool:
    if name == _CHILDREN:
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    return isinstance(value, str)


def _values(value: Any) -> Iterator[str | int | float]:
    """Yields all texts and numbers in a value, names of fields among them."""
    stack = [value]
    while stack:
        each = stack.pop()
        if isinstance(each, Mapping):
            stack += [*each, *each.values()]
        elif isinstance(each, list | tuple):
            stack += each
        elif isinstance(each, str | int | float):
            yield each


class _Texts:
    """All texts that are said of a node, as one."""

    def __init__(self, said: str) -> None:
        self._said = said
        self._left = _SEARCHES

    def have(self, value: Any) -> bool:
        """Returns whether a text or number is part of them: as it is, as JSON, as a time, or as what JSON holds."""
        self._left -= 1
        if self._left < 0:
            return False
        if isinstance(value, str):
            if value in self._said or orjson.dumps(value)[1:-1].decode() in self._said:
                return True
            if value[:1] in ("{", "["):
                try:
                    parsed = orjson.loads(value)
                except orjson.JSONDecodeError:
                    return False
                return all(self.have(each) for _, each in _leaves({"": parsed}))
        elif str(value) in self._said:
            return True
        return (at := moment(value)) is not None and at[:_SECOND] in self._said
