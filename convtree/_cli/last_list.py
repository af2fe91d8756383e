"""The last list that was printed of each store, so that a row of it can be named by its number.

A small file in the user's state directory, not in the store: reading a store writes nothing there. It holds ids only.
Best effort: if it cannot be written or read, numbers are not known, and everything else works.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from convtree._logs.atomic_file import write_atomically

_STORES, _ROWS = 20, 1000  # what is remembered at most: lists, and rows of each
_NUMBER = re.compile("[0-9]{1,9}")
_Lists = dict[str, list[str]]


def remember_list(location: str, ids: Sequence[str]) -> None:
    """Remembers the ids of the rows of a list, in their order. An empty list is not remembered."""
    if not ids:
        return
    lists = _lists()
    key = _key_of(location)
    lists.pop(key, None)
    lists[key] = list(ids[:_ROWS])
    kept = dict(list(lists.items())[-_STORES:])
    with suppress(OSError):
        path = _path()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, [msgspec.json.encode(kept)], replace=True)


def remembered_list(location: str) -> list[str]:
    """Returns the ids of the last list of a store; empty if none is known."""
    return _lists().get(_key_of(location), [])


def listed_id(location: str, text: str) -> str | None:
    """Returns the id in the row of the last list that a text numbers; None if it is no number, or there is no row."""
    rows = remembered_list(location) if _NUMBER.fullmatch(text) else []
    return rows[int(text) - 1] if rows and 1 <= int(text) <= len(rows) else None


def is_number(text: str) -> bool:
    """Returns whether a text may be the number of a row."""
    return _NUMBER.fullmatch(text) is not None


def _lists() -> _Lists:
    with suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(_path().read_bytes(), type=_Lists)
    return {}


def _path() -> Path:
    from platformdirs import user_state_path

    return user_state_path("convtree") / "last-lists.json"


def _key_of(location: str) -> str:
    key = location if "://" in location else os.path.abspath(location)
    return key.encode(errors="backslashreplace").decode()  # a path may have bytes that are no UTF-8
