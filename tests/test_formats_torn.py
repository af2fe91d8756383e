"""A source that is read while it is written: what is imported of its beginning is part of the whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from foreign_whole import SAMPLES

from convtree import SessionStore, open_store
from convtree._model.entries import Entry
from convtree.exchange import import_into

PARTS = {"cline": "ui_messages.json", "picoclaw": "claw.meta.json", "aider": "history.md"}
CODES = {"cline": "source_torn_tail", "picoclaw": "source_bad_line", "aider": "source_torn_tail"}
STEP = 53  # bytes between two places at which a file is cut


def ids_in(store: SessionStore) -> set[tuple[str, str]]:
    """The sessions of a store with the ids of their entries."""
    found = set()
    for each in store.list():
        with store.open(each.id) as session:
            found |= {(each.id, record.id) for _, record in session.records() if isinstance(record, Entry)}
    return found


@pytest.mark.parametrize("name", PARTS)
def test_the_beginning_of_a_file_gives_no_more_than_the_whole(name: str, tmp_path: Path) -> None:
    """Wherever a line of it, or its metadata, is cut: no second session, and no branch."""
    SAMPLES[name].write(tmp_path)
    (path,) = tmp_path.rglob(PARTS[name])
    data = path.read_bytes()
    store = open_store("memory:")
    import_into(tmp_path, store)
    whole = ids_in(store)
    for cut in range(1, len(data), STEP):
        if name == "aider" and data[cut - 1 : cut] == b"\n":
            continue  # nothing says that the message goes on
        grown = open_store("memory:")
        path.write_bytes(data[:cut])
        import_into(tmp_path, grown)
        path.write_bytes(data)
        import_into(tmp_path, grown)
        assert (cut, ids_in(grown) - whole) == (cut, set())
        assert ids_in(grown) == whole


@pytest.mark.parametrize("name", PARTS)
def test_what_was_held_back_is_reported(name: str, tmp_path: Path) -> None:
    """With a finding."""
    SAMPLES[name].write(tmp_path)
    (path,) = tmp_path.rglob(PARTS[name])
    path.write_bytes(path.read_bytes()[:-3])
    reports = import_into(tmp_path, open_store("memory:"))
    assert CODES[name] in [finding.code for report in reports for finding in report.findings]
