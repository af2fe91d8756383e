"""The words of a conversation, for the search over many of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from convtree._model.document_text import escape_text
from convtree._model.entries import BranchSummaryEntry, CompactionEntry, Entry, Mark, MessageEntry

_WORD = re.compile(r"\w{2,}")
_LONGEST = 40  # characters of a word that are kept
_MOST = 50_000  # words of one conversation that are kept


def words_of(records: Iterable[tuple[int, Entry | Mark]], *also: str) -> list[str]:
    """Returns the words that people and models said, on all branches, sorted: in lower case, each once."""
    found: set[str] = set()
    for text in (*also, *_texts(records)):
        if len(found) < _MOST:
            found.update(word[:_LONGEST] for word in _WORD.findall(escape_text(text).lower()))
    return sorted(found)


def _texts(records: Iterable[tuple[int, Entry | Mark]]) -> Iterator[str]:
    for _, record in records:
        if isinstance(record, MessageEntry):
            yield record.text
        elif isinstance(record, CompactionEntry | BranchSummaryEntry):
            yield record.summary
