"""A source is imported again after its tool has changed what it had written before.

What was imported stays; what the source says now is a branch beside it. No import fails because of it.
"""

import json
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_formats_exports import webui_chat, webui_message

from convtree import IdConflict, MessageEntry, SessionStore, open_store, redact
from convtree._logs.sql import SqlLog
from convtree.exchange import ImportReport, import_file, import_into

STAMP = "2026-01-02T03:04:05.678Z"
Line = dict[str, Any]


@pytest.fixture
def store() -> Iterator[SessionStore]:
    """An empty store."""
    with open_store("memory:") as store:
        yield store


def said(id: str, parent: str | None, text: str, tokens: int = 0) -> Line:
    """A message of pi: of the user, or of the assistant if it cost something."""
    message: Line = {"role": "user", "content": text}
    if tokens:
        blocks = [{"type": "text", "text": text}]
        message = {"role": "assistant", "content": blocks, "model": "m", "usage": {"input": tokens, "output": 1}}
    return {"type": "message", "id": id, "parentId": parent, "timestamp": STAMP, "message": message}


def write(path: Path, *lines: Line) -> Path:
    """Writes a session of pi."""
    header = {"type": "session", "version": 3, "id": "s1", "cwd": "/w", "timestamp": STAMP}
    path.write_text("".join(json.dumps(line) + "\n" for line in (header, *lines)))
    return path


def imported(source: Path, store: SessionStore) -> ImportReport:
    """Imports the only session."""
    [report] = import_into(source, store)
    assert (report.status, report.reason) == ("imported", None)
    return report


def texts(store: SessionStore, leaf: str | None = None) -> list[str]:
    """The messages in the context of the session."""
    with store.open("s1") as session:
        entries = session.build_context(leaf=leaf or session.leaf_id).entries
        return [entry.text for entry in entries if isinstance(entry, MessageEntry)]


FIRST = [said("a", None, "one"), said("b", "a", "two", 100), said("c", "b", "three"), said("d", "c", "four", 200)]


@pytest.mark.parametrize("location", ["memory:", "folder", "sqlite:///{}/s.db"])
def test_a_message_that_was_changed_is_a_branch(location: str, tmp_path: Path) -> None:
    """What follows it in the source follows it here. What was used counts once, and a third import adds nothing."""
    path = write(tmp_path / "s.jsonl", *FIRST)
    with open_store(tmp_path / "store" if location == "folder" else location.format(tmp_path)) as store:
        imported(path, store)
        write(path, FIRST[0], said("b", "a", "zwei", 100), *FIRST[2:], said("e", "d", "five"))
        report = imported(path, store)
        assert [finding.code for finding in report.findings] == ["source_contradicted"]
        assert (report.written, imported(path, store).written) == (4, 0)
        assert texts(store) == ["one", "zwei", "three", "four", "five"]
        assert texts(store, "d") == ["one", "two", "three", "four"]
        assert store.info("s1").usage.total_tokens == 100 + 200 + 2
        with store.open("s1") as session:
            assert [entry.source_id for entry in session.path()] == [None, "b", "c", "d", None]


def test_many_changes_are_one_finding(tmp_path: Path) -> None:
    """It names the first branch and how many there are; what only follows a changed message is not counted."""
    path, store = write(tmp_path / "s.jsonl", *FIRST), open_store("memory:")
    imported(path, store)
    write(path, said("a", None, "eins"), said("b", "a", "zwei", 100), *FIRST[2:])
    [finding] = imported(path, store).findings
    assert (finding.code, finding.times, finding.line) == ("source_contradicted", 2, 0)
    with store.open("s1") as session:
        assert finding.entry_id == session.path()[0].id


def test_a_source_that_was_changed_grows(tmp_path: Path) -> None:
    """What is new comes below the branch, and the leaf goes with it."""
    path, store = write(tmp_path / "s.jsonl", *FIRST[:2]), open_store("memory:")
    imported(path, store)
    changed = [FIRST[0], said("b", "a", "zwei", 100), *FIRST[2:]]
    for count, written in ((2, 1), (3, 1), (4, 1)):
        assert imported(write(path, *changed[:count]), store).written == written
    assert texts(store) == ["one", "zwei", "three", "four"]
    with store.open("s1") as session:
        assert len(session.leaves()) == 2


