"""A field that holds something else than it should is no reason to fail, in any format and at any place."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from foreign_agents import AGENTS
from foreign_chats import CHATS

from convtree import NotALog, open_store
from convtree.exchange import import_into

FORMATS = CHATS | {"atif": AGENTS["atif"]}
VALUES: tuple[Any, ...] = ({"a": 1}, -5)


def places(value: Any) -> list[tuple[Any, ...]]:
    """The paths to everything in a value."""
    found: list[tuple[Any, ...]] = []
    waiting: list[tuple[tuple[Any, ...], Any]] = [((), value)]
    while waiting:
        path, inside = waiting.pop()
        pairs = inside.items() if isinstance(inside, dict) else enumerate(inside) if isinstance(inside, list) else ()
        for key, item in pairs:
            found.append((*path, key))
            waiting.append(((*path, key), item))
    return found


def swapped(values: list[Any]) -> Iterator[list[Any]]:
    """The values, each time with another thing at one place."""
    for place in places(values):
        for new in VALUES:
            changed = inside = deepcopy(values)
            for key in place[:-1]:
                inside = inside[key]
            inside[place[-1]] = new
            yield changed


def rows_swapped(path: Path) -> Iterator[None]:
    """Writes another value into each cell of a database, and into each place of the JSON in it."""
    whole = path.read_bytes()
    with closing(sqlite3.connect(path)) as database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        cells = [
            (table, column[1], row, old)
            for table in tables
            for column in database.execute(f"pragma table_info({table})").fetchall()
            for row, old in database.execute(f"select rowid, {column[1]} from {table}").fetchall()
        ]
    for table, column, row, old in cells:
        news: list[Any] = [-5, 1.5, b"\xff\x00"]
        with suppress(ValueError, TypeError):
            news += [json.dumps(each) for (each,) in swapped([json.loads(old)])]
        for new in news:
            with closing(sqlite3.connect(path)) as database, suppress(sqlite3.Error), database:
                database.execute(f"update {table} set {column} = ? where rowid = ?", (new, row))
            yield
            path.write_bytes(whole)


def files_swapped(path: Path) -> Iterator[None]:
    """Writes a file again and again, with another value at one place."""
    whole = path.read_text()
    is_one = path.suffix == ".json"
    for values in swapped([json.loads(whole)] if is_one else [json.loads(line) for line in whole.splitlines()]):
        path.write_text("".join(f"{json.dumps(value)}\n" for value in values))
        yield
    path.write_text(whole)


@pytest.mark.parametrize("name", FORMATS)
def test_a_value_of_another_type_fails_nothing(name: str, tmp_path: Path) -> None:
    """The import ends, and reports no failure."""
    source = FORMATS[name].write(tmp_path)
    for path in [each for each in tmp_path.rglob("*") if each.is_file()]:
        is_database = path.read_bytes().startswith(b"SQLite")
        for _ in rows_swapped(path) if is_database else files_swapped(path):
            with suppress(NotALog):
                reports = import_into(source, open_store("memory:"))
                assert [each.reason for each in reports if each.status == "failed"] == []
