"""Summary of a record for the catalogue: role, time, model, usage, excerpt, search words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from unicodedata import normalize

from msgspec import UNSET, UnsetType

from convtree._catalogue.metadata import MetadataChange, metadata_rows
from convtree._messages.said import read
from convtree._model.entries import (
    ENTRY_CLASSES,
    MARK_CLASSES,
    PAID,
    Entry,
    Header,
    LeafMark,
    Mark,
    MessageEntry,
    ModelChangeEntry,
    OpaqueEntry,
    OpaqueMark,
    SessionInfoMark,
    VacuumEntry,
    Visibility,
    VisibilityMark,
)
from convtree._model.notes import is_activity
from convtree._model.usage import Usage, usage_of, usage_stored_in

HIDDEN_FROM_USER = ("model", "nobody")
"""Lists show no excerpt of a message that is visible to these."""
NOT_SEARCHED = ("nobody",)
"""A search does not find a message that is visible to these."""
EXCERPT = 200  # characters of a message that a list shows
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
_SUM_LIMIT = 2**53  # of tokens, answers or cost in a sum
_WORDS_LIMIT = 2**16  # characters of a message that are searched; the rest may be a data URL
_WORD_LIMIT = 64  # characters; longer words are not searched
#: scripts written without spaces: each character is a word
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
#: maps each ASCII character to its lower-case letter or digit, or to a space if it separates words
_ASCII = "".join(each.lower() if each.isalnum() else " " for each in map(chr, range(128)))
_ACCENTS = re.compile("[\u0300-\u036f]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Spent(NamedTuple):
    """What a model has used in entries that a vacuum dropped."""

    provider: str | None
    model: str | None
    answers: int
    usage: Usage


class RecordSummary(NamedTuple):
    """What the catalogue stores of an entry or a mark.

    Attributes:
        id: the record's id.
        parent_id: the parent entry; None for a root and for a mark.
        type: the record's type.
        role: the role of a message.
        ms: the record's time in milliseconds since 1970; None if it has none or an unreadable one.
        excerpt: the beginning of a message, on one line. Lists show it only if the user sees the message.
        words: the words of a message for full text search, separated by spaces. Not searched if nobody sees it.
        provider, model: of an answer, a summary or paid extension data, or of a change of the model.
        usage: tokens and cost of any of these; None if it has no usage.
        leaf: where the record moves the leaf; UNSET if it does not move it.
        name: the session's new name; UNSET if the record does not change it.
        archived: the session's new archived flag; UNSET if the record does not change it.
        cwd, git_root: the session's new directories; UNSET if the record does not change them.
        metadata: how the record changes the metadata; None if it does not.
        held: whether the session is on hold from here on; UNSET if the record does not change it.
        visible_to: who sees a message; of a visibility mark, who sees its target from here on; None if unchanged.
        target: the entry that a visibility mark is about; None for every other record.
        spent: the usage of the entries that a vacuum dropped; empty for every other record.
        keeps_id: False for a lost entry that came back: the entry itself has the id in the tables.
        said: whether somebody said it, so that its time counts as activity: a message, but no note.
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
    cwd: str | UnsetType | None = UNSET
    git_root: str | UnsetType | None = UNSET
    held: bool | UnsetType = UNSET
    visible_to: Visibility | None = None
    target: str | None = None
    spent: tuple[Spent, ...] = ()
    keeps_id: bool = True
    said: bool = False
    metadata: MetadataChange | None = None


def summarise_record(record: Entry | Mark) -> RecordSummary:
    """Returns the summary of a record."""
    if isinstance(record, MessageEntry):
        return _summarise_message(record)
    paid = record if isinstance(record, PAID) else None
    usage = usage_stored_in(record)
    answered = paid or (record if isinstance(record, ModelChangeEntry | VacuumEntry) else None)
    is_opaque = isinstance(record, OpaqueEntry | OpaqueMark) and record.type in ENTRY_CLASSES | MARK_CLASSES
    entry = record if isinstance(record, Entry) else None
    leaf: str | UnsetType | None = UNSET if entry is None else entry.id
    if isinstance(record, LeafMark):
        leaf = record.target_id
    summary = RecordSummary(
        id=record.id,
        parent_id=None if entry is None else entry.parent_id,
        type="opaque" if is_opaque else record.type,  # a known type, but with needs that are not known
        role=None,
        ms=ms_of(record.timestamp),
        excerpt="",
        words="",
        provider=None if answered is None else answered.provider,
        model=None if answered is None else answered.model,
        usage=None if usage is None else usage_of(usage),
        leaf=leaf,
    )
    if isinstance(record, SessionInfoMark | VisibilityMark | VacuumEntry):
        return summary._replace(**_rare_fields(record))
    return summary


def _summarise_message(entry: MessageEntry) -> RecordSummary:
    """Returns the summary of a message. Nearly every record is one, so this is flat."""
    said = read(entry.message, entry.shape)
    text = said.text
    return RecordSummary(
        id=entry.id,
        parent_id=entry.parent_id,
        type="message",
        role=said.role,
        ms=ms_of(entry.timestamp),
        excerpt=excerpt_of(text),
        words=" ".join(words_of(text)),
        provider=entry.provider,
        model=entry.model,
        usage=usage_of(entry.usage) if entry.usage else None,
        leaf=entry.id,
        visible_to=entry.visible_to,
        said=is_activity(entry),
    )


