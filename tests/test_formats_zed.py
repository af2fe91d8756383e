"""Threads of Zed. Their form is that of Zed's sources, which the reader names."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import zstandard
from foreign_stores import shown, write_database

from convtree import ExtensionDataEntry, MessageEntry, SessionStore, open_store
from convtree.exchange import import_into

ID = "10431c84-c47b-4e6c-b2df-f9f3b9ad025b"
SCHEMA = """create table threads (id text primary key, summary text not null, updated_at text not null, data_type text
    not null, data blob not null, parent_id text, folder_paths text, folder_paths_order text, created_at text);"""
STAMP = "2026-01-02T03:04:05+00:00"
MODEL = {"provider": "anthropic", "model": "opus"}


def user(id: str, *content: dict[str, Any]) -> dict[str, Any]:
    """A message of the user."""
    return {"User": {"id": id, "content": list(content)}}


CALL = {"ToolUse": {"id": "c1", "name": "read_file", "input": {"path": "a"}, "raw_input": '{"path":"a"}'}}
THOUGHT = {"Thinking": {"text": "Hm.", "signature": "sig"}}
RESULT = {
    "tool_use_id": "c1",
    "tool_name": "read_file",
    "is_error": False,
    "content": [{"Text": "of a"}],
    "output": None,
}
MESSAGES = [
    user("u1", {"Text": "What is in a?"}, {"Mention": {"uri": {"File": {"abs_path": "/w/b"}}, "content": "of b"}}),
    {"Agent": {"content": [THOUGHT, CALL], "tool_results": {"c1": RESULT}, "reasoning_details": None}},
    {"Agent": {"content": [{"Text": "Text."}], "tool_results": {}}},
]
PAID = {"u1": {"input_tokens": 1000, "output_tokens": 7, "cache_read_input_tokens": 200}}


def thread(messages: list[Any], **more: Any) -> dict[str, Any]:
    """A thread."""
    about = {"title": "About a", "updated_at": STAMP, "version": "0.3.0", "model": MODEL}
    return about | {"messages": messages} | more


def row(content: Any, id: str = ID, **more: Any) -> dict[str, Any]:
    """A row of the table."""
    packed = zstandard.compress(json.dumps(content).encode())
    facts = {"id": id, "summary": "About a", "updated_at": STAMP, "data_type": "zstd", "data": packed}
    return facts | {"folder_paths": "/w\n/v", "created_at": "2026-01-01T00:00:00+00:00"} | more


def write(folder: Path, *rows: dict[str, Any]) -> Path:
    """Writes a database, or replaces the rows of one."""
    path = folder / "threads.db"
    if path.exists():
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("delete from threads")
        return write_database(path, "", threads=list(rows))
    return write_database(path, SCHEMA, threads=list(rows))


@pytest.fixture
def store() -> SessionStore:
    """An empty store."""
    return open_store("memory:")


def imported(path: Path, store: SessionStore) -> int:
    """Imports a database; returns how many records were new."""
    return sum(each.written for each in import_into(path, store))


def test_a_thread(tmp_path: Path, store: SessionStore) -> None:
    """What was mentioned, reasoning, calls with their results, usage beside the conversation; it grows."""
    path = write(tmp_path, row(thread(MESSAGES[:2], request_token_usage=PAID, profile="write")))
    first = imported(path, store)
    data = thread(MESSAGES, request_token_usage=PAID, profile="write")
    write(tmp_path, row(data))
    assert (first, imported(path, store)) == (4 + 2, 1)
    assert imported(path, store) == 0
    info = store.info(ID)
    assert (info.usage.input_tokens, info.usage.output_tokens, info.usage.cache_read_tokens) == (1000, 7, 200)
    assert (info.name, info.first_user_message) == ("About a", "What is in a? of b")
    with store.open(ID) as session:
        assert shown(session) == [
            *(
                "user: What is in a? of b",
                "assistant: <thinking> <tool_use>",
                "user: <tool_result>",
                "assistant: Text.",
            ),
        ]
        said = [each for each in session.path() if isinstance(each, MessageEntry)]
        assert said[2].message["content"] == [{"type": "tool_result", "tool_use_id": "c1", "content": "of a"}]
        assert said[1].message["zed"]["tool_results"] == [{"tool_name": "read_file", "tool_use_id": "c1"}]
        assert said[0].message["zed"]["content"] == [{"uri": {"File": {"abs_path": "/w/b"}}}]
        assert (said[1].provider, said[1].model, session.header.cwd) == ("anthropic", "opus", "/w")
        assert session.header.timestamp == "2026-01-01T00:00:00.000000Z"
        assert session.metadata["zed"] == {"updated_at": STAMP, "version": "0.3.0", "profile": "write"}


def test_an_edit_is_a_branch(tmp_path: Path, store: SessionStore) -> None:
    """What was edited is gone in Zed."""
    path = write(tmp_path, row(thread([*MESSAGES, user("u2", {"Text": "No"})])))
    imported(path, store)
    write(tmp_path, row(thread([*MESSAGES, user("u3", {"Text": "Yes"})])))
    imported(path, store)
    with store.open(ID) as session:
        assert shown(session)[-1] == "user: Yes"
        assert len(session.leaves()) == 2


def test_older_threads(tmp_path: Path, store: SessionStore) -> None:
    """Before version 0.3.0, and before there were versions."""
    call = {"id": "c1", "name": "now", "input": {}}
    result = {"tool_use_id": "c1", "is_error": True, "content": "No.", "output": None}
    old = [
        {
            "id": 0,
            "role": "user",
            "segments": [{"type": "text", "text": "Time?"}],
            "context": "A file.",
            "is_hidden": True,
        },
        {
            "id": 1,
            "role": "assistant",
            "segments": [
                {"type": "thinking", "text": "Hm.", "signature": "s"},
                {"type": "RedactedThinking", "data": "x"},
            ],
            "tool_uses": [call],
            "tool_results": [result],
        },
    ]
    usage = [{"input_tokens": 0, "output_tokens": 0}, {"input_tokens": 11, "output_tokens": 3}]
    data = {"version": "0.2.0", "summary": "Old", "messages": old, "request_token_usage": usage}
    oldest = {"summary": "Oldest", "messages": [{"id": 0, "role": "User", "text": "Hello"}]}
    rows = [row(data, "old", data_type="json", data=json.dumps(data)), row(oldest, "oldest")]
    imported(write(tmp_path, *rows), store)
    assert store.info("old").usage.output_tokens == 3
    with store.open("old") as session:
        assert shown(session) == [
            *("user: Time? A file.", "assistant: <thinking> <redacted_thinking> <tool_use>", "user: <tool_result>"),
        ]
    with store.open("oldest") as session:
        assert shown(session) == ["user: Hello"]


def test_other_messages(tmp_path: Path, store: SessionStore) -> None:
    """A picture, a resumption, mentions without content, and what is not understood."""
    image = {"Image": {"source": "aGk=", "size": {"width": 640, "height": 480}}}
    several = {"c1": RESULT | {"content": [{"type": "text", "text": "one"}, image]}, "c2": RESULT | {"content": "two"}}
    messages = [
        user("u1", image, {"Mention": {"uri": {"Rule": {}}, "content": ""}}, {"Text": {"text": "See"}}),
        {"Agent": {"content": ["Plain", {"Odd": 4711}], "tool_results": several}},
        "Resume",
        {"Compaction": {"summary": "viridian"}},
        7,
    ]
    task = row(thread([]), "task", parent_id=ID, folder_paths=None, created_at=None)
    imported(write(tmp_path, row(thread(messages)), task), store)
    with store.open(ID) as session:
        assert shown(session) == [
            *("user: <image> See", "assistant: Plain", "user: <tool_result> <tool_result>"),
            "user: Continue where you left off",
        ]
        said = [each for each in session.path() if isinstance(each, MessageEntry)]
        assert [block["content"] for block in said[2].message["content"]] == [
            [
                {"type": "text", "text": "one"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
            ],
            "two",
        ]
        assert said[1].message["zed"]["content"] == [{"Odd": 4711}]
        others = [each.data for each in session.path() if isinstance(each, ExtensionDataEntry)]
        assert [each["value"] for each in others] == [{"Compaction": {"summary": "viridian"}}, 7]
    with store.open("task") as session:
        assert session.header.parent_session is not None
        assert (session.header.parent_session.kind, session.header.cwd) == ("task", None)


def test_damaged_threads(tmp_path: Path) -> None:
    """Bytes that are no thread are a finding, and so is one that ends too early."""
    whole = row(thread(MESSAGES))["data"]
    rows = [row({}, "cut", data=whole[: len(whole) // 2]), row({}, "none", data=b"nothing"), row({}, "empty", data=b"")]
    reports = import_into(write(tmp_path, *rows), open_store("memory:"))
    found = {report.session_id: {finding.code for finding in report.findings} for report in reports}
    assert all("source_bad_line" in codes for codes in found.values())
    assert found.keys() == {"cut", "none", "empty"}
