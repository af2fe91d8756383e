"""What is counted in a source, without convtree: the sum of a sample, and how its parts are found."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple


class Counts(NamedTuple):
    """What is counted in a session, or in all sessions of a source."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cost: float = 0.0
    messages: int = 0
    calls: int = 0
    results: int = 0
    leaves: int = 1


class Sample(NamedTuple):
    """How a source is written, and its sum.

    `mapped` are words that name a kind or a role there and have another name here; they say nothing else.
    """

    write: Callable[[Path], Path]
    counted: Callable[[Path], Counts]
    mapped: frozenset[str] = frozenset()


def words(*said: str) -> frozenset[str]:
    """Words that are mapped."""
    return frozenset(said)


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The lines of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def rows_of(path: Path, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def total(paid: Iterable[dict[str, Any]], name: str) -> int:
    """The sum of a count; where it is missing it is 0."""
    return sum(each.get(name, 0) for each in paid)


def leaves_of(parents: dict[str, str | None]) -> int:
    """How many have no child."""
    return len(parents.keys() - set(parents.values()))


def kinds(blocks: Iterable[Any], *names: str) -> int:
    """How many blocks are of these kinds."""
    return sum(isinstance(block, dict) and block.get("type") in names for block in blocks)
