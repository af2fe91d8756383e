"""What a catalogue keeps of a record: who said it, when, with which model, at what cost, in which words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, overload
from unicodedata import normalize

import msgspec
from msgspec import UNSET, UnsetType

from convtree._model.entries import Entry, LeafMark, Mark, MessageEntry, ModelChangeEntry, SessionInfoMark

EXCERPT = 200  # characters that a list shows of a message
_WORDS_LIMIT = 2**16  # characters of a message that can be searched; a data URL would be nothing but weight
_WORD_LIMIT = 64
#: scripts that are written without spaces: every character counts as a word
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
#: the lower-case letter or digit for every ASCII character, a space for whatever separates words
_ASCII = "".join(each.lower() if each.isalnum() else " " for each in map(chr, range(128)))
_ACCENTS = re.compile("[\u0300-\u036f]")
_TOKENS_LIMIT = 2**40  # of one answer: any more is a mistake, and would be one in every sum
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens and stored cost. `input_tokens` are those that came from no cache; `cost` is in the caller's currency."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            cost=self.cost + other.cost,
        )

    @property
    def total_tokens(self) -> int:
        """All of them."""
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens


class RecordSummary(NamedTuple):
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


def summarise_record(record: Entry | Mark) -> RecordSummary:
    """Reads off a record what a catalogue keeps of it."""
    message = record if isinstance(record, MessageEntry) else None
    text = "" if message is None else message.text
    shown = message is not None and message.visible_to != "model"  # a note to the model is nobody's words
    info = record if isinstance(record, SessionInfoMark) else None
    answered = message or (record if isinstance(record, ModelChangeEntry) else None)
    entry = record if isinstance(record, Entry) else None
    leaf: str | UnsetType | None = UNSET if entry is None else entry.id
    if isinstance(record, LeafMark):
        leaf = record.target_id
    return RecordSummary(
        id=record.id,
        parent_id=None if entry is None else entry.parent_id,
        type=record.type,
        role=None if message is None else sanitise_text(message.role),
        ms=ms_of(record.timestamp),
        excerpt=" ".join(sanitise_text(text[: 4 * EXCERPT]).split())[:EXCERPT] if shown else "",
        words=" ".join(words_of(text)),
        provider=None if answered is None else sanitise_text(answered.provider),
        model=None if answered is None else sanitise_text(answered.model),
        usage=usage_of(message.usage) if message is not None and message.usage else None,
        leaf=leaf,
        name=UNSET if info is None or info.name is UNSET else sanitise_text(info.name),
        archived=UNSET if info is None else info.archived,
    )


def ms_of(timestamp: str | None) -> int | None:
    """Returns a time in milliseconds since 1970, or None where the text is no RFC 3339 time that UTC can word."""
    if timestamp is None:
        return None
    try:
        return ms_of_datetime(datetime.fromisoformat(timestamp))
    except (ValueError, OverflowError):
        return None


def ms_of_datetime(when: datetime) -> int:
    """Returns a time in milliseconds since 1970; without a zone it is one in UTC.

    Raises:
        OverflowError: in UTC, it is before the year 1 or after the year 9999.
    """
    when = when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    return (when - _EPOCH) // timedelta(milliseconds=1)


def timestamp_of(ms: int | None) -> str | None:
    """Words a time as an RFC 3339 text in UTC, or None where the year has more than four digits."""
    try:
        when = None if ms is None else _EPOCH + timedelta(milliseconds=ms)
    except OverflowError:
        return None
    return None if when is None else when.isoformat(timespec="milliseconds")[:-6] + "Z"


def words_of(text: str) -> list[str]:
    """Cuts text into the words that a search compares, in order: in lower case, without accents, however encoded."""
    text = text[:_WORDS_LIMIT]
    if text.isascii():  # the same, in a fraction of the time
        words = text.translate(_ASCII).split()
    else:
        folded = _ACCENTS.sub("", normalize("NFKD", sanitise_text(text).casefold()))
        words = _WORD.findall(normalize("NFKC", folded).casefold())
    return words if max(map(len, words), default=0) <= _WORD_LIMIT else [w for w in words if len(w) <= _WORD_LIMIT]


def snippet_of(text: str, words: Iterable[str], length: int = 160) -> str:
    """Returns the part of a text around the first of some words, on one line."""
    wanted = set(words)
    place = next((each.start() for each in _WORD.finditer(text) if not wanted.isdisjoint(words_of(each[0]))), 0)
    start = max(0, place - length // 3)
    part = " ".join(text[start : start + length].split())
    return f"{'…' if start else ''}{part}{'…' if start + length < len(text) else ''}"


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """Reads tokens and cost off a provider's own usage, whichever it is; what it does not say is 0.

    OpenAI's and Gemini's input counts what came from a cache, Anthropic's does not; here it is never counted twice.
    Gemini's input does not count what its own tools said, nor its output its thoughts.
    """
    details = _mapping(usage, "prompt_tokens_details", "input_tokens_details")
    cached_inside = _number(details, "cached_tokens") or _number(
        usage, "cached_content_token_count", "cachedContentTokenCount"
    )
    whole = _number(usage, "prompt_tokens", "prompt_token_count", "promptTokenCount", "input_tokens", "input")
    whole += _number(usage, "tool_use_prompt_token_count", "toolUsePromptTokenCount")
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
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _TOKENS_LIMIT:
            return value
    return 0


@overload
def sanitise_text(text: str) -> str: ...
@overload
def sanitise_text(text: str | None) -> str | None: ...
def sanitise_text(text: str | None) -> str | None:
    """Makes text that every database takes: no NUL, no lone surrogates."""
    return None if text is None else text.replace("\0", " ").encode("utf-8", "replace").decode()