def test_a_change_on_another_branch_keeps_the_leaf(tmp_path: Path) -> None:
    """The leaf is where the tool goes on, also if what has changed lies elsewhere."""
    lines = [*FIRST[:2], said("x", "a", "other", 300), said("c", "b", "three")]
    path, store = write(tmp_path / "s.jsonl", *lines), open_store("memory:")
    imported(path, store)
    imported(write(path, *lines[:2], said("x", "a", "another", 301), lines[3]), store)
    with store.open("s1") as session:
        assert session.leaf_id == "c"
    assert imported(path, store).written == 0
    assert store.info("s1").usage.total_tokens == 100 + 300 + 301 + 3


def test_the_leaf_that_a_source_names_is_on_the_branch(tmp_path: Path, store: SessionStore) -> None:
    """A chat whose leaf is not its last message, and a message above both has changed."""

    def chat(first: str) -> Line:
        messages = [
            webui_message("a", None, "user", first, "b", "c"),
            webui_message("b", "a", "assistant", "Rome?"),
            webui_message("c", "a", "assistant", "Oslo?"),
        ]
        return webui_chat(messages, "b")

    path = tmp_path / "chats.json"
    for first, written in (("Where to?", 6), ("Where from?", 4), ("Where from?", 0)):
        path.write_text(json.dumps([chat(first)]))
        assert imported(path, store).written == written
        with store.open("chat") as session:
            texts = [entry.text for entry in session.path() if isinstance(entry, MessageEntry)]
        assert texts == [first, "Rome?"]


def test_references_lead_to_the_branch(tmp_path: Path) -> None:
    """What a compaction keeps, and what a label is on, is what the source has now."""
    kept = {"type": "compaction", "id": "k", "parentId": "d", "timestamp": STAMP, "summary": "So far"}
    lines = [*FIRST, kept | {"firstKeptEntryId": "c"}, said("e", "k", "five")]
    label = {"type": "label", "id": "l", "parentId": "e", "timestamp": STAMP, "targetId": "c", "label": "here"}
    path, store = write(tmp_path / "s.jsonl", *lines, label), open_store("memory:")
    imported(path, store)
    imported(write(path, FIRST[0], FIRST[1], said("c", "b", "drei"), *lines[3:], label), store)
    assert texts(store) == ["drei", "four", "five"]
    with store.open("s1") as session:
        labelled = [(session.entry(id), label) for id, label in session.labels.items()]
    labels = [(entry.text, label) for entry, label in labelled if isinstance(entry, MessageEntry)]
    assert labels == [("three", "here"), ("drei", "here")]


def test_a_parent_that_appears(tmp_path: Path) -> None:
    """What hung in the air is copied below it; the first copy stays where it was."""
    path, store = write(tmp_path / "s.jsonl", *FIRST[2:]), open_store("memory:")
    report = imported(path, store)
    assert [finding.code for finding in report.findings] == ["source_orphan"]
    assert imported(write(path, *FIRST), store).written == 4
    assert texts(store) == ["one", "two", "three", "four"]
    assert texts(store, "d") == ["three", "four"]
    assert (imported(path, store).written, store.info("s1").usage.total_tokens) == (0, 302)


def test_what_a_vacuum_dropped_does_not_come_back(tmp_path: Path) -> None:
    """Its children are below the entry that stands for it, and stay there."""
    kept = {"type": "compaction", "id": "k", "parentId": "d", "timestamp": STAMP, "summary": "So far"}
    lines = [*FIRST, kept | {"firstKeptEntryId": "d"}, said("e", "k", "five")]
    path, store = write(tmp_path / "s.jsonl", *lines), open_store("memory:")
    imported(path, store)
    store.vacuum("s1")
    assert imported(path, store).written == 0
    assert imported(write(path, *lines, said("f", "e", "six")), store).written == 1
    assert texts(store) == ["four", "five", "six"]


