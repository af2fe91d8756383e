"""What a source says is in the log, or a finding names the field that is not.

Every text of four or more characters and every number above 99 of each sample is looked for in what was imported: as it
is, inside another text, as JSON that was parsed, or as a time. Words that name a kind or a role may have another name
here; each sample lists them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from foreign_whole import SAMPLES

from convtree import open_store
from convtree.exchange import import_into

Place = tuple[str, ...]


def leaves(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every text and number in a value, with the keys that lead there. JSON in a text and MessagePack are parsed."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from leaves(each, (*place, str(name)))
    elif isinstance(value, list):
        for each in value:
            yield from leaves(each, place)
    elif isinstance(value, bytes) and value.startswith(b"{"):
        yield from leaves(json.loads(value), place)
    elif isinstance(value, bytes):
        yield from leaves(msgspec.msgpack.decode(value, ext_hook=lambda _, inside: bytes(inside)), place)
    elif isinstance(value, str) and value[:1] in ("{", "[", '"'):
        try:
            yield from leaves(json.loads(value), place)
        except ValueError:
            yield place, value
    else:
        yield place, value


def facts_of(path: Path) -> Iterator[tuple[Place, Any]]:
    """What must not be lost of a source: a file, a database, or a folder."""
    if path.is_dir():
        for each in sorted(path.iterdir()):
            yield from facts_of(each)
    elif path.suffix in (".db", ".vscdb"):
        with closing(sqlite3.connect(path)) as connection:
            connection.row_factory = sqlite3.Row
            tables = connection.execute(
                "select name from sqlite_master where type = 'table' and name not like 'sqlite%'"
            )
            for (table,) in tables.fetchall():
                for row in connection.execute(f'select * from "{table}"'):
                    yield from leaves(dict(row), (table,))
    elif path.suffix == ".yaml":
        yield from ((("yaml",), line.partition(":")[2].strip(" \"'")) for line in path.read_text().splitlines()[1:])
    elif path.suffix == ".md":
        marks = ("# aider chat started at ", "#### ", "> ")
        for line in path.read_text().splitlines():
            yield (), next((line.removeprefix(mark) for mark in marks if line.startswith(mark)), line).strip()
    elif path.suffix == ".jsonl" or path.name == "history.json":
        for line in path.read_text().splitlines():
            yield from leaves(json.loads(line))
    else:
        yield from leaves(json.loads(path.read_text()))


def is_said(value: Any) -> bool:
    """Whether a value is long or large enough to be looked for."""
    if isinstance(value, str):
        return len(value) >= 4
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 99


def moments(value: Any) -> Iterator[str]:
    """The spellings of a time to the second; none for what is no time."""
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            return
        yield (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC).isoformat()[:19]
    else:
        for divisor in (1, 1000):
            if 1e9 < value / divisor < 1e10:
                yield datetime.fromtimestamp(value / divisor, UTC).isoformat()[:19]


@pytest.mark.parametrize("name", SAMPLES)
def test_nothing_is_lost_without_a_name(name: str, tmp_path: Path) -> None:
    """The texts and numbers that are neither in the log nor named."""
    sample = SAMPLES[name]
    store = open_store("memory:")
    reports = import_into(sample.write(tmp_path), store)
    named = {finding.about for report in reports for finding in report.findings}
    stored: list[Any] = []
    for report in reports:
        with store.open(str(report.session_id)) as session:
            stored.append({"type": "session"} | msgspec.to_builtins(session.header))
            stored += [{"type": record.type} | msgspec.to_builtins(record) for _, record in session.records()]
    kept = list(leaves(stored))
    texts = "\n".join(each for place, value in kept for each in (*place, value) if isinstance(each, str))
    numbers = {value for _, value in kept if isinstance(value, int | float)}
    lost = {
        (place, value)
        for place, value in facts_of(tmp_path)
        if is_said(value)
        and "usage" not in place  # which is counted by its sum
        and value not in sample.mapped
        and not (value in texts if isinstance(value, str) else value in numbers)
        and not any(moment in texts for moment in moments(value))
        and named.isdisjoint(place)
    }
    assert lost == set()
