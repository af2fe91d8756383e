"""What a catalogue keeps of a record: who said it, when, with which model, at what cost, in which words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from convtree.entries import Entry, LeafMark, Mark, MessageEntry, ModelChangeEntry, SessionInfoMark

EXCERPT = 200  # characters that a list shows of a message
_WORDS_LIMIT = 2**16  # characters of a message that can be searched; a data URL would be nothing but weight
_WORD_LIMIT = 64
#: scripts that are written without spaces: every character counts as a word
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens and stored cost. `input_tokens` are those that came from no cache; `cost` is in the caller's currency."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        mine, theirs = msgspec.structs.astuple(self), msgspec.structs.astuple(other)
        return Usage(**dict(zip(self.__struct_fields__, map(sum, zip(mine, theirs, strict=True)), strict=True)))

    @property
    def total_tokens(self) -> int:
        """All of them."""
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens


class Digest(NamedTuple):
    """What a catalogue keeps of an entry or a mark; `words` are what can be searched."""

    id: str
    parent_id: str | None
    type: str
    role: str | None
    ms: int | None
    excerpt: str
    words: str
    provider: str | None
    model: str | None
    usage: Usage | None
    leaf: str | UnsetType | None
    name: str | UnsetType | None = UNSET
    archived: bool | UnsetType | None = UNSET


def digest(record: Entry | Mark) -> Digest:
    """Reads off a record what a catalogue keeps of it."""
    text = record.text if isinstance(record, MessageEntry) else ""
    spoken = isinstance(record, MessageEntry)
    info = record if isinstance(record, SessionInfoMark) else None
    leaf: str | UnsetType | None = record.id if isinstance(record, Entry) else UNSET
    if isinstance(record, LeafMark):
        leaf = record.target_id
    return Digest(
        id=record.id,
        parent_id=record.parent_id if isinstance(record, Entry) else None,
        type=record.type,
        role=record.role if isinstance(record, MessageEntry) else None,
        ms=ms_of(record.timestamp),
        excerpt=_storable(" ".join(text[: 4 * EXCERPT].split())[:EXCERPT]),
        words=" ".join(words_of(text)) if spoken else "",
        provider=record.provider if isinstance(record, MessageEntry | ModelChangeEntry) else None,
        model=record.model if isinstance(record, MessageEntry | ModelChangeEntry) else None,
        usage=usage_of(record.usage) if isinstance(record, MessageEntry) and record.usage else None,
        leaf=leaf,
        name=UNSET if info is None else info.name,
        archived=UNSET if info is None else info.archived,
    )


def ms_of(timestamp: str | None) -> int | None:
    """Returns a time in milliseconds since 1970, or None where the text is no RFC 3339 time."""
    if timestamp is None:
        return None
    try:
        when = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)


def timestamp_of(ms: int | None) -> str | None:
    """Words a time as an RFC 3339 text in UTC."""
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def words_of(text: str) -> list[str]:
    """Cuts text into the words that a search compares, in order, in lower case."""
    words = _WORD.findall(_storable(text[:_WORDS_LIMIT]).casefold())
    return [word for word in words if len(word) <= _WORD_LIMIT]


def snippet_of(text: str, words: Iterable[str], length: int = 160) -> str:
    """Returns the part of a text around the first of some words, on one line."""
    lowered = text.casefold()
    places = [match.start() for word in words if (match := re.search(re.escape(word), lowered))]
    start = max(0, min(places, default=0) - length // 3)
    part = " ".join(text[start : start + length].split())
    return f"{'…' if start else ''}{part}{'…' if start + length < len(text) else ''}"


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """Reads tokens and cost off a provider's own usage, whichever it is; what it does not say is 0.

    OpenAI's and Gemini's input counts what came from a cache, Anthropic's does not; here it is never counted twice.
    Gemini's output does not count its thoughts.
    """
    details = _mapping(usage, "prompt_tokens_details", "input_tokens_details")
    cached_inside = _number(details, "cached_tokens") or _number(
        usage, "cached_content_token_count", "cachedContentTokenCount"
    )
    whole = _number(usage, "prompt_tokens", "prompt_token_count", "promptTokenCount", "input_tokens", "input")
    output = _number(
        usage, "completion_tokens", "candidates_token_count", "candidatesTokenCount", "output_tokens", "output"
    )
    cost = usage.get("cost", usage.get("total_cost"))
    if isinstance(cost, Mapping):
        cost = cost.get("total")
    return Usage(
        input_tokens=int(max(0, whole - cached_inside)),
        output_tokens=int(output + _number(usage, "thoughts_token_count", "thoughtsTokenCount")),
        cache_read_tokens=int(cached_inside or _number(usage, "cache_read_input_tokens", "cacheRead")),
        cache_write_tokens=int(_number(usage, "cache_creation_input_tokens", "cacheWrite")),
        cost=float(_number({"cost": cost}, "cost")),
    )


def _mapping(usage: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    return next((usage[name] for name in names if isinstance(usage.get(name), Mapping)), {})


def _number(usage: Mapping[str, Any], *names: str) -> float:
    """Returns the first of these fields that is a sensible number, or 0."""
    for name in names:
        value = usage.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53:
            return value
    return 0


def _storable(text: str) -> str:
    """Makes text that every database takes: no NUL, no lone surrogates."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()
