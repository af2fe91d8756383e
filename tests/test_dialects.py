"""The two readers of calls and results agree: `messages.calls_of`, `results_of`, and `reading.read_message`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from foreign import SAMPLES as TRANSCRIPTS
from foreign import encoded
from hypothesis import given
from test_formats_exports import SAMPLES as EXPORTS
from test_formats_stores_laws import sources
from test_messages import CASES
from test_providers import OWN
from test_providers import SAMPLES as REQUESTS
from test_providers_laws import sessions

from convtree import MessageEntry
from convtree._messages.messages import ToolCall, calls_of, results_of
from convtree._messages.parts import Call, Result, Source
from convtree._messages.reading import read_message
from convtree.exchange import import_into
from convtree.stores._open import open_store

Calls = list[tuple[str | None, str]]


def named(calls: list[ToolCall]) -> Calls:
    return [(call.id or None, call.name) for call in calls]


def check_agreement(message: dict[str, Any], shape: str | None) -> int:
    """Compares the two readers on a message; returns how many calls and results it has.

    `results_of` leaves out a result with neither id nor name: it can answer no call.
    """
    parts = read_message(Source(message=message, shape=shape))
    calls = [(part.id, part.name) for part in parts if isinstance(part, Call)]
    results = [part.id for part in parts if isinstance(part, Result) and (part.id or part.name)]
    assert (calls, results) == (named(calls_of(message)), [id for id, _ in named(results_of(message))])
    return len(calls) + len(results)


@pytest.mark.parametrize("name", CASES)
def test_they_agree_on_every_case_of_messages(name: str) -> None:
    check_agreement(CASES[name][0], None)


@pytest.mark.parametrize("shape", REQUESTS)
def test_they_agree_on_every_providers_samples(shape: str) -> None:
    assert sum(check_agreement(message, given) for message in REQUESTS[shape] for given in (shape, None)) > 0
    for message in OWN.get(shape, []):
        check_agreement(message, shape)


def samples(folder: Path) -> Iterator[Path]:
    """One source of every format."""
    for name, records in TRANSCRIPTS.items():
        (folder / name).write_bytes(encoded(*records))
        yield folder / name
    for name, (_, value) in EXPORTS.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
        yield folder / f"{name}.json"
    (folder / "stores").mkdir()
    yield from (path for _, path in sources(folder / "stores").values())


def test_they_agree_on_every_formats_samples(tmp_path: Path) -> None:
    """As the importers store them, with the shape that the importer names."""
    found = 0
    with open_store("memory:") as store:
        for path in samples(tmp_path):
            for report in import_into(path, store):
                assert report.session_id is not None
                with store.open(report.session_id, read_only=True) as session:
                    for _, record in session.records():
                        if isinstance(record, MessageEntry):
                            found += check_agreement(record.message, record.shape)
    assert found > 20


@given(session=sessions())
def test_they_agree_on_every_conversation(session: Any) -> None:
    for _, record in session.records():
        if isinstance(record, MessageEntry):
            check_agreement(record.message, record.shape)
