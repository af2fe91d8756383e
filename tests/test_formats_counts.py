"""The counts table: every format against the sum that its sample has of itself, made without convtree."""

from __future__ import annotations

from pathlib import Path

import pytest
from foreign_stores import write_database
from foreign_sums import Counts
from foreign_whole import LEDGER, SAMPLES
from test_formats_stores import GOOSE_SESSION

from convtree import MessageEntry, Session, SessionStore, open_store
from convtree._formats.registry import FORMATS
from convtree._messages.said import read
from convtree.exchange import import_into


def test_every_format_has_a_sample() -> None:
    """A new format is counted, too."""
    names = {name.partition(",")[0] for name in SAMPLES}
    assert names == {form.NAME for form in FORMATS}


def tree_counts(session: Session) -> tuple[int, int, int, int]:
    """Messages of the source, calls, results and leaves of a session. A message may have become several entries."""
    said = [entry for _, entry in session.records() if isinstance(entry, MessageEntry)]
    read_ones = [read(entry.message, entry.shape) for entry in said]
    calls, results = sum(len(each.calls) for each in read_ones), sum(len(each.results) for each in read_ones)
    return len({entry.source_id or entry.id for entry in said}), calls, results, len(session.leaves())


def imported(name: str, folder: Path) -> tuple[SessionStore, list[str]]:
    """A store with a sample in it, and the ids of its sessions."""
    store = open_store("memory:")
    reports = import_into(SAMPLES[name].write(folder), store)
    assert {report.status for report in reports} == {"imported"}
    return store, [report.session_id for report in reports if report.session_id]


@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_counted_is_what_the_source_has(name: str, tmp_path: Path) -> None:
    """Tokens by kind, cost, messages, calls, results and branches."""
    store, ids = imported(name, tmp_path)
    (id,) = ids
    usage = store.info(id).usage
    with store.open(id) as session:
        found = Counts(
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_read_tokens,
            usage.cache_write_tokens,
            usage.cost,
            *tree_counts(session),
        )
    (path,) = [tmp_path / each for each in sorted(tmp_path.iterdir()) if not each.name.endswith(".meta.json")]
    assert found == SAMPLES[name].counted(path)


def test_the_ledger_of_goose_grows_beside_the_conversation(tmp_path: Path) -> None:
    """The leaf stays at the last message; what was paid without a message is there, too."""
    path = SAMPLES["goose"].write(tmp_path)
    store = open_store("memory:")
    import_into(path, store)
    row = {"session_id": "20260101_1", "input_tokens": 5, "output_tokens": 7}
    write_database(path, "", usage_ledger=[row])
    (report,) = import_into(path, store)
    assert (report.written, store.info("20260101_1").usage.output_tokens) == (2, 222 + 222 + 7)
    with store.open("20260101_1") as session:
        assert session.leaf_id == "msg_4"
    lonely = write_database(tmp_path / "other.db", LEDGER, sessions=[GOOSE_SESSION], usage_ledger=[row])
    other = open_store("memory:")
    import_into(lonely, other)
    assert other.info("20260101_1").usage.output_tokens == 7
