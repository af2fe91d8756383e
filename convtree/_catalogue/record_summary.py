"""Summary of a record for the catalogue: role, time, model, usage, excerpt, search words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, overload
from unicodedata import normalize

from msgspec import UNSET, UnsetType

from convtree._model.entries import (
    ENTRY_CLASSES,
    MARK_CLASSES,
    BranchSummaryEntry,
    CompactionEntry,
    Entry,
    LeafMark,
    Mark,
    MessageEntry,
    ModelChangeEntry,
    OpaqueEntry,
    OpaqueMark,
    SessionInfoMark,
)
from convtree._model.usage import Usage, usage_of

EXCERPT = 200  # characters of a message that a list shows
_WORDS_LIMIT = 2**16  # characters of a message that are searched; the rest may be a data URL
_WORD_LIMIT = 64  # characters; longer words are not searched
#: scripts written without spaces: each character is a word
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
#: maps each ASCII character to its lower-case letter or digit, or to a space if it separates words
_ASCII = "".join(each.lower() if each.isalnum() else " " for each in map(chr, range(128)))
_ACCENTS = re.compile("[\u0300-\u036f]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RecordSummary(NamedTuple):
    """What the catalogue stores of an entry or a mark.

    Attributes:
        id: the record's id.
        parent_id: the parent entry; None for a root and for a mark.
        type: the record's type.
        role: the role of a message.
        ms: the record's time in milliseconds since 1970; None if it has none or an unreadable one.
        excerpt: the beginning of a message, on one line; empty if the user does not see the message.
        words: the words of a message for full text search, separated by spaces; empty if nobody sees the message.
        provider, model: of an answer or a summary, or of a change of the model.
        usage: tokens and cost of an answer or a summary; None if it has no usage.
        leaf: where the record moves the leaf; UNSET if it does not move it.
        name: the session's new name; UNSET if the record does not change it.
        archived: the session's new archived flag; UNSET if the record does not change it.
    """

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
    """Returns the summary of a record. Its texts are sanitised for every database."""
    message = record if isinstance(record, MessageEntry) else None
    text = "" if message is None else message.text
    shown = message is not None and message.visible_to not in ("model", "nobody")
    info = record if isinstance(record, SessionInfoMark) else None
    paid = record if isinstance(record, MessageEntry | CompactionEntry | BranchSummaryEntry) else None
    answered = paid or (record if isinstance(record, ModelChangeEntry) else None)
    is_opaque = isinstance(record, OpaqueEntry | OpaqueMark) and record.type in ENTRY_CLASSES | MARK_CLASSES
    entry = record if isinstance(record, Entry) else None
    leaf: str | UnsetType | None = UNSET if entry is None else entry.id
    if isinstance(record, LeafMark):
        leaf = record.target_id
    return RecordSummary(
        id=record.id,
        parent_id=None if entry is None else entry.parent_id,
        type="opaque" if is_opaque else record.type,  # a known type, but with needs that are not known
        role=None if message is None else sanitise_text(message.role),
        ms=ms_of(record.timestamp),
        excerpt=" ".join(sanitise_text(text[: 4 * EXCERPT]).split())[:EXCERPT] if shown else "",
        words="" if message is not None and message.visible_to == "nobody" else " ".join(words_of(text)),
        provider=None if answered is None else sanitise_text(answered.provider),
        model=None if answered is None else sanitise_text(answered.model),
        usage=usage_of(paid.usage) if paid is not None and paid.usage else None,
        leaf=leaf,
        name=UNSET if info is None or info.name is UNSET else sanitise_text(info.name),
        archived=UNSET if info is None else info.archived,
    )


def ms_of(timestamp: str | None) -> int | None:
    """Returns an RFC 3339 time in milliseconds since 1970. None if it is unreadable or outside the years 1 to 9999."""
    if timestamp is None:
        return None
    try:
        return ms_of_datetime(datetime.fromisoformat(timestamp))
    except (ValueError, OverflowError):
        return None


def ms_of_datetime(when: datetime) -> int:
    """Returns a time in milliseconds since 1970. A time without a zone is in UTC.

    Raises:
        OverflowError: the time is before the year 1 or after the year 9999 in UTC.
    """
    when = when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    return (when - _EPOCH) // timedelta(milliseconds=1)


def timestamp_of(ms: int | None) -> str | None:
    """Returns a time as RFC 3339 text in UTC, or None if its year does not have four digits."""
    try:
        when = None if ms is None else _EPOCH + timedelta(milliseconds=ms)
    except OverflowError:
        return None
    return None if when is None else when.isoformat(timespec="milliseconds")[:-6] + "Z"


def words_of(text: str) -> list[str]:
    """Splits text into normalised words, in order: lower case, no accents, one Unicode form."""
    text = text[:_WORDS_LIMIT]
    if text.isascii():  # a shortcut with the same result
        words = text.translate(_ASCII).split()
    else:
        folded = _ACCENTS.sub("", normalize("NFKD", sanitise_text(text).casefold()))
        words = _WORD.findall(normalize("NFKC", folded).casefold())
    return words if max(map(len, words), default=0) <= _WORD_LIMIT else [w for w in words if len(w) <= _WORD_LIMIT]


def snippet_of(text: str, words: Iterable[str], length: int = 160) -> str:
    """Returns about `length` characters of a text around the first of these words, on one line."""
    wanted = set(words)
    place = next((each.start() for each in _WORD.finditer(text) if not wanted.isdisjoint(words_of(each[0]))), 0)
    start = max(0, place - length // 3)
    part = " ".join(text[start : start + length].split())
    return f"{'…' if start else ''}{part}{'…' if start + length < len(text) else ''}"


@overload
def sanitise_text(text: str) -> str: ...
@overload
def sanitise_text(text: str | None) -> str | None: ...
def sanitise_text(text: str | None) -> str | None:
    """Returns text that every database can store: NUL becomes a space, a lone surrogate a question mark."""
    return None if text is None else text.replace("\0", " ").encode("utf-8", "replace").decode()
