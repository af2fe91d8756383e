"""Databases of Google's ADK. That the adapter goes on with what was imported is tested with ADK itself."""

import json
from pathlib import Path

from foreign_adk import EVENTS, PAID, SESSION, adk_database, event_row
from foreign_stores import read, read_again, read_one

from convtree import ExtensionDataEntry, MessageEntry, session_key
from convtree._formats.google_adk import reader as google_adk


def test_a_session_of_the_adk(tmp_path: Path) -> None:
    """Events as they are, with usage and model; a rewind is a branch; the state is behind the last event."""
    path = adk_database(tmp_path / "d")
    found = read_one(google_adk, path)
    session, header = found.session, found.session.header
    assert (session.id, header.key, header.owner) == (
        session_key("trips", "ada", "s1"),
        ["trips", "ada", "s1"],
        "ada",
    )
    whose = {"google-adk.app": "trips", "google-adk.user": "ada"}
    assert (session.metadata, found.codes) == ({"import": {"format": "google-adk", "id": session.id}} | whose, [])
    assert header.timestamp == "2026-11-29T22:59:39.250000Z"
    entries = {each.id: each for _, each in session.records() if isinstance(each, MessageEntry)}
    assert [each.message for each in entries.values()] == [json.loads(row["event_data"]) for row in EVENTS]
    parents = {id: each.parent_id for id, each in entries.items()}
    assert parents == {"e1": None, "e2": "e1", "e3": "e2", "e4": "e3", "e5": "e4", "e6": "e4", "e7": "e6"}
    assert (entries["e6"].extra, entries["e6"].visible_to) == ({"behind": "e5"}, "nobody")
    paid = entries["e2"]
    assert (paid.usage, paid.provider, paid.model) == (PAID, "google", "gemini-2.5-pro")
    assert session.build_context().open_calls == ()
    last = session.path()[-1]
    assert isinstance(last, ExtensionDataEntry)
    assert (last.id, last.parent_id, last.ext_type) == (session.leaf_id, "e7", "google-adk.state")
    assert last.data == {"state": {"city": "Rome"}, "shared_before": {"app": {"x": 1}, "user": {"name": "Ada"}}}
    assert [each.text for each in session.path() if isinstance(each, MessageEntry) and each.text] == [
        *("Where?", "Rome", "By train?")
    ]
    assert read_again(google_adk, path, session) == 0


def test_a_session_that_grew(tmp_path: Path) -> None:
    """New events follow the last one, and the new state is where the leaf is. The old one stays."""
    session = read_one(google_adk, adk_database(tmp_path / "d")).session
    grown = [*EVENTS, event_row(8, "i4", "guide", say="Yes", actions={"state_delta": {"city": "Oslo"}})]
    path = adk_database(tmp_path / "e", events=grown, sessions=[{**SESSION, "state": '{"city": "Oslo"}'}])
    assert read_again(google_adk, path, session) == 2
    said, state = session.path()[-2:]
    assert (said.id, said.parent_id, session.state("google-adk.state")["state"]) == ("e8", "e7", {"city": "Oslo"})
    assert state.parent_id == "e8"


def test_events_without_a_session_and_odd_ones(tmp_path: Path) -> None:
    """They are a session of their own; what is no object is kept and reported; a compaction is for people."""
    odd = [{**event_row(2, "i1", "user", say="x"), "event_data": "[1]"}]
    compaction = {"compacted_content": {"role": "model", "parts": [{"text": "All of it."}]}}
    summed = event_row(3, "i1", "guide", actions={"compaction": compaction})
    rows = [event_row(1, "i1", "user", say="Where?"), *odd, summed]
    (found,) = read(google_adk, adk_database(tmp_path / "d", sessions=[], events=rows))
    assert (found.session.header.key, found.codes) == (
        ["trips", "ada", "s1"],
        ["source_no_session", "source_bad_record"],
    )
    first, second, third = found.session.path()
    assert isinstance(second, ExtensionDataEntry)
    assert isinstance(third, MessageEntry)
    assert (first.id, second.ext_type, second.data, third.visible_to) == ("e1", "google-adk.event", [1], "user")


def test_times_of_the_other_service(tmp_path: Path) -> None:
    """`DatabaseSessionService` writes texts without a zone, in UTC, and two sessions are two."""
    rows = [{**row, "timestamp": f"2026-11-29 22:59:4{number}.000000"} for number, row in enumerate(EVENTS)]
    began = {**SESSION, "create_time": "2026-11-29 22:59:39.5"}
    path = adk_database(tmp_path / "d", sessions=[began, {**began, "id": "s2", "state": "{}"}], events=rows)
    first, second = read(google_adk, path)
    assert first.session.header.timestamp == "2026-11-29T22:59:39.500000Z"
    assert next(each.timestamp for each in first.session.path()) == "2026-11-29T22:59:40.000000Z"
    assert [each.type for each in second.session.path()] == ["extension_data"]
    assert second.session.id == session_key("trips", "ada", "s2")
