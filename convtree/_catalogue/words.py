"""The full text index of SQLite: which lines it has, and how well the others match a search. SQL text only. Pure.

SQLite takes longer to index the words of one message than to store it. So lines are indexed in blocks: the last line of
a block has the whole block indexed. The newest lines are pending until then. A search looks at these one by one, and
ranks them as the index would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log
from typing import Any, NamedTuple

_BLOCK = 32  # lines; a search may look at one less of them
_K1, _B, _LEAST = 1.2, 0.75, 1e-6  # of the function `bm25` of SQLite

#: that the index does not have a line `l` yet; its size is there from the moment that its words are
IS_PENDING = f"""l.row > (SELECT MAX(row) / {_BLOCK} * {_BLOCK} FROM ct_lines)
  AND l.words <> '' AND NOT EXISTS (SELECT 1 FROM ct_terms_docsize d WHERE d.id = l.row)"""
_TABLE = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS ct_terms USING fts5(words, content='ct_lines', content_rowid='row', "
    # The words are split and normalised already. Every character that is not white space belongs to a word.
    "tokenize=\"unicode61 remove_diacritics 0 categories 'L* M* N* P* S* C*'\")"
)
_REMOVE = (
    "CREATE TRIGGER IF NOT EXISTS ct_terms_remove AFTER DELETE ON ct_lines "
    "WHEN EXISTS (SELECT 1 FROM ct_terms_docsize WHERE id = old.row) BEGIN "
    "INSERT INTO ct_terms (ct_terms, rowid, words) VALUES ('delete', old.row, old.words); END"
)
_ADD_EACH = (
    "CREATE TRIGGER IF NOT EXISTS ct_terms_add AFTER INSERT ON ct_lines WHEN new.words <> '' BEGIN "
    "INSERT INTO ct_terms (rowid, words) VALUES (new.row, new.words); END"
)
_ADD_BLOCK = (
    f"CREATE TRIGGER IF NOT EXISTS ct_terms_add AFTER INSERT ON ct_lines WHEN new.row % {_BLOCK} = 0 BEGIN "
    "INSERT INTO ct_terms (rowid, words) SELECT l.row, l.words FROM ct_lines l "
    f"WHERE l.row BETWEEN new.row - {_BLOCK - 1} AND new.row AND l.words <> '' "
    "AND NOT EXISTS (SELECT 1 FROM ct_terms_docsize d WHERE d.id = l.row) ORDER BY l.row; END"
)
WORDS = (_TABLE, _ADD_BLOCK, _REMOVE)
"""The index, and the triggers that fill it."""
WORDS_AT_ONCE = (_TABLE, _ADD_EACH, _REMOVE)
"""The same without pending lines, for tables that are written to in order to be searched."""
LAYOUT_8 = (
    *("DROP TRIGGER ct_words_add", "DROP TRIGGER ct_words_remove"),
    # Renamed, so that searches of version 7 that are still running fail: they would miss pending lines.
    "ALTER TABLE ct_words RENAME TO ct_terms",
    *WORDS,
)
"""The way from the index of earlier versions, which had every line."""

_SELECT_COUNT = "SELECT COUNT(*) FROM ct_terms WHERE ct_terms MATCH :word"
#: how many lines the index has, and how many words: two numbers of SQLite's variable length
_SELECT_TOTALS = "SELECT block FROM ct_terms_data WHERE id = 1"


class Pending(NamedTuple):
    """What a search looks for in pending lines: a condition on a line `l`, and its values."""

    condition: str
    values: dict[str, str]


def pending_with(words: Sequence[str]) -> Pending:
    """Returns what finds the pending lines that have all of these words."""
    values = {f"word{number}": f" {word} " for number, word in enumerate(words)}
    contained = "".join(f" AND instr(' ' || l.words || ' ', :{name}) > 0" for name in values)
    return Pending(IS_PENDING + contained, values)


def query_of(words: Sequence[str]) -> str:
    """Returns the query of the index for all of these words. Quoting keeps SQLite from reading one as an operator."""
    return " ".join(f'"{word}"' for word in words)


def scores(execute: Callable[..., list[Any]], words: Sequence[str], pending: Sequence[str]) -> list[float]:
    """Returns how well some pending lines match, from their words, as `-bm25(ct_terms)` says it of indexed ones.

    The index says how rare a word is, and how long a line is on average.
    """
    if not pending:
        return []
    lines, total = totals_of(execute)
    average = total / lines if total else 1.0
    weights = {}
    for word in words:
        ((count,),) = execute(_SELECT_COUNT, {"word": query_of([word])})
        others = max(lines - count, 0)  # a damaged index may count fewer lines than have the word
        weights[word] = max(log((others + 0.5) / (count + 0.5)), _LEAST)
    found = []
    for line in pending:
        split = line.split(" ")
        length = _K1 * (1 - _B + _B * len(split) / average)
        counts = [(weight, split.count(word)) for word, weight in weights.items()]
        found.append(sum(weight * count * (_K1 + 1) / (count + length) for weight, count in counts))
    return found


def totals_of(execute: Callable[..., list[Any]]) -> tuple[int, int]:
    """Returns how many lines the index has, and how many words."""
    rows = execute(_SELECT_TOTALS)
    numbers, value = [], 0
    for byte in rows[0][0] if rows else b"":
        value = value << 7 | byte & 0x7F
        if byte < 0x80:  # the last byte of a number
            numbers.append(value)
            value = 0
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (0, 0)
