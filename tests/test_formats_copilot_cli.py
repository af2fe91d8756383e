"""Sessions of Copilot CLI. Their form is that of the schema of its events, which the reader names."""

from pathlib import Path
from typing import Any

import pytest
from foreign_stores import shown, write_lines

from convtree import CompactionEntry, ExtensionDataEntry, MessageEntry, SessionStore, open_store
from convtree.exchange import import_into

ID = "11111111-2222-4333-8444-555555555555"
STAMP = "2026-11-29T10:47:13.447Z"


def event(kind: str, id: str, parent: str | None = None, agent: str | None = None, **data: Any) -> dict[str, Any]:
    """An event."""
    of = {} if agent is None else {"agentId": agent}
    return {"type": kind, "data": data, "id": id, "timestamp": STAMP, "parentId": parent, **of}


def asked(id: str, parent: str | None, said: str, **more: Any) -> dict[str, Any]:
    """A message of the user."""
    more = {"transformedContent": f"<current_datetime>2026</current_datetime>\n\n{said}"} | more
    return event("user.message", id, parent, content=said, **more)


def answer(id: str, parent: str, said: str, *calls: str, **more: Any) -> dict[str, Any]:
    """A message of the model."""
    requests = [
        {"toolCallId": call, "name": "bash", "arguments": {"command": "ls"}, "intentionSummary": "Lists"}
        for call in calls
    ]
    facts = {"messageId": f"m{id}", "model": "gpt-5.1", "content": said, "toolRequests": requests}
    return event("assistant.message", id, parent, **(facts | more))


def paid(id: str, parent: str, tokens: int, output: int, cached: int = 100) -> dict[str, Any]:
    """What a call to the model has cost."""
    counts = {"inputTokens": tokens, "outputTokens": output, "cacheReadTokens": cached, "cacheWriteTokens": 0}
    usage = {"model": "gpt-5.1", **counts, "apiCallId": f"call-{id}", "duration": 4711}
    return event("session.usage_record", id, parent, usage=usage)


def sums(id: str, parent: str, tokens: int, output: int, cached: int = 0) -> dict[str, Any]:
    """The end of a run."""
    usage = {"inputTokens": tokens, "outputTokens": output, "cacheReadTokens": cached, "cacheWriteTokens": 0}
    return event("session.shutdown", id, parent, modelMetrics={"gpt-5.1": {"requests": {"count": 2}, "usage": usage}})


START = event(
    "session.start",
    "e0",
    sessionId=ID,
    copilotVersion="1.0.102",
    startTime=STAMP,
    context={"cwd": "/w", "gitRoot": "/w", "branch": "main"},
)
SYSTEM = event("system.message", "e2", "e1", role="system", content="You are Copilot.")
RESULT = event(
    "tool.execution_complete",
    "e6",
    "e5",
    toolCallId="c1",
    success=True,
    result={"content": "a\n", "detailedContent": "viridian"},
)
TALK = [
    START,
    asked("e1", "e0", "List"),
    SYSTEM,
    paid("e3", "e2", 1007, 13),
    answer("e4", "e3", "", "c1", apiCallId="call-e3", outputTokens=13, reasoningText="Hm.", reasoningOpaque="sig"),
    event("tool.execution_start", "e5", "e4", toolCallId="c1", toolName="bash"),
    RESULT,
    paid("e7", "e6", 1014, 16),
    answer("e8", "e7", "There is a.", apiCallId="call-e7", outputTokens=16),
    sums("e9", "e8", 2021, 29, 200),
]


@pytest.fixture
def store() -> SessionStore:
    """An empty store."""
    return open_store("memory:")


def write(folder: Path, lines: list[Any], name: str | None = None) -> Path:
    """Writes a session."""
    place = folder / ID
    place.mkdir(exist_ok=True)
    if name is not None:
        (place / "workspace.yaml").write_text(f"id: {ID}\nname: {name}\nuser_named: true\n")
    return write_lines(place / "events.jsonl", lines)


def imported(path: Path, store: SessionStore) -> int:
    """Imports a session; returns how many records were new."""
    return sum(each.written for each in import_into(path, store))


def output_of(store: SessionStore, id: str = ID) -> tuple[int, int, int]:
    """The usage of a session."""
    usage = store.info(id).usage
    return usage.input_tokens, usage.output_tokens, usage.cache_read_tokens


