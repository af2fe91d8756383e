"""Any text as a column: in a form that every database stores, and with a beginning that fits into an index. Pure.

PostgreSQL stores no NUL, and its indexes hold at most 2,704 bytes of a row. So NUL is escaped, reversibly: two texts
that differ stay different. An index has the beginning of a text, and a query compares the beginning and the whole.
Where a text belongs to a primary key, `key_of_texts` stands for it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, overload

from convtree._catalogue.metadata import digest

_BEGINNING = 512  # characters in an index: at most 2,048 bytes
_ESCAPE, _NUL = "\x1a1", "\x1a0"  # U+001A and NUL as they are stored


@overload
def stored(text: str) -> str: ...
@overload
def stored(text: str | None) -> str | None: ...
def stored(text: str | None) -> str | None:
    """Returns a text as columns have it. Only one with U+001A or NUL is another one there."""
    if text is None or ("\0" not in text and "\x1a" not in text):
        return text
    return text.replace("\x1a", _ESCAPE).replace("\0", _NUL)


@overload
def restored(text: str) -> str: ...
@overload
def restored(text: str | None) -> str | None: ...
def restored(text: str | None) -> str | None:
    """Returns the text that `stored` made this column of."""
    if text is None or "\x1a" not in text:
        return text
    return text.replace(_NUL, "\0").replace(_ESCAPE, "\x1a")


@lru_cache(maxsize=256)  # those of models come again and again
def key_of_texts(*texts: str) -> str:
    """Returns 32 hex digits that stand for these texts in a primary key, however long they are."""
    return digest(texts)


def beginning(column: str) -> str:
    """Returns the expression that indexes have of a column."""
    return f"substr({column}, 1, {_BEGINNING})"


def equals(column: str, value: str) -> str:
    """Returns the condition that a column equals an expression, such as a parameter. It uses the index."""
    return f"({beginning(column)} = {beginning(value)} AND {_whole(column)} = {value})"


def one_of(names: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Returns the parameters for a list of texts as columns have them, and the values of these."""
    values = {f"id{number}": stored(name) for number, name in enumerate(names)}
    return ", ".join(f":{name}" for name in values) or "NULL", values


def is_one_of(column: str, marks: str) -> str:
    """Returns the condition that a column is one of the parameters that `one_of` returned. It uses the index."""
    beginnings = ", ".join(map(beginning, marks.split(", ")))
    return f"({beginning(column)} IN ({beginnings}) AND {_whole(column)} IN ({marks}))"


def _whole(column: str) -> str:
    """Returns a column as an expression. Otherwise, SQLite would put the value into that of the index, too."""
    return f"{column} || ''"
