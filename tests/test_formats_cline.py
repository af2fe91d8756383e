"""Tasks of Cline, Roo Code and Kilo Code: a history of messages, and what the screen showed beside it.

The form is that of the tools' sources, which the reader names.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from foreign_stores import write_json

from convtree import (
    CompactionEntry,
    ExtensionDataEntry,
    MessageEntry,
    NotALog,
    Session,
    SessionStore,
    Usage,
    open_store,
)
from convtree.exchange import import_into, read_foreign

START = 1_764_000_000_000


def said(number: int, role: str, *blocks: dict[str, Any] | str, **more: Any) -> dict[str, Any]:
    """A message of the history; its number is its time in milliseconds since the start."""
    content = [{"type": "text", "text": each} if isinstance(each, str) else each for each in blocks]
    return {"role": role, "content": content, "ts": START + number, **more}


def asked(number: int, tokens: int | None, kind: str = "api_req_started", **more: Any) -> dict[str, Any]:
    """A request on the screen."""
    counts = {} if tokens is None else {"tokensIn": tokens, "tokensOut": 5, "cacheWrites": 7, "cacheReads": 11}
    facts = {"request": "…", **counts, **more.pop("facts", {})}
    return {"ts": START + number, "type": "say", "say": kind, "text": json.dumps(facts), **more}


CALL = {"type": "tool_use", "id": "t1", "name": "read_file", "input": {"path": "a"}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "text of a"}
TASK = {"ts": START, "type": "say", "say": "task", "text": "What is in a?\nBriefly."}
MODEL = {"modelId": "opus", "providerId": "anthropic"}
HISTORY = [
    said(2, "user", "<task>\nWhat is in a?\nBriefly.\n</task>", "<environment_details>…</environment_details>"),
    said(3, "assistant", "I look.", CALL, modelInfo=MODEL | {"mode": "act"}, metrics={"cost": 0.5}),
    said(5, "user", RESULT),
    said(6, "assistant", "Text.", modelInfo=MODEL),
]
SCREEN = [TASK, asked(1, 100, facts={"cost": 0.25}, modelInfo=MODEL), asked(4, 200, facts={"cost": 0.5})]


def write(folder: Path, history: list[dict[str, Any]], screen: list[dict[str, Any]] | None = None) -> Path:
    """Writes a task; returns its folder."""
    task = folder / "tasks" / str(START)
    write_json(task / "api_conversation_history.json", history)
    if screen is not None:
        write_json(task / "ui_messages.json", screen)
    return task


@pytest.fixture
def store() -> SessionStore:
    """An empty store."""
    return open_store("memory:")


def imported(folder: Path, store: SessionStore) -> int:
    """Imports a folder; returns how many records were new."""
    return sum(each.written for each in import_into(folder, store) if each.status == "imported")


def texts(session: Session) -> list[str]:
    """The texts of the messages in the context."""
    return [each.text for each in session.build_context().entries if isinstance(each, MessageEntry)]


def test_a_task_is_read_from_both_files(tmp_path: Path, store: SessionStore) -> None:
    """Messages from the history, usage from the screen; the name is what the user typed."""
    write(tmp_path, HISTORY, SCREEN)
    assert imported(tmp_path, store) == 5 + 2 + 1
    assert imported(tmp_path, store) == 0
    info = store.info(str(START))
    assert (info.name, info.usage) == (
        "What is in a?",
        Usage(input_tokens=300, output_tokens=10, cache_read_tokens=22, cache_write_tokens=14, cost=0.75),
    )
    rows = store.usage(str(START), by="model")
    assert sorted((row.model or "", row.usage.input_tokens) for row in rows) == [("", 200), ("opus", 100)]
    with store.open(str(START)) as session:
        sent, seen, *others = session.path()
        assert isinstance(sent, MessageEntry)
        assert isinstance(seen, MessageEntry)
        assert [(each.visible_to, each.text) for each in (sent, seen)] == [
            ("model", "<task>\nWhat is in a?\nBriefly.\n</task>\n<environment_details>…</environment_details>"),
            ("user", "What is in a?\nBriefly."),
        ]
        entries = [sent, *others]
        assert [each.type for each in entries] == [
            *("message", "extension_data", "message"),
            *("message", "extension_data", "message"),
        ]
        assert [each.message["content"] for each in entries if isinstance(each, MessageEntry)] == [
            each["content"] for each in HISTORY
        ]
        answer = entries[2]
        assert isinstance(answer, MessageEntry)
        assert (answer.provider, answer.model, answer.timestamp) == ("anthropic", "opus", "2025-11-24T16:00:00.003000Z")
        assert answer.extra == {"metrics": {"cost": 0.5}, "modelInfo": MODEL | {"mode": "act"}}
        assert session.header.timestamp == "2025-11-24T16:00:00.000000Z"


def test_a_task_grows_between_imports(tmp_path: Path, store: SessionStore) -> None:
    """A request counts when it is answered, in the place where it began."""
    running = [TASK, asked(1, 100, facts={"cost": 0.25}, modelInfo=MODEL), asked(4, None)]
    for history, screen, new in (
        (HISTORY[:1], [TASK, asked(1, None)], 2 + 1),
        (HISTORY[:1], SCREEN[:2], 0),
        (HISTORY[:3], running, 3),
        (HISTORY, SCREEN, 2),
    ):
        write(tmp_path, history, screen)
        assert imported(tmp_path, store) == new
    with store.open(str(START)) as session:
        assert (len(session.leaves()), len(session.path())) == (1, 7)
    assert store.info(str(START)).usage.input_tokens == 300


def test_a_task_that_was_set_back_is_a_branch(tmp_path: Path, store: SessionStore) -> None:
    """What both have in common is there once. The screen sums up what was removed, and that was paid."""
    write(tmp_path, HISTORY, SCREEN)
    imported(tmp_path, store)
    other = [*HISTORY[:2], said(8, "user", "No, look at b")]
    write(tmp_path, other, SCREEN[:2])
    assert imported(tmp_path, store) == 1
    with store.open(str(START)) as session:
        assert (texts(session)[-1], len(session.leaves())) == ("No, look at b", 2)
    fresh = open_store("memory:")
    removed = asked(7, 200, "deleted_api_reqs", facts={"cost": 0.5})
    write(tmp_path, other[:2], [*SCREEN[:2], removed])
    assert imported(tmp_path, fresh) == 3 + 2 + 1
    write(tmp_path, other, [*SCREEN[:2], removed])
    assert imported(tmp_path, fresh) == 1
    assert (fresh.info(str(START)).usage.input_tokens, fresh.info(str(START)).usage.cost) == (300, 0.75)


def test_requests_without_times_are_counted_by_their_places(tmp_path: Path) -> None:
    """Older histories have no times; then the place in the history says when a request began, or their order."""
    history = [{name: each[name] for name in ("role", "content")} for each in HISTORY]
    for screen in (
        SCREEN,
        [TASK, SCREEN[1] | {"conversationHistoryIndex": -1}, SCREEN[2] | {"conversationHistoryIndex": 1}],
    ):
        session, report = read_foreign(write(tmp_path, history, screen))
        kinds = [each.type for each in session.path()]
        assert (kinds, report.findings) == (["message", *["message", "extension_data", "message"] * 2], ())


def test_messages_that_are_not_sent_any_more_are_for_the_user(tmp_path: Path, store: SessionStore) -> None:
    """A range on Cline's screen, a marker among Roo's messages. Nothing is there twice."""
    texts_of = [said(number, role, role) for number, role in enumerate(["user", "assistant"] * 3, 1)]
    write(tmp_path, texts_of, [TASK])
    assert imported(tmp_path, store) == 6 + 1
    write(tmp_path, texts_of, [TASK | {"conversationHistoryDeletedRange": [2, 3]}])
    assert imported(tmp_path, store) == 2
    with store.open(str(START)) as session:
        assert texts(session) == ["user", "assistant", "user", "assistant"]
    truncated = [each | ({"truncationParent": "x"} if number in (1, 2) else {}) for number, each in enumerate(texts_of)]
    marker = said(4, "user", "hidden", isTruncationMarker=True, truncationId="x")
    fresh = open_store("memory:")
    write(tmp_path, texts_of, [TASK])
    imported(tmp_path, fresh)
    write(tmp_path, [*truncated[:3], marker, *truncated[3:]], [TASK])
    assert imported(tmp_path, fresh) == 2
    with fresh.open(str(START)) as session:
        assert texts(session) == ["user", "assistant", "user", "assistant"]
    write(tmp_path, truncated, [TASK])
    session, _ = read_foreign(tmp_path / "tasks" / str(START))
    assert len(texts(session)) == 6


def test_a_summary_is_a_compaction(tmp_path: Path, store: SessionStore) -> None:
    """It takes the place of all before it, whose mark for that is not a change. Its request costs, too."""
    write(tmp_path, HISTORY, SCREEN)
    imported(tmp_path, store)
    marked = [each | {"condenseParent": "c"} for each in HISTORY]
    summary = said(7, "user", "It was about a.", "And b.", isSummary=True, condenseId="c")
    facts = {"cost": 0.125, "newContextTokens": 5, "summary": "It was about a."}
    condensed = {"ts": START + 8, "type": "say", "say": "condense_context", "contextCondense": facts}
    write(tmp_path, [*marked, summary, said(9, "user", "Go on")], [*SCREEN, condensed])
    assert imported(tmp_path, store) == 3
    with store.open(str(START)) as session:
        assert texts(session) == ["Go on"]
        (compaction,) = (each for each in session.path() if isinstance(each, CompactionEntry))
        assert (compaction.summary, compaction.details) == (
            "It was about a.\nAnd b.",
            {"isSummary": True, "condenseId": "c"},
        )
    assert store.info(str(START)).usage.cost == 0.75 + 0.125


def test_a_cancelled_request_was_paid(tmp_path: Path) -> None:
    """Also if no answer came; one that is still running may grow."""
    for facts, count in (({"cancelReason": "user_cancelled"}, 1), ({}, 0)):
        session, _ = read_foreign(write(tmp_path, HISTORY[:1], [TASK, asked(1, 100, facts=facts)]))
        costs = [each for each in session.path() if isinstance(each, ExtensionDataEntry)]
        assert [each.data for each in costs] == [facts] * count


def test_either_file_names_the_task(tmp_path: Path) -> None:
    """The screen alone does not hold the conversation. A history without one is known by its times."""
    task = write(tmp_path, HISTORY, SCREEN)
    for path in (task, task / "ui_messages.json", task / "api_conversation_history.json"):
        session, report = read_foreign(path)
        assert (session.id, report.format, len(session.path())) == (str(START), "cline", 7)
    lone = write_json(tmp_path / "lone.json", HISTORY)
    session, report = read_foreign(lone)
    assert (session.id, report.format, len(session.path())) == ("lone", "cline", 5)
    with pytest.raises(NotALog):
        read_foreign(write_json(tmp_path / "other" / "x.json", SCREEN))
    untimed = write_json(tmp_path / "other" / "y.json", [{"role": "user", "content": "Hello"}])
    assert _format_of(untimed) != "cline"


def _format_of(path: Path) -> str | None:
    try:
        return read_foreign(path)[1].format
    except NotALog:
        return None


def test_roo_says_where_a_task_belongs(tmp_path: Path, store: SessionStore) -> None:
    """`history_item.json` names its directory and its parent. Its input includes the cache."""
    facts = {"apiProtocol": "anthropic"}
    reasoning = {"role": "assistant", "type": "reasoning", "encrypted_content": "abcd", "summary": [], "ts": START + 3}
    task = write(tmp_path, [HISTORY[0], reasoning, *HISTORY[1:]], [TASK, asked(1, 100, facts=facts)])
    write_json(task / "history_item.json", {"id": "x", "workspace": "/w", "parentTaskId": "17", "mode": "code"})
    session, _ = read_foreign(task)
    imported(task, store)
    parent = session.header.parent_session
    assert parent is not None
    assert (session.header.cwd, parent.id, parent.kind) == ("/w", "17", "task")
    assert store.info(str(START)).usage.input_tokens == 100 - 7 - 11
    (kept,) = (each for each in session.path() if isinstance(each, ExtensionDataEntry) and each.usage is None)
    assert (kept.ext_type, kept.data) == (
        "cline.reasoning",
        {
            "role": "assistant",
            "type": "reasoning",
            "encrypted_content": "abcd",
        },
    )


def test_files_that_are_not_whole_lose_no_message(tmp_path: Path) -> None:
    """Odd values on the screen count nothing; a screen that does not end is reported."""
    odd = [
        TASK,
        asked(1, 100) | {"ts": "soon", "text": "no JSON"},
        asked(1, None, facts={"tokensIn": "many"}),
        {"ts": START, "type": "say", "say": "condense_context", "contextCondense": []},
        TASK | {"conversationHistoryDeletedRange": [1]},
        TASK | {"conversationHistoryDeletedRange": ["a", 3]},
    ]
    task = write(tmp_path, HISTORY, odd)
    (task / "history_item.json").write_text("[]")
    session, _ = read_foreign(task)
    costs = [each.usage for each in session.path() if isinstance(each, ExtensionDataEntry)]
    assert (len(texts(session)), costs) == (4, [{"tokensIn": "many"}])
    screen = task / "ui_messages.json"
    screen.write_bytes(screen.read_bytes()[:-20])
    assert "source_torn_tail" in [each.code for each in read_foreign(task)[1].findings]