def _rare_fields(record: SessionInfoMark | VisibilityMark | VacuumEntry) -> dict[str, Any]:
    """Returns the fields of a summary that only these records have."""
    if isinstance(record, VisibilityMark):
        return {"target": record.target_id, "visible_to": None if record.visible_to is UNSET else record.visible_to}
    if isinstance(record, VacuumEntry):
        return {"spent": tuple(spent_in(record))}
    texts = {name: getattr(record, name) for name in ("name", "cwd", "git_root")}
    changed: dict[str, Any] = {name: text for name, text in texts.items() if text is not UNSET}
    held = record.hold if record.hold is UNSET else bool(record.hold)
    metadata = None
    if record.metadata is not UNSET:
        metadata = MetadataChange(metadata_rows(record.metadata or {}), replaces=record.metadata is None)
    return changed | {"archived": record.archived, "held": held, "metadata": metadata}


def spent_in(entry: VacuumEntry) -> Iterator[Spent]:
    """Yields what each model has used in the entries that a vacuum dropped. An absurd number counts as 0."""
    for each in entry.usage or ():
        provider, model = (
            value if isinstance(value := each.get(name), str) else None for name in ("provider", "model")
        )
        numbers: dict[str, Any] = {name: int(_sum_in(each, name)) for name in _TOKENS}
        yield Spent(
            provider,
            model,
            int(_sum_in(each, "answers")),
            Usage(**numbers, cost=float(_sum_in(each, "cost"))),
        )


def _sum_in(fields: Mapping[str, Any], name: str) -> float:
    """Returns a number of a sum, or 0 if there is none in range."""
    value = fields.get(name)
    in_range = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _SUM_LIMIT
    return value if in_range else 0  # type: ignore[return-value]  # a number, as just checked


def entry_key(summary: RecordSummary) -> str:
    """Returns what identifies an entry among its copies: a fork keeps id and time."""
    return key_of(summary.id, summary.ms)


def key_of(id: str, ms: int | None) -> str:
    """Returns the key of an entry by its id, and its time in milliseconds since 1970."""
    return f"{id} {ms}"


def copied_up_to(header: Header) -> str | None:
    """Returns the id of the last entry that a session copied from its parent; None if it has copied nothing.

    A fork without `copied_to` names that entry as the place where it left its parent.
    """
    parent = header.parent_session
    if parent is None:
        return None
    return header.copied_to or (parent.entry_id if parent.kind == "fork" else None)


def is_in_family(header: Header, parent_id: str, owner: str | None) -> bool:
    """Returns whether a session has to be deleted together with one of this id and owner: it is its sub-agent's.

    One of another owner is not: nobody can keep the sessions of others from being deleted.
    """
    parent = header.parent_session
    is_task = parent is not None and parent.kind == "task" and parent.id == parent_id
    return is_task and (owner is None or header.owner == owner)


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
    if when.tzinfo is not UTC:
        when = when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    since = when - _EPOCH
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000  # rounded down


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
        text = text.translate(_ASCII)
        words = text.split()
        if not _has_long_word(text):
            return words
    else:
        folded = _ACCENTS.sub("", normalize("NFKD", sanitise_text(text).casefold()))
        words = _WORD.findall(normalize("NFKC", folded).casefold())
    return words if max(map(len, words), default=0) <= _WORD_LIMIT else [w for w in words if len(w) <= _WORD_LIMIT]


def _has_long_word(text: str) -> bool:
    """Returns whether a word is too long to be searched. Words are separated by spaces."""
    at, last = 0, len(text) - _WORD_LIMIT
    while at < last:
        at = text.rfind(" ", at, at + _WORD_LIMIT + 1) + 1
        if at == 0:
            return True
    return False


def snippet_of(text: str, words: Iterable[str], length: int = 160) -> str:
    """Returns about `length` characters of a text around the first of these words, on one line."""
    place, _ = next(word_spans(text, words), (0, 0))
    start = max(0, place - length // 3)
    part = " ".join(text[start : start + length].split())
    return f"{'…' if start else ''}{part}{'…' if start + length < len(text) else ''}"


def word_spans(text: str, words: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yields where one of these words begins and ends in a text, for every place of one."""
    wanted = set(words)
    return (each.span() for each in _WORD.finditer(text) if _is_one_of(each[0], wanted))


def _is_one_of(word: str, wanted: Set[str]) -> bool:
    if word.isascii():
        return word.lower() in wanted  # a shortcut with the same result
    return not wanted.isdisjoint(words_of(word))


def excerpt_of(text: str) -> str:
    """Returns the beginning of a message as a list shows it, on one line."""
    short = " ".join(sanitise_text(text[: EXCERPT + 1]).split())
    if len(short) < EXCERPT < len(text) - 1:  # much white space
        short = " ".join(sanitise_text(text[: 4 * EXCERPT]).split())
    return short[:EXCERPT]


def sanitise_text(text: str) -> str:
    """Returns text for words and excerpts: NUL becomes a space, a lone surrogate a question mark."""
    if text.isascii():
        return text.replace("\0", " ")  # a shortcut with the same result
    return text.replace("\0", " ").encode("utf-8", "replace").decode()