def test_a_session(tmp_path: Path, store: SessionStore) -> None:
    """What is sent, what is typed, and each call counts once, whichever event reports it."""
    imported(write(tmp_path, TALK[:5], '"About a"'), store)
    path = write(tmp_path, TALK, '"About a"')
    assert imported(path, store) == 5
    assert imported(path, store) == 0
    assert output_of(store) == (1007 + 1014 - 200, 29, 200)
    assert (store.info(ID).name, store.info(ID).first_user_message) == ("About a", "List")
    with store.open(ID) as session:
        assert shown(session) == [
            *("user: <current_datetime>2026</current_datetime>\n\nList", "system: You are Copilot."),
            *("assistant: <thinking> <tool_use>", "user: <tool_result>", "assistant: There is a."),
        ]
        said = [each for each in session.path() if isinstance(each, MessageEntry)]
        assert said[3].message["copilot-cli"]["toolRequests"] == [{"intentionSummary": "Lists"}]
        assert said[4].message["copilot-cli"] == {"result": {"detailedContent": "viridian"}}
        assert (said[3].model, session.header.cwd, session.header.git_root) == ("gpt-5.1", "/w", "/w")


def test_sums_tell_what_no_event_has_told(tmp_path: Path, store: SessionStore) -> None:
    """As it was before there were records of usage. The sums are those of all runs."""
    lines = [
        START,
        asked("e1", "e0", "One"),
        answer("e2", "e1", "1", outputTokens=10),
        sums("e3", "e2", 500, 10, 400),
        asked("e4", "e3", "Two"),
        answer("e5", "e4", "2", outputTokens=20),
    ]
    path = write(tmp_path, lines)
    imported(path, store)
    assert output_of(store) == (100, 30, 400)
    more = [sums("e6", "e5", 1500, 30, 900), event("session.shutdown", "e7", "e6", modelMetrics=[{"usage": {}}])]
    write(tmp_path, lines + more)
    imported(path, store)
    assert output_of(store) == (600, 30, 900)


def test_a_compaction(tmp_path: Path, store: SessionStore) -> None:
    """Copilot puts the messages of the user before the summary, which is paid, too."""
    used = {"inputTokens": 1056, "outputTokens": 34, "cacheReadTokens": 108, "cacheWriteTokens": 0, "model": "gpt-5.1"}
    facts: dict[str, Any] = {
        "success": True,
        "summaryContent": "They listed.",
        "compactionTokensUsed": used,
        "messagesRemoved": 4711,
    }
    failed = event("session.compaction_complete", "f0", "e9", success=False, error="No.")
    lines = [*TALK, failed, event("session.compaction_complete", "f1", "f0", **facts), asked("f2", "f1", "And?")]
    again = SYSTEM | {"id": "f3", "parentId": "f2"}
    path = write(tmp_path, [*lines, again])
    imported(path, store)
    assert output_of(store) == (1821 + 1056 - 108, 29 + 34, 308)
    with store.open(ID) as session:
        assert shown(session)[-2:] == [
            *("user: <current_datetime>2026</current_datetime>\n\nAnd?", "system: You are Copilot.")
        ]
        (found,) = [each for each in session.path() if isinstance(each, CompactionEntry)]
        assert "<user_message>\nList\n</user_message>\n\nHere is a summary of the prior" in found.summary
        assert (found.summary.splitlines()[-2], found.model) == ("They listed.", "gpt-5.1")
    bare = event("session.compaction_complete", "g1", "e0", success=True, summaryContent="So far.")
    imported(write_lines(tmp_path / "bare.jsonl", [START | {"data": {"sessionId": "bare"}}, bare, TALK[-2]]), store)
    with store.open("bare") as session:
        (found,) = [each for each in session.path() if isinstance(each, CompactionEntry)]
        assert found.summary == "So far."


def test_branches(tmp_path: Path, store: SessionStore) -> None:
    """A rewind goes back, a clear begins again, a parent that was not written is the event before."""
    back = event("session.snapshot_rewind", "f1", "f0", upToEventId="e1", eventsRemoved=9)
    lines = [*TALK, asked("f0", "unwritten", "No"), back, asked("f2", "f1", "Yes")]
    imported(write(tmp_path, lines), store)
    with store.open(ID) as session:
        assert shown(session) == ["user: <current_datetime>2026</current_datetime>\n\nYes"]
        assert len(session.leaves()) == 2
    cleared = event("session.context_cleared", "f3", "f2", messagesCleared=4711)
    path = write(tmp_path, [*lines, cleared, asked("f4", "f3", "Afresh", transformedContent=None)])
    imported(path, store)
    with store.open(ID) as session:
        assert shown(session) == ["user: Afresh"]


