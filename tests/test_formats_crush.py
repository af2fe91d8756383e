"""The database of Crush. Its form is that of Crush's migrations."""

import json
from pathlib import Path
from typing import Any

import pytest
from foreign_stores import shown, write_database

from convtree import CompactionEntry, MessageEntry, SessionStore, open_store
from convtree.exchange import import_into, read_foreign

SCHEMA = """
create table if not exists sessions(id text primary key, parent_session_id text, title text not null,
    message_count integer not null default 0, prompt_tokens integer not null default 0,
    completion_tokens integer not null default 0, cost real not null default 0.0, updated_at integer not null,
    created_at integer not null, summary_message_id text, todos text);
create table if not exists messages(id text primary key, session_id text not null, role text not null,
    parts text not null default '[]', model text, created_at integer not null, updated_at integer not null,
    finished_at integer, provider text, is_summary_message integer default 0 not null);
"""
TIME = 1_767_225_600
SESSION = {
    "id": "s1",
    "title": "Trip",
    "message_count": 4,
    "prompt_tokens": 100,
    "completion_tokens": 7,
    "cost": 0.25,
    "updated_at": TIME,
    "created_at": TIME,
}
FINISH = ("finish", {"reason": "end_turn", "time": TIME})


def row(number: int, role: str, *parts: tuple[str, Any], **more: Any) -> dict[str, Any]:
    """A row of the messages."""
    stored = json.dumps([{"type": kind, "data": data} for kind, data in parts])
    place = {"id": f"m{number}", "session_id": "s1", "created_at": TIME + number, "updated_at": TIME + number}
    return place | {"role": role, "parts": stored} | more


def text(said: str) -> tuple[str, dict[str, str]]:
    """A part with a text."""
    return "text", {"text": said}


CALL = ("tool_call", {"id": "c1", "name": "ls", "input": '{"path": "a"}', "provider_executed": False, "finished": True})
RESULT = ("tool_result", {"tool_call_id": "c1", "name": "ls", "content": "b", "metadata": "{}", "is_error": True})
MODEL = {"model": "opus", "provider": "anthropic"}
THOUGHT = ("reasoning", {"thinking": "Hm.", "signature": "s", "started_at": TIME})
ROWS = [
    row(1, "user", text("What is in a?"), ("binary", {"Path": "p.png", "MIMEType": "image/png", "Data": "AAAA"})),
    row(2, "assistant", THOUGHT, CALL, FINISH, **MODEL),
    row(3, "tool", RESULT),
    row(4, "assistant", text("It is b."), FINISH, **MODEL),
]


@pytest.fixture
def store() -> SessionStore:
    """An empty store."""
    return open_store("memory:")


def imported(path: Path, store: SessionStore) -> int:
    """Imports a database; returns how many records were new."""
    return sum(each.written for each in import_into(path, store) if each.status == "imported")


def test_a_session(tmp_path: Path, store: SessionStore) -> None:
    """Parts as Anthropic has them. The tokens of the whole session are metadata."""
    path = write_database(tmp_path / "crush.db", SCHEMA, sessions=[SESSION], messages=ROWS)
    assert imported(path, store) == 4 + 2
    assert imported(path, store) == 0
    with store.open("s1") as session:
        assert shown(session) == [
            *("user: What is in a? <image>", "assistant: <thinking> <tool_use>"),
            *("user: <tool_result>", "assistant: It is b."),
        ]
        said = [each for each in session.path() if isinstance(each, MessageEntry)]
        assert (said[1].provider, said[1].model, said[1].timestamp) == (
            *("anthropic", "opus"),
            "2026-01-01T00:00:02.000000Z",
        )
        finish = {"type": "finish", "data": FINISH[1]}
        assert said[1].message["crush"] == {"updated_at": TIME + 2, "parts": [finish]}
        assert said[1].message["content"][1]["input"] == {"path": "a"}
        assert said[2].message["content"][0] == {
            "type": "tool_result",
            "tool_use_id": "c1",
            "content": "b",
            "is_error": True,
            "crush": {"name": "ls", "metadata": "{}"},
        }
        assert (session.name, session.metadata["crush"]) == (
            "Trip",
            {"prompt_tokens": 100, "completion_tokens": 7, "cost": 0.25},
        )


def test_an_answer_that_is_being_written(tmp_path: Path, store: SessionStore) -> None:
    """It is there at once. The finished one stands beside it, and is the one that goes on."""
    half = row(4, "assistant", text("It"), **MODEL)
    path = write_database(tmp_path / "a", SCHEMA, sessions=[SESSION], messages=[*ROWS[:3], half])
    imported(path, store)
    path = write_database(tmp_path / "b", SCHEMA, sessions=[SESSION], messages=ROWS)
    assert imported(path, store) == 1
    with store.open("s1") as session:
        assert (shown(session)[-1], len(session.leaves())) == ("assistant: It is b.", 2)


def test_a_summary_is_a_compaction(tmp_path: Path) -> None:
    """Crush goes on from it. Older databases name it in the session only."""
    older = SCHEMA.replace(", is_summary_message integer default 0 not null", "")
    for schema, named, marked in ((older, {"summary_message_id": "m5"}, {}), (SCHEMA, {}, {"is_summary_message": 1})):
        summary = row(5, "assistant", text("It was about a."), FINISH, **MODEL, **marked)
        rows = [*ROWS, summary, row(6, "user", text("Go on"))]
        path = tmp_path / str(len(named))
        session, _ = read_foreign(write_database(path, schema, sessions=[SESSION | named], messages=rows))
        (compaction,) = (each for each in session.path() if isinstance(each, CompactionEntry))
        assert (compaction.summary, compaction.model) == ("It was about a.", "opus")
        texts = [each.text for each in session.build_context().entries if isinstance(each, MessageEntry)]
        assert texts == ["Go on"]


def test_tasks_and_odd_rows(tmp_path: Path, store: SessionStore) -> None:
    """A session names its parent; a message whose session has no row is a session of its own."""
    task = SESSION | {"id": "s2", "parent_session_id": "s1", "title": ""}
    rows = [
        row(1, "user", ("shell_command", {"command": "ls", "output": "b", "exit_code": 0}), session_id="s2"),
        row(2, "user", ("image_url", {"url": "https://a.example/b.png"}), session_id="s2"),
        row(3, "user", session_id="s2") | {"parts": "no JSON"},
        row(4, "user", text("Lost"), session_id="s3"),
    ]
    path = write_database(tmp_path / "x", SCHEMA, sessions=[SESSION, task], messages=rows)
    reports = {each.session_id: each for each in import_into(path, store)}
    assert [each.code for each in reports["s3"].findings] == ["source_no_session"]
    parent = store.info("s2").parent_session
    assert parent is not None
    assert (parent.id, parent.kind) == ("s1", "task")
    with store.open("s2") as session:
        assert [each.type for each in session.path()] == ["extension_data", "message", "message"]
        assert shown(session) == ["user: <image>", "user: no JSON"]
