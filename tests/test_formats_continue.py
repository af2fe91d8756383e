"""Sessions of Continue. Their form is that of Continue's sources, which the reader names."""

from pathlib import Path
from typing import Any

import pytest
from foreign_stores import shown, write_json

from convtree import CompactionEntry, ExtensionDataEntry, MessageEntry, SessionStore, open_store
from convtree.exchange import import_into, read_foreign

ID = "7d0b6c66-0000-4000-8000-000000000001"
CALL = {"id": "c1", "type": "function", "function": {"name": "read_file", "arguments": '{"path": "a"}'}}
USAGE = {"promptTokens": 100, "completionTokens": 7, "promptTokensDetails": {"cachedTokens": 60}}
STATE = {"toolCallId": "c1", "toolCall": CALL, "status": "done", "parsedArgs": {"path": "a"}}


def item(role: str, content: Any, *, message: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """An item of a history."""
    return {"message": {"role": role, "content": content, **(message or {})}, "contextItems": [], **more}


FILE = {"content": "text of b", "name": "b", "description": "b.py", "id": {"providerTitle": "file", "itemId": "1"}}
LOGS = [{"modelTitle": "gpt-5", "modelProvider": "openai", "prompt": "…", "completion": "…"}]
OUTPUT = [{"content": "text", "name": "a", "description": "a.py"}, {"content": "of a", "name": "a", "description": "…"}]
HISTORY = [
    item("user", [{"type": "text", "text": "What is in a?"}], contextItems=[FILE], editorState={"type": "doc"}),
    item("thinking", "Hm.", message={"signature": "s"}),
    item(
        "assistant",
        "I look.",
        message={"toolCalls": [CALL], "usage": USAGE},
        toolCallStates=[STATE | {"output": OUTPUT}],
        promptLogs=LOGS,
    ),
    item("assistant", "Text.", message={"usage": USAGE}),
]


def write(folder: Path, history: list[Any], **more: Any) -> Path:
    """Writes a session."""
    about = {"sessionId": ID, "title": "About a", "workspaceDirectory": "file:///home/a%20b"}
    return write_json(folder / "s.json", about | {"history": history} | more)


@pytest.fixture
def store() -> SessionStore:
    """An empty store."""
    return open_store("memory:")


def imported(path: Path, store: SessionStore) -> int:
    """Imports a file; returns how many records were new."""
    return sum(each.written for each in import_into(path, store))


def test_a_session(tmp_path: Path, store: SessionStore) -> None:
    """Context before what was typed, calls with their results, usage of each answer."""
    path = write(tmp_path, HISTORY, usage={"totalCost": 0.25, "promptTokens": 200, "completionTokens": 14})
    assert imported(path, store) == 6 + 2
    assert imported(path, store) == 0
    info = store.info(ID)
    assert (info.name, info.first_user_message, info.usage.input_tokens, info.usage.cache_read_tokens) == (
        *("About a", "What is in a?"),
        *(80, 120),
    )
    with store.open(ID) as session:
        assert session.header.cwd == "/home/a b"
        assert shown(session) == [
            *("user: text of b", "user: What is in a?", "assistant: <thinking>"),
            *("assistant: I look. <tool_use>", "user: <tool_result>", "assistant: Text."),
        ]
        said = [each for each in session.path() if isinstance(each, MessageEntry)]
        assert (said[0].visible_to, said[3].provider, said[3].model) == ("model", "openai", "gpt-5")
        assert said[3].message["content"][1] == {
            "type": "tool_use",
            "id": "c1",
            "name": "read_file",
            "input": {"path": "a"},
        }
        assert said[4].message["content"] == [{"type": "tool_result", "tool_use_id": "c1", "content": "text\n\nof a"}]
        assert session.metadata["continue"] == {
            "usage": {"totalCost": 0.25, "promptTokens": 200, "completionTokens": 14}
        }


def test_a_session_grows(tmp_path: Path, store: SessionStore) -> None:
    """A result that comes later is new, an edit is a branch, a summary takes the place of all before it."""
    waiting = HISTORY[2] | {"toolCallStates": [STATE | {"status": "calling"}]}
    assert imported(write(tmp_path, [*HISTORY[:2], waiting]), store) == 4 + 1
    assert imported(write(tmp_path, HISTORY), store) == 2
    with store.open(ID) as session:
        assert len(session.leaves()) == 1
    assert imported(write(tmp_path, [*HISTORY[:3], item("user", "No")]), store) == 1
    with store.open(ID) as session:
        assert (len(session.leaves()), shown(session)[-1]) == (2, "user: No")
    condensed = item("user", "No", conversationSummary="It was about a.")
    assert imported(write(tmp_path, [*HISTORY[:3], condensed, item("user", "Go on")]), store) == 2
    with store.open(ID) as session:
        (compaction,) = (each for each in session.path() if isinstance(each, CompactionEntry))
        texts = [each.text for each in session.build_context().entries if isinstance(each, MessageEntry)]
        assert (compaction.summary, texts) == ("It was about a.", ["Go on"])


def test_a_summary_comes_later(tmp_path: Path, store: SessionStore) -> None:
    """A person may condense up to any message. What follows is copied below the summary, and was paid for once."""
    imported(write(tmp_path, [item("user", "Hi"), *HISTORY]), store)
    condensed = item("user", "Hi", conversationSummary="They met.")
    assert imported(write(tmp_path, [condensed, *HISTORY]), store) == 1 + 6
    with store.open(ID) as session:
        texts = [each.text for each in session.build_context().entries if isinstance(each, MessageEntry)]
        assert texts == ["text of b", "What is in a?", "", "I look.", "", "Text."]
    assert store.info(ID).usage.input_tokens == 80
    assert imported(write(tmp_path, [condensed, *HISTORY, item("user", "Go on")]), store) == 1
    assert imported(write(tmp_path, [condensed, *HISTORY, item("user", "Go on")]), store) == 0
    with store.open(ID) as session:
        assert [each.text for each in session.path() if isinstance(each, MessageEntry)][-1] == "Go on"


def test_a_summary_is_not_said_twice(tmp_path: Path) -> None:
    """The command line writes it as a message, too, and forgets what was before."""
    message = {"usage": USAGE, "note": "by hand"}
    summary = item("assistant", "It was about a.", message=message, conversationSummary="It was about a.", isAuto=True)
    session, report = read_foreign(write(tmp_path, [item("system", "Be kind."), summary, item("user", "Go on")]))
    assert [each.type for each in session.path()] == ["message", "compaction", "message"]
    [compaction] = [each for each in session.path() if isinstance(each, CompactionEntry)]
    assert (compaction.summary, compaction.usage) == ("It was about a.", USAGE)
    assert compaction.details == {"continue": {"note": "by hand", "item": {"isAuto": True}}}
    assert report.findings == ()


def test_what_a_call_came_to(tmp_path: Path) -> None:
    """Without output Continue says so to the model."""
    states = [STATE | {"status": status} for status in ("done", "errored", "canceled")]
    session, _ = read_foreign(
        write(tmp_path, [item("assistant", "", message={"toolCalls": [CALL]}, toolCallStates=states)])
    )
    results = [each.message["content"][0] for each in session.path()[1:] if isinstance(each, MessageEntry)]
    assert [(each["content"], each.get("is_error", False)) for each in results] == [
        ("No tool output", False),
        ("There was an error calling the tool.", True),
        ("The user cancelled this tool call.", True),
    ]


def test_messages_of_a_tool(tmp_path: Path) -> None:
    """They answer a call, unless its state does."""
    answer = item("tool", "of a", message={"toolCallId": "c1"})
    call = item("assistant", "", message={"toolCalls": [CALL]})
    session, _ = read_foreign(write(tmp_path, [call, answer]))
    assert shown(session) == ["assistant: <tool_use>", "user: <tool_result>"]
    session, _ = read_foreign(write(tmp_path, [call | {"toolCallStates": [STATE]}, answer]))
    assert [each.type for each in session.path()] == ["message", "message", "extension_data"]


def test_images_and_hidden_reasoning(tmp_path: Path) -> None:
    """They become those of Anthropic."""
    parts = [
        {"type": "imageUrl", "imageUrl": {"url": "data:image/png;base64,AAAA"}},
        {"type": "imageUrl", "imageUrl": {"url": "https://a.example/b.png"}},
        {"type": "imageUrl"},
    ]
    thoughts = item("thinking", "", message={"redactedThinking": "xyzw"})
    session, _ = read_foreign(write(tmp_path, [item("user", parts), thoughts], workspaceDirectory="/w"))
    first, second = (each.message for each in session.path() if isinstance(each, MessageEntry))
    assert first["content"] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}},
        {"type": "imageUrl"},
    ]
    assert second["content"] == [{"type": "redacted_thinking", "data": "xyzw"}]
    assert session.header.cwd == "/w"


def test_odd_items_are_kept(tmp_path: Path) -> None:
    """As messages or data, with a finding; dropped fields are named."""
    session, report = read_foreign(write(tmp_path, ["text", item("user", "Hello"), {"message": {"role": "user"}}]))
    assert shown(session) == ["user: text", "user: Hello"]
    assert [each for each in session.path() if isinstance(each, ExtensionDataEntry)] != []
    assert [each.code for each in report.findings] == ["source_bad_record"]
    session, report = read_foreign(write(tmp_path, HISTORY))
    assert sorted(each.code for each in report.findings) == ["source_field_dropped"] * 2
