"""Sessions of Cursor's editor, and transcripts of its agents. Their forms are those that the readers name."""

import json
from pathlib import Path
from typing import Any

import pytest
from foreign_stores import shown, write_database, write_lines

from convtree import ExtensionDataEntry, MessageEntry, SessionStore, open_store
from convtree.exchange import import_into

ID = "00fc6445-00eb-42fc-8401-baf43ada3561"
SCHEMA = "create table cursorDiskKV (key text unique on conflict replace, value blob);"
BEGUN = 1_765_760_077_237


def bubble(id: str, kind: int, said: str, **more: Any) -> dict[str, Any]:
    """A message."""
    about = {"_v": 3, "bubbleId": id, "type": kind, "text": said, "createdAt": "2025-12-15T00:54:37.237Z"}
    return about | {"tokenCount": {"inputTokens": 0, "outputTokens": 0}} | more


CALL = {
    "tool": 40,
    "toolCallId": "c1",
    "name": "read_file",
    "rawArgs": '{"path": "a"}',
    "result": "of a",
}
BUBBLES = [
    bubble("b1", 1, "What is in a?", richText="{}"),
    bubble("b2", 2, "", thinking={"text": "Hm.", "signature": "sig"}, modelInfo={"modelName": "opus"}),
    bubble("b3", 2, "I look.", toolFormerData=CALL | {"status": "completed", "params": '{"path":"a"}'}),
    bubble("b4", 2, "Text.", tokenCount={"inputTokens": 1000, "outputTokens": 7}),
]


def rows(bubbles: list[dict[str, Any]], named: int | None = None, **more: Any) -> list[dict[str, Any]]:
    """The rows of a session. `named` is how many of its messages it names."""
    headers = [{"bubbleId": each["bubbleId"], "type": each["type"]} for each in bubbles[:named]]
    about = {"composerId": ID, "name": "About a", "createdAt": BEGUN, "modelConfig": {"modelName": "gpt-5"}}
    session = about | {"fullConversationHeadersOnly": headers, "status": "completed"} | more
    found = [{"key": f"composerData:{ID}", "value": json.dumps(session)}]
    found += [{"key": f"bubbleId:{ID}:{each['bubbleId']}", "value": json.dumps(each)} for each in bubbles]
    return [*found, {"key": "agentKv:blob:00", "value": "x"}]


def write(folder: Path, found: list[dict[str, Any]]) -> Path:
    """Writes a database, or more rows into one."""
    path = folder / "state.vscdb"
    return write_database(path, "" if path.exists() else SCHEMA, cursorDiskKV=found)


@pytest.fixture
def store() -> SessionStore:
    """An empty store."""
    return open_store("memory:")


def imported(path: Path, store: SessionStore) -> int:
    """Imports a source; returns how many records were new."""
    return sum(each.written for each in import_into(path, store))


def test_a_session(tmp_path: Path, store: SessionStore) -> None:
    """Reasoning, a call with its result, usage; it grows."""
    path = write(tmp_path, rows(BUBBLES, status="generating", unifiedMode="agent"))
    assert imported(path, store) == 1 + 2
    write(tmp_path, rows(BUBBLES, unifiedMode="agent"))
    assert imported(path, store) == 4 + 1
    assert imported(path, store) == 0
    info = store.info(ID)
    assert (info.name, info.first_user_message) == ("About a", "What is in a?")
    assert (info.usage.input_tokens, info.usage.output_tokens) == (1000, 7)
    with store.open(ID) as session:
        assert shown(session) == [
            *("user: What is in a?", "assistant: <thinking>", "assistant: I look. <tool_use>", "user: <tool_result>"),
            "assistant: Text.",
        ]
        said = [each for each in session.path() if isinstance(each, MessageEntry)]
        assert [each.model for each in said] == [None, "opus", "gpt-5", None, "gpt-5"]
        assert said[2].message["content"][1]["input"] == {"path": "a"}
        assert said[2].message["cursor"]["toolFormerData"] == {
            "tool": 40,
            "status": "completed",
            "params": '{"path":"a"}',
        }
        assert said[3].message["content"][0]["content"] == "of a"
        assert session.metadata["cursor"]["unifiedMode"] == "agent"