def test_an_agent_is_a_branch(tmp_path: Path, store: SessionStore) -> None:
    """Its events lie between those of the session, and so in older versions, which name the call."""
    lines = [
        START,
        asked("e1", "e0", "Look"),
        asked("a1", "e1", "Look into a") | {"agentId": "x"},
        answer("e2", "a1", "I wait."),
        answer("a2", "e2", "Seen.") | {"agentId": "x"},
        answer("b1", "a2", "Old.", parentToolCallId="c7"),
        answer("e3", "b1", "Done."),
    ]
    imported(write(tmp_path, lines), store)
    with store.open(ID) as session:
        assert shown(session)[1:] == ["assistant: I wait.", "assistant: Done."]
        assert len(session.leaves()) == 3


def test_messages_of_other_kinds(tmp_path: Path, store: SessionStore) -> None:
    """Of a skill, in other words, with a picture; results that failed; records that are not understood."""
    image = {"type": "blob", "mimeType": "image/png", "data": "aGk="}
    file = {"type": "file", "path": "/w/a.txt"}
    lines = [
        asked("e1", None, "Use it", source="skill-pdf"),
        asked("e2", "e1", "/plan go", transformedContent="Plan: go", attachments=[image]),
        asked("e3", "e2", "See", attachments=[image, file], transformedContent="See\n<tagged_files>a</tagged_files>"),
        event(
            "tool.execution_complete",
            "e4",
            "e3",
            toolCallId="c1",
            success=False,
            error={"message": "No.", "code": "x1"},
        ),
        event(
            "tool.execution_complete",
            "e5",
            "e4",
            toolCallId="c2",
            success=False,
            result={"content": "1"},
            error={"message": "Bad"},
        ),
        event("system.message", "e6", "e5", role="system"),
        {"type": "odd", "data": "text", "shade": "viridian"},
        {"type": "session.info", "data": {"message": "Said"}, "timestamp": STAMP},
    ]
    path = write_lines(tmp_path / "kept.jsonl", lines)
    imported(path, store)
    with store.open("kept") as session:
        said = [each for each in session.path() if isinstance(each, MessageEntry)]
        assert [(each.visible_to, each.text) for each in said] == [
            ("model", "<current_datetime>2026</current_datetime>\n\nUse it"),
            *(("user", "/plan go"), ("model", "Plan: go")),
            *(("user", "See"), ("model", "See\n<tagged_files>a</tagged_files>"), ("all", ""), ("all", "")),
        ]
        assert [said[at].message["content"][0] for at in (5, 6)] == [
            {"type": "tool_result", "tool_use_id": "c1", "content": "No.", "is_error": True},
            {"type": "tool_result", "tool_use_id": "c2", "content": "1", "is_error": True},
        ]
        assert said[6].message["copilot-cli"] == {"error": {"message": "Bad"}}
        others = {each.ext_type: each.data for each in session.path() if isinstance(each, ExtensionDataEntry)}
        assert others["copilot-cli.unknown"] == {"type": "odd", "data": "text", "shade": "viridian"}
        assert others["copilot-cli.session.info"] == {"message": "Said"}
    assert store.info("kept").name is None
    (tmp_path / "workspace.yaml").write_text("name: |\n  Two\n")
    assert imported(path, open_store("memory:")) > 0


@pytest.mark.parametrize("kind", ["session.context_cleared", "session.snapshot_rewind", "system.message"])
def test_a_system_message_on_another_branch_replaces_nothing(kind: str, tmp_path: Path, store: SessionStore) -> None:
    """It is sent anew behind what went back to before it."""
    back = event(kind, "f1", "e1", upToEventId="e2", content="Be short.")
    again = event("system.message", "f2", "f1", role="system", content="You are back.")
    (report,) = import_into(write(tmp_path, [*TALK, back, again, asked("f3", "f2", "Go")]), store)
    assert (report.status, report.reason) == ("imported", None)
    with store.open(ID) as session:
        assert [line for line in shown(session) if line.startswith("system")] == ["system: You are back."]