def test_a_secret_that_was_removed_does_not_come_back(tmp_path: Path) -> None:
    """An import without the redaction that an earlier one had is refused."""
    path = write(tmp_path / "s.jsonl", said("a", None, "my key is sk-ant-api03-" + "x" * 60))
    import_file(path, tmp_path / "log.jsonl", redact=redact)
    with pytest.raises(IdConflict):
        import_file(path, tmp_path / "log.jsonl")


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=6), st.lists(st.sets(st.integers(0, 5), max_size=2), max_size=4)
)
def test_the_context_is_what_the_source_says(
    tmp_path_factory: pytest.TempPathFactory, places: list[int], changes: list[set[int]]
) -> None:
    """Whichever messages are changed, the last state is what is shown, and importing that again adds nothing."""
    path, store = tmp_path_factory.mktemp("s") / "s.jsonl", open_store("memory:")
    times = [0] * len(places)
    for changed in [set[int](), *changes]:
        times = [times[number] + (number in changed) for number in range(len(places))]
        above: list[str | None] = [None]
        lines = []
        for number, place in enumerate(places):
            lines.append(said(f"id{number}", above[max(0, len(above) - 1 - place)], f"change {times[number]}"))
            above.append(f"id{number}")
        imported(write(path, *lines), store)
        assert imported(path, store).written == 0
        fresh = open_store("memory:")
        imported(path, fresh)
        assert texts(store) == texts(fresh)


@pytest.mark.parametrize("location", ["memory:", "sqlite:///{}/s.db"])
def test_a_message_that_was_changed_back(location: str, tmp_path: Path) -> None:
    """However often it changes, the context is what the source says, without another copy of what is there."""
    path = tmp_path / "s.jsonl"
    changed = [FIRST[0], said("b", "a", "zwei", 100), *FIRST[2:]]
    with open_store(location.format(tmp_path)) as store:
        for lines, second in [(FIRST, "two"), (changed, "zwei")] * 3:
            imported(write(path, *lines), store)
            assert texts(store) == ["one", second, "three", "four"]
            assert imported(path, store).written == 0
        with store.open("s1") as session:
            assert len(session.leaves()) == 2


@pytest.mark.parametrize("place", ["a", "b", "d"])
def test_where_somebody_has_put_the_leaf_it_stays(place: str, tmp_path: Path) -> None:
    """An import that adds nothing moves the leaf only from where the source does not lead any more."""
    path, store = write(tmp_path / "s.jsonl", *FIRST), open_store("memory:")
    imported(path, store)
    imported(write(path, FIRST[0], FIRST[1], said("c", "b", "drei"), FIRST[3]), store)
    with store.open("s1") as session:
        session.branch(place)
    imported(path, store)
    expected = {"a": ["one"], "b": ["one", "two"], "d": ["one", "two", "drei", "four"]}
    assert texts(store) == expected[place]


def test_two_ids_that_share_a_hash(tmp_path: Path, store: SessionStore) -> None:
    """One is the number that the digest of the other is. Each record is itself, whichever came first."""
    twin = blake2b(b"abc", digest_size=8).hexdigest()
    path = write(tmp_path / "s.jsonl", said(twin, None, "one"))
    imported(path, store)
    write(path, said(twin, None, "one"), said("abc", twin, "two"))
    assert [imported(path, store).written for _ in range(2)] == [1, 0]
    write(path, said(twin, None, "one"), said("abc", twin, "zwei"))
    assert [each.code for each in imported(path, store).findings] == ["source_contradicted"]
    assert texts(store) == ["one", "zwei"]


def test_what_is_new_in_the_middle_keeps_the_leaf(tmp_path: Path) -> None:
    """The context goes on where the source ends, as in a first import."""
    path, store = write(tmp_path / "s.jsonl", *FIRST), open_store("memory:")
    imported(path, store)
    imported(write(path, FIRST[0], said("x", "a", "other"), *FIRST[1:]), store)
    assert texts(store) == ["one", "two", "three", "four"]
    assert imported(path, store).written == 0


def test_a_second_import_reads_a_database_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compared with the source is fetched at once; a record costs no query."""
    count, calls = 200, 0
    path = write(tmp_path / "s.jsonl", *(said(f"m{at}", f"m{at - 1}" if at else None, "x") for at in range(count)))
    read_at = SqlLog.read_at

    def counted(self: SqlLog, spans: Any) -> list[bytes]:
        nonlocal calls
        calls += 1
        return read_at(self, spans)

    with open_store(f"sqlite:///{tmp_path}/s.db") as store:
        imported(path, store)
        monkeypatch.setattr(SqlLog, "read_at", counted)
        imported(path, store)
    assert calls < 20
