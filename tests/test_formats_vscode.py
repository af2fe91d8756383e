"""Chats of VS Code. Their form is that of VS Code's sources, which the reader names."""

from pathlib import Path
from typing import Any

import pytest
from foreign_stores import shown, write_json, write_lines

from convtree import MessageEntry, SessionStore, open_store
from convtree.exchange import import_into, read_foreign

ROUNDS = [
    {
        "id": "r1",
        "response": "I look.",
        "toolInputRetry": 0,
        "thinking": {"id": "t", "text": ["H", "m."]},
        "toolCalls": [{"id": "c1", "name": "read_file", "arguments": '{"path": "a"}'}],
    },
    {"id": "r2", "response": "It is b.", "toolInputRetry": 0, "toolCalls": []},
]
RESULT = {
    "timings": {"totalElapsed": 5},
    "metadata": {
        "toolCallRounds": ROUNDS,
        "promptTokens": 100,
        "outputTokens": 7,
        "agentId": "editsAgent",
        "toolCallResults": {"c1": {"content": [{"value": "text"}, {"value": "of a"}]}},
    },
}
FIRST = {
    "requestId": "q1",
    "timestamp": 1767225600000,
    "message": {"text": "What is in a?", "parts": []},
    "modelId": "copilot/gpt-5",
    "response": [{"value": "I look."}, {"kind": "undoStop", "id": "u"}],
    "vote": 1,
    "result": RESULT,
}
SECOND = {
    "requestId": "q2",
    "timestamp": 1767225700000,
    "message": {"text": "Thanks"},
    "modelId": "copilot/gpt-5",
    "response": [{"value": "Wel"}, {"value": "come."}],
    "result": {"usage": {"promptTokens": 50, "completionTokens": 3}},
}
CHAT: dict[str, Any] = {
    "version": 3,
    "sessionId": "s-1",
    "creationDate": 1767225600000,
    "customTitle": "About a",
    "responderUsername": "GitHub Copilot",
    "requests": [FIRST, SECOND],
}


@pytest.fixture
def store() -> SessionStore:
    """An empty store."""
    return open_store("memory:")


def imported(path: Path, store: SessionStore) -> int:
    """Imports a file; returns how many records were new."""
    (report,) = import_into(path, store)
    assert (report.format, report.session_id, report.status) == ("vscode", "s-1", "imported")
    return report.written


def test_a_chat(tmp_path: Path, store: SessionStore) -> None:
    """The rounds with their calls are the answer; without any, its Markdown is."""
    path = write_json(tmp_path / "c.json", CHAT)
    assert imported(path, store) == 6 + 2
    assert imported(path, store) == 0
    info = store.info("s-1")
    assert (info.name, info.usage.input_tokens, info.usage.output_tokens) == ("About a", 150, 10)
    with store.open("s-1") as session:
        assert shown(session) == [
            *("user: What is in a?", "assistant: <thinking> I look. <tool_use>", "user: <tool_result>"),
            *("assistant: It is b.", "user: Thanks", "assistant: Welcome."),
        ]
        said = [each for each in session.path() if isinstance(each, MessageEntry)]
        assert (said[1].provider, said[1].model, said[1].timestamp) == (
            "copilot",
            "gpt-5",
            "2026-01-01T00:00:00.000000Z",
        )
        assert said[2].message["content"][0]["content"] == "text\nof a"
        assert said[3].message["vscode"]["response"] == [{"kind": "undoStop", "id": "u"}]
        assert said[3].message["vscode"]["metadata"] == {"agentId": "editsAgent"}
        assert session.metadata["vscode"] == {"version": 3, "responderUsername": "GitHub Copilot"}
    _, report = read_foreign(path)
    assert [each.code for each in report.findings] == ["source_field_dropped"]


def test_a_log_of_changes(tmp_path: Path, store: SessionStore) -> None:
    """It gives the same as the document; what does not fit is reported."""
    begun = SECOND | {"response": [{"value": "We"}], "result": None}
    lines: list[dict[str, Any]] = [
        {"kind": 0, "v": CHAT | {"requests": [FIRST], "customTitle": None}},
        {"kind": 2, "k": ["requests"], "v": [begun]},
        {"kind": 2, "k": ["requests", 1, "response"], "v": SECOND["response"], "i": 0},
        {"kind": 1, "k": ["requests", 1, "result"], "v": SECOND["result"]},
        {"kind": 1, "k": ["customTitle"], "v": "About a"},
        {"kind": 1, "k": ["gone"], "v": 1},
        {"kind": 3, "k": ["gone"]},
        {"kind": 2, "k": ["more"]},
    ]
    imported(write_json(tmp_path / "c.json", CHAT), store)
    assert imported(write_lines(tmp_path / "c.jsonl", lines), store) == 0
    odd: list[dict[str, Any]] = [
        *({"kind": 1, "k": []}, {"kind": 1, "k": ["requests", 9]}, {"kind": 2, "k": ["version"]}),
        *({"kind": 1, "k": ["nowhere", "x"], "v": 1}, {"kind": 1, "k": ["requests", 0, 3, "x"], "v": 1}),
    ]
    _, report = read_foreign(write_lines(tmp_path / "odd.jsonl", [*lines, *odd]))
    assert [each.code for each in report.findings] == ["source_bad_record"] * 5 + ["source_field_dropped"]
    removed = write_lines(tmp_path / "x.jsonl", [lines[0], {"kind": 3, "k": ["requests", 0]}])
    assert [each.code for each in read_foreign(removed)[1].findings] == ["source_bad_record"]


def test_an_edit_is_a_branch(tmp_path: Path, store: SessionStore) -> None:
    """A vote is none."""
    imported(write_json(tmp_path / "c.json", CHAT), store)
    assert imported(write_json(tmp_path / "c.json", CHAT | {"requests": [FIRST | {"vote": 0}, SECOND]}), store) == 0
    other = {"requestId": "q3", "message": {"text": "And c?"}, "response": []}
    assert imported(write_json(tmp_path / "c.json", CHAT | {"requests": [FIRST, other]}), store) == 1
    with store.open("s-1") as session:
        assert (shown(session)[-1], len(session.leaves())) == ("user: And c?", 2)