def test_what_is_taken_back_is_a_branch(tmp_path: Path, store: SessionStore) -> None:
    """Cursor names the new messages only, and leaves the old ones where they are."""
    path = write(tmp_path, rows(BUBBLES))
    imported(path, store)
    again = [BUBBLES[0], bubble("b5", 2, "Nothing."), *BUBBLES[1:]]
    write(tmp_path, rows(again, 2))
    imported(path, store)
    with store.open(ID) as session:
        assert shown(session) == ["user: What is in a?", "assistant: Nothing."]
        assert len(session.leaves()) == 2
    fresh = open_store("memory:")
    (report,) = import_into(path, fresh)
    assert [finding.code for finding in report.findings] == ["source_orphan"] * 3
    with fresh.open(ID) as session:
        assert shown(session) == ["user: What is in a?", "assistant: Nothing."]


def test_older_sessions_and_other_bubbles(tmp_path: Path, store: SessionStore) -> None:
    """Messages in the session, a call without a result, a failed one, and what is not understood."""
    failed = bubble("b7", 2, "", toolFormerData={"toolCallId": "c2", "name": "run", "params": "{}", "status": "error"})
    failed["toolFormerData"]["result"] = "No."
    odd = bubble("b8", 2, "", toolFormerData={"additionalData": {"shade": "viridian"}})
    unnamed = {"type": 1, "text": "Hello"}
    session = rows([], conversation=[unnamed, bubble("b6", 2, "Hi"), failed, odd], fullConversationHeadersOnly=[])
    growing = {"status": "generating", "fullConversationHeadersOnly": [{"bubbleId": "x", "type": 2}]}
    more: list[dict[str, Any]] = [
        {"key": f"bubbleId:{ID}:b9", "value": '"text"'},
        {"key": f"bubbleId:{ID}:b10", "value": None},
        {
            "key": "composerData:empty",
            "value": json.dumps(growing),
        },
    ]
    path = write(tmp_path, [*session, *more])
    imported(path, store)
    with store.open(ID) as found:
        assert shown(found) == ["user: Hello", "assistant: Hi", "assistant: <tool_use>", "user: <tool_result>"]
        said = [each for each in found.path() if isinstance(each, MessageEntry)]
        assert said[3].message["content"][0]["is_error"] is True
        (left,) = [each for each in found.path() if isinstance(each, ExtensionDataEntry)]
        assert left.data["toolFormerData"] == {"additionalData": {"shade": "viridian"}}
        assert any(
            isinstance(each, ExtensionDataEntry) and each.data.get("value") == "text" for each in found.children(None)
        )
    assert store.info("empty").entries == 0


# --- transcripts ---


def line(role: str, *content: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A line of a transcript."""
    return {"role": role, "message": {"content": list(content)}, **more}


def words(said: str) -> dict[str, Any]:
    """A text."""
    return {"type": "text", "text": said}


TYPED = "<user_query>\nWhat is in a?\n</user_query>"
TRANSCRIPT = [
    line("user", words("<open_files>a</open_files>"), words(TYPED)),
    line("assistant", words("I look."), {"type": "tool_use", "name": "Read", "input": {"path": "a"}}),
    line("assistant", words("Text.")),
    {"type": "turn_ended", "reason": "viridian"},
]


def test_a_transcript(tmp_path: Path, store: SessionStore) -> None:
    """What was typed is what is shown; the model sees all that was sent."""
    path = write_lines(tmp_path / f"{ID}.jsonl", TRANSCRIPT[:2])
    assert imported(path, store) == 3
    write_lines(path, TRANSCRIPT)
    assert (imported(path, store), imported(path, store)) == (2, 0)
    assert store.info(ID).first_user_message == "What is in a?"
    with store.open(ID) as session:
        assert shown(session) == [
            f"user: <open_files>a</open_files> {TYPED}",
            *("assistant: I look. <tool_use>", "assistant: Text."),
        ]


def test_agents_and_other_lines(tmp_path: Path, store: SessionStore) -> None:
    """A sub-agent is a task. Lines that are no messages are kept."""
    place = tmp_path / ID / "subagents"
    place.mkdir(parents=True)
    more = [
        {"Odd": 4711},
        line("user", words("Plain"), shade="cerulean"),
        {"role": "user", "message": {"content": TYPED}},
    ]
    imported(write_lines(place / "a1.jsonl", [*TRANSCRIPT, *more]), store)
    with store.open("a1") as session:
        assert session.header.parent_session is not None
        assert (session.header.parent_session.id, session.header.parent_session.kind) == (ID, "task")
        left = {each.ext_type: each.data for each in session.path() if isinstance(each, ExtensionDataEntry)}
        assert left == {"cursor-agent.turn_ended": TRANSCRIPT[3], "cursor-agent.unknown": {"Odd": 4711}}
        plain = session.path()[-3]
        assert isinstance(plain, MessageEntry)
        assert (plain.extra, plain.text) == ({"shade": "cerulean"}, "Plain")
